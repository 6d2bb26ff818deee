/* A model as a graph: embedding, blocks and selectors by the form of pruning, head; then the file, its proof and its card. */
#include "eval/narrow.h"
#include "eval/onnx_inside.h"

#include <stdio.h>
#include <string.h>

static const sv_onnx_family *const families[] = { &sv_onnx_vit, &sv_onnx_lvvit, &sv_onnx_pit, &sv_onnx_swin, &sv_onnx_convnext };
static const sv_onnx_form *const forms[] = { &sv_onnx_flat, &sv_onnx_freeze, &sv_onnx_paths };

static sv_status family_for(const sv_onnx_family **out, const sv_deployed *d, sv_error *err)
{
    const char *name = d->model->backbone->family->name;
    for (size_t i = 0; i < SV_COUNT(families); i++)
        if (strcmp(families[i]->name, name) == 0) *out = families[i];
    if (!*out)
        return sv_fail(err, SV_USAGE, "%s (%s) is of a family that export to ONNX does not know; use --format safetensors",
                       d->model->backbone->name, name);
    return SV_OK;
}

/* How tokens leave: without selectors they do not, in the flat form. */
static sv_status form_for(const sv_onnx_form **out, const sv_deployed *d, sv_error *err)
{
    const char *name = d->plan.stages ? sv_pruning_form_name(d->pruning) : sv_onnx_flat.name;
    for (size_t i = 0; i < SV_COUNT(forms); i++)
        if (strcmp(forms[i]->name, name) == 0) *out = forms[i];
    if (*out) return SV_OK;
    return sv_fail(
        err, SV_USAGE,
        "a pruned %s cannot go to ONNX: its dropped rows do not leave for good (its form is %s); use --format safetensors, or export "
        "the dense model",
        d->model->backbone->name, name);
}

/* The plan by the rule of the mode; what an ONNX graph cannot say is refused. */
static sv_status plan_for(sv_pruning_plan *out, const sv_onnx_form *form, const sv_deployed *d, const sv_onnx_options *options,
                          sv_error *err)
{
    static const char *const rules[] = { "threshold", "topk", "argmax", "gumbel" };
    *out = d->plan;
    if (options->mode == SV_ONNX_DYNAMIC && options->batch > 1)
        return sv_fail(err, SV_USAGE,
                       "a dynamic graph keeps another number of tokens for each picture and takes one picture at a time, not %zu; leave "
                       "out --batch, or use --mode static",
                       options->batch);
    if (!out->stages) return SV_OK;
    if (!out->min_keep)
        return sv_fail(err, SV_USAGE,
                       "a plan with pruning.min_keep = 0 may keep no patch at all, which ONNX's TopK cannot say; train with min_keep = 1");
    if (options->mode == SV_ONNX_STATIC)
        out->rule = SV_RULE_TOPK;
    else if (form->by_rank_alone || !sv_onnx_learns(out->method))
        return sv_fail(err, SV_USAGE, "%s on %s goes to ONNX by rank alone, as many tokens of every picture; use --mode static",
                       sv_method_name(out->method), d->model->backbone->name);
    else if (out->rule == SV_RULE_TOPK || out->rule == SV_RULE_GUMBEL)
        return sv_fail(err, SV_USAGE,
                       "a dynamic graph decides by thresholds, but the model's plan has pruning.rule = %s and none; use --mode static",
                       rules[out->rule]);
    return SV_OK;
}

static void add_kept_output(sv_onnx_mapping *m, size_t stage, const sv_onnx_tokens *tokens, sv_onnx_dim batch)
{
    char name[32], word[32];
    snprintf(name, sizeof name, "tokens_kept_%zu", stage);
    snprintf(word, sizeof word, "kept_%zu", stage);
    const sv_onnx_dim fixed[] = { batch, { .size = tokens->patches } }, open[] = { { .word = word } };
    const bool is_static = m->options.mode == SV_ONNX_STATIC;
    sv_onnx_output(m->graph, tokens->origin, name, SV_ONNX_INT64, is_static ? 2 : 1, is_static ? fixed : open);
}

static void make_graph(sv_onnx_mapping *m)
{
    const sv_model *model = m->d->model;
    const sv_onnx_dim side = { .size = model->options.image }, three = { .size = 3 },
                      batch = m->options.batch ? (sv_onnx_dim){ .size = m->options.batch } : (sv_onnx_dim){ .word = "batch" };
    sv_onnx_value picture = sv_onnx_input(m->graph, "pixel_values", SV_ONNX_FLOAT, 4, (sv_onnx_dim[]){ batch, three, side, side });
    sv_onnx_tokens kept[SV_MOST_STAGES], last = m->form->walk(m, m->family->embed(m, picture), kept);
    sv_onnx_value logits = m->family->head(m, &last);
    sv_onnx_output(m->graph, logits, "logits", SV_ONNX_FLOAT, 2, (sv_onnx_dim[]){ batch, { .size = model->options.classes } });
    for (size_t t = 0; t < m->plan->stages; t++) add_kept_output(m, t, &kept[t], batch);
}

static sv_status make_and_write(sv_onnx_mapping *m, const char *source, const char *path, sv_onnx_report *report, sv_error *err)
{
    sv_onnx_proof proof = { .d = m->d, .plan = m->plan, .mode = m->options.mode, .weights = m->options.weights, .report = report };
    make_graph(m);
    if (m->failed) {
        *err = m->error;
        return m->failed;
    }
    sv_status status = sv_onnx_time(m->d, m->plan, &report->ms, err);
    if (!status) status = sv_onnx_card(m, source, report->ms, err);
    return status ? status : sv_onnx_write(m->graph, path, m->options.external_above, sv_onnx_prove, &proof, err);
}

sv_status sv_onnx_export(sv_deployed *d, const char *source, const char *path, const sv_onnx_options *options, sv_onnx_report *report,
                         sv_error *err)
{
    sv_pruning_plan plan;
    sv_onnx_mapping m = { .d = d, .plan = &plan, .options = *options };
    sv_onnx_report made = { 0 };
    const sv_precision precision = d->model->options.precision;
    sv_status status = family_for(&m.family, d, err);
    if (!status) status = form_for(&m.form, d, err);
    if (!status) status = plan_for(&plan, m.form, d, options, err);
    if (status) return status;
    if (options->mode == SV_ONNX_DYNAMIC) m.options.batch = 1;
    status = sv_narrow_round(d, options->weights, err);
    if (!status) status = sv_onnx_create(&m.graph, d->model->backbone->name, err);
    d->model->options.precision = SV_PRECISION_FP32; /* what the graph's products are made of */
    if (!status) status = make_and_write(&m, source, path, &made, err);
    d->model->options.precision = precision;
    sv_onnx_destroy(m.graph);
    if (!status && report) *report = made;
    return status;
}
