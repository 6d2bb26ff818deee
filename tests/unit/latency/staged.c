/* Backbones of several stages: the parts that pruning lists are the segments of what is deployed, a prediction is what one adds up by hand, and curve,
 * slope and solver are of the same sum. Times by a formula, but for one table that is measured. */
#include "tests/unit/latency/test_latency.h"

#include "kernels/kernels.h"
#include "latency/measure_model.h"

/* A model with its selectors; `at` and keep ratios of `stages` selectors. */
typedef struct subject { sv_model *model; sv_pruning *pruning; sv_latency_shape shape; } subject;

static subject subject_of(const char *backbone, sv_method method, sv_package_choice package, const size_t *at, size_t stages)
{
    static const double keep[SV_MOST_STAGES] = { 0.7, 0.6, 0.5, 0.4, 0.3, 0.2 };
    const sv_model_options sizes = { .classes = 5 };
    sv_pruning_options options = { .plan = { .stages = stages, .method = method, .package = package, .rule = SV_RULE_TOPK, .min_keep = 1 }, .tau = 1, .mask_clamp = 30 };
    subject s = { 0 };
    sv_error err = { 0 };
    assert_ok(sv_model_create(&s.model, backbone, &sizes, &err), err);
    memcpy(options.plan.at, at, stages * sizeof *at);
    sv_plan_fit(&options.plan, s.model);
    sv_plan_set_keep(&options.plan, keep);
    assert_ok(sv_pruning_create(&s.pruning, s.model, &options, &err), err);
    assert_ok(sv_model_allocate(s.model, false, &err), err);
    sv_model_initialise(s.model, 1);
    sv_pruning_initialise(s.pruning, 1);
    assert_ok(sv_latency_shape_of(&s.shape, s.model, sv_pruning_plan_of(s.pruning), &err), err);
    return s;
}

static void subject_clear(subject *s)
{
    sv_pruning_destroy(s->pruning);
    sv_model_destroy(s->model);
}

static double ms_of(sv_latency_op op, size_t grid, size_t tokens) { return 0.01 * (double)(op + 1) * (1 + (double)grid) + 0.001 * (double)(grid + 1) * (double)tokens; }

/* All that a runner would be asked for, with the formula's times. */
static sv_latency_table table_of(const subject *s)
{
    sv_latency_table table = { 0 };
    sv_latency_row *rows = NULL;
    size_t count = 0;
    sv_error err = { 0 };
    sv_latency_about_model(&table.about, s->model);
    assert_ok(sv_latency_rows_wanted(&rows, &count, s->pruning, 1, &err), err);
    for (size_t i = 0; i < count; i++) {
        rows[i].median_ms = rows[i].p95_ms = ms_of(rows[i].op, rows[i].grid, rows[i].tokens);
        assert_ok(sv_latency_table_add(&table, &rows[i], &err), err);
    }
    sv_free(rows);
    return table;
}

static double predicted(const subject *s, const sv_latency_table *table, const size_t *kept)
{
    sv_latency_prediction out;
    sv_error err = { 0 };
    assert_ok(sv_latency_predict(table, 1, &s->shape, kept, SV_LATENCY_LINEAR, &out, &err), err);
    double sum = out.fixed_ms, parts = out.embed_ms + out.head_ms;
    for (size_t t = 0; t < s->shape.selectors; t++) sum += out.kept_ms[t], parts += out.selectors_ms[t];
    for (size_t t = 0; t <= s->shape.selectors; t++) parts += out.blocks_ms[t];
    assert_true(fabs(sum - out.total_ms) < 1e-12 && fabs(parts - out.total_ms) < 1e-12);
    assert_int_equal(out.missing, 0);
    return out.total_ms;
}

#define MS(op, grid, tokens) ms_of(SV_LATENCY_##op, grid, tokens)

/* pit_nano: 7 x 7 patches and 1 block, 4 x 4 and 2, 2 x 2 and 1; selectors in front of the first block of the second and of the third stage. */
static void pit_adds_up_by_hand(void **state)
{
    (void)state;
    static const size_t at[] = { 1, 3 }, kept[] = { 9, 2 }, other[] = { 12, 1 };
    subject s = subject_of("pit_nano", SV_METHOD_SPVIT, SV_CHOICE_WAVG, at, 2);
    sv_latency_table table = table_of(&s);
    sv_latency_prediction dense;
    sv_error err = { 0 };
    const double front = MS(EMBED, 0, 50) + MS(BLOCK, 1, 50) + MS(STEP, 2, 17) + MS(SELECTOR, 2, 16);
    const double back = MS(STEP, 3, 6) + MS(SELECTOR, 3, 5) + MS(HEAD, 0, 5); /* with the package, which the head does not read */
    assert_true(fabs(predicted(&s, &table, kept) - (front + 2 * MS(LIVING, 2, 1 + 9 + 1) + back + MS(LIVING, 3, 1 + 2 + 1))) < 1e-12);
    assert_true(fabs(predicted(&s, &table, other) - (front + 2 * MS(LIVING, 2, 1 + 12 + 1) + back + MS(LIVING, 3, 1 + 1 + 1))) < 1e-12);
    assert_ok(sv_latency_predict_dense(&table, 1, &s.shape, SV_LATENCY_LINEAR, &dense, &err), err);
    assert_true(fabs(dense.total_ms - (MS(EMBED, 0, 50) + MS(BLOCK, 1, 50) + MS(STEP, 2, 17) + 2 * MS(BLOCK, 2, 17) + MS(STEP, 3, 5) + MS(BLOCK, 3, 5) + MS(HEAD, 0, 5))) < 1e-12);
    assert_int_equal(s.shape.of[0], 16);
    assert_int_equal(s.shape.of[1], 4);
    sv_latency_table_clear(&table);
    subject_clear(&s);
}

/* A selector in the middle of a stage, the stage behind it without one: its blocks run on all that there is, package and all. */
static void a_stage_behind_the_last_selector_is_whole_again(void **state)
{
    (void)state;
    static const size_t at[] = { 2 }, kept[] = { 5 };
    for (int packs = 0; packs < 2; packs++) {
        subject s = subject_of("pit_nano", SV_METHOD_SPVIT, packs ? SV_CHOICE_WAVG : SV_CHOICE_NONE, at, 1);
        sv_latency_table table = table_of(&s);
        const double last = packs ? MS(STEP, 3, 6) + MS(LIVING, 3, 6) : MS(STEP, 3, 5) + MS(BLOCK, 3, 5);
        assert_true(fabs(predicted(&s, &table, kept) - (MS(EMBED, 0, 50) + MS(BLOCK, 1, 50) + MS(STEP, 2, 17) + MS(BLOCK, 2, 17) + MS(SELECTOR, 2, 16) +
                                                       MS(LIVING, 2, 6 + (size_t)packs) + last + MS(HEAD, 0, 5))) < 1e-12);
        sv_latency_table_clear(&table);
        subject_clear(&s);
    }
}

/* convnext_nano: 16 x 16, 8 x 8, 4 x 4 places and 1, 1, 2 blocks; both predictors in the last stage see all its places. */
static void two_paths_add_up_by_hand(void **state)
{
    (void)state;
    static const size_t at[] = { 2, 3 }, kept[] = { 9, 3 };
    subject s = subject_of("convnext_nano", SV_METHOD_DYNAMICVIT, SV_CHOICE_NONE, at, 2);
    sv_latency_table table = table_of(&s);
    const double sum = MS(EMBED, 0, 256) + MS(BLOCK, 1, 256) + MS(STEP, 2, 64) + MS(BLOCK, 2, 64) + MS(STEP, 3, 16) + 2 * MS(SELECTOR, 3, 16) + MS(PATHS, 3, 9) +
                       MS(PATHS, 3, 3) + MS(HEAD, 0, 16);
    assert_true(fabs(predicted(&s, &table, kept) - sum) < 1e-12);
    sv_latency_table_clear(&table);
    subject_clear(&s);
}

/* ---- every form, selectors anywhere ---- */

static const struct { const char *backbone; sv_method method; size_t first, blocks; } kinds[] = {
    { "pit_test", SV_METHOD_SPVIT, 0, 4 },      { "swin_test", SV_METHOD_SPVIT, 0, 5 },      { "swin_nano", SV_METHOD_SPVIT, 0, 5 },
    { "swin_nano", SV_METHOD_DYNAMICVIT, 1, 2 }, { "swin_nano", SV_METHOD_DYNAMICVIT, 3, 2 }, { "convnext_nano", SV_METHOD_DYNAMICVIT, 2, 2 },
    { "vit_test", SV_METHOD_SPVIT, 0, 2 },      { "vit_nano", SV_METHOD_DYNAMICVIT, 1, 5 },  { "vit_nano", SV_METHOD_EVIT, 0, 6 },
};
enum { SUBJECTS = 45 };

static subject drawn(uint64_t seed)
{
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
    const size_t kind = seed % SV_COUNT(kinds);
    size_t at[SV_MOST_STAGES], stages = 0;
    for (size_t i = 0; i < kinds[kind].blocks; i++)
        if (sv_random_below(&random, 2) || (i + 1 == kinds[kind].blocks && !stages)) at[stages++] = kinds[kind].first + i;
    const bool packs = kinds[kind].method == SV_METHOD_SPVIT && sv_random_below(&random, 3);
    return subject_of(kinds[kind].backbone, kinds[kind].method, packs ? SV_CHOICE_WAVG : SV_CHOICE_NONE, at, stages);
}

static void parts_are_the_segments_of_what_is_deployed(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SUBJECTS; seed++) {
        subject s = drawn(seed);
        const sv_pruning_plan *plan = sv_pruning_plan_of(s.pruning);
        sv_removal_tape tape;
        sv_part *parts = malloc(sv_removal_parts_most(s.model, plan) * sizeof *parts);
        const sv_step step = { .images = 1 };
        sv_error err = { 0 };
        assert_ok(sv_removal_record(&tape, s.pruning, plan, 1, &err), err);
        const size_t count = sv_removal_parts(s.model, plan, parts);
        assert_true(count <= sv_removal_parts_most(s.model, plan));
        assert_int_equal(count, sv_tape_segments(tape.tape));
        for (size_t i = 0; i < sv_tensor_width(tape.picture); i++) sv_tape_data(tape.tape, tape.picture, 0)[i] = (sv_real)((double)(i * 37 % 101) / 50 - 1);
        assert_ok(sv_tape_forward(tape.tape, &step, &err), err);
        for (size_t i = 0; i < count; i++) { /* rows as they really were */
            const sv_part *p = &parts[i];
            const size_t tokens = sv_latency_part_of(p, plan->count).tokens;
            if (p->kind == SV_PART_SELECTOR) assert_int_equal(tokens, sv_tape_rows(tape.tape, tape.before[p->behind], 0));
            const bool all = p->selector && plan->count[p->selector - 1] == plan->patches[p->selector - 1]; /* nothing dropped, so no package */
            if (p->selector && !all && (p->kind == SV_PART_LIVING || p->kind == SV_PART_PATHS || p->kind == SV_PART_MLP || (p->kind == SV_PART_BLOCK && p->grid == 0)))
                assert_int_equal(tokens, sv_tape_rows(tape.tape, tape.after[p->selector - 1], 0));
        }
        sv_removal_clear(&tape);
        free(parts);
        subject_clear(&s);
    }
}

/* A table for a plan has rows for every count a solver or a loss may ask for, and fixed + curves is the prediction. */
static void the_curve_adds_up_to_the_prediction(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SUBJECTS; seed++) {
        subject s = drawn(seed);
        sv_latency_table table = table_of(&s);
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 1, 0, 0);
        const size_t steps = sv_latency_curve_patches(&s.shape), count = sv_latency_curve_count(&s.shape);
        sv_real *curve = malloc(count * sizeof *curve);
        sv_error err = { 0 };
        assert_int_equal(count, 3 + s.shape.selectors * (steps + 1));
        assert_ok(sv_latency_curve(&table, 1, &s.shape, 1, curve, &err), err);
        for (int trial = 0; trial < 8; trial++) {
            size_t kept[SV_MOST_STAGES];
            double at[SV_MOST_STAGES], slope[SV_MOST_STAGES], sum = (double)curve[0];
            for (size_t t = 0; t < s.shape.selectors; t++) {
                kept[t] = 1 + sv_random_below(&random, (uint32_t)s.shape.of[t]);
                at[t] = (double)kept[t];
                if (steps % s.shape.of[t]) kept[t] = s.shape.of[t]; /* between two steps the curve cuts corners */
                sum += (double)curve[3 + t * (steps + 1) + kept[t] * steps / s.shape.of[t]];
            }
            assert_true(fabs(sum - predicted(&s, &table, kept)) < 1e-5 * sum);
            assert_ok(sv_latency_slope(&table, 1, &s.shape, at, slope, &err), err);
            for (size_t t = 0; t < s.shape.selectors; t++) assert_true(slope[t] >= 0);
        }
        free(curve);
        sv_latency_table_clear(&table);
        subject_clear(&s);
    }
}

/* ---- the solver ---- */

static void a_budget_is_met_to_a_token_of_the_own_grids(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SUBJECTS; seed++) {
        subject s = drawn(seed);
        sv_latency_table table = table_of(&s);
        sv_latency_question question = { .table = &table, .batch = 1, .shape = &s.shape };
        sv_latency_answer answer;
        sv_error err = { 0 };
        size_t least[SV_MOST_STAGES];
        for (size_t t = 0; t < s.shape.selectors; t++) least[t] = 1;
        const double low = predicted(&s, &table, least), high = predicted(&s, &table, s.shape.of);
        for (int i = 0; i <= 10; i++) {
            question.budget_ms = low + 0.1 * i * (high - low);
            const sv_status status = sv_latency_solve_family(&question, &answer, &err);
            if (status == SV_BUDGET) continue; /* r = 0.1 keeps more than one of a large grid */
            assert_ok(status, err);
            assert_true(answer.predicted.total_ms <= question.budget_ms * (1 + 1e-9));
            size_t more[SV_MOST_STAGES];
            double next = 2, power = 1;
            for (size_t t = 0; t < s.shape.selectors; t++) {
                const size_t count = sv_latency_count(s.shape.of[t], answer.keep[t]);
                assert_int_equal(answer.kept[t], count ? count : 1);
                next = fmin(next, pow((double)(answer.kept[t] + 1) / (double)s.shape.of[t] , 1 / (double)(t + 1)));
            }
            for (size_t t = 0; t < s.shape.selectors; t++) {
                const size_t count = sv_latency_count(s.shape.of[t], power *= next);
                more[t] = count ? count : 1;
            }
            if (next <= 1) assert_true(predicted(&s, &table, more) > question.budget_ms);
        }
        sv_latency_table_clear(&table);
        subject_clear(&s);
    }
}

static void ratios_may_rise_from_grid_to_grid_and_not_inside_one(void **state)
{
    (void)state;
    static const size_t two[] = { 1, 3 }, one[] = { 1, 2 };
    static const double rising[] = { 0.3, 0.9 };
    for (int same = 0; same < 2; same++) {
        subject s = subject_of("pit_nano", SV_METHOD_SPVIT, SV_CHOICE_NONE, same ? one : two, 2);
        sv_latency_table table = table_of(&s);
        const sv_latency_question question = { .table = &table, .batch = 1, .shape = &s.shape, .budget_ms = 1e6 };
        sv_latency_answer answer;
        sv_error err = { 0 };
        assert_int_equal(sv_latency_check_keep(&question, rising, &answer, &err), same ? SV_USAGE : SV_OK);
        if (!same) assert_true(answer.kept[0] == 4 && answer.kept[1] == 3);
        sv_latency_table_clear(&table);
        subject_clear(&s);
    }
}

/* Every combination, those that rise from grid to grid too. */
static void free_ratios_are_the_best_of_all_combinations(void **state)
{
    (void)state;
    enum { STEPS = 7 };
    static const size_t at[] = { 1, 2, 3 };
    double keep[STEPS], cost[3 * STEPS];
    subject s = subject_of("pit_nano", SV_METHOD_SPVIT, SV_CHOICE_WAVG, at, 3);
    sv_latency_table table = table_of(&s);
    const size_t all[] = { 16, 16, 4 };
    const double most = predicted(&s, &table, all);
    for (size_t i = 0; i < STEPS; i++) keep[i] = 1 - 0.13 * (double)i;
    for (uint64_t seed = 0; seed < 20; seed++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
        for (size_t i = 0; i < SV_COUNT(cost); i++) cost[i] = i % STEPS ? cost[i - 1] + sv_random_uniform(&random) : 0;
        const sv_latency_costs costs = { STEPS, keep, cost };
        const sv_latency_question question = { .table = &table, .batch = 1, .shape = &s.shape, .budget_ms = most * (0.93 + 0.07 * sv_random_uniform(&random)) };
        sv_latency_answer answer;
        sv_error err = { 0 };
        double best = INFINITY;
        for (size_t a = 0; a < STEPS; a++)
            for (size_t b = a; b < STEPS; b++)
                for (size_t c = 0; c < STEPS; c++) {
                    size_t kept[] = { sv_latency_count(16, keep[a]), sv_latency_count(16, keep[b]), sv_latency_count(4, keep[c]) };
                    if (predicted(&s, &table, kept) <= question.budget_ms) best = fmin(best, cost[a] + cost[STEPS + b] + cost[2 * STEPS + c]);
                }
        const sv_status status = sv_latency_solve_free(&question, &costs, &answer, &err);
        assert_int_equal(status, isinf(best) ? SV_BUDGET : SV_OK);
        if (!status) assert_true(fabs(answer.cost - best) < 1e-12);
    }
    sv_latency_table_clear(&table);
    subject_clear(&s);
}

/* ---- for real ---- */

static void a_measured_table_answers_what_may_be_asked(void **state)
{
    (void)state;
    sv_threads_set(1);
    for (size_t kind = 0; kind < 6; kind += kind ? 5 : 1) {
        subject s = drawn(kind);
        sv_latency_table table = { 0 }, again = { 0 };
        sv_text text = { 0 };
        sv_error err = { 0 };
        const sv_model_measure measure = { .batch = 1, .options = { .runs = 3, .seconds_most = 0.05 }, .tolerance = 1, .quiet = true };
        assert_ok(sv_latency_measure_model(&table, s.pruning, &measure, NULL, &err), err);
        assert_true(sv_latency_is_block(table.rows[0].op) && table.rows[0].grid == 1 && table.about.depths[0]);
        assert_true(predicted(&s, &table, s.shape.of) > 0);
        sv_real *curve = malloc(sv_latency_curve_count(&s.shape) * sizeof *curve);
        assert_ok(sv_latency_curve(&table, 1, &s.shape, 1, curve, &err), err);
        free(curve);
        assert_ok(sv_latency_table_print(&table, &text, &err), err);
        assert_ok(sv_latency_table_parse(&again, text.data, text.length, "measured", &err), err);
        assert_int_equal(again.count, table.count);
        sv_text_clear(&text);
        sv_latency_table_clear(&again);
        sv_latency_table_clear(&table);
        subject_clear(&s);
    }
    sv_threads_set(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pit_adds_up_by_hand),
        cmocka_unit_test(a_stage_behind_the_last_selector_is_whole_again),
        cmocka_unit_test(two_paths_add_up_by_hand),
        cmocka_unit_test(parts_are_the_segments_of_what_is_deployed),
        cmocka_unit_test(the_curve_adds_up_to_the_prediction),
        cmocka_unit_test(a_budget_is_met_to_a_token_of_the_own_grids),
        cmocka_unit_test(ratios_may_rise_from_grid_to_grid_and_not_inside_one),
        cmocka_unit_test(free_ratios_are_the_best_of_all_combinations),
        cmocka_unit_test(a_measured_table_answers_what_may_be_asked),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
