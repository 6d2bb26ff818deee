/* The gradient check: one op on one sample against five-point differences,
 * f' = (f(x-2h) - 8 f(x-h) + 8 f(x+h) - f(x+2h)) / 12h, error O(h^4).
 * The loss is a fixed weighting of everything the op puts out, so that no gradient can hide behind a symmetry. */
#include "autograd/op.h"

#include <math.h>
#include <string.h>

#ifdef SIEVE_F64
static const double step_size = 5e-4;   /* h^4 = 6e-14, rounding 1e-16 / h = 2e-13 */
#else
static const double step_size = 1e-2;
#endif

/* ---- the probe: loss = sum over outputs of weight(i) * y[i] ------------------------------------------------------- */

/* A fixed number in [-1, 1] for each place. */
static double weight(size_t output, size_t image, size_t i)
{
    uint32_t h = (uint32_t)(i * 2654435761u + image * 40503u + output * 97u + 12345u);
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    return (double)(h & 0xffff) / 32768.0 - 1.0;
}

static sv_status probe_shape(sv_node *node, sv_error *err)
{
    (void)err;
    node->out[0]->extent = SV_PER_BATCH;
    node->out[0]->rows = node->out[0]->live = sv_rows_fixed(1);
    node->out[0]->width = 1;
    return SV_OK;
}

static size_t span_images(const sv_call *call, const sv_span *span) { return span->image_stride ? call->images : 1; }

static double probe_value(const sv_call *call)
{
    double sum = 0;
    for (size_t k = 0; k < SV_MOST_OUTPUTS; k++)
        for (size_t b = 0; call->in[k].present && b < span_images(call, &call->in[k]); b++)
            for (size_t i = 0; i < call->in[k].live * call->in[k].width; i++)
                sum += weight(k, b, i) * (double)call->in[k].data[b * call->in[k].image_stride + i];
    return sum;
}

static _Thread_local double probe_result; /* the loss in double, also where sv_real is float */

static void probe_forward(const sv_call *call)
{
    probe_result = probe_value(call);
    call->out[0].data[0] = (sv_real)probe_result;
}

static void probe_backward(const sv_call *call)
{
    for (size_t k = 0; k < SV_MOST_OUTPUTS; k++)
        for (size_t b = 0; call->in[k].present && call->in[k].gradient && b < span_images(call, &call->in[k]); b++)
            for (size_t i = 0; i < call->in[k].live * call->in[k].width; i++) {
                sv_real *g = &call->in[k].gradient[b * call->in[k].image_stride + i];
                *g = (call->in[k].accumulate ? *g : 0) + (sv_real)weight(k, b, i) * call->out[0].gradient[0];
            }
}

static const sv_op probe = { .name = "probe", .formula = "sum of weight * y", .source = "gradient check", .inputs_least = 1, .inputs_most = 3,
    .outputs = 1, .locality = SV_BATCH_OP, .shape = probe_shape, .forward = probe_forward, .backward = probe_backward };

/* ---- a tape of one op --------------------------------------------------------------------------------------------- */

typedef struct check {
    const sv_sample *sample;
    sv_parameters *set;
    sv_parameter *parameters[SV_MOST_INPUTS];
    sv_tape *tape;
    sv_tensor *in[SV_MOST_INPUTS];
    size_t inputs;
    sv_step step;
} check;

static sv_status make_parameters(check *c, sv_error *err)
{
    sv_status status = sv_parameters_create(&c->set, err);
    for (size_t i = 0; !status && i < c->inputs; i++) {
        const sv_sample_input *in = &c->sample->in[i];
        char name[32] = "parameter 0";
        size_t shape[SV_MOST_DIMS] = { in->rows, in->width };
        uint32_t dims = 2;
        if (in->fill == SV_FILL_NONE || in->kind != SV_SAMPLE_PARAMETER) continue;
        name[10] = (char)('0' + i);
        if (in->shape[0]) {
            for (dims = 0; dims < SV_MOST_DIMS && in->shape[dims]; dims++) shape[dims] = in->shape[dims];
        } else if (!in->rows) {
            shape[0] = in->width;
            dims = 1;
        }
        status = sv_parameters_add(c->set, &c->parameters[i], name, dims, shape, err);
    }
    return status ? status : sv_parameters_allocate(c->set, true, err);
}

static bool is_index(sv_fill fill)
{
    return fill == SV_FILL_INDEX || fill == SV_FILL_COUNT_UP || fill == SV_FILL_ORIGIN || fill == SV_FILL_INDEX_ZERO;
}

static sv_status make_tape(check *c, const sv_op *op, sv_error *err)
{
    sv_tape_options options = { .mode = SV_TRAINING, .images_most = c->sample->images ? c->sample->images : 1, .lanes = 2 };
    sv_tensor *outputs[SV_MOST_OUTPUTS] = { 0 }, *seen[SV_MOST_OUTPUTS] = { 0 }, *loss = NULL;
    size_t seen_count = 0;
    sv_status status = sv_tape_create(&c->tape, &options, err);
    if (status) return status;
    for (size_t i = 0; i < c->inputs; i++) {
        const sv_sample_input *in = &c->sample->in[i];
        bool index = is_index(in->fill);
        if (in->fill == SV_FILL_NONE) continue;
        if (in->kind == SV_SAMPLE_PARAMETER) c->in[i] = sv_tape_parameter(c->tape, c->parameters[i]);
        else if (in->kind == SV_SAMPLE_BATCH) c->in[i] = sv_tape_batch_input(c->tape, "number", in->width);
        else c->in[i] = sv_tape_input(c->tape, "x", index ? SV_INDEX : SV_REAL, in->rows, in->width, in->kind == SV_SAMPLE_IMAGE);
    }
    sv_tape_record(c->tape, op, c->in, c->inputs, &c->sample->attributes, outputs);
    for (uint32_t o = 0; o < op->outputs; o++)
        if (outputs[o] && outputs[o]->dtype == SV_REAL) seen[seen_count++] = outputs[o];
    if (seen_count) loss = sv_tape_record(c->tape, &probe, seen, seen_count, NULL, NULL);
    return sv_tape_finish(c->tape, loss, err);
}

static void fill(sv_real *data, size_t rows, size_t width, sv_fill kind, sv_random *random)
{
    int32_t *ints = (int32_t *)(void *)data;
    for (size_t r = 0; r < rows; r++)
        for (size_t w = 0; w < width; w++) {
            size_t i = r * width + w;
            double normal = sv_random_normal(random), unit = sv_random_uniform(random);
            switch (kind) {
            case SV_FILL_NORMAL: data[i] = (sv_real)normal; break;
            case SV_FILL_LARGE: data[i] = (sv_real)(10 * normal); break;
            case SV_FILL_UNIT: case SV_FILL_SOFTMAX: data[i] = (sv_real)unit; break;
            case SV_FILL_ONE: data[i] = 1; break;
            case SV_FILL_BINARY: data[i] = unit < 0.5; break;
            case SV_FILL_PREFIX: data[i] = r == 0 || r < rows / 2; break;
            case SV_FILL_INDEX: case SV_FILL_COUNT_UP: ints[i] = (int32_t)r; break;
            case SV_FILL_ORIGIN: ints[i] = r + 1 < rows ? (int32_t)r : -1; break;
            case SV_FILL_INDEX_ZERO: ints[i] = 0; break;
            default: data[i] = 0; break;
            }
        }
    for (size_t r = 0; kind == SV_FILL_SOFTMAX && r < rows; r++) {
        double sum = 0;
        for (size_t w = 0; w < width; w++) sum += (double)data[r * width + w];
        for (size_t w = 0; w < width; w++) data[r * width + w] = (sv_real)((double)data[r * width + w] / sum);
    }
    for (size_t r = rows; kind == SV_FILL_INDEX && r > 1; r--) {
        size_t other = (size_t)sv_random_below(random, r);
        int32_t keep = ints[r - 1];
        ints[r - 1] = ints[other];
        ints[other] = keep;
    }
}

static void fill_all(check *c, uint64_t seed)
{
    for (size_t i = 0; i < c->inputs; i++) {
        const sv_sample_input *in = &c->sample->in[i];
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, i, 0);
        if (in->fill == SV_FILL_NONE) continue;
        if (in->kind == SV_SAMPLE_PARAMETER) {
            fill(c->parameters[i]->value, 1, c->parameters[i]->count, in->fill, &random);
            continue;
        }
        for (size_t b = 0; b < (in->kind == SV_SAMPLE_BATCH ? 1 : c->step.images); b++)
            fill(sv_tape_data(c->tape, c->in[i], b), in->kind == SV_SAMPLE_BATCH ? 1 : in->rows, in->width, in->fill, &random);
    }
}

static sv_status loss_at(check *c, double *out, sv_error *err)
{
    sv_parameters_changed(c->set);
    sv_status status = sv_tape_forward(c->tape, &c->step, err);
    *out = probe_result;
    return status;
}

/* Compares `count` gradients of the numbers at x; the largest deviation goes to *worst. */
static sv_status compare(check *c, sv_real *x, const sv_real *analytic, size_t count, double *worst, sv_error *err)
{
    double most = 1;
    for (size_t i = 0; i < count; i++) most = fabs((double)analytic[i]) > most ? fabs((double)analytic[i]) : most; /* fmax: gcc 12.2 for aarch64 falls over it */
    for (size_t i = 0; i < count; i++) {
        static const double at[] = { -2, -1, 1, 2 }, factor[] = { 1, -8, 8, -1 };
        sv_real keep = x[i];
        double numeric = 0, value = 0;
        for (size_t k = 0; k < 4; k++) {
            x[i] = (sv_real)((double)keep + at[k] * step_size);
            sv_status status = loss_at(c, &value, err);
            if (status) return status;
            numeric += factor[k] * value / (12 * step_size);
        }
        x[i] = keep;
        double off = fabs((double)analytic[i] - numeric) / fmax(most, fabs(numeric));
        if (!(off <= *worst)) *worst = off;
    }
    return SV_OK;
}

/* One gradient to look at: a copy, because the tape uses the memory of gradients again in the next forward. */
typedef struct claim { sv_real *x, *gradient; size_t count; struct claim *next; } claim;

static sv_status claim_add(claim **list, sv_real *x, const sv_real *gradient, size_t count, sv_error *err)
{
    claim *added = NULL;
    if (!gradient) return SV_OK; /* an index, or nothing flows to it */
    sv_status status = sv_alloc(&added, sizeof *added, "check", err);
    if (status) return status;
    *added = (claim){ .x = x, .count = count, .next = *list };
    *list = added;
    status = sv_alloc(&added->gradient, count * sizeof *gradient, "check", err);
    if (!status) memcpy(added->gradient, gradient, count * sizeof *gradient);
    return status;
}

static void claims_clear(claim *list)
{
    while (list) {
        claim *next = list->next;
        sv_free(list->gradient);
        sv_free(list);
        list = next;
    }
}

static sv_status check_inputs(check *c, double *worst, sv_error *err)
{
    claim *list = NULL;
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < c->inputs; i++) {
        const sv_sample_input *in = &c->sample->in[i];
        if (in->fill == SV_FILL_NONE) continue;
        if (in->kind == SV_SAMPLE_PARAMETER) status = claim_add(&list, c->parameters[i]->value, c->parameters[i]->gradient, c->parameters[i]->count, err);
        for (size_t b = 0; !status && in->kind == SV_SAMPLE_IMAGE && b < c->step.images; b++)
            status = claim_add(&list, sv_tape_data(c->tape, c->in[i], b), sv_tape_gradient(c->tape, c->in[i], b), in->rows * in->width, err);
    }
    for (const claim *l = list; !status && l; l = l->next) status = compare(c, l->x, l->gradient, l->count, worst, err);
    claims_clear(list);
    return status;
}

sv_status sv_gradient_check(const sv_op *op, const sv_sample *sample, uint64_t seed, double *worst, sv_error *err)
{
    check c = { .sample = sample };
    sv_status status = SV_OK;
    double value = 0;
    *worst = 0;
    for (c.inputs = SV_MOST_INPUTS; c.inputs > op->inputs_least && sample->in[c.inputs - 1].fill == SV_FILL_NONE;) c.inputs--;
    if (c.inputs > op->inputs_most) c.inputs = op->inputs_most;
    c.step = (sv_step){ .images = sample->images ? sample->images : 1, .seed = seed };
    status = make_parameters(&c, err);
    if (!status) status = make_tape(&c, op, err);
    if (status) goto done;
    fill_all(&c, seed);
    status = loss_at(&c, &value, err);
    if (status || !op->backward) goto done;
    sv_parameters_zero_gradients(c.set);
    sv_tape_backward(c.tape, 1);
    status = check_inputs(&c, worst, err);
    if (!status && !isfinite(*worst)) *worst = HUGE_VAL;
done:
    sv_tape_destroy(c.tape);
    sv_parameters_destroy(c.set);
    return status;
}
