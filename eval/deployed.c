/* Models as they are deployed, from files. */
#include "eval/eval.h"
#include "formats/weights.h"

#include <string.h>

static sv_status copy_text(char **out, sv_weights *file, const char *key, sv_error *err)
{
    const char *text = sv_weights_metadata(file, key);
    return text ? sv_text_copy(out, text, err) : SV_OK;
}

static sv_status fill(sv_deployed *d, sv_weights *file, const char *path, sv_error *err)
{
    const char *model = sv_weights_metadata(file, "sieve.model"), *plan = sv_weights_metadata(file, "sieve.plan");
    sv_load_options load = { .need_all = true };
    sv_pruning_options options = { .mask_clamp = 30, .tau = 1 };
    if (!model)
        return sv_fail(err, SV_MODEL_FILE, "%s is no checkpoint of Sieve: it does not say which model it holds; name it (--arch, or model.arch with model.weights)", path);
    sv_status status = sv_model_parse(&d->model, model, path, err);
    if (!status && plan) status = sv_plan_parse(&options.plan, plan, path, err);
    for (size_t t = 0; !status && t < options.plan.stages; t++)
        if (options.plan.at[t] >= sv_model_depth(d->model)) status = sv_fail(err, SV_MODEL_FILE, "%s: the plan puts a selector before block %zu, but the model has %zu; the file is damaged", path, options.plan.at[t], sv_model_depth(d->model));
    if (!status) status = sv_pruning_create(&d->pruning, d->model, &options, err);
    if (!status) status = sv_model_allocate(d->model, false, err);
    if (!status) status = sv_model_load(d->model, path, &load, 0, NULL, err);
    if (!status) d->plan = *sv_pruning_plan_of(d->pruning);
    if (!status) status = copy_text(&d->classes, file, "sieve.classes", err);
    if (!status) status = copy_text(&d->config, file, "sieve.config", err);
    return status;
}

sv_status sv_deployed_load(sv_deployed *out, const char *path, sv_error *err)
{
    sv_weights *file = NULL;
    memset(out, 0, sizeof *out);
    sv_status status = sv_weights_open(&file, path, err);
    if (!status) status = fill(out, file, path, err);
    sv_weights_close(file);
    if (status) sv_deployed_clear(out);
    return status;
}

sv_status sv_deployed_from_weights(sv_deployed *out, const char *arch, const char *path, size_t image, size_t classes, sv_error *err)
{
    sv_model_options sizes = { .image = image, .classes = classes };
    sv_pruning_options options = { .mask_clamp = 30, .tau = 1 };
    sv_load_options load = { 0 };
    memset(out, 0, sizeof *out);
    sv_status status = sv_model_create(&out->model, arch, &sizes, err);
    if (!status) status = sv_pruning_create(&out->pruning, out->model, &options, err);
    if (!status) status = sv_model_allocate(out->model, false, err);
    if (!status) status = sv_model_load(out->model, path, &load, 0, NULL, err);
    if (status) sv_deployed_clear(out);
    return status;
}

sv_status sv_deployed_set_precision(sv_deployed *d, const char *name, sv_error *err)
{
    if (!name || !d->model || sv_precision_find(&d->model->options.precision, name)) return SV_OK;
    return sv_fail(err, SV_USAGE, "--precision is '%s'; expected fp32, bf16 or bf16x3", name);
}

void sv_deployed_clear(sv_deployed *d)
{
    sv_pruning_destroy(d->pruning);
    sv_model_destroy(d->model);
    sv_free(d->classes);
    sv_free(d->config);
    memset(d, 0, sizeof *d);
}
