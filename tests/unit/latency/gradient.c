/* latency/predict.c and autograd/op_batch.c together: the gradient of the latency term through a table, as training has it, against differences of the
 * term itself and of predictions. `make f64` runs it in double, where the bar is 1e-6. */
#include "test_latency.h"

#include "autograd/ops.h"
#include "kernels/kernels.h"

enum { IMAGES = 4, PATCHES = 196, MOST = SV_LATENCY_MOST_STAGES };

#ifdef SIEVE_F64
static const double BAR = 1e-6, STEP = 1e-4;
#else
static const double BAR = 5e-2, STEP = 2e-2; /* differences of floats */
#endif

/* As a machine gives it: steps of a tile's width, noise, few points, so that pieces differ in slope and a running maximum has work. */
static sv_latency_table measured_table(uint64_t seed)
{
    sv_latency_table table = empty_table();
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
    for (size_t n = 8; n <= 216; n += 13) {
        double noise = 1 + 0.01 * sv_random_uniform(&random);
        add(&table, SV_LATENCY_BLOCK, n, noise * block_ms((n + 15) / 16 * 16));
        add(&table, SV_LATENCY_SELECTOR, n, noise * selector_ms((n + 7) / 8 * 8));
        add(&table, SV_LATENCY_HEAD, n, 0.04 + 1e-4 * (double)n);
    }
    add(&table, SV_LATENCY_EMBED, 197, 0.3);
    return table;
}

/* Three selectors of a backbone whose grids have 196, 49 and 7 patches: living rows on the first and third grid, two paths on the second. */
static sv_latency_table staged_table(uint64_t seed)
{
    static const sv_latency_op ops[] = { SV_LATENCY_LIVING, SV_LATENCY_PATHS, SV_LATENCY_LIVING };
    sv_latency_table table = empty_table();
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 2, 0, 0);
    sv_error err;
    for (size_t g = 0; g < 3; g++)
        for (size_t n = 1; n < 216; n += 5) {
            const double ms = (1 + 0.3 * (double)g) * (1 + 0.01 * sv_random_uniform(&random)) * block_ms((n + 7) / 8 * 8);
            assert_ok(sv_latency_table_add(&table, &(sv_latency_row){ .op = ops[g], .grid = g + 1, .batch = 1, .tokens = n, .median_ms = ms, .p95_ms = ms }, &err), err);
            assert_ok(sv_latency_table_add(&table, &(sv_latency_row){ .op = SV_LATENCY_SELECTOR, .grid = g + 1, .batch = 1, .tokens = n, .median_ms = ms / 9, .p95_ms = ms }, &err), err);
        }
    add(&table, SV_LATENCY_EMBED, 197, 0.3);
    add(&table, SV_LATENCY_HEAD, 7, 0.04);
    return table;
}

static sv_latency_shape staged_shape(void)
{
    static const sv_latency_op ops[] = { SV_LATENCY_LIVING, SV_LATENCY_PATHS, SV_LATENCY_LIVING };
    sv_latency_shape shape = { .extra = 1, .patches = PATCHES, .selectors = 3, .on = { 1, 2, 3 }, .of = { PATCHES, PATCHES / 4, PATCHES / 28 } };
    add_term(&shape, SV_LATENCY_EMBED, 0, 0, 0, 1 + PATCHES, 1);
    for (size_t t = 0; t < 3; t++) {
        add_term(&shape, SV_LATENCY_SELECTOR, t + 1, t, 0, shape.of[t], 1);
        add_term(&shape, ops[t], t + 1, t + 1, t + 1, 1 + (t != 1), t + 1);
    }
    add_term(&shape, SV_LATENCY_HEAD, 0, 3, 0, 8, 1);
    return shape;
}

typedef struct term {
    sv_latency_table table;
    sv_latency_shape shape;
    sv_tape *tape;
    sv_tensor *shares[MOST], *curve, *ms, *loss;
    size_t stages;
} term;

/* stages 0: the staged model's three. */
static term term_of(uint64_t seed, size_t stages)
{
    static const int64_t at[] = { 2, 4, 5, 7, 9, 11 };
    term t = { .table = stages ? measured_table(seed) : staged_table(seed), .stages = stages ? stages : 3 };
    sv_tape_options options = { .mode = SV_TRAINING, .images_most = IMAGES, .lanes = 2 };
    sv_error err;
    t.shape = stages ? flat_shape(1, PATCHES, 12, at, stages, SV_LATENCY_EACH_PACKAGE) : staged_shape();
    stages = t.stages;
    assert_ok(sv_tape_create(&t.tape, &options, &err), err);
    for (size_t s = 0; s < stages; s++) t.shares[s] = sv_tape_input(t.tape, "share", SV_REAL, 1, 1, true);
    t.curve = sv_tape_batch_input(t.tape, "curve", sv_latency_curve_count(&t.shape));
    t.loss = sv_tape_latency_loss(t.tape, t.shares, stages, t.curve, PATCHES, &t.ms);
    sv_tape_keep(t.tape, t.loss);
    sv_tape_keep(t.tape, t.ms);
    assert_ok(sv_tape_finish(t.tape, t.loss, &err), err);
    return t;
}

static void term_clear(term *t)
{
    sv_tape_destroy(t->tape);
    sv_latency_table_clear(&t->table);
}

static double value(const term *t, const sv_tensor *tensor) { return (double)sv_tape_data(t->tape, tensor, 0)[0]; }

static double forward(const term *t)
{
    sv_step step = { .images = IMAGES, .seed = 1 };
    sv_error err;
    assert_ok(sv_tape_forward(t->tape, &step, &err), err);
    return value(t, t->loss);
}

/* Shares that fall from stage to stage; means stand in the middle of a step of the curve, where it has no corner. kept[s]: the mean, of the own grid. */
static void draw_shares(const term *t, uint64_t seed, double *kept)
{
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 1, 0, 0);
    double last = PATCHES;
    for (size_t s = 0; s < t->stages; s++) {
        last = floor(last * (0.5 + 0.5 * sv_random_uniform(&random)));
        if (last < 8) last = 8;
        kept[s] = (last - 0.5) / PATCHES * (double)t->shape.of[s];
        for (size_t b = 0; b < IMAGES; b++)
            sv_tape_data(t->tape, t->shares[s], b)[0] = (sv_real)((last - 0.5) / PATCHES + 0.01 * (b % 2 ? 1 : -1) * (double)(1 + b / 2));
    }
}

static void set_budget(const term *t, double budget_ms, double multiplier)
{
    sv_real *curve = sv_tape_data(t->tape, t->curve, 0);
    sv_error err;
    assert_ok(sv_latency_curve(&t->table, 1, &t->shape, budget_ms, curve, &err), err);
    curve[2] = (sv_real)multiplier;
}

/* Largest difference of the gradient and a central difference quotient, by stage, as a share of the largest gradient of the term. */
static double worst_of(const term *t)
{
    double given[MOST][IMAGES], most = 0, off = 0;
    forward(t);
    sv_tape_backward(t->tape, 1);
    for (size_t s = 0; s < t->stages; s++)
        for (size_t b = 0; b < IMAGES; b++) most = fmax(most, fabs(given[s][b] = (double)sv_tape_gradient(t->tape, t->shares[s], b)[0]));
    for (size_t s = 0; s < t->stages; s++)
        for (size_t b = 0; b < IMAGES; b++) {
            sv_real *share = sv_tape_data(t->tape, t->shares[s], b);
            const sv_real before = *share, above = before + (sv_real)(STEP / PATCHES * IMAGES), below = before - (sv_real)(STEP / PATCHES * IMAGES);
            *share = above;
            const double more = forward(t);
            *share = below;
            const double less = forward(t);
            *share = before;
            off = fmax(off, fabs((more - less) / (double)(above - below) - given[s][b]));
        }
    assert_true(most > 0);
    return off / most;
}

static void the_gradient_is_that_of_differences(void **state)
{
    (void)state;
    double worst = 0, kept[MOST];
    for (uint64_t seed = 0; seed < 60; seed++) {
        term t = term_of(seed, seed % (MOST + 1));
        draw_shares(&t, seed, kept);
        set_budget(&t, 1, 0);
        forward(&t);
        set_budget(&t, value(&t, t.ms) * (0.3 + 0.01 * (double)seed), 0);
        worst = fmax(worst, worst_of(&t));
        set_budget(&t, value(&t, t.ms) * (0.8 + 0.01 * (double)seed), 0.7); /* a multiplier pulls on both sides */
        worst = fmax(worst, worst_of(&t));
        set_budget(&t, value(&t, t.ms) * 2, 0.3); /* far below: no push upwards */
        forward(&t);
        sv_tape_backward(t.tape, 1);
        for (size_t s = 0; s < t.stages; s++) assert_true(sv_tape_gradient(t.tape, t.shares[s], 0)[0] == 0);
        term_clear(&t);
    }
    print_message("latency term, gradient against differences: worst %.2g\n", worst);
    assert_true(worst < BAR);
}

/* d loss / d share of each stage is what the table's own slope says: the loss and the solver read the same curve. */
static void each_stage_is_pulled_by_the_slope_of_the_table(void **state)
{
    (void)state;
    double kept[MOST], slope[MOST];
    for (uint64_t seed = 0; seed < 20; seed++) {
        term t = term_of(seed, seed % (MOST + 1));
        const double multiplier = seed % 2 ? 0.4 : 0;
        sv_error err;
        draw_shares(&t, seed, kept);
        set_budget(&t, 2, multiplier);
        forward(&t);
        sv_tape_backward(t.tape, 1);
        const double excess = value(&t, t.ms) / 2 - 1;
        assert_ok(sv_latency_slope(&t.table, 1, &t.shape, kept, slope, &err), err);
        for (size_t s = 0; s < t.stages; s++) {
            const double wanted = fmax(multiplier + 2 * excess, 0) / 2 * slope[s] * (double)t.shape.of[s] / IMAGES;
            assert_true(fabs((double)sv_tape_gradient(t.tape, t.shares[s], 1)[0] - wanted) <= 1e-3 * (fabs(wanted) + 0.05));
#ifdef SIEVE_F64
            assert_true(fabs((double)sv_tape_gradient(t.tape, t.shares[s], 1)[0] - wanted) <= 1e-9 * fabs(wanted));
#endif
        }
        term_clear(&t);
    }
}

static void below_the_budget_the_gradient_is_zero(void **state)
{
    (void)state;
    double kept[MOST];
    for (uint64_t seed = 0; seed < 20; seed++) {
        term t = term_of(seed, seed % (MOST + 1));
        draw_shares(&t, seed, kept);
        set_budget(&t, 1, 0);
        forward(&t);
        set_budget(&t, value(&t, t.ms) * 1.0001, 0);
        assert_true(forward(&t) == 0);
        sv_tape_backward(t.tape, 1);
        for (size_t s = 0; s < t.stages; s++)
            for (size_t b = 0; b < IMAGES; b++) assert_true(sv_tape_gradient(t.tape, t.shares[s], b)[0] == 0);
        set_budget(&t, value(&t, t.ms) * 0.9999, 0);
        forward(&t);
        sv_tape_backward(t.tape, 1);
        for (size_t s = 0; s < t.stages; s++) assert_true(sv_tape_gradient(t.tape, t.shares[s], 0)[0] >= 0);
        term_clear(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_is_that_of_differences),
        cmocka_unit_test(each_stage_is_pulled_by_the_slope_of_the_table),
        cmocka_unit_test(below_the_budget_the_gradient_is_zero),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
