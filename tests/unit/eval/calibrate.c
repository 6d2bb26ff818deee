/* eval/calibrate.c: behind the thresholds it sets, as many patches stay as were asked for, at every stage. */
#include "tests/unit/eval/test_eval.h"

enum { FOLDERS = 3, EACH = 5, PICTURES = FOLDERS * EACH };

static void calibrate(bench *b, size_t pictures)
{
    sv_error err = { 0 };
    assert_ok(sv_calibrate(&b->removal, &b->plan, b->loader, pictures, &err), err);
}

static void behind_each_selector_the_asked_share_stays(void **state)
{
    (void)state;
    static const double keeps[][2] = { { 0.7, 0.49 }, { 0.5, 0.5 }, { 0.9, 0.25 }, { 0.3, 0.2 } };
    put_tree("p", FOLDERS, EACH);
    for (size_t i = 0; i < SV_COUNT(keeps); i++) {
        bench b;
        sv_pruning_plan plan = plan_of(SV_RULE_THRESHOLD, keeps[i][0], keeps[i][1]);
        plan.threshold[0] = 0.99, plan.threshold[1] = 0.01; /* what was there before has no say */
        plan.min_keep = 0;
        bench_open(&b, &plan, CLASSES, "p");
        calibrate(&b, PICTURES);
        sv_evaluation e = evaluate(&b, NULL); /* the tape has the thresholds: nothing was set here */
        for (size_t t = 0; t < 2; t++) {
            double wanted = floor(keeps[i][t] * PATCHES * PICTURES + 0.5);
            if (fabs(e.kept[t] * PICTURES - wanted) > 1e-6)
                fail_msg("stage %zu keeps %g patches of all pictures, asked were %g", t, e.kept[t] * PICTURES, wanted);
            assert_true(b.plan.threshold[t] >= 0 && b.plan.threshold[t] <= 1);
            assert_true(b.plan.keep[t] == keeps[i][t] && b.plan.at[t] == plan.at[t]);
        }
        bench_close(&b);
    }
}

static void to_keep_all_is_no_threshold_and_to_keep_none_leaves_the_least(void **state)
{
    (void)state;
    bench b;
    sv_pruning_plan plan = plan_of(SV_RULE_THRESHOLD, 1, 1);
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, &plan, CLASSES, "p");
    calibrate(&b, PICTURES);
    assert_true(b.plan.threshold[0] == 0 && b.plan.threshold[1] == 0);
    assert_true(evaluate(&b, NULL).kept[1] == PATCHES);
    bench_close(&b);
    plan = plan_of(SV_RULE_THRESHOLD, 0.5, 0);
    bench_open(&b, &plan, CLASSES, "p");
    calibrate(&b, PICTURES);
    assert_true(b.plan.threshold[1] == 1);
    assert_true(evaluate(&b, NULL).kept[1] == 1); /* min_keep */
    bench_close(&b);
}

/* The first 6 of 15, in batches of 4: the same thresholds as from a folder of these 6 alone. */
static void only_as_many_pictures_count_as_were_asked_for(void **state)
{
    (void)state;
    enum { ASKED = 6 };
    bench many, few;
    sv_pruning_plan plan = plan_of(SV_RULE_THRESHOLD, 0.7, 0.4);
    put_tree("p", FOLDERS, EACH);
    for (size_t i = 0; i < ASKED; i++) {
        char name[64];
        snprintf(name, sizeof name, "q/class%c/%02zu.jpg", (char)('A' + i / EACH), i % EACH);
        put_picture(name, (unsigned)i);
    }
    bench_open(&many, &plan, CLASSES, "p");
    bench_open(&few, &plan, CLASSES, "q");
    calibrate(&many, ASKED);
    calibrate(&few, 1000); /* more than there are: all */
    for (size_t t = 0; t < 2; t++) assert_true(many.plan.threshold[t] == few.plan.threshold[t]);
    calibrate(&many, PICTURES);
    assert_true(many.plan.threshold[0] != few.plan.threshold[0]);
    bench_close(&many);
    bench_close(&few);
}

static void thresholds_do_not_depend_on_batch_and_threads(void **state)
{
    (void)state;
    bench b;
    double first[2] = { -1, -1 };
    sv_pruning_plan plan = plan_of(SV_RULE_THRESHOLD, 0.7, 0.4);
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, &plan, CLASSES, "p");
    for (size_t batch = 1; batch <= BATCH; batch++) {
        close_loader(&b);
        open_loader(&b, "p", batch);
        sv_threads_set(batch);
        calibrate(&b, 7);
        for (size_t t = 0; t < 2; t++) {
            if (first[t] < 0) first[t] = b.plan.threshold[t];
            assert_true(b.plan.threshold[t] == first[t]);
        }
    }
    sv_threads_set(0);
    bench_close(&b);
}

static void rules_without_thresholds_are_left_alone(void **state)
{
    (void)state;
    static const sv_decision_rule rules[] = { SV_RULE_TOPK, SV_RULE_ARGMAX };
    put_tree("p", FOLDERS, EACH);
    for (size_t i = 0; i < SV_COUNT(rules); i++) {
        bench b;
        sv_pruning_plan plan = plan_of(rules[i], 0.7, 0.4);
        plan.threshold[0] = 0.25, plan.threshold[1] = 0.75;
        bench_open(&b, &plan, CLASSES, "p");
        sv_pruning_plan before = b.plan;
        calibrate(&b, PICTURES);
        assert_memory_equal(&b.plan, &before, sizeof before);
        assert_int_equal(sv_loader_stats_now(b.loader).pictures, 0); /* nor is a picture read for them */
        bench_close(&b);
    }
}

static void pictures_that_cannot_be_read_are_said_where_none_is_left(void **state)
{
    (void)state;
    bench b;
    sv_error err = { 0 };
    sv_pruning_plan plan = plan_of(SV_RULE_THRESHOLD, 0.7, 0.4);
    sv_memory memory = sv_memory_now();
    assert_ok(sv_folder_create(in_folder("p/classA"), &err), err);
    write_text(in_folder("p/classA/0.jpg"), "no picture");
    write_text(in_folder("p/classA/1.jpg"), "none either");
    sv_log_set(log_keep, NULL, SV_WARNING);
    bench_open(&b, &plan, CLASSES, "p");
    assert_int_equal(sv_calibrate(&b.removal, &b.plan, b.loader, PICTURES, &err), SV_DATA);
    assert_non_null(strstr(err.text, "no readable picture"));
    bench_close(&b);
    put_picture("p/classA/2.jpg", 4);
    bench_open(&b, &plan, CLASSES, "p");
    calibrate(&b, PICTURES); /* one is enough, and the others do not count as pictures of nothing */
    sv_log_set(NULL, NULL, SV_INFO);
    sv_evaluation e = evaluate(&b, NULL);
    assert_true(e.images == 1 && e.kept[0] == 11 && e.kept[1] == 6);
    bench_close(&b);
    assert_int_equal(sv_memory_now().live, memory.live);
}

static void without_memory_it_fails_and_holds_none(void **state)
{
    (void)state;
    bench b;
    sv_error err = { 0 };
    sv_pruning_plan plan = plan_of(SV_RULE_THRESHOLD, 0.7, 0.4);
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, &plan, CLASSES, "p");
    calibrate(&b, PICTURES);
    sv_memory memory = sv_memory_now();
    for (uint64_t at = 1; at <= 2; at++) { /* a loader's thread may be the one that gets it: then it fails no less */
        sv_fault_set(SV_FAULT_ALLOC, at, true);
        assert_int_equal(sv_calibrate(&b.removal, &b.plan, b.loader, PICTURES, &err), SV_FAULT);
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
    }
    bench_close(&b);
    assert_true(sv_memory_now().live < memory.live);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(behind_each_selector_the_asked_share_stays),
        WITH_FOLDER(to_keep_all_is_no_threshold_and_to_keep_none_leaves_the_least),
        WITH_FOLDER(only_as_many_pictures_count_as_were_asked_for),
        WITH_FOLDER(thresholds_do_not_depend_on_batch_and_threads),
        WITH_FOLDER(rules_without_thresholds_are_left_alone),
        WITH_FOLDER(pictures_that_cannot_be_read_are_said_where_none_is_left),
        WITH_FOLDER(without_memory_it_fails_and_holds_none),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
