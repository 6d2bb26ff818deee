/* report/chart.c: what is drawn is what was given, as valid SVG whatever the numbers and names are. */
#include "tests/unit/report/test_report.h"

static const double LEFT_EDGE = 46, RIGHT_EDGE = 468, HEIGHT = 200, TOP_OF_ONE = 54; /* of a legend of one line */
static const double count_up[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };

/* The chart as text; freed by the caller. */
static sv_text print(const sv_chart *chart)
{
    sv_text text = { 0 };
    sv_error err = { 0 };
    sv_chart_print(chart, &text);
    assert_ok(sv_text_check(&text, &err), err);
    assert_well_formed(text.data);
    return text;
}

/* What stands in the first path of class "line" that is a series (that of the legend ends in "h16"). */
static const char *path_of(const char *text, const char *class)
{
    char begin[64];
    snprintf(begin, sizeof begin, "<path class=\"%s\"", class);
    for (; (text = strstr(text, begin)); text++) {
        const char *d = strstr(text, " d=\"") + 4, *end = strchr(d, '"');
        if (end - d < 3 || memcmp(end - 3, "h16", 3)) return d;
    }
    return NULL;
}

typedef struct drawn {
    size_t points, pieces;
    double first_x, last_x, least_x, most_x, least_y, most_y;
} drawn;

/* The points of a path "M1.0 2.0L3.0 4.0". */
static drawn read_path(const char *d)
{
    drawn of = { .least_x = INFINITY, .most_x = -INFINITY, .least_y = INFINITY, .most_y = -INFINITY };
    assert_non_null(d);
    while (*d == 'M' || *d == 'L') {
        double x, y;
        int used = 0;
        if (sscanf(d + 1, "%lf %lf%n", &x, &y, &used) != 2 || !isfinite(x) || !isfinite(y)) fail_msg("no point: %.60s", d);
        of.pieces += *d == 'M';
        if (!of.points++) of.first_x = x;
        of.last_x = x;
        of.least_x = fmin(of.least_x, x), of.most_x = fmax(of.most_x, x);
        of.least_y = fmin(of.least_y, y), of.most_y = fmax(of.most_y, y);
        d += 1 + used;
    }
    assert_int_equal(*d, '"');
    return of;
}

static bool near(double a, double b) { return fabs(a - b) < 0.11; } /* coordinates have one digit behind the point */

static void a_chart_without_a_point_says_so(void **state)
{
    (void)state;
    static const double holes[] = { NAN, INFINITY, -INFINITY }, low[] = { 0, -1, NAN };
    sv_chart_series none = { .name = "s", .x = count_up, .y = holes, .count = 0 }, not_finite = none, not_above = none;
    sv_chart_goal goal = { "goal", 5, 0 };
    not_finite.count = not_above.count = 3;
    not_above.y = low;
    const sv_chart charts[] = {
        { .title = "t" },
        { .title = "t", .series = &none, .series_count = 1 },
        { .title = "t", .series = &not_finite, .series_count = 1 },
        { .title = "t", .series = &not_above, .series_count = 1, .scale = SV_SCALE_LOG },
        { .title = "t", .goals = &goal, .goal_count = 1 },
    };
    for (size_t i = 0; i < SV_COUNT(charts); i++) {
        sv_text text = print(&charts[i]);
        assert_int_equal(times_in(text.data, "no values yet"), 1);
        assert_int_equal(times_in(text.data, "<path"), 0);
        assert_part(text.data, ">t</text>");
        sv_text_clear(&text);
    }
}

static void one_point_stands_in_the_middle_and_is_marked(void **state)
{
    (void)state;
    static const double values[] = { 3, 0, -3, 1e-300, 1e300 };
    for (size_t i = 0; i < SV_COUNT(values); i++) {
        sv_chart_series series = { .name = "s", .x = count_up, .y = &values[i], .count = 1 };
        sv_chart chart = { .title = "t", .x_label = "x", .series = &series, .series_count = 1 };
        sv_text text = print(&chart);
        drawn of = read_path(path_of(text.data, "line"));
        assert_int_equal(of.points, 1);
        assert_true(near(of.first_x, (LEFT_EDGE + RIGHT_EDGE) / 2) && near(of.least_y, TOP_OF_ONE + HEIGHT / 2));
        assert_int_equal(times_in(text.data, "<circle"), 1);
        assert_null(strstr(text.data, "no values yet"));
        assert_null(strstr(text.data, "nan"));
        sv_text_clear(&text);
    }
}

static void what_is_not_finite_is_a_gap(void **state)
{
    (void)state;
    static const double y[] = { 1, 2, NAN, 3, INFINITY, -INFINITY, 4, 5, 6, NAN };
    sv_chart_series series = { .name = "s", .x = count_up, .y = y, .count = 10 };
    sv_chart chart = { .title = "t", .series = &series, .series_count = 1 };
    sv_text text = print(&chart);
    drawn of = read_path(path_of(text.data, "line"));
    assert_int_equal(of.points, 6);
    assert_int_equal(of.pieces, 3);
    assert_int_equal(times_in(text.data, "<circle"), 6);
    assert_true(near(of.first_x, LEFT_EDGE) && near(of.last_x, RIGHT_EDGE)); /* the axis ends at 8, the last point that is shown */
    assert_part(text.data, "<tspan font-weight=\"600\">6</tspan>");          /* and the legend tells that one */
    assert_null(strstr(text.data, "nan"));
    assert_null(strstr(text.data, "inf"));
    sv_text_clear(&text);
}

static void a_log_scale_leaves_out_what_is_not_above_zero(void **state)
{
    (void)state;
    static const double y[] = { 100, 0, 1, -5, 10, -0.0 };
    sv_chart_series series = { .name = "s", .x = count_up, .y = y, .count = 6 };
    sv_chart_goal goals[] = { { "below", -1, 1 }, { "zero", 0, 2 } };
    sv_chart chart = { .title = "t", .series = &series, .series_count = 1, .goals = goals, .goal_count = 2, .scale = SV_SCALE_LOG };
    sv_text text = print(&chart);
    drawn of = read_path(path_of(text.data, "line"));
    assert_int_equal(of.points, 3);
    assert_int_equal(of.pieces, 3);
    assert_int_equal(times_in(text.data, "<circle"), 3);
    assert_null(path_of(text.data, "goal"));
    assert_part(text.data, ">10</tspan>");
    /* 1 to 100 with a margin of 4 % on both sides; 10 stands in the middle of it */
    assert_true(near(of.most_y - of.least_y, HEIGHT / 1.08));
    assert_null(strstr(text.data, "nan"));
    sv_text_clear(&text);
    chart.scale = SV_SCALE_LINEAR; /* the same numbers are all there on a linear one */
    text = print(&chart);
    assert_int_equal(read_path(path_of(text.data, "line")).points, 6);
    assert_non_null(path_of(text.data, "goal"));
    sv_text_clear(&text);
}

static void a_log_scale_of_the_least_and_largest_numbers_ends(void **state)
{
    (void)state;
    static const double y[][2] = {
        { 5e-324, 5e-324 }, { 5e-324, 1 }, { 1e-310, 1e-308 }, { 5e-324, 1e300 }, { 1, 1e300 }, { 1e-45, 3e38 }
    };
    alarm(60); /* a loop without an end must not hang the checks */
    for (size_t i = 0; i < SV_COUNT(y); i++) {
        sv_chart_series series = { .name = "s", .x = count_up, .y = y[i], .count = 2 };
        sv_chart chart = { .title = "t", .series = &series, .series_count = 1, .scale = SV_SCALE_LOG };
        sv_text text = print(&chart);
        assert_null(strstr(text.data, "nan"));
        assert_null(strstr(text.data, "inf"));
        sv_text_clear(&text);
    }
    alarm(0);
}

/* Every text of a chart at once, so that a way past the escaping is found wherever it is. */
static void every_name_and_label_is_escaped(void **state)
{
    (void)state;
    static const char hostile[] = "</text><script>a&b \"c\" 'd'\x01\xff";
    sv_chart_series series = { .name = hostile, .x = count_up, .y = count_up, .count = 3 };
    sv_chart_goal goal = { hostile, 1, 0 };
    sv_chart chart = {
        .title = hostile, .x_label = hostile, .unit = "", .series = &series, .series_count = 1, .goals = &goal, .goal_count = 1
    };
    sv_text text = print(&chart);
    assert_null(strstr(text.data, "<script"));
    /* title twice (aria-label), x label, legend of series and goal, three points */
    assert_int_equal(times_in(text.data, "&lt;/text&gt;&lt;script&gt;a&amp;b &quot;c&quot; 'd'??"), 8);
    sv_text_clear(&text);
}

static void a_unit_is_escaped_wherever_it_stands(void **state)
{
    (void)state;
    sv_chart_series series = { .name = "s", .x = count_up, .y = count_up, .count = 3 };
    sv_chart chart = { .title = "t", .unit = "<script>&", .series = &series, .series_count = 1 };
    sv_text text = { 0 };
    sv_error err = { 0 };
    sv_chart_print(&chart, &text);
    assert_ok(sv_text_check(&text, &err), err);
    assert_null(strstr(text.data, "<script>"));
    assert_int_equal(times_in(text.data, "&lt;script&gt;&amp;"), 4); /* legend, three points */
    assert_well_formed(text.data);
    sv_text_clear(&text);
}

static void the_legend_tells_names_and_last_values_and_leaves_out_what_has_no_name(void **state)
{
    (void)state;
    static const double shares[] = { 0.25, 0.5, 0.75 };
    sv_chart_series series[] = { { .name = "kept", .x = count_up, .y = shares, .count = 3, .color = 2 },
                                 { .name = NULL, .x = count_up, .y = shares, .count = 2, .color = 3, .kind = SV_LINE_FAINT } };
    sv_chart_goal goal = { "goal", 0.5, 2 };
    sv_chart chart = { .title = "t", .unit = "%", .y_factor = 100, .series = series, .series_count = 2, .goals = &goal, .goal_count = 1 };
    sv_text text = print(&chart);
    assert_int_equal(times_in(text.data, "class=\"name\""), 2);
    assert_part(text.data, ">kept <tspan font-weight=\"600\">75 %</tspan></text>");
    assert_part(text.data, ">goal <tspan font-weight=\"600\">50 %</tspan></text>");
    assert_part(text.data, "<title>kept 25 % at 0</title>");
    assert_non_null(path_of(text.data, "faint"));
    sv_text_clear(&text);
    chart.y_factor = 0; /* is 1 */
    chart.unit = "";
    text = print(&chart);
    assert_part(text.data, ">kept <tspan font-weight=\"600\">0.75</tspan></text>");
    sv_text_clear(&text);
}

static void a_legend_that_is_too_long_takes_more_lines_and_moves_the_plot(void **state)
{
    (void)state;
    sv_chart_series series[8];
    double heights[2];
    for (size_t i = 0; i < 8; i++)
        series[i] =
            (sv_chart_series){ .name = "a name of some length, \xc3\xa4", .x = count_up, .y = count_up, .count = 10, .color = (unsigned)i };
    for (size_t many = 0; many < 2; many++) {
        sv_chart chart = { .title = "t", .series = series, .series_count = many ? 8 : 1 };
        sv_text text = print(&chart);
        double wide = 0;
        assert_int_equal(sscanf(strstr(text.data, "viewBox"), "viewBox=\"0 0 %lf %lf\"", &wide, &heights[many]), 2);
        assert_true(wide == 480);
        drawn of = read_path(path_of(text.data, "line"));
        assert_true(near(of.most_y, heights[many] - 38 - HEIGHT * 0.04 / 1.08));
        sv_text_clear(&text);
    }
    assert_true(heights[1] == heights[0] + 3 * 18); /* two names a line */
}

static void a_goal_is_a_dashed_line_from_side_to_side_and_always_inside(void **state)
{
    (void)state;
    sv_chart_series series = { .name = "s", .x = count_up, .y = count_up, .count = 3 };
    sv_chart_goal goals[] = { { "high", 100, 1 }, { "unknown", NAN, 2 } };
    sv_chart chart = { .title = "t", .series = &series, .series_count = 1, .goals = goals, .goal_count = 2 };
    sv_text text = print(&chart);
    double from = 0, y = 0, to = 0;
    const char *d = path_of(text.data, "goal");
    assert_non_null(d);
    assert_int_equal(sscanf(d, "M%lf %lfH%lf", &from, &y, &to), 3);
    assert_true(near(from, LEFT_EDGE) && near(to, RIGHT_EDGE));
    assert_true(near(y, TOP_OF_ONE + HEIGHT * 0.04 / 1.08));
    assert_null(path_of(d, "goal")); /* the unknown one is not drawn */
    assert_part(text.data, ">unknown <tspan font-weight=\"600\">-</tspan>");
    sv_text_clear(&text);
}

static void a_scale_from_zero_begins_at_zero_and_a_linear_one_does_not(void **state)
{
    (void)state;
    static const double y[] = { 90, 95, 100 };
    sv_chart_series series = { .name = "s", .x = count_up, .y = y, .count = 3 };
    sv_chart chart = { .title = "t", .series = &series, .series_count = 1, .scale = SV_SCALE_FROM_ZERO };
    sv_text text = print(&chart);
    assert_part(text.data, "y1=\"254.0\" x2=\"468.0\" y2=\"254.0\"/><text x=\"40.0\" y=\"258.0\" text-anchor=\"end\">0</text>");
    assert_true(near(read_path(path_of(text.data, "line")).most_y, 254 - HEIGHT * 90 / 104));
    sv_text_clear(&text);
    chart.scale = SV_SCALE_LINEAR;
    text = print(&chart);
    assert_null(strstr(text.data, ">0</text><line"));
    assert_true(near(read_path(path_of(text.data, "line")).most_y, 254 - HEIGHT * 0.04 / 1.08));
    sv_text_clear(&text);
}

static void a_scale_from_zero_has_a_height_where_all_is_zero(void **state)
{
    (void)state;
    static const double zeros[] = { 0, 0, -0.0 }, below[] = { -4, -2, 0 };
    sv_chart_series series = { .name = "s", .x = count_up, .y = zeros, .count = 3 };
    sv_chart chart = { .title = "t", .series = &series, .series_count = 1, .scale = SV_SCALE_FROM_ZERO };
    sv_text text = print(&chart);
    drawn of = read_path(path_of(text.data, "line"));
    assert_true(of.points == 3 && near(of.least_y, TOP_OF_ONE + HEIGHT) && near(of.most_y, TOP_OF_ONE + HEIGHT));
    assert_part(text.data, "text-anchor=\"end\">0</text>");
    sv_text_clear(&text);
    series.y = below; /* zero is then the upper edge */
    text = print(&chart);
    of = read_path(path_of(text.data, "line"));
    assert_true(near(of.least_y, TOP_OF_ONE) && near(of.most_y, TOP_OF_ONE + HEIGHT / 1.04));
    sv_text_clear(&text);
}

static void the_counter_below_has_whole_numbers_alone(void **state)
{
    (void)state;
    for (size_t count = 1; count <= 10; count++) {
        sv_chart_series series = { .x = count_up, .y = count_up, .count = count };
        sv_chart chart = { .title = "t", .series = &series, .series_count = 1 };
        sv_text text = print(&chart);
        size_t ticks = 0;
        for (const char *at = text.data; (at = strstr(at, "text-anchor=\"middle\">")); at++, ticks++) {
            double value = strtod(strchr(at, '>') + 1, NULL);
            assert_true(value == floor(value) && value >= 0 && value < (double)count);
        }
        assert_true(ticks >= 1);
        sv_text_clear(&text);
    }
}

static void a_long_series_is_thinned_and_its_extremes_are_kept(void **state)
{
    (void)state;
    enum { MANY = 200000 };
    static double x[MANY], y[MANY];
    for (size_t i = 0; i < MANY; i++) x[i] = (double)i, y[i] = sin((double)i * 0.01);
    y[77777] = 100;
    y[123456] = -100;
    sv_chart_series series = { .name = "s", .x = x, .y = y, .count = MANY };
    sv_chart chart = { .title = "t", .series = &series, .series_count = 1 };
    sv_text text = print(&chart);
    drawn of = read_path(path_of(text.data, "line"));
    assert_true(of.points <= 4 * 421 && text.length < 32768);
    assert_int_equal(of.pieces, 1);
    assert_true(near(of.first_x, LEFT_EDGE) && near(of.last_x, RIGHT_EDGE));
    assert_true(near(of.least_y, TOP_OF_ONE + HEIGHT * 0.04 / 1.08) && near(of.most_y, TOP_OF_ONE + HEIGHT * 1.04 / 1.08));
    assert_int_equal(times_in(text.data, "<circle"), 0);
    sv_text_clear(&text);
}

static double any_number(sv_random *random)
{
    static const double odd[] = { 0, -0.0, NAN, INFINITY, -INFINITY, 1, -1, 1e-30, 1e30, -1e30 };
    if (sv_random_below(random, 4) == 0) return odd[sv_random_below(random, SV_COUNT(odd))];
    return sv_random_normal(random) * pow(10, (double)sv_random_below(random, 9) - 4);
}

static void any_numbers_give_valid_markup_inside_the_plot(void **state)
{
    (void)state;
    enum { CHARTS = 600, POINTS = 900, SERIES = 4 };
    static double x[POINTS], y[SERIES][POINTS];
    for (uint64_t c = 0; c < CHARTS; c++) {
        sv_random random = sv_random_at(5, SV_FOR_TEST, 0, c, 0);
        sv_chart_series series[SERIES];
        sv_chart_goal goals[2];
        sv_chart chart = { .title = "t", .x_label = "step", .unit = "ms", .series = series, .goals = goals };
        chart.scale = (sv_chart_scale)sv_random_below(&random, 3);
        chart.y_factor = sv_random_below(&random, 2) ? 100 : 0;
        chart.series_count = sv_random_below(&random, SERIES + 1);
        chart.goal_count = sv_random_below(&random, 3);
        for (size_t i = 0; i < POINTS; i++) x[i] = (i ? x[i - 1] : 0) + (double)sv_random_below(&random, 1000);
        for (size_t s = 0; s < chart.series_count; s++) {
            size_t count = sv_random_below(&random, sv_random_below(&random, 2) ? 5 : POINTS);
            for (size_t i = 0; i < count; i++) y[s][i] = any_number(&random);
            series[s] = (sv_chart_series){ .name = "s", .x = x, .y = y[s], .count = count };
            series[s].color = (unsigned)sv_random_below(&random, 1000);
            series[s].kind = (sv_line_kind)sv_random_below(&random, 3);
        }
        for (size_t g = 0; g < chart.goal_count; g++) goals[g] = (sv_chart_goal){ "g", any_number(&random), 9 };
        sv_text text = print(&chart);
        assert_null(strstr(text.data, "nan"));
        assert_null(strstr(text.data, "inf"));
        for (const char *at = text.data; (at = strstr(at, "var(--c")); at++) assert_true(at[7] >= '0' && at[7] <= '7' && at[8] == ')');
        const char *d = path_of(text.data, "line");
        if (d && *d != '"') {
            drawn of = read_path(d);
            double bottom = 0;
            assert_int_equal(sscanf(strstr(text.data, "viewBox"), "viewBox=\"0 0 480 %lf\"", &bottom), 1);
            bottom -= 38;
            assert_true(of.least_x >= LEFT_EDGE - 0.1 && of.most_x <= RIGHT_EDGE + 0.1);
            assert_true(of.least_y >= bottom - HEIGHT - 0.1 && of.most_y <= bottom + 0.1);
        }
        sv_text_clear(&text);
    }
}

static void a_chart_as_a_file_has_its_style_inside_and_needs_nothing_else(void **state)
{
    (void)state;
    sv_chart_series series = { .name = "s", .x = count_up, .y = count_up, .count = 3 };
    sv_chart chart = { .title = "a > b", .series = &series, .series_count = 1 };
    sv_error err = { 0 };
    unsigned char *bytes = NULL;
    size_t count;
    assert_ok(sv_chart_write(&chart, in_folder("c.svg"), &err), err);
    assert_ok(sv_file_read_all(in_folder("c.svg"), 1 << 20, SV_DATA, &bytes, &count, &err), err);
    const char *file = (const char *)bytes;
    assert_well_formed(file);
    assert_int_equal(strncmp(file, "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" ", 54), 0);
    assert_part(file, "aria-label=\"a &gt; b\"><style>.chart{");
    assert_int_equal(times_in(file, "<style>"), 1);
    assert_int_equal(times_in(file, "http"), 1); /* the name of the language, which is no address */
    assert_int_equal(times_in(file, "url("), 0);
    assert_int_equal(times_in(file, "href"), 0);
    sv_free(bytes);
}

static void a_file_that_cannot_be_written_leaves_the_old_one_and_no_memory(void **state)
{
    (void)state;
    sv_chart_series series = { .name = "s", .x = count_up, .y = count_up, .count = 3 };
    sv_chart chart = { .title = "t", .series = &series, .series_count = 1 };
    sv_memory memory = sv_memory_now();
    bool survived = false;
    for (uint64_t at = 1; at < 100 && !survived; at++) {
        sv_error err = { 0 };
        write_text(in_folder("c.svg"), "old");
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        sv_status status = sv_chart_write(&chart, in_folder("c.svg"), &err);
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        survived = status == SV_OK;
        if (!survived) {
            assert_int_equal(status, SV_FAULT);
            assert_holds(in_folder("c.svg"), "old");
        }
        assert_int_equal(sv_memory_now().live, memory.live);
    }
    assert_true(survived);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chart_without_a_point_says_so),
        cmocka_unit_test(one_point_stands_in_the_middle_and_is_marked),
        cmocka_unit_test(what_is_not_finite_is_a_gap),
        cmocka_unit_test(a_log_scale_leaves_out_what_is_not_above_zero),
        cmocka_unit_test(every_name_and_label_is_escaped),
        cmocka_unit_test(a_unit_is_escaped_wherever_it_stands),
        cmocka_unit_test(the_legend_tells_names_and_last_values_and_leaves_out_what_has_no_name),
        cmocka_unit_test(a_legend_that_is_too_long_takes_more_lines_and_moves_the_plot),
        cmocka_unit_test(a_goal_is_a_dashed_line_from_side_to_side_and_always_inside),
        cmocka_unit_test(a_scale_from_zero_begins_at_zero_and_a_linear_one_does_not),
        cmocka_unit_test(a_scale_from_zero_has_a_height_where_all_is_zero),
        cmocka_unit_test(the_counter_below_has_whole_numbers_alone),
        cmocka_unit_test(a_long_series_is_thinned_and_its_extremes_are_kept),
        cmocka_unit_test(any_numbers_give_valid_markup_inside_the_plot),
        WITH_FOLDER(a_chart_as_a_file_has_its_style_inside_and_needs_nothing_else),
        WITH_FOLDER(a_file_that_cannot_be_written_leaves_the_old_one_and_no_memory),
        cmocka_unit_test(a_log_scale_of_the_least_and_largest_numbers_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
