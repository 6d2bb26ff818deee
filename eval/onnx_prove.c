/* The proof of an exported file: read by a reader that shares nothing with the writer, run by an interpreter that shares nothing with the
 * engine, and held against the model: the tensors number by number, the tokens kept exactly, the logits to 1e-4 of their largest.
 * A patch whose score stands at the cut, closer than rounding can tell, may fall on either side; then another picture is taken. Where all
 * pictures are so (selectors that were hardly trained) there is nothing to compare, which is said, not refused. */
#include "eval/narrow.h"
#include "eval/onnx_inside.h"
#include "eval/onnx_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURES = 8, RUNS = 11 };
static const double tolerance = 1e-4;

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static const sv_onnx_read_tensor *tensor_named(const sv_onnx_model *model, const char *name)
{
    const uint32_t value = sv_onnx_find(model, name);
    for (size_t i = 0; value != UINT32_MAX && i < model->initializer_count; i++)
        if (model->initializers[i].value == value) return &model->initializers[i];
    return NULL;
}

static float float_at(const sv_onnx_read_tensor *t, size_t i)
{
    float value = 0;
    memcpy(&value, t->data + i * sizeof value, sizeof value);
    return value;
}

/* scale: of int8 tensors, by row of the parameter. */
static float stored_number(const sv_onnx_read_tensor *t, size_t i, const sv_onnx_read_tensor *scale, size_t row)
{
    const unsigned char *at = t->data + i * sv_onnx_type_bytes(t->type);
    if (t->type == SV_ONNX_FLOAT) return float_at(t, i);
    if (t->type == SV_ONNX_INT8) return (float)(at[0] < 128 ? (int)at[0] : (int)at[0] - 256) * float_at(scale, row);
    return sv_narrow_from_half((sv_onnx_type)t->type, (uint16_t)(at[0] | at[1] << 8));
}

static bool scale_fits(const sv_onnx_read_tensor *scale, const sv_parameter *p)
{
    return scale && scale->type == SV_ONNX_FLOAT && scale->rank == 1 && scale->count == p->shape[0];
}

/* p as the file has it: turned where t has the sizes the other way round and says so by its name. */
static bool same_numbers(const sv_onnx_read_tensor *t, const sv_onnx_read_tensor *scale, const sv_parameter *p, bool turned)
{
    const size_t rows = p->shape[0], columns = p->count / rows;
    bool same = t->count == p->count && t->rank == p->dims
                && (t->type == SV_ONNX_FLOAT || t->type == SV_ONNX_FLOAT16 || t->type == SV_ONNX_BFLOAT16
                    || (t->type == SV_ONNX_INT8 && scale_fits(scale, p)));
    for (size_t i = 0; same && i < p->dims; i++) same = t->dims[i] == p->shape[turned ? p->dims - 1 - i : i];
    for (size_t i = 0; same && i < p->count; i++) {
        const float stored = stored_number(t, turned ? i % columns * rows + i / columns : i, scale, i / columns),
                    wanted = (float)p->value[i];
        same = memcmp(&stored, &wanted, sizeof stored) == 0;
    }
    return same;
}

static sv_status check_tensor(const sv_onnx_model *model, const sv_parameter *p, const char *file, sv_error *err)
{
    sv_text turned = { 0 }, scale = { 0 };
    sv_text_add(&turned, "%s.transposed", p->name);
    sv_text_add(&scale, "%s_scale", p->name);
    sv_status status = sv_text_check(&turned, err);
    if (!status) status = sv_text_check(&scale, err);
    if (!status) {
        const sv_onnx_read_tensor *as_is = tensor_named(model, p->name), *other = tensor_named(model, turned.data),
                                  *scales = tensor_named(model, scale.data);
        if (!(as_is ? same_numbers(as_is, scales, p, false) : other && same_numbers(other, scales, p, true)))
            status = sv_fail(err, SV_FAULT, "%s: %s reads back otherwise than it was written; the file is not kept", file, p->name);
    }
    sv_text_clear(&scale);
    sv_text_clear(&turned);
    return status;
}

static sv_status check_tensors(const sv_onnx_model *model, const sv_deployed *d, const char *file, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < d->model->parameters->count; i++)
        status = check_tensor(model, d->model->parameters->items[i], file, err);
    return status;
}

static sv_status check_face(const sv_onnx_model *model, const sv_onnx_proof *proof, const char *file, sv_error *err)
{
    bool right = model->ir == SV_ONNX_IR && model->opset == SV_ONNX_OPSET && model->input_count == 1
                 && model->output_count == 1 + proof->plan->stages && strcmp(model->names[model->inputs[0].value], "pixel_values") == 0
                 && strcmp(model->names[model->outputs[0].value], "logits") == 0;
    return right ? SV_OK
                 : sv_fail(err, SV_FAULT,
                           "%s: versions, inputs or outputs read back otherwise than they were written; the file is not kept", file);
}

/* The graph itself does not depend on the number of pictures it says it takes: two prove as much as a thousand, in less time. */
static void take_fewer(sv_onnx_model *model)
{
    enum { FEW = 2 };
    if (model->inputs[0].dims[0] > FEW) model->inputs[0].dims[0] = FEW;
    for (size_t i = 0; i < model->output_count; i++)
        if (model->outputs[i].rank == 2 && model->outputs[i].dims[0] > FEW) model->outputs[i].dims[0] = FEW;
}

/* ---- a picture --------------------------------------------------------------------------------------------------- */

/* Smooth noise, not the same in any two patches: what the graph and Sieve are both given. */
static void draw_picture(float *picture, size_t count, uint64_t seed)
{
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, 0, 0);
    double level = 0;
    for (size_t i = 0; i < count; i++) {
        level = 0.95 * level + 0.3 * sv_random_normal(&random);
        picture[i] = (float)level;
    }
}

static sv_status run_sieve(const sv_removal_tape *tape, const float *picture, sv_error *err)
{
    sv_step step = { .images = 1 };
    sv_real *to = sv_tape_data(tape->tape, tape->picture, 0);
    for (size_t i = 0; i < sv_tensor_width(tape->picture); i++) to[i] = (sv_real)picture[i];
    return sv_tape_forward(tape->tape, &step, err);
}

typedef struct pairing {
    const sv_onnx_proof *proof;
    const sv_removal_tape *tape;
    const sv_onnx_array *outputs;
    const char *file;
} pairing;

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Patches of the rows behind a selector, rising (merged rows stand in another order), into `out`. */
static size_t patches_behind(const sv_removal_tape *tape, size_t stage, int64_t *out)
{
    const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(tape->tape, tape->after[stage], 0);
    const size_t rows = sv_tape_rows(tape->tape, tape->after[stage], 0);
    size_t count = 0;
    for (size_t r = 0; r < rows; r++)
        if (origin[r] >= 0) out[count++] = origin[r];
    qsort(out, count, sizeof *out, by_number);
    return count;
}

static bool among(const int64_t *list, size_t count, int64_t patch)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == patch) return true;
    return false;
}

/* Whether the two lists differ in patches, each with a score so near the cut that rounding decides, and in nothing else. */
static bool only_near_the_cut(const pairing *p, size_t stage, const int64_t *ours, size_t count)
{
    const sv_onnx_array *theirs = &p->outputs[1 + stage];
    const sv_real *a = sv_tape_data(p->tape->tape, p->tape->a[stage], 0);
    const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(p->tape->tape, p->tape->before[stage], 0);
    const size_t rows = sv_tape_rows(p->tape->tape, p->tape->before[stage], 0);
    const double threshold = p->proof->plan->rule == SV_RULE_ARGMAX ? 0.5 : p->proof->plan->threshold[stage];
    double worst_kept = HUGE_VAL, most = 0;
    bool differ = false;
    for (size_t r = 0; r < rows; r++) {
        if (origin[r] >= 0) most = fmax(most, fabs((double)a[r]));
        if (origin[r] >= 0 && among(ours, count, origin[r])) worst_kept = fmin(worst_kept, (double)a[r]);
    }
    const bool by_rank = p->proof->plan->rule == SV_RULE_TOPK || count <= p->proof->plan->min_keep;
    const double cut = by_rank ? worst_kept : log(threshold / (1 - threshold));
    for (size_t r = 0; r < rows; r++) {
        const bool here = among(ours, count, origin[r]), there = among(theirs->data, theirs->count, origin[r]);
        if (origin[r] < 0 || here == there) continue;
        if (!(fabs((double)a[r] - cut) <= tolerance * fmax(most, 1e-3))) return false;
        differ = true;
    }
    return differ;
}

typedef enum verdict { SAME, UNDECIDED, OTHER } verdict;

static verdict compare_kept(const pairing *p, int64_t *room)
{
    for (size_t t = 0; t < p->proof->plan->stages; t++) {
        const sv_onnx_array *theirs = &p->outputs[1 + t];
        const size_t count = patches_behind(p->tape, t, room);
        if (theirs->count == count && memcmp(theirs->data, room, count * sizeof *room) == 0) {
            p->proof->report->kept[t] = count;
            continue;
        }
        return only_near_the_cut(p, t, room, count) ? UNDECIDED : OTHER;
    }
    return SAME;
}

static sv_status compare_logits(const pairing *p, sv_error *err)
{
    const sv_real *ours = sv_tape_data(p->tape->tape, p->tape->logits, 0);
    const sv_onnx_array *theirs = &p->outputs[0];
    const size_t classes = sv_tensor_width(p->tape->logits);
    double largest = 0, difference = 0;
    if (theirs->count != classes)
        return sv_fail(err, SV_FAULT, "%s: the graph answers with %zu logits, the model with %zu", p->file, theirs->count, classes);
    for (size_t k = 0; k < classes; k++) {
        const double one = (double)ours[k], other = (double)((const float *)theirs->data)[k];
        if (!isfinite(one) || !isfinite(other))
            return sv_fail(err, SV_MODEL_FILE, "the model answers with a number that is not finite (class %zu): it is not exported as good",
                           k);
        largest = fmax(largest, fabs(one));
        difference = fmax(difference, fabs(one - other));
    }
    p->proof->report->compared = true;
    p->proof->report->worst = difference / fmax(largest, 1e-6);
    if (p->proof->report->worst <= tolerance) return SV_OK;
    return sv_fail(err, SV_FAULT,
                   "%s: its logits differ from the model's by %.3g of their largest; at most %g is rounding; the file is not kept", p->file,
                   p->proof->report->worst, tolerance);
}

static sv_status try_picture(const pairing *p, const sv_onnx_model *model, sv_onnx_array *outputs, float *picture, int64_t *room,
                             uint64_t seed, verdict *out, sv_error *err)
{
    const size_t side = p->proof->d->model->options.image;
    const size_t batch = model->inputs[0].dims[0] > 0 ? (size_t)model->inputs[0].dims[0] : 1;
    sv_onnx_array input = {
        .type = SV_ONNX_FLOAT, .rank = 4, .dims = { batch, 3, side, side }, .count = batch * 3 * side * side, .data = picture
    };
    draw_picture(picture, 3 * side * side, seed);
    for (size_t b = 1; b < batch; b++) memcpy(picture + b * 3 * side * side, picture, 3 * side * side * sizeof *picture);
    sv_status status = run_sieve(p->tape, picture, err);
    if (!status) status = sv_onnx_run(model, &input, outputs, err);
    if (status) return status;
    for (size_t i = 0; batch > 1 && i < model->output_count; i++) { /* all pictures are the same one: the first is compared */
        const size_t one = outputs[i].count / batch * sv_onnx_type_bytes(outputs[i].type);
        for (size_t b = 1; b < batch; b++)
            if (memcmp(outputs[i].data, (char *)outputs[i].data + b * one, one) != 0)
                return sv_fail(err, SV_FAULT, "%s: equal pictures of a batch get different answers; the file is not kept", p->file);
        outputs[i].count /= batch;
    }
    *out = compare_kept(p, room);
    return *out == SAME ? compare_logits(p, err) : SV_OK;
}

static sv_status check_answers(const sv_onnx_proof *proof, const sv_onnx_model *model, const char *file, sv_error *err)
{
    sv_removal_tape tape = { 0 };
    sv_onnx_array outputs[1 + SV_MOST_STAGES] = { { 0 } };
    const pairing p = { proof, &tape, outputs, file };
    const size_t numbers = 3 * proof->d->model->options.image * proof->d->model->options.image,
                 batch = model->inputs[0].dims[0] > 0 ? (size_t)model->inputs[0].dims[0] : 1;
    float *picture = NULL;
    int64_t *room = NULL;
    verdict answer = UNDECIDED;
    size_t bytes = 0;
    if (sv_mul_size3(&bytes, numbers, batch, sizeof *picture))
        return sv_fail(err, SV_USAGE, "pictures of %zu numbers are too large", numbers);
    sv_status status = sv_alloc(&picture, bytes, "picture", err);
    if (!status) status = sv_alloc(&room, (sv_model_patches(proof->d->model) + 1) * sizeof *room, "patches", err);
    if (!status) status = sv_removal_record(&tape, proof->d->pruning, proof->plan, 1, err);
    for (uint64_t seed = 1; !status && answer == UNDECIDED && seed <= PICTURES; seed++) {
        for (size_t i = 0; i < SV_COUNT(outputs); i++) sv_onnx_array_clear(&outputs[i]);
        status = try_picture(&p, model, outputs, picture, room, seed, &answer, err);
    }
    const bool merges =
        proof->plan->stages && sv_method_form_of(proof->plan->method) == SV_IN_EVERY_BLOCK; /* its scores say nothing about its cut */
    if (!status && (answer == OTHER || (answer == UNDECIDED && merges)))
        status = sv_fail(err, SV_FAULT, "%s: the graph keeps other tokens than the model; the file is not kept", file);
    if (!status && answer == UNDECIDED)
        sv_log(SV_WARNING, "the selectors score all patches so much alike that rounding decides what stays (are they trained?): file and "
                           "model cannot be compared picture by picture");
    for (size_t i = 0; i < SV_COUNT(outputs); i++) sv_onnx_array_clear(&outputs[i]);
    sv_removal_clear(&tape);
    sv_free(room);
    sv_free(picture);
    return status;
}

sv_status sv_onnx_prove(void *context, const char *file, const char *data, sv_error *err)
{
    const sv_onnx_proof *proof = context;
    sv_onnx_model model = { 0 };
    sv_status status = sv_onnx_read(&model, file, data, err);
    if (!status) status = check_face(&model, proof, file, err);
    if (!status) status = check_tensors(&model, proof->d, file, err);
    if (!status) take_fewer(&model);
    if (!status) status = check_answers(proof, &model, file, err);
    proof->report->nodes = model.node_count;
    proof->report->tensors = model.initializer_count;
    sv_onnx_clear(&model);
    return status;
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static int rising(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

sv_status sv_onnx_time(const sv_deployed *d, const sv_pruning_plan *plan, double *ms, sv_error *err)
{
    sv_removal_tape tape = { 0 };
    float *picture = NULL;
    double seconds[RUNS];
    sv_status status = sv_removal_record(&tape, d->pruning, plan, 1, err);
    const size_t numbers = status ? 0 : sv_tensor_width(tape.picture);
    if (!status) status = sv_alloc(&picture, numbers * sizeof *picture, "picture", err);
    if (!status) draw_picture(picture, numbers, 1);
    if (!status) status = run_sieve(&tape, picture, err); /* warm */
    for (size_t i = 0; !status && i < RUNS; i++) {
        const double begin = sv_now_seconds();
        status = run_sieve(&tape, picture, err);
        seconds[i] = sv_now_seconds() - begin;
    }
    if (!status) {
        qsort(seconds, RUNS, sizeof *seconds, rising);
        *ms = 1e3 * seconds[RUNS / 2];
    }
    sv_free(picture);
    sv_removal_clear(&tape);
    return status;
}
