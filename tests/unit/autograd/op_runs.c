/* What every op owes the executor, held on all samples: gradients that do not depend on what stood in memory before, gradients
 * that are added where a tensor is read twice, and the same bits when one image is split by rows. One test an op. */
#include "test_ops.h"

/* ---- a loss that takes anything: the sum of squares over live rows ------------------------------------------------- */

static sv_status squares_shape(sv_node *node, sv_error *err)
{
    (void)err;
    node->out[0]->extent = SV_PER_BATCH;
    node->out[0]->rows = node->out[0]->live = sv_rows_fixed(1);
    node->out[0]->width = 1;
    return SV_OK;
}

static void squares_forward(const sv_call *call)
{
    double sum = 0;
    for (size_t k = 0; k < SV_MOST_INPUTS; k++)
        for (size_t b = 0; call->in[k].present && b < (call->in[k].image_stride ? call->images : 1); b++)
            for (size_t i = 0; i < call->in[k].live * call->in[k].width; i++)
                sum += pow((double)call->in[k].data[b * call->in[k].image_stride + i], 2);
    call->out[0].data[0] = (sv_real)sum;
}

static void squares_backward(const sv_call *call)
{
    for (size_t k = 0; k < SV_MOST_INPUTS; k++)
        for (size_t b = 0; call->in[k].gradient && b < (call->in[k].image_stride ? call->images : 1); b++)
            for (size_t i = 0, at = b * call->in[k].image_stride; i < call->in[k].live * call->in[k].width; i++)
                call->in[k].gradient[at + i] =
                    (call->in[k].accumulate ? call->in[k].gradient[at + i] : 0) + 2 * call->in[k].data[at + i] * call->out[0].gradient[0];
}

static const sv_op squares = { .name = "squares",
                               .formula = "sum of y^2",
                               .source = "test",
                               .inputs_least = 1,
                               .inputs_most = SV_MOST_INPUTS,
                               .outputs = 1,
                               .locality = SV_BATCH_OP,
                               .shape = squares_shape,
                               .forward = squares_forward,
                               .backward = squares_backward,
                               .backward_inputs = 255 };

/* ---- an op on a sample --------------------------------------------------------------------------------------------- */

typedef struct trial {
    const sv_op *op;
    const sv_sample *sample;
    size_t images, inputs;
    sv_parameters *set;
    sv_parameter *parameters[SV_MOST_INPUTS];
    sv_tape *tape;
    sv_tensor *in[SV_MOST_INPUTS], *out[SV_MOST_OUTPUTS];
} trial;

static bool is_index(sv_fill fill)
{
    return fill == SV_FILL_INDEX || fill == SV_FILL_COUNT_UP || fill == SV_FILL_ORIGIN || fill == SV_FILL_INDEX_ZERO;
}

static void make_parameters(trial *t)
{
    assert_int_equal(sv_parameters_create(&t->set, NULL), SV_OK);
    for (size_t i = 0; i < t->inputs; i++) {
        const sv_sample_input *in = &t->sample->in[i];
        const char name[] = { 'p', (char)('0' + i), 0 };
        size_t shape[SV_MOST_DIMS] = { in->rows ? in->rows : in->width, in->width }, dims = in->rows ? 2 : 1;
        if (in->fill == SV_FILL_NONE || in->kind != SV_SAMPLE_PARAMETER) continue;
        if (in->shape[0])
            for (dims = 0; dims < SV_MOST_DIMS && in->shape[dims]; dims++) shape[dims] = in->shape[dims];
        assert_int_equal(sv_parameters_add(t->set, &t->parameters[i], name, (uint32_t)dims, shape, NULL), SV_OK);
    }
    assert_int_equal(sv_parameters_allocate(t->set, true, NULL), SV_OK);
}

/* times: how often the op is recorded on the same inputs. */
static trial trial_create(const sv_op *op, const sv_sample *sample, sv_mode mode, size_t images, size_t times)
{
    trial t = { .op = op, .sample = sample, .images = images, .tape = tape_in(mode, images) };
    sv_tensor *seen[SV_MOST_INPUTS] = { NULL }, *loss = NULL;
    size_t seen_count = 0;
    for (t.inputs = op->inputs_most; t.inputs > op->inputs_least && sample->in[t.inputs - 1].fill == SV_FILL_NONE;) t.inputs--;
    make_parameters(&t);
    for (size_t i = 0; i < t.inputs; i++) {
        const sv_sample_input *in = &sample->in[i];
        if (in->fill == SV_FILL_NONE) continue;
        if (in->kind == SV_SAMPLE_PARAMETER)
            t.in[i] = sv_tape_parameter(t.tape, t.parameters[i]);
        else if (in->kind == SV_SAMPLE_BATCH)
            t.in[i] = sv_tape_batch_input(t.tape, "number", in->width);
        else
            t.in[i] = sv_tape_input(t.tape, "x", is_index(in->fill) ? SV_INDEX : SV_REAL, in->rows, in->width, in->kind == SV_SAMPLE_IMAGE);
    }
    for (size_t k = 0; k < times; k++) {
        sv_tape_record(t.tape, op, t.in, t.inputs, &sample->attributes, t.out);
        for (size_t o = 0; o < op->outputs; o++) {
            if (mode == SV_INFERENCE) sv_tape_keep(t.tape, t.out[o]);
            if (t.out[o] && t.out[o]->dtype == SV_REAL) seen[seen_count++] = t.out[o];
        }
    }
    if (mode == SV_TRAINING && seen_count) loss = sv_tape_record(t.tape, &squares, seen, seen_count, NULL, NULL);
    finish(t.tape, loss);
    return t;
}

static void trial_destroy(trial *t)
{
    sv_tape_destroy(t->tape);
    sv_parameters_destroy(t->set);
}

static void fill(sv_real *data, size_t rows, size_t width, sv_fill kind, uint64_t seed)
{
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 3, 0, 0);
    for (size_t i = 0; i < rows * width; i++) {
        const double normal = sv_random_normal(&random), unit = sv_random_uniform(&random);
        int32_t *index = &((int32_t *)(void *)data)[i];
        switch (kind) {
        case SV_FILL_NORMAL:
        case SV_FILL_LARGE:
            data[i] = (sv_real)normal;
            break;
        case SV_FILL_UNIT:
        case SV_FILL_SOFTMAX:
            data[i] = (sv_real)unit;
            break;
        case SV_FILL_BINARY:
            data[i] = unit < 0.5;
            break;
        case SV_FILL_ONE:
            data[i] = 1;
            break;
        case SV_FILL_PREFIX:
            data[i] = i == 0 || i < rows / 2;
            break;
        case SV_FILL_INDEX:
            *index = (int32_t)((i * 5 + seed) % rows);
            break;
        case SV_FILL_COUNT_UP:
            *index = (int32_t)i;
            break;
        case SV_FILL_ORIGIN:
            *index = i + 1 < rows ? (int32_t)i : -1;
            break;
        case SV_FILL_INDEX_ZERO:
            *index = 0;
            break;
        default:
            data[i] = 0;
            break;
        }
    }
}

static void run(trial *t, uint64_t seed)
{
    for (size_t i = 0; i < t->inputs; i++) {
        const sv_sample_input *in = &t->sample->in[i];
        if (in->fill == SV_FILL_NONE) continue;
        if (in->kind == SV_SAMPLE_PARAMETER) fill(t->parameters[i]->value, 1, t->parameters[i]->count, in->fill, seed * 100 + i);
        for (size_t b = 0; in->kind != SV_SAMPLE_PARAMETER && b < (in->kind == SV_SAMPLE_BATCH ? 1 : t->images); b++)
            fill(sv_tape_data(t->tape, t->in[i], b), in->rows, in->width, in->fill, seed * 100 + 10 * b + i);
    }
    sv_parameters_changed(t->set);
    forward(t->tape, t->images, 9);
    if (sv_tape_mode(t->tape) == SV_INFERENCE) return;
    sv_parameters_zero_gradients(t->set);
    sv_tape_backward(t->tape, 1);
}

static void compare_gradients(const trial *a, const trial *b, double factor)
{
    for (size_t i = 0; i < a->inputs; i++) {
        const sv_sample_input *in = &a->sample->in[i];
        for (size_t image = 0; a->in[i] && image < (a->parameters[i] ? 1 : a->images); image++) {
            const sv_real *x = a->parameters[i] ? a->parameters[i]->gradient : sv_tape_gradient(a->tape, a->in[i], image);
            const sv_real *y = b->parameters[i] ? b->parameters[i]->gradient : sv_tape_gradient(b->tape, b->in[i], image);
            const size_t count = a->parameters[i] ? a->parameters[i]->count : in->rows * in->width;
            assert_true((x == NULL) == (y == NULL));
            for (size_t k = 0; x && k < count; k++) {
                if (factor == 1 ? x[k] == y[k] : fabs((double)x[k] - factor * (double)y[k]) <= CLOSE * fmax(1, fabs((double)x[k])))
                    continue;
                fail_msg("%s, sample '%s', input %zu, image %zu, number %zu: gradient %.17g, expected %.17g", a->op->name, a->sample->name,
                         i, image, k, (double)x[k], factor * (double)y[k]);
            }
        }
    }
}

/* ---- the tests ------------------------------------------------------------------------------------------------------ */

static void gradients_do_not_depend_on_the_step_before(const sv_op *op, const sv_sample *sample)
{
    trial a = trial_create(op, sample, SV_TRAINING, sample->images, 1), fresh = trial_create(op, sample, SV_TRAINING, sample->images, 1);
    run(&a, 1);
    run(&a, 2);
    run(&fresh, 2);
    compare_gradients(&a, &fresh, 1);
    trial_destroy(&a);
    trial_destroy(&fresh);
}

/* Recorded twice on the same inputs, every gradient is twice as large: the second one is added. */
static void gradients_are_added_where_inputs_are_read_twice(const sv_op *op, const sv_sample *sample)
{
    trial twice = trial_create(op, sample, SV_TRAINING, sample->images, 2), once = trial_create(op, sample, SV_TRAINING, sample->images, 1);
    run(&twice, 1);
    run(&twice, 2);
    run(&once, 2);
    compare_gradients(&twice, &once, 2);
    trial_destroy(&twice);
    trial_destroy(&once);
}

static void split_by_rows_gives_the_same_bits(const sv_op *op, const sv_sample *sample)
{
    if (op->locality == SV_BATCH_OP) return;
    for (size_t threads = 2; threads <= 5; threads += 3) {
        trial whole = trial_create(op, sample, SV_INFERENCE, 1, 1), split = trial_create(op, sample, SV_INFERENCE, 1, 1);
        sv_threads_set(1);
        run(&whole, 1);
        sv_threads_set(threads);
        run(&split, 1);
        sv_threads_set(1);
        for (size_t o = 0; o < op->outputs; o++) {
            const size_t bytes =
                sv_tape_rows(whole.tape, whole.out[o], 0) * sv_tensor_width(whole.out[o]) * sv_dtype_size(whole.out[o]->dtype);
            if (memcmp(sv_tape_data(whole.tape, whole.out[o], 0), sv_tape_data(split.tape, split.out[o], 0), bytes))
                fail_msg("%s, sample '%s': output %zu differs when %zu threads share the rows", op->name, sample->name, o, threads);
        }
        trial_destroy(&whole);
        trial_destroy(&split);
    }
}

static void an_op_keeps_the_executors_rules(void **state)
{
    const sv_op *op = *state;
    for (size_t s = 0; s < op->sample_count; s++) {
        gradients_do_not_depend_on_the_step_before(op, &op->samples[s]);
        if (2 * op->outputs <= SV_MOST_INPUTS) gradients_are_added_where_inputs_are_read_twice(op, &op->samples[s]);
        split_by_rows_gives_the_same_bits(op, &op->samples[s]);
    }
}

int main(void)
{
    struct CMUnitTest *tests = calloc(sv_op_count, sizeof *tests);
    int failed = 1;
    if (!tests) return failed;
    sv_kernels_init();
    sv_threads_set(1);
    for (size_t i = 0; i < sv_op_count; i++)
        tests[i] = (struct CMUnitTest){ .name = sv_ops[i]->name,
                                        .test_func = an_op_keeps_the_executors_rules,
                                        .initial_state = (void *)(uintptr_t)sv_ops[i] };
    failed = _cmocka_run_group_tests("op_runs", tests, sv_op_count, NULL, NULL);
    free(tests);
    return failed;
}
