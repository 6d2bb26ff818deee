/* See weights_export.h. */
#include "eval/weights_export.h"
#include "eval/card.h"
#include "eval/onnx_inside.h"
#include "formats/weights.h"

#include <math.h>
#include <stdio.h>

/* Narrow copies of parameters, which the writer borrows until the file is written. */
typedef struct copies {
    void **items;
    size_t count;
} copies;

static void copies_clear(copies *c)
{
    for (size_t i = 0; i < c->count; i++) sv_free(c->items[i]);
    sv_free(c->items);
}

static sv_status take_copy(copies *c, size_t bytes, void *out, sv_error *err)
{
    sv_status status = sv_alloc(&c->items[c->count], bytes, "weights", err);
    if (!status) *(void **)out = c->items[c->count++];
    return status;
}

static sv_status add_half(sv_weights_writer *writer, copies *c, const sv_parameter *p, sv_onnx_type kind, sv_error *err)
{
    uint16_t *data = NULL;
    sv_status status = take_copy(c, p->count * sizeof *data, &data, err);
    for (size_t i = 0; !status && i < p->count; i++) data[i] = sv_narrow_half(kind, (float)p->value[i]);
    return status ? status
                  : sv_weights_writer_add(writer, p->name, kind == SV_ONNX_FLOAT16 ? "float16" : "bfloat16", p->dims, p->shape, data, err);
}

static sv_status add_int8(sv_weights_writer *writer, copies *c, const sv_parameter *p, sv_error *err)
{
    const size_t rows = p->shape[0], columns = p->count / rows;
    int8_t *data = NULL;
    float *scales = NULL;
    char name[160];
    sv_status status = take_copy(c, p->count, &data, err);
    if (!status) status = take_copy(c, rows * sizeof *scales, &scales, err);
    for (size_t r = 0; !status && r < rows; r++) {
        scales[r] = sv_int8_scale(p->value + r * columns, columns);
        for (size_t i = 0; i < columns; i++) data[r * columns + i] = sv_int8_of(p->value[r * columns + i], scales[r]);
    }
    snprintf(name, sizeof name, "%s_scale", p->name);
    if (!status) status = sv_weights_writer_add(writer, p->name, "int8", p->dims, p->shape, data, err);
    return status ? status : sv_weights_writer_add(writer, name, "float32", 1, &rows, scales, err);
}

static sv_status add_parameters(sv_weights_writer *writer, copies *c, const sv_model *model, sv_onnx_type weights, sv_error *err)
{
    sv_status status = sv_alloc_zero(&c->items, (2 * model->parameters->count + 1) * sizeof *c->items, "weights", err);
    for (size_t i = 0; !status && i < model->parameters->count; i++) {
        const sv_parameter *p = model->parameters->items[i];
        const sv_onnx_type kind = sv_narrow_of(weights, p);
        if (kind == SV_ONNX_FLOAT)
            status = sv_weights_writer_add(writer, p->name, SV_REAL_DTYPE, p->dims, p->shape, p->value, err);
        else if (kind == SV_ONNX_INT8)
            status = add_int8(writer, c, p, err);
        else
            status = add_half(writer, c, p, kind, err);
    }
    return status;
}

static sv_status make_card(const sv_deployed *d, const sv_weights_export_options *options, sv_text *text, sv_error *err)
{
    char accuracy[256] = "", latency[512];
    double ms = 0;
    sv_status status = options->source ? sv_card_accuracy(options->source, accuracy, err) : SV_OK;
    if (!status) status = sv_onnx_time(d, &d->plan, &ms, err);
    if (status) return status;
    sv_card_latency(ms, latency);
    sv_card_print(&(sv_card){ .model = d->model,
                              .plan = &d->plan,
                              .config = d->config,
                              .weights = sv_narrow_words(options->weights),
                              .accuracy = accuracy,
                              .latency = latency,
                              .licence = options->licence },
                  text);
    return sv_text_check(text, err);
}

static sv_status add_metadata(sv_weights_writer *writer, const sv_deployed *d, const char *card, sv_error *err)
{
    sv_text model = { 0 }, plan = { 0 };
    sv_model_print(d->model, &model);
    sv_plan_print(&d->plan, &plan);
    sv_status status = sv_text_check(&model, err);
    if (!status) status = sv_text_check(&plan, err);
    if (!status) status = sv_weights_writer_metadata(writer, "format", "pt", err);
    if (!status) status = sv_weights_writer_metadata(writer, "sieve.version", SV_VERSION, err);
    if (!status) status = sv_weights_writer_metadata(writer, "sieve.model", model.data, err);
    if (!status) status = sv_weights_writer_metadata(writer, "sieve.plan", plan.data, err);
    if (!status) status = sv_weights_writer_metadata(writer, "sieve.card", card, err);
    if (!status && d->classes) status = sv_weights_writer_metadata(writer, "sieve.classes", d->classes, err);
    sv_text_clear(&model);
    sv_text_clear(&plan);
    return status;
}

static sv_status write_file(const sv_deployed *d, const char *path, const sv_weights_export_options *options, sv_error *err)
{
    sv_weights_writer *writer = NULL;
    copies narrow = { 0 };
    sv_text card = { 0 };
    sv_status status = make_card(d, options, &card, err);
    if (!status) status = sv_weights_writer_create(&writer, err);
    if (!status) status = add_metadata(writer, d, card.data, err);
    if (!status) status = add_parameters(writer, &narrow, d->model, options->weights, err);
    if (!status) status = sv_weights_write_safetensors(writer, path, SV_WITH_CRC, err);
    sv_weights_writer_destroy(writer);
    copies_clear(&narrow);
    sv_text_clear(&card);
    return status;
}

/* ---- the proof ---------------------------------------------------------------------------------------------------- */

/* Logits of a made-up picture, the same for every call. */
static sv_status run_once(const sv_deployed *d, sv_removal_tape *tape, sv_error *err)
{
    sv_step step = { .images = 1 };
    sv_random random = sv_random_at(11, SV_FOR_TEST, 0, 0, 0);
    sv_status status = sv_removal_record(tape, d->pruning, &d->plan, 1, err);
    if (status) return status;
    sv_real *picture = sv_tape_data(tape->tape, tape->picture, 0);
    for (size_t i = 0; i < sv_tensor_width(tape->picture); i++) picture[i] = (sv_real)(2 * sv_random_uniform(&random) - 1);
    return sv_tape_forward(tape->tape, &step, err);
}

static sv_status prove(const sv_deployed *source, const char *path, sv_error *err)
{
    sv_deployed back = { 0 };
    sv_removal_tape one = { 0 }, other = { 0 };
    sv_status status = sv_deployed_load(&back, path, err);
    if (!status) status = run_once(source, &one, err);
    if (!status) status = run_once(&back, &other, err);
    for (size_t k = 0; !status && k < sv_tensor_width(one.logits); k++) {
        double a = (double)sv_tape_data(one.tape, one.logits, 0)[k], b = (double)sv_tape_data(other.tape, other.logits, 0)[k];
        if (!isfinite(a))
            status = sv_fail(err, SV_MODEL_FILE,
                             "the model answers with a number that is not finite (class %zu): it is not exported as good", k);
        else if (a != b)
            status =
                sv_fail(err, SV_FAULT, "%s does not give the checkpoint's logits (class %zu: %g, not %g); it is not good", path, k, b, a);
    }
    sv_removal_clear(&one);
    sv_removal_clear(&other);
    sv_deployed_clear(&back);
    return status;
}

sv_status sv_weights_export(sv_deployed *d, const char *path, const sv_weights_export_options *options, size_t *tensors, sv_error *err)
{
    const bool narrow = options->weights != SV_ONNX_FLOAT;
    sv_status status = narrow ? sv_narrow_round(d, options->weights, err) : SV_OK;
    if (!status) status = write_file(d, path, options, err);
    if (!status) status = prove(d, path, err);
    *tensors = d->model->parameters->count;
    for (size_t i = 0; options->weights == SV_ONNX_INT8 && i < d->model->parameters->count; i++)
        *tensors += sv_narrow_of(options->weights, d->model->parameters->items[i]) == SV_ONNX_INT8;
    return status;
}
