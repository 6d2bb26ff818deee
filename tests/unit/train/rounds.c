/* train/rounds.c: the lines of rounds.csv, over the rounds of a run and over its resumes. */
#include "tests/unit/base/test_base.h"

#include "kernels/kernels.h"
#include "train/session.h"

#include <math.h>

typedef struct world { sv_session session; sv_model *model; } world;

static void world_open(world *w)
{
    const sv_model_options sizes = { .image = 16, .patch = 4, .heads = 2, .width = 16, .depth = 4, .mlp_ratio = 2, .classes = 3 };
    sv_pruning_options options = { .plan = { .stages = 2, .at = { 1, 3 }, .keep = { 0.5, 0.25 } }, .mask_clamp = 30, .tau = 1 };
    sv_error err = { 0 };
    memset(w, 0, sizeof *w);
    sv_plan_fit_grid(&options.plan, 16);
    sv_plan_set_keep(&options.plan, options.plan.keep);
    assert_ok(sv_model_create(&w->model, "vit_test", &sizes, &err), err);
    assert_ok(sv_pruning_create(&w->session.pruning, w->model, &options, &err), err);
    w->session.model = w->model;
    w->session.folder = test_folder;
    w->session.budget = (sv_budget){ SV_BUDGET_MS, 10 };
    w->session.budget_ms = 10;
    w->session.has_table = w->session.was_measured = true;
    w->session.dense_ms = 20;
    w->session.measured_dense.median_ms = 21;
}

static void world_close(world *w)
{
    sv_pruning_destroy(w->session.pruning);
    sv_model_destroy(w->model);
}

static void add_round(world *w, uint64_t round, double predicted, double measured)
{
    sv_error err = { 0 };
    w->session.state.round = round;
    w->session.state.epoch = 8 + round;
    w->session.predicted_ms = predicted;
    w->session.measured_pruned.median_ms = measured;
    assert_ok(sv_rounds_add(&w->session, &err), err);
}

static void rounds_stay_and_the_one_measured_again_is_replaced(void **state)
{
    (void)state;
    world w;
    sv_report_round rounds[4] = { { 0 } };
    sv_error err = { 0 };
    size_t count = 9;
    world_open(&w);
    assert_ok(sv_rounds_read(&w.session, rounds, 4, &count, &err), err);
    assert_int_equal(count, 0);
    add_round(&w, 0, 9.9, 12);
    add_round(&w, 1, 8.0, 11);
    add_round(&w, 1, 8.0, 10.5); /* resumed behind the measurement: made anew */
    add_round(&w, 2, 7.5, 9.5);
    assert_ok(sv_rounds_read(&w.session, rounds, 4, &count, &err), err);
    assert_int_equal(count, 3);
    assert_true(rounds[0].predicted_ms == 9.9 && rounds[0].measured_ms == 12 && rounds[0].epoch == 8);
    assert_true(rounds[1].measured_ms == 10.5 && rounds[2].measured_ms == 9.5 && rounds[2].dense_ms == 21 && rounds[2].budget_ms == 10);
    assert_true(isnan(rounds[2].top1));
    sv_rounds_say(&w.session);
    add_round(&w, 0, 9.9, 12); /* a run from its start in the same folder */
    assert_ok(sv_rounds_read(&w.session, rounds, 4, &count, &err), err);
    assert_int_equal(count, 1);
    w.session.was_measured = false; /* predicted alone, for another device */
    add_round(&w, 1, 8.0, 0);
    assert_ok(sv_rounds_read(&w.session, rounds, 4, &count, &err), err);
    assert_true(count == 2 && isnan(rounds[1].measured_ms) && rounds[1].dense_ms == 20);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(rounds_stay_and_the_one_measured_again_is_replaced, make_folder, remove_folder) };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
