/* Models as the inference library hands them out, and the door of the library: what a call must find and leave behind. */
#include "infer/inside.h"
#include "kernels/kernels.h"

#include <stdio.h>
#include <string.h>

/* ---- the door ---- */

static pthread_once_t kernels_once = PTHREAD_ONCE_INIT;

static void hand_on(void *context, sv_level level, const char *line)
{
    const sieve_load_options *options = context;
    if (options && options->say) options->say(options->say_context, (int)level, line);
}

void sv_infer_enter(sv_infer_call *call, size_t threads, const sieve_load_options *say)
{
    pthread_once(&kernels_once, sv_kernels_init);
    (void)fegetenv(&call->floating);
    (void)fesetenv(FE_DFL_ENV);
    call->say = say;
    sv_threads_set_here(threads);
    sv_log_set_here(hand_on, (void *)(uintptr_t)say); /* read alone */
}

void sv_infer_leave(const sv_infer_call *call)
{
    sv_log_set_here(NULL, NULL);
    sv_threads_set_here(0);
    (void)fesetenv(&call->floating);
}

sieve_code sv_infer_answer(sv_status status, const sv_error *err, sieve_error *error)
{
    static const sieve_code codes[] = {
        [SV_OK] = SIEVE_OK, [SV_USAGE] = SIEVE_USAGE, [SV_DATA] = SIEVE_PICTURE, [SV_MODEL_FILE] = SIEVE_MODEL_FILE
    };
    sieve_code code = (size_t)status < SV_COUNT(codes) && (!status || codes[status]) ? codes[status] : SIEVE_FAULT;
    if (!error || !code) return code;
    error->code = code;
    snprintf(error->text, sizeof error->text, "%s", err->text);
    return code;
}

const char *sieve_version(void) { return SV_VERSION; }

/* ---- models ---- */

/* The names stand in one text, a line each; the lines become strings in place. */
static sv_status split_names(sieve_model *model, sv_error *err)
{
    char *text = model->deployed.classes;
    const size_t classes = model->deployed.model->options.classes;
    sv_status status = text ? sv_alloc(&model->class_names, classes * sizeof *model->class_names, "class names", err) : SV_OK;
    while (!status && text && *text && model->class_name_count < classes) {
        size_t length = strcspn(text, "\n");
        model->class_names[model->class_name_count++] = text;
        if (!text[length]) break;
        text[length] = 0;
        text += length + 1;
    }
    return status;
}

static sv_status fill(sieve_model *model, const char *path, const sieve_load_options *options, sv_error *err)
{
    sv_status status;
    if (options->arch)
        status = sv_deployed_from_weights(&model->deployed, options->arch, path, 0, options->classes, err);
    else
        status = sv_deployed_load(&model->deployed, path, err);
    if (!status && options->precision && !sv_precision_find(&model->deployed.model->options.precision, options->precision))
        status = sv_fail(err, SV_USAGE, "the precision '%s' is not known; expected fp32, bf16 or bf16x3", options->precision);
    if (!status) status = sv_deployed_transform(&model->deployed, &model->transform, err);
    if (!status) status = split_names(model, err);
    return status;
}

sieve_code sieve_model_load(sieve_model **out, const char *path, const sieve_load_options *options, sieve_error *error)
{
    static const sieve_load_options defaults = { 0 };
    sv_infer_call call;
    sieve_model *model = NULL;
    sv_error err = { 0 };
    if (!options) options = &defaults;
    sv_infer_enter(&call, 0, options);
    sv_status status =
        path ? sv_alloc_zero(&model, sizeof *model, "model", &err) : sv_fail(&err, SV_USAGE, "the path of the model is NULL");
    if (!status) {
        atomic_init(&model->holders, 1);
        (void)pthread_mutex_init(&model->preparing, NULL); /* of this kind it cannot fail on Linux */
        status = fill(model, path, options, &err);
    }
    if (!status)
        *out = model;
    else
        sieve_model_free(model);
    sv_infer_leave(&call);
    return sv_infer_answer(status, &err, error);
}

void sv_infer_model_release(sieve_model *model)
{
    if (!model || atomic_fetch_sub_explicit(&model->holders, 1, memory_order_acq_rel) > 1) return;
    sv_deployed_clear(&model->deployed);
    sv_free(model->class_names);
    (void)pthread_mutex_destroy(&model->preparing);
    sv_free(model);
}

void sieve_model_free(sieve_model *model) { sv_infer_model_release(model); }

sieve_about sieve_model_about(const sieve_model *model)
{
    const sv_model *inner = model->deployed.model;
    const sv_pruning_plan *plan = &model->deployed.plan;
    sieve_about about = { .image = inner->options.image,
                          .patch = inner->options.patch,
                          .patches = sv_model_patches(inner),
                          .classes = inner->options.classes,
                          .stages = plan->stages };
    _Static_assert((int)SIEVE_MOST_STAGES == (int)SV_MOST_STAGES, "a place for each stage");
    for (size_t t = 0; t < plan->stages; t++) about.stage_before_block[t] = plan->at[t], about.stage_patches[t] = plan->patches[t];
    for (size_t i = 0; i < inner->parameters->count; i++) about.parameters += inner->parameters->items[i]->count;
    memcpy(about.mean, model->transform.mean, sizeof about.mean);
    memcpy(about.deviation, model->transform.deviation, sizeof about.deviation);
    return about;
}

const char *sieve_class_name(const sieve_model *model, size_t class_index)
{
    return class_index < model->class_name_count ? model->class_names[class_index] : NULL;
}

/* ---- picture files ---- */

sieve_code sieve_picture_read(sieve_rgb *out, const char *path, sieve_error *error)
{
    sv_infer_call call;
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    sv_infer_enter(&call, 0, NULL);
    sv_status status = path ? sv_picture_read(&picture, path, &err) : sv_fail(&err, SV_USAGE, "the path of the picture is NULL");
    if (!status)
        *out = (sieve_rgb){ picture.rgb, picture.width, picture.height };
    else
        sv_picture_clear(&picture);
    sv_infer_leave(&call);
    return sv_infer_answer(status, &err, error);
}

void sieve_picture_free(sieve_rgb *picture)
{
    if (!picture) return;
    sv_free((void *)(uintptr_t)picture->pixels); /* made by sieve_picture_read, so ours to write */
    *picture = (sieve_rgb){ 0 };
}
