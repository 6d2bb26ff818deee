/* report/page.c: every part of the page is there when it has figures and absent when not; no text can become markup; nothing is fetched. */
#include "tests/unit/report/test_report.h"

static const char hostile[] = "</pre></title><script>alert(\"1\")</script><img src=http://x.y onerror='z'>&\x01\xff";
static const char tamed[] =
    "&lt;/pre&gt;&lt;/title&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&lt;img src=http://x.y onerror='z'&gt;&amp;??";
static const char *const sections[] = { "Key figures", "Rounds to the budget", "Tokens kept", "Curves", "Which tokens stay", "Confusion", "Configuration" };

/* The page as text; freed by the caller. */
static sv_text print(const sv_report *report)
{
    sv_text text = { 0 };
    sv_error err = { 0 };
    assert_ok(sv_report_print(report, &text, &err), err);
    assert_well_formed(text.data);
    return text;
}

/* A report with something in every part; `word` stands wherever a text can. Borrowed from static room. */
static sv_report full_report(const char *word)
{
    static const double x[] = { 0, 1, 2 }, y[] = { 3, 2, 1 };
    static const unsigned char png[] = { 0x89, 'P', 'N', 'G' };
    static const uint64_t counts[] = { 70, 30, 0, 100 };
    static const sv_report_stage stages[] = { { 3, 0.7, 0.71, 139 }, { 6, 0.49, NAN, NAN } };
    static const char *names[2];
    static sv_chart_series series;
    static sv_chart chart;
    static sv_report_fact fact;
    static sv_report_picture picture;
    static sv_report_confusion confusion;
    sv_report report = sv_report_empty();
    names[0] = names[1] = word;
    series = (sv_chart_series){ .name = word, .x = x, .y = y, .count = 3 };
    chart = (sv_chart){ .title = word, .x_label = word, .unit = word, .series = &series, .series_count = 1 };
    fact = (sv_report_fact){ word, word };
    picture = (sv_report_picture){ png, sizeof png, word };
    confusion = (sv_report_confusion){ 2, names, counts };
    report.title = report.subtitle = report.machine = report.config = report.tool = report.date = word;
    report.verdict = SV_VERDICT_MET;
    report.budget_ms = 10, report.predicted_ms = 9.5, report.top1_ema = 0.8123;
    report.dense = (sv_report_model){ 0.8, 0.95, 20, 22, 4.6e9, 22e6, 50 };
    report.pruned = (sv_report_model){ 0.79, 0.94, 9, 9.9, 2.3e9, 22.5e6, 111 };
    static const sv_report_round rounds[] = { { 8, 10, 9.5, 11, 12, 20, 0.8 }, { 9, 10, 8.5, 9, NAN, 20, NAN } };
    report.rounds = rounds, report.round_count = SV_COUNT(rounds);
    report.stages = stages, report.stage_count = SV_COUNT(stages);
    report.facts = &fact, report.fact_count = 1;
    report.charts = &chart, report.chart_count = 1;
    report.pictures = &picture, report.picture_count = 1;
    report.confusion = &confusion;
    return report;
}

static void every_section_is_there_in_its_order(void **state)
{
    (void)state;
    sv_report report = full_report("word");
    sv_text text = print(&report);
    const char *at = text.data;
    for (size_t i = 0; i < SV_COUNT(sections); i++) {
        char heading[64];
        snprintf(heading, sizeof heading, "<h2>%s</h2>", sections[i]);
        at = strstr(at, heading);
        if (!at) fail_msg("'%s' is missing, or not behind the one before", sections[i]);
    }
    assert_int_equal(times_in(text.data, "<h2>"), SV_COUNT(sections));
    assert_part(text.data, "<title>word</title>");
    assert_part(text.data, "<h1>word</h1><p class=\"sub\">word</p><p class=\"verdict good\">");
    assert_part(text.data, "<div class=\"tiles\">");
    assert_part(at, "<pre>word\n</pre>");
    assert_part(at, "<footer>word<br>word, word</footer></main></body></html>");
    assert_int_equal(times_in(text.data, "<svg"), 1);
    assert_int_equal(strncmp(text.data, "<!DOCTYPE html>\n", 16), 0);
    assert_part(text.data, "<meta charset=\"utf-8\">");
    sv_text_clear(&text);
}

static void a_part_without_figures_is_left_out(void **state)
{
    (void)state;
    sv_report empty = sv_report_empty();
    sv_text text = print(&empty);
    assert_int_equal(times_in(text.data, "<h2>"), 0);
    assert_int_equal(times_in(text.data, "class=\"verdict"), 0);
    assert_int_equal(times_in(text.data, "card tile"), 0);
    assert_null(strstr(text.data, ">nan"));
    sv_text_clear(&text);
    for (size_t left_out = 0; left_out < SV_COUNT(sections); left_out++) {
        sv_report report = full_report("word");
        sv_report_confusion no_classes = { 0 };
        if (left_out == 0)
            report.dense = report.pruned = sv_report_unknown(), report.budget_ms = report.predicted_ms = report.top1_ema = NAN;
        if (left_out == 1) report.round_count = 0;
        if (left_out == 2) report.stage_count = 0;
        if (left_out == 3) report.chart_count = 0;
        if (left_out == 4) report.picture_count = 0;
        if (left_out == 5) report.confusion = &no_classes;
        if (left_out == 6) report.config = "";
        text = print(&report);
        for (size_t i = 0; i < SV_COUNT(sections); i++) {
            char heading[64];
            snprintf(heading, sizeof heading, "<h2>%s</h2>", sections[i]);
            if ((strstr(text.data, heading) == NULL) != (i == left_out))
                fail_msg("'%s' where '%s' has no figures", sections[i], sections[left_out]);
        }
        sv_text_clear(&text);
    }
}

/* Tokens a picture, worst classes, probabilities: each where it has figures, with them in words. */
static void measures_of_the_last_evaluation_are_shown(void **state)
{
    (void)state;
    static const uint64_t bars[] = { 0, 3, 12 }, pictures[] = { 4, 0, 10 }, right[] = { 1, 0, 9 };
    static const double said[] = { 0.25, 0, 0.9 };
    const sv_report_tokens tokens[] = { { bars, 3, 10, 25 } };
    const sv_report_class classes[] = { { hostile, 50, 40, 45, hostile, 7 }, { "fine", 50, 50, 50, NULL, 0 } };
    const sv_report_calibration calibration = { 3, pictures, right, said, 0.0123, 0.5 };
    sv_report report = sv_report_empty();
    report.tokens = tokens, report.token_count = 1;
    report.classes = classes, report.class_count = 2;
    report.calibration = &calibration;
    sv_text text = print(&report);
    assert_int_equal(times_in(text.data, "<h2>"), 3);
    assert_part(text.data, "<i style=\"height:0.0%\" title=\"0 to 9 patches: 0 pictures\"></i><i style=\"height:25.0%\" title=\"10 to 19 patches: 3 pictures\"></i>"
                           "<i style=\"height:100.0%\" title=\"20 to 25 patches: 12 pictures\"></i>");
    assert_int_equal(times_in(text.data, tamed), 2);
    assert_part(text.data, "<td>50</td><td>80.00 %</td><td>90.00 %</td>");
    assert_part(text.data, " (7)</td>");
    assert_part(text.data, "<td>fine</td><td>50</td><td>100.00 %</td><td>100.00 %</td><td></td>");
    assert_part(text.data, "Expected calibration error 1.23 %, negative log likelihood 0.5000");
    assert_part(text.data, "<td>0.67 to 1.00</td><td>10</td><td>90.0 %</td><td>90.0 %</td>");
    assert_int_equal(times_in(text.data, "<td>0.33 to 0.67"), 0); /* an empty bin */
    sv_text_clear(&text);
}

static void no_text_of_a_run_becomes_markup(void **state)
{
    (void)state;
    sv_report report = full_report(hostile);
    sv_text text = print(&report);
    assert_int_equal(times_in(text.data, "<script"), 0);
    assert_int_equal(times_in(text.data, "<img "), 1); /* the overlay */
    /* title 2, subtitle 1, fact 2, chart: title 2, x label 1, legend 2, points 3 * 2; picture 2, classes 4, machine 1, config 1, tool 1, date 1 */
    assert_int_equal(times_in(text.data, tamed), 26);
    sv_text_clear(&text);
}

static void nothing_on_the_page_is_fetched_from_anywhere(void **state)
{
    (void)state;
    sv_report report = full_report("word");
    sv_text text = print(&report);
    static const char *const ways[] = { "http://", "https://", " href=", "url(",   "@import", "<link",      "<script",
                                        "<iframe", "<object",  "<embed", "srcset", "//",      "javascript:" };
    size_t namespaces = times_in(text.data, "xmlns=\"http://www.w3.org/2000/svg\""); /* the name of a language, no address */
    assert_int_equal(namespaces, 1);
    for (size_t i = 0; i < SV_COUNT(ways); i++) {
        size_t expected = strcmp(ways[i], "http://") == 0 || strcmp(ways[i], "//") == 0 ? namespaces : 0;
        if (times_in(text.data, ways[i]) != expected) fail_msg("'%s' is on the page: %.100s", ways[i], strstr(text.data, ways[i]));
    }
    assert_int_equal(times_in(text.data, "src="), 1);
    assert_part(text.data, " src=\"data:image/png;base64,iVBORw==\">");
    sv_text_clear(&text);
}

static void the_verdict_tells_what_was_measured_and_what_was_allowed(void **state)
{
    (void)state;
    sv_report report = full_report("word");
    static const struct {
        sv_verdict verdict;
        double ms;
        const char *sentence;
    } cases[] = {
        { SV_VERDICT_MET, 9, "<p class=\"verdict good\">Budget met: 9 ms measured of 10 ms, 10.00 % to spare</p>" },
        { SV_VERDICT_MISSED, 12.5, "<p class=\"verdict bad\">Budget not met: 12.5 ms measured, 10 ms allowed, 25.00 % too much</p>" },
        { SV_VERDICT_RUNNING, 9, "<p class=\"verdict calm\">Training goes on; figures so far</p>" },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        report.verdict = cases[i].verdict;
        report.pruned.ms_median = cases[i].ms;
        sv_text text = print(&report);
        assert_part(text.data, cases[i].sentence);
        assert_int_equal(times_in(text.data, "class=\"verdict"), 1);
        sv_text_clear(&text);
    }
}

static void figures_stand_under_their_names(void **state)
{
    (void)state;
    sv_report report = full_report("word");
    sv_text text = print(&report);
    assert_part(text.data, "<b>79.00 %</b><span>top-1, dense 80.00 %</span>");
    assert_part(text.data, "<b>9 ms</b><span>median a picture, budget 10 ms</span>");
    assert_part(text.data, "<b>2.222 times</b><span>faster than dense (20 ms)</span>");
    assert_part(text.data, "<b>50.0 %</b><span>of the dense multiply-adds</span>");
    assert_part(text.data, "<tr><td>Top-1</td><td>80.00 %</td><td>79.00 %</td></tr>"
                           "<tr><td>Top-1 of the average (EMA)</td><td></td><td>81.23 %</td></tr>"
                           "<tr><td>Top-5</td><td>95.00 %</td><td>94.00 %</td></tr>"
                           "<tr><td>Median of one picture</td><td>20 ms</td><td>9 ms</td></tr>"
                           "<tr><td>95th percentile</td><td>22 ms</td><td>9.9 ms</td></tr>"
                           "<tr><td>Multiply-adds a picture</td><td>4.6 G</td><td>2.3 G</td></tr>"
                           "<tr><td>Parameters</td><td>22 M</td><td>22.5 M</td></tr>"
                           "<tr><td>Pictures a second</td><td>50</td><td>111</td></tr>"
                           "<tr><td>Predicted from the table</td><td></td><td>9.5 ms</td></tr>"
                           "<tr><td>Budget</td><td></td><td>10 ms</td></tr></table>");
    assert_part(text.data, "<tr><td>3</td><td>70.00 %</td><td>71.00 %</td><td>139</td><td><span class=\"bar\"><i "
                           "style=\"width:71.0%\"></i><u style=\"left:70.0%\"></u>");
    assert_part(text.data, "<tr><td>6</td><td>49.00 %</td><td>-</td><td>-</td><td><span class=\"bar\"><u style=\"left:49.0%\"></u>");
    sv_text_clear(&text);
}

static void a_dense_run_shows_the_dense_figures(void **state)
{
    (void)state;
    sv_report report = full_report("word");
    report.pruned = sv_report_unknown();
    report.budget_ms = NAN;
    sv_text text = print(&report);
    assert_part(text.data, "<b>80.00 %</b><span>top-1</span>");
    assert_part(text.data, "<b>20 ms</b><span>median a picture</span>");
    assert_null(strstr(text.data, "faster than dense"));
    assert_part(text.data, "<tr><td>Top-5</td><td>95.00 %</td><td>-</td></tr>");
    sv_text_clear(&text);
}

static void assert_between(const char *begin, const char *part, const char *end)
{
    const char *at = strstr(begin, part);
    if (!at || at >= end) fail_msg("'%s' is not in: %.*s", part, (int)(end - begin), begin);
}

static void few_classes_are_a_grid_of_truth_by_answer(void **state)
{
    (void)state;
    static const char *const names[] = { "cat", "dog", "none" };
    static const uint64_t counts[] = { 7, 3, 0, 0, 123456, 1, 0, 0, 0 };
    sv_report_confusion confusion = { 3, names, counts };
    sv_report report = sv_report_empty();
    report.confusion = &confusion;
    sv_text text = print(&report);
    assert_part(text.data, "<th>cat</th><th>dog</th><th>none</th></tr><tr><th>cat</th>");
    const char *row = strstr(text.data, "<tr><th>cat</th>"), *next = strstr(row, "<tr><th>dog</th>"),
               *last = strstr(text.data, "<tr><th>none</th>");
    assert_true(row && next && last && row < next && next < last);
    assert_between(row, "var(--good) 51%,transparent)\">7</td>", next);
    assert_between(row, "var(--bad) 27%,transparent)\">3</td>", next);
    assert_part(row, "var(--bad) 0%,transparent)\"></td></tr><tr><th>dog</th>");
    assert_between(next, ">123456</td>", last);
    assert_part(last, "var(--good) 0%,transparent)\"></td></tr></table>"); /* a class without pictures divides by nothing */
    sv_text_clear(&text);
}

static void many_classes_are_the_pairs_most_often_confused(void **state)
{
    (void)state;
    enum { CLASSES = 30 };
    static char rooms[CLASSES][8];
    static const char *names[CLASSES];
    static uint64_t counts[CLASSES * CLASSES];
    for (size_t i = 0; i < CLASSES; i++) {
        snprintf(rooms[i], sizeof rooms[i], "c%zu", i);
        names[i] = rooms[i];
        counts[i * CLASSES + i] = 1000; /* right answers are no confusion */
    }
    for (size_t k = 0; k < 20; k++) counts[(k + 1) * CLASSES + k] = 10 + k / 2; /* each number twice */
    sv_report_confusion confusion = { CLASSES, names, counts };
    sv_report report = sv_report_empty();
    report.confusion = &confusion;
    sv_text text = print(&report);
    const char *at = strstr(text.data, "<h2>Confusion</h2>");
    static const size_t order[] = { 18, 19, 16, 17, 14, 15, 12, 13, 10, 11, 8, 9, 6, 7, 4 };
    assert_non_null(at);
    assert_int_equal(times_in(at, "<tr><td>"), SV_COUNT(order));
    for (size_t i = 0; i < SV_COUNT(order); i++) {
        char row[128];
        size_t k = order[i], count = 10 + k / 2;
        snprintf(row, sizeof row, "<tr><td>c%zu</td><td>c%zu</td><td>%zu</td><td>%.2f %%</td></tr>", k + 1, k, count,
                 100.0 * (double)count / (1000.0 + (double)count));
        at = strstr(at, row);
        if (!at) fail_msg("'%s' is not on its place", row);
    }
    sv_text_clear(&text);
}

static void the_config_is_shown_line_by_line_and_whole(void **state)
{
    (void)state;
    enum { LONG = 5000 };
    static char config[LONG + 64];
    sv_report report = sv_report_empty();
    report.config = "[run]\ndir = a <b> & c\n\n[train]\nepochs = 3";
    sv_text text = print(&report);
    assert_part(text.data, "<pre>[run]\ndir = a &lt;b&gt; &amp; c\n\n[train]\nepochs = 3\n</pre>");
    sv_text_clear(&text);
    /* a long line, with a character of two bytes across every place it could be parted at */
    size_t length = (size_t)snprintf(config, sizeof config, "x = y");
    while (length < LONG) length += (size_t)snprintf(config + length, sizeof config - length, "\xc3\xa4");
    snprintf(config + length, sizeof config - length, " end\nnext = 1\n");
    report.config = config;
    text = print(&report);
    assert_part(text.data, " end\nnext = 1\n</pre>");
    assert_int_equal(times_in(text.data, "\xc3\xa4"), (LONG - 5 + 1) / 2);
    assert_int_equal(times_in(text.data, "?"), 0);
    sv_text_clear(&text);
}

static void a_page_is_written_whole_or_not_at_all(void **state)
{
    (void)state;
    sv_report report = full_report("word");
    sv_text text = print(&report);
    sv_memory memory = sv_memory_now();
    bool survived = false;
    for (uint64_t at = 1; at < 100 && !survived; at++) {
        sv_error err = { 0 };
        write_text(in_folder("r.html"), "old");
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        sv_status status = sv_report_write(&report, in_folder("r.html"), &err);
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        survived = status == SV_OK;
        if (!survived) assert_int_equal(status, SV_FAULT);
        assert_holds(in_folder("r.html"), survived ? text.data : "old");
        assert_int_equal(sv_memory_now().live, memory.live);
    }
    assert_true(survived);
    sv_text_clear(&text);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_section_is_there_in_its_order),
        cmocka_unit_test(a_part_without_figures_is_left_out),
        cmocka_unit_test(measures_of_the_last_evaluation_are_shown),
        cmocka_unit_test(no_text_of_a_run_becomes_markup),
        cmocka_unit_test(nothing_on_the_page_is_fetched_from_anywhere),
        cmocka_unit_test(the_verdict_tells_what_was_measured_and_what_was_allowed),
        cmocka_unit_test(figures_stand_under_their_names),
        cmocka_unit_test(a_dense_run_shows_the_dense_figures),
        cmocka_unit_test(few_classes_are_a_grid_of_truth_by_answer),
        cmocka_unit_test(many_classes_are_the_pairs_most_often_confused),
        cmocka_unit_test(the_config_is_shown_line_by_line_and_whole),
        WITH_FOLDER(a_page_is_written_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
