/* latency/predict.c: the sum over a plan, the curve of the loss, and how counts between measured ones are read. */
#include "tests/unit/latency/test_latency.h"

static double at(const sv_latency_table *table, sv_latency_op op, double tokens, sv_latency_rule rule)
{
    double ms = 0;
    sv_error err;
    assert_ok(sv_latency_at(table, op, 0, 1, tokens, rule, &ms, &err), err);
    return ms;
}

static void counts_are_those_of_the_spec(void **state)
{
    (void)state;
    sv_latency_shape append = deit_shape(SV_LATENCY_EACH_PACKAGE), merge = deit_shape(SV_LATENCY_ONE_PACKAGE), none = deit_shape(SV_LATENCY_NO_PACKAGE);
    double keep[] = { 0.7, 0.7 * 0.7, 0.7 * 0.7 * 0.7 };
    size_t kept[3];
    for (size_t t = 0; t < 3; t++) kept[t] = sv_latency_count(196, keep[t]);
    assert_int_equal(kept[0], 137);
    assert_int_equal(kept[1], 96);
    assert_int_equal(kept[2], 67);
    static const size_t expected[3][4] = { { 197, 139, 99, 71 }, { 197, 139, 98, 69 }, { 197, 138, 97, 68 } };
    const sv_latency_shape *shapes[] = { &append, &merge, &none };
    sv_latency_table table = full_table();
    sv_error err;
    for (size_t mode = 0; mode < 3; mode++) {
        sv_latency_prediction out;
        assert_ok(sv_latency_predict(&table, 1, shapes[mode], kept, SV_LATENCY_LINEAR, &out, &err), err);
        for (size_t t = 0; t < 4; t++) assert_int_equal(out.tokens[t], expected[mode][t]);
    }
    assert_int_equal(sv_latency_count(196, 0), 0);
    assert_int_equal(sv_latency_count(196, 1), 196);
    assert_int_equal(sv_latency_count(100, 0.29), 29); /* 100 * 0.29 in double is 28.999999999999996 */
    sv_latency_table_clear(&table);
}

static void the_total_is_the_sum_of_its_parts(void **state)
{
    (void)state;
    sv_latency_table table = full_table();
    sv_latency_shape shape = deit_shape(SV_LATENCY_EACH_PACKAGE);
    size_t kept[] = { 137, 96, 67 };
    sv_latency_prediction out, dense;
    sv_error err;
    assert_ok(sv_latency_predict(&table, 1, &shape, kept, SV_LATENCY_LINEAR, &out, &err), err);
    double expected = 0.3 + 0.05 + 3 * (block_ms(197) + block_ms(139) + block_ms(99) + block_ms(71)) + selector_ms(196) + selector_ms(138) + selector_ms(98);
    assert_true(fabs(out.total_ms - expected) < 1e-12);
    double parts = out.embed_ms + out.head_ms;
    for (size_t t = 0; t < 4; t++) parts += out.blocks_ms[t] + (t < 3 ? out.selectors_ms[t] : 0);
    assert_true(fabs(parts - out.total_ms) < 1e-12);
    assert_int_equal(out.missing, 0);
    assert_ok(sv_latency_predict_dense(&table, 1, &shape, SV_LATENCY_LINEAR, &dense, &err), err);
    assert_true(fabs(dense.total_ms - (0.35 + 12 * block_ms(197))) < 1e-12);
    sv_latency_table_clear(&table);
}

static void between_counts_linear_interpolates_and_ceiling_promises(void **state)
{
    (void)state;
    sv_latency_table table = empty_table();
    add(&table, SV_LATENCY_BLOCK, 50, 1);
    add(&table, SV_LATENCY_BLOCK, 100, 2);
    add(&table, SV_LATENCY_BLOCK, 200, 6);
    assert_true(at(&table, SV_LATENCY_BLOCK, 75, SV_LATENCY_LINEAR) == 1.5);
    assert_true(at(&table, SV_LATENCY_BLOCK, 75, SV_LATENCY_CEILING) == 2);
    assert_true(at(&table, SV_LATENCY_BLOCK, 100, SV_LATENCY_CEILING) == 2);
    assert_true(at(&table, SV_LATENCY_BLOCK, 100, SV_LATENCY_LINEAR) == 2);
    assert_true(at(&table, SV_LATENCY_BLOCK, 150, SV_LATENCY_LINEAR) == 4);
    assert_true(at(&table, SV_LATENCY_BLOCK, 1, SV_LATENCY_LINEAR) == 1);      /* fewer than measured: no promise below it */
    assert_true(fabs(at(&table, SV_LATENCY_BLOCK, 210, SV_LATENCY_LINEAR) - 6.4) < 1e-12); /* a little more: on along the slope */
    assert_true(fabs(at(&table, SV_LATENCY_BLOCK, 210, SV_LATENCY_CEILING) - 6.4) < 1e-12);
    sv_latency_table_clear(&table);
}

static void more_tokens_never_cost_less(void **state)
{
    (void)state;
    sv_latency_table table = empty_table();
    static const double times[] = { 1.0, 1.4, 1.2, 1.3, 2.0, 1.9, 2.5 };
    for (size_t i = 0; i < SV_COUNT(times); i++) add(&table, SV_LATENCY_BLOCK, 10 * (i + 1), times[i]);
    for (int rule = 0; rule < 2; rule++) {
        double before = 0;
        for (double tokens = 0; tokens <= 77; tokens += 0.25) {
            double ms = at(&table, SV_LATENCY_BLOCK, tokens, (sv_latency_rule)rule);
            assert_true(ms >= before);
            before = ms;
        }
    }
    assert_true(at(&table, SV_LATENCY_BLOCK, 30, SV_LATENCY_LINEAR) == 1.4); /* the dip is gone */
    sv_latency_table_clear(&table);
}

static void far_beyond_the_table_is_an_error_that_says_how_far_it_goes(void **state)
{
    (void)state;
    sv_latency_table table = empty_table();
    sv_error err;
    double ms;
    add(&table, SV_LATENCY_BLOCK, 100, 2);
    add(&table, SV_LATENCY_BLOCK, 197, 4);
    assert_int_equal(sv_latency_at(&table, SV_LATENCY_BLOCK, 0, 1, 577, SV_LATENCY_LINEAR, &ms, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "knows 'block' up to 197 tokens at batch 1; 577 are needed"));
    assert_int_equal(sv_latency_at(&table, SV_LATENCY_BLOCK, 0, 8, 100, SV_LATENCY_LINEAR, &ms, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "has 'block' rows at batch 1, none at batch 8"));
    assert_int_equal(sv_latency_at(&table, SV_LATENCY_SELECTOR, 0, 1, 100, SV_LATENCY_LINEAR, &ms, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "has no 'selector' rows"));
    add(&table, SV_LATENCY_SELECTOR, 15, 2); /* a small grid: a package token a stage is more than a tenth of it */
    add(&table, SV_LATENCY_SELECTOR, 17, 3);
    assert_true(fabs(at(&table, SV_LATENCY_SELECTOR, 17 + SV_LATENCY_MOST_STAGES, SV_LATENCY_LINEAR) - 6) < 1e-9);
    assert_int_equal(sv_latency_at(&table, SV_LATENCY_SELECTOR, 0, 1, 18 + SV_LATENCY_MOST_STAGES, SV_LATENCY_LINEAR, &ms, &err), SV_MODEL_FILE);
    sv_latency_table_clear(&table);
}

static void a_block_known_at_one_count_is_no_constant(void **state)
{
    (void)state;
    sv_latency_table table = empty_table();
    sv_error err;
    double ms;
    add(&table, SV_LATENCY_BLOCK, 50, 2);
    add(&table, SV_LATENCY_HEAD, 50, 0.1);
    assert_int_equal(sv_latency_at(&table, SV_LATENCY_BLOCK, 0, 1, 197, SV_LATENCY_LINEAR, &ms, &err), SV_MODEL_FILE);
    assert_true(at(&table, SV_LATENCY_HEAD, 197, SV_LATENCY_LINEAR) == 0.1);
    sv_latency_table_clear(&table);
}

static void parts_the_table_lacks_are_told(void **state)
{
    (void)state;
    char room[64];
    sv_latency_table table = empty_table();
    sv_latency_shape shape = deit_shape(SV_LATENCY_NO_PACKAGE);
    sv_latency_prediction out;
    sv_error err;
    size_t kept[] = { 137, 96, 67 };
    add(&table, SV_LATENCY_BLOCK, 60, 1);
    add(&table, SV_LATENCY_BLOCK, 197, 3);
    assert_ok(sv_latency_predict(&table, 1, &shape, kept, SV_LATENCY_LINEAR, &out, &err), err);
    assert_string_equal(sv_latency_missing(room, sizeof room, out.missing), "selector, embed, head");
    add(&table, SV_LATENCY_GATHER, 200, 0.1);
    add(&table, SV_LATENCY_SELECTOR, 200, 0.2);
    assert_ok(sv_latency_predict(&table, 1, &shape, kept, SV_LATENCY_LINEAR, &out, &err), err);
    assert_string_equal(sv_latency_missing(room, sizeof room, out.missing), "embed, head");
    assert_true(fabs(out.selectors_ms[0] - 0.3) < 1e-12);
    sv_latency_table_clear(&table);
}

/* Fixed + the curves at K_t is the prediction, at every combination tried: the loss and the solver cannot disagree. */
static void the_curve_adds_up_to_the_prediction(void **state)
{
    (void)state;
    sv_latency_table table = full_table();
    sv_latency_shape shape = deit_shape(SV_LATENCY_EACH_PACKAGE);
    size_t count = sv_latency_curve_count(&shape);
    sv_real *curve = malloc(count * sizeof *curve);
    sv_error err;
    assert_int_equal(count, 3 + 3 * 197);
    assert_ok(sv_latency_curve(&table, 1, &shape, 5.5, curve, &err), err);
    assert_true(curve[1] == (sv_real)5.5);
    for (size_t step = 0; step <= 196; step += 7) {
        size_t kept[] = { 196 - step / 3, 196 - step / 2, 196 - step };
        sv_latency_prediction out;
        assert_ok(sv_latency_predict(&table, 1, &shape, kept, SV_LATENCY_LINEAR, &out, &err), err);
        double sum = (double)curve[0];
        for (size_t t = 0; t < 3; t++) sum += (double)curve[3 + t * 197 + kept[t]];
        assert_true(fabs(sum - out.total_ms) < 1e-5 * out.total_ms); /* floats of 24 bits, four of them */
    }
    free(curve);
    sv_latency_table_clear(&table);
}

static void the_slope_is_the_difference_of_predictions(void **state)
{
    (void)state;
    sv_latency_table table = full_table();
    sv_latency_shape shape = deit_shape(SV_LATENCY_ONE_PACKAGE);
    size_t kept[] = { 137, 96, 67 };
    double at_kept[] = { 136.5, 95.5, 66.5 }, slope[3];
    sv_latency_prediction here, less;
    sv_error err;
    assert_ok(sv_latency_slope(&table, 1, &shape, at_kept, slope, &err), err);
    assert_ok(sv_latency_predict(&table, 1, &shape, kept, SV_LATENCY_LINEAR, &here, &err), err);
    for (size_t t = 0; t < 3; t++) {
        kept[t]--;
        assert_ok(sv_latency_predict(&table, 1, &shape, kept, SV_LATENCY_LINEAR, &less, &err), err);
        assert_true(fabs(here.total_ms - less.total_ms - slope[t]) < 1e-9);
        kept[t]++;
    }
    sv_latency_table_clear(&table);
}

static void everything_dropped_and_nothing_dropped_are_finite(void **state)
{
    (void)state;
    sv_latency_table table = full_table();
    sv_latency_shape shape = deit_shape(SV_LATENCY_EACH_PACKAGE);
    size_t none[] = { 0, 0, 0 }, all[] = { 196, 196, 196 };
    sv_latency_prediction out;
    sv_error err;
    assert_ok(sv_latency_predict(&table, 1, &shape, none, SV_LATENCY_CEILING, &out, &err), err);
    assert_true(isfinite(out.total_ms));
    assert_int_equal(out.tokens[3], 4);
    assert_ok(sv_latency_predict(&table, 1, &shape, all, SV_LATENCY_LINEAR, &out, &err), err);
    assert_int_equal(out.tokens[3], 200);
    sv_latency_table_clear(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_those_of_the_spec),
        cmocka_unit_test(the_total_is_the_sum_of_its_parts),
        cmocka_unit_test(between_counts_linear_interpolates_and_ceiling_promises),
        cmocka_unit_test(more_tokens_never_cost_less),
        cmocka_unit_test(far_beyond_the_table_is_an_error_that_says_how_far_it_goes),
        cmocka_unit_test(a_block_known_at_one_count_is_no_constant),
        cmocka_unit_test(parts_the_table_lacks_are_told),
        cmocka_unit_test(the_curve_adds_up_to_the_prediction),
        cmocka_unit_test(the_slope_is_the_difference_of_predictions),
        cmocka_unit_test(everything_dropped_and_nothing_dropped_are_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
