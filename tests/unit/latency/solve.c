/* latency/solve.c and budget.c: the budget is met and not undercut by a token more than needed; what cannot be met is said. */
#include "tests/unit/latency/test_latency.h"

/* The DeiT-S row of a published block table (spec latency 2): a fixture for the planner, not a result. */
static sv_latency_table fixture(void)
{
    static const double ms[] = { 3.161, 2.837, 2.565, 2.255, 1.973, 1.682 };
    sv_latency_table table = empty_table();
    for (size_t i = 0; i < SV_COUNT(ms); i++) add(&table, SV_LATENCY_BLOCK, 1 + sv_latency_count(196, 1 - 0.1 * (double)i), ms[i]);
    return table;
}

static void the_dense_budget_of_the_fixture_gives_all_ones(void **state)
{
    (void)state;
    sv_latency_table table = fixture();
    sv_latency_shape shape = deit_shape(SV_LATENCY_NO_PACKAGE);
    sv_latency_question question = { .table = &table, .batch = 1, .shape = &shape, .budget_ms = 12 * 3.161 };
    sv_latency_answer answer;
    sv_error err;
    assert_ok(sv_latency_solve_family(&question, &answer, &err), err);
    for (size_t t = 0; t < 3; t++) {
        assert_true(answer.keep[t] == 1);
        assert_int_equal(answer.kept[t], 196);
    }
    assert_true(fabs(answer.dense_ms - 12 * 3.161) < 1e-9);
    sv_latency_table_clear(&table);
}

/* A larger r changes a count first where some N0 r^(t+1) reaches the next whole number. */
static double next_r(const sv_latency_answer *answer)
{
    double next = 2;
    for (size_t t = 0; t < answer->selectors; t++) next = fmin(next, pow((double)(answer->kept[t] + 1) / 196, 1 / (double)(t + 1)));
    return next;
}

static void assert_tight(const sv_latency_question *question, const sv_latency_answer *answer)
{
    sv_error err;
    sv_latency_prediction out;
    size_t kept[SV_LATENCY_MOST_STAGES];
    double r = next_r(answer), power = 1;
    assert_true(answer->predicted.total_ms <= question->budget_ms * (1 + 1e-9));
    for (size_t t = 0; t < answer->selectors; t++) kept[t] = sv_latency_count(196, power *= r);
    if (r > 1) return;
    assert_ok(sv_latency_predict(question->table, 1, question->shape, kept, question->rule, &out, &err), err);
    if (!(out.total_ms > question->budget_ms)) fail_msg("r = %.9f takes %.6f ms and would fit into %.6f", r, out.total_ms, question->budget_ms);
}

/* Ratios of a search keep their relation: a stage that keeps all goes on doing so, logarithms stay in proportion; r, r^2, r^3 is one case of it. */
static void a_family_like_given_ratios_keeps_their_relation(void **state)
{
    (void)state;
    static const double given[] = { 1, 0.8, 0.8 }, powers[] = { 0.7, 0.49, 0.343 }, all[] = { 1, 1, 1 };
    sv_latency_table table = full_table();
    sv_latency_shape shape = deit_shape(SV_LATENCY_NO_PACKAGE);
    sv_latency_question question = { .table = &table, .batch = 1, .shape = &shape, .budget_ms = 9, .like = given };
    sv_latency_answer answer, plain;
    sv_error err;
    assert_ok(sv_latency_solve_family(&question, &answer, &err), err);
    assert_true(answer.keep[0] == 1 && answer.keep[1] == answer.keep[2] && answer.keep[1] < 0.9);
    assert_true(answer.predicted.total_ms <= 9 && answer.predicted.total_ms > 8.9);
    question.like = NULL;
    assert_ok(sv_latency_solve_family(&question, &plain, &err), err);
    for (size_t i = 0; i < 2; i++) {
        question.like = i ? all : powers;
        assert_ok(sv_latency_solve_family(&question, &answer, &err), err);
        assert_memory_equal(answer.kept, plain.kept, 3 * sizeof *plain.kept);
    }
    sv_latency_table_clear(&table);
}

static void thirty_ms_of_the_fixture_is_met_and_the_next_step_is_not(void **state)
{
    (void)state;
    sv_latency_table table = fixture();
    sv_latency_shape shape = deit_shape(SV_LATENCY_NO_PACKAGE);
    sv_latency_answer answer;
    sv_error err;
    for (int rule = 0; rule < 2; rule++) {
        sv_latency_question question = { .table = &table, .batch = 1, .shape = &shape, .budget_ms = 30, .rule = (sv_latency_rule)rule };
        assert_ok(sv_latency_solve_family(&question, &answer, &err), err);
        assert_tight(&question, &answer);
        assert_true(answer.keep[0] > answer.keep[1] && answer.keep[1] > answer.keep[2]);
    }
    sv_latency_table_clear(&table);
}

static void every_possible_budget_is_met_tightly(void **state)
{
    (void)state;
    sv_latency_table table = full_table();
    sv_error err;
    for (int packages = 0; packages < 3; packages++) {
        sv_latency_shape shape = deit_shape((sv_latency_packages)packages);
        double before = 0;
        for (double budget = 5; budget < 13; budget += 0.0917) {
            sv_latency_question question = { .table = &table, .batch = 1, .shape = &shape, .budget_ms = budget };
            sv_latency_answer answer;
            assert_ok(sv_latency_solve_family(&question, &answer, &err), err);
            assert_tight(&question, &answer);
            assert_true(answer.keep[0] >= before);
            before = answer.keep[0];
            for (size_t t = 0; t < 3; t++) assert_int_equal(answer.kept[t], sv_latency_count(196, answer.keep[t]));
        }
    }
    sv_latency_table_clear(&table);
}

static void the_time_of_a_known_ratio_gives_that_ratio_back(void **state)
{
    (void)state;
    sv_latency_table table = full_table();
    sv_latency_shape shape = deit_shape(SV_LATENCY_EACH_PACKAGE);
    sv_error err;
    static const double ratios[] = { 0.5, 0.7, 0.8, 0.9 };
    for (size_t i = 0; i < SV_COUNT(ratios); i++) {
        double r = ratios[i], keep[] = { r, r * r, r * r * r };
        sv_latency_question question = { .table = &table, .batch = 1, .shape = &shape, .budget_ms = INFINITY };
        sv_latency_answer known, answer;
        assert_ok(sv_latency_check_keep(&question, keep, &known, &err), err);
        question.budget_ms = known.predicted.total_ms;
        assert_ok(sv_latency_solve_family(&question, &answer, &err), err);
        assert_memory_equal(answer.kept, known.kept, 3 * sizeof *known.kept);
        assert_true(fabs(answer.keep[0] - r) < 1.0 / 196);
    }
    sv_latency_table_clear(&table);
}

static void an_impossible_budget_says_the_least_that_is_possible(void **state)
{
    (void)state;
    sv_latency_table table = full_table();
    sv_latency_shape shape = deit_shape(SV_LATENCY_EACH_PACKAGE);
    sv_latency_question question = { .table = &table, .batch = 1, .shape = &shape, .budget_ms = 1 };
    sv_latency_answer answer;
    sv_error err;
    assert_int_equal(sv_latency_solve_family(&question, &answer, &err), SV_BUDGET);
    char *least = strstr(err.text, "Allow at least ");
    assert_non_null(least);
    double ms = strtod(least + strlen("Allow at least "), NULL);
    assert_true(ms > 1);
    question.budget_ms = ms; /* the promise of the message holds */
    assert_ok(sv_latency_solve_family(&question, &answer, &err), err);
    question.budget_ms = ms - 0.01;
    assert_int_equal(sv_latency_solve_family(&question, &answer, &err), SV_BUDGET);
    sv_latency_table_clear(&table);
}

static void explicit_ratios_are_checked_and_a_way_out_is_given(void **state)
{
    (void)state;
    sv_latency_table table = full_table();
    sv_latency_shape shape = deit_shape(SV_LATENCY_EACH_PACKAGE);
    sv_latency_question question = { .table = &table, .batch = 1, .shape = &shape, .budget_ms = 9 };
    double good[] = { 0.7, 0.5, 0.3 }, rising[] = { 0.5, 0.6, 0.3 }, outside[] = { 1.2, 0.5, 0.3 }, nan[] = { NAN, 0.5, 0.3 }, high[] = { 1, 1, 1 };
    sv_latency_answer answer;
    sv_error err;
    assert_ok(sv_latency_check_keep(&question, good, &answer, &err), err);
    assert_int_equal(answer.kept[1], 98);
    assert_int_equal(sv_latency_check_keep(&question, rising, &answer, &err), SV_USAGE);
    assert_int_equal(sv_latency_check_keep(&question, outside, &answer, &err), SV_USAGE);
    assert_int_equal(sv_latency_check_keep(&question, nan, &answer, &err), SV_USAGE);
    assert_int_equal(sv_latency_check_keep(&question, high, &answer, &err), SV_BUDGET);
    assert_true(answer.predicted.total_ms > 9);
    assert_non_null(strstr(err.text, "above the budget of 9 ms; keep = "));
    double instead[3];
    assert_int_equal(sscanf(strstr(err.text, "keep = "), "keep = %lf,%lf,%lf", instead, instead + 1, instead + 2), 3);
    question.budget_ms = 1;
    assert_int_equal(sv_latency_check_keep(&question, good, &answer, &err), SV_BUDGET);
    assert_non_null(strstr(err.text, "Allow at least"));
    sv_latency_table_clear(&table);
}

/* Every falling combination of the steps, without any cut. */
static double best_by_force(const sv_latency_question *question, const sv_latency_costs *costs)
{
    double best = INFINITY;
    size_t steps = costs->steps;
    sv_error err;
    for (size_t a = 0; a < steps; a++)
        for (size_t b = a; b < steps; b++)
            for (size_t c = b; c < steps; c++) {
                sv_latency_prediction out;
                size_t kept[] = { sv_latency_count(196, costs->keep[a]), sv_latency_count(196, costs->keep[b]), sv_latency_count(196, costs->keep[c]) };
                assert_ok(sv_latency_predict(question->table, 1, question->shape, kept, question->rule, &out, &err), err);
                if (out.total_ms <= question->budget_ms) best = fmin(best, costs->cost[a] + costs->cost[steps + b] + costs->cost[2 * steps + c]);
            }
    return best;
}

static void free_ratios_are_the_best_of_all_combinations(void **state)
{
    (void)state;
    enum { STEPS = 10 };
    sv_latency_table table = full_table();
    sv_latency_shape shape = deit_shape(SV_LATENCY_EACH_PACKAGE);
    double keep[STEPS], cost[3 * STEPS];
    sv_error err;
    for (size_t i = 0; i < STEPS; i++) keep[i] = 1 - 0.1 * (double)i;
    for (uint64_t seed = 0; seed < 40; seed++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
        for (size_t i = 0; i < SV_COUNT(cost); i++) cost[i] = i % STEPS ? cost[i - 1] + sv_random_uniform(&random) - (seed % 2 ? 0.1 : 0) : 0;
        sv_latency_costs costs = { STEPS, keep, cost };
        sv_latency_question question = { .table = &table, .batch = 1, .shape = &shape, .budget_ms = 5 + 8 * sv_random_uniform(&random) };
        sv_latency_answer answer;
        double best = best_by_force(&question, &costs);
        assert_ok(sv_latency_solve_free(&question, &costs, &answer, &err), err);
        assert_true(fabs(answer.cost - best) < 1e-12);
        assert_true(answer.predicted.total_ms <= question.budget_ms * (1 + 1e-9));
    }
    sv_latency_table_clear(&table);
}

static void free_ratios_without_an_answer_or_with_bad_costs_are_refused(void **state)
{
    (void)state;
    sv_latency_table table = full_table();
    sv_latency_shape shape = deit_shape(SV_LATENCY_EACH_PACKAGE);
    double keep[] = { 1, 0.5 }, wrong[] = { 0.9, 0.5 }, cost[] = { 0, 1, 0, 1, 0, 1 }, endless[] = { 0, INFINITY, 0, 1, 0, 1 };
    sv_latency_question question = { .table = &table, .batch = 1, .shape = &shape, .budget_ms = 1 };
    sv_latency_answer answer;
    sv_error err;
    assert_int_equal(sv_latency_solve_free(&question, &(sv_latency_costs){ 2, keep, cost }, &answer, &err), SV_BUDGET);
    assert_non_null(strstr(err.text, "cannot be met on Test board: the least is"));
    assert_int_equal(sv_latency_solve_free(&question, &(sv_latency_costs){ 2, wrong, cost }, &answer, &err), SV_USAGE);
    assert_int_equal(sv_latency_solve_free(&question, &(sv_latency_costs){ 2, keep, endless }, &answer, &err), SV_USAGE);
    assert_int_equal(sv_latency_solve_free(&question, &(sv_latency_costs){ 0, keep, cost }, &answer, &err), SV_USAGE);
    sv_latency_table_clear(&table);
}

static void budgets_are_read_in_ms_and_percent(void **state)
{
    (void)state;
    sv_budget budget;
    sv_error err;
    assert_ok(sv_budget_parse(&budget, "", "x", &err), err);
    assert_int_equal(budget.kind, SV_NO_BUDGET);
    assert_true(isinf(sv_budget_ms(budget, 10)));
    assert_ok(sv_budget_parse(&budget, "12.5ms", "x", &err), err);
    assert_true(sv_budget_ms(budget, 10) == 12.5);
    assert_ok(sv_budget_parse(&budget, "12.5 ms ", "x", &err), err);
    assert_true(sv_budget_ms(budget, 10) == 12.5);
    assert_ok(sv_budget_parse(&budget, "70 %", "x", &err), err);
    assert_true(sv_budget_ms(budget, 10) == 7);
    static const char *const bad[] = { "12.5", "ms", "%", "0ms", "-3ms", "120%", "0%", "fast", "nanms", "1e400ms", "12,5ms", "70%%", "12.5s" };
    for (size_t i = 0; i < SV_COUNT(bad); i++) {
        assert_int_equal(sv_budget_parse(&budget, bad[i], "deit.ini:12", &err), SV_USAGE);
        assert_int_equal(strncmp(err.text, "deit.ini:12: ", 13), 0);
        assert_true(budget.kind == SV_BUDGET_SHARE && budget.value == 0.7);
    }
}

static void the_keys_have_defaults_that_are_valid(void **state)
{
    (void)state;
    sv_config *config;
    sv_error err;
    assert_ok(sv_config_create(&config, &sv_latency_config, 1, &err), err);
    for (size_t i = 0; i < sv_latency_config.count; i++)
        assert_ok(sv_config_set(config, sv_latency_config.rows[i].name, sv_latency_config.rows[i].value, "default", &err), err);
    assert_int_equal(sv_config_int(config, "latency.batch"), 1);
    assert_string_equal(sv_config_text(config, "latency.budget"), "");
    sv_config_destroy(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_dense_budget_of_the_fixture_gives_all_ones),
        cmocka_unit_test(a_family_like_given_ratios_keeps_their_relation),
        cmocka_unit_test(thirty_ms_of_the_fixture_is_met_and_the_next_step_is_not),
        cmocka_unit_test(every_possible_budget_is_met_tightly),
        cmocka_unit_test(the_time_of_a_known_ratio_gives_that_ratio_back),
        cmocka_unit_test(an_impossible_budget_says_the_least_that_is_possible),
        cmocka_unit_test(explicit_ratios_are_checked_and_a_way_out_is_given),
        cmocka_unit_test(free_ratios_are_the_best_of_all_combinations),
        cmocka_unit_test(free_ratios_without_an_answer_or_with_bad_costs_are_refused),
        cmocka_unit_test(budgets_are_read_in_ms_and_percent),
        cmocka_unit_test(the_keys_have_defaults_that_are_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
