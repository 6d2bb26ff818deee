/* From a config to a run that can take its first step. */
#include "train/ranks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- data -------------------------------------------------------------------------------------------------------- */

static sv_status open_loader(sv_session *s, sv_loader **out, const sv_source *source, sv_loader_use use, bool scattered, sv_error *err)
{
    sv_loader_options options = sv_data_loader_options(&s->data, use, s->options.batch, s->options.seed);
    options.scattered = scattered;
    if (use == SV_LOAD_EVALUATION && !scattered) options.max_bad = fmax(options.max_bad, s->data.max_bad);
    if (!scattered) { /* the scattered one is rank 0's alone */
        options.slice_first = s->places[sv_comm_rank(s->comm)];
        options.slice_count = sv_ranks_own(s);
    }
    return sv_loader_create(out, source, &options, err);
}

static sv_status open_data(sv_session *s, sv_error *err)
{
    sv_status status = sv_data_open_train(&s->data, &s->train_source, err);
    if (!status) status = sv_data_open_val(&s->data, &s->val_source, err);
    if (!status) status = sv_source_check_same(s->train_source, s->val_source, err);
    if (!status) status = open_loader(s, &s->train, s->train_source, SV_LOAD_TRAINING, false, err);
    if (!status) status = open_loader(s, &s->val, s->val_source, SV_LOAD_EVALUATION, false, err);
    if (!status && !sv_comm_rank(s->comm)) status = open_loader(s, &s->calibrate, s->train_source, SV_LOAD_EVALUATION, true, err);
    if (status) return status;
    s->steps_per_epoch = sv_loader_batches(s->train) / s->options.accumulate;
    if (!s->steps_per_epoch && s->options.epochs)
        return sv_fail(err, SV_USAGE, "%s: train.accumulate = %zu batches are more than the %llu of an epoch; lower it", sv_config_where(s->config, "train.accumulate"),
                       s->options.accumulate, (unsigned long long)sv_loader_batches(s->train));
    if ((s->data.mix.mixup > 0 || s->data.mix.cutmix > 0) && s->options.batch % 2)
        return sv_fail(err, SV_USAGE, "%s: train.batch = %zu is odd, but mixup and cutmix pair pictures; make it even, or set data.mixup = 0 and data.cutmix = 0",
                       sv_config_where(s->config, "train.batch"), s->options.batch);
    return SV_OK;
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

static sv_status class_count(sv_session *s, size_t *classes, sv_error *err)
{
    const sv_classes *known = sv_source_classes(s->train_source);
    int64_t wanted = sv_config_int(s->config, "model.classes");
    *classes = known->count;
    if (wanted > 0 && (size_t)wanted < known->count)
        return sv_fail(err, SV_USAGE, "%s: model.classes = %lld, but %s has %zu classes", sv_config_where(s->config, "model.classes"), (long long)wanted,
                       sv_source_name(s->train_source), known->count);
    if (wanted > 0) *classes = (size_t)wanted;
    return SV_OK;
}

static bool has_new_head(const sv_session *s)
{
    for (size_t i = 0; i < s->model->parameters->count; i++)
        if (s->is_new[i] && strncmp(s->model->parameters->items[i]->name, "head", 4) == 0) return true;
    return false;
}

static sv_status fill_student(sv_session *s, sv_error *err)
{
    const char *weights = sv_config_text(s->config, "model.weights");
    sv_load_options load = sv_load_options_from_config(s->config);
    load.optional_selectors = true;
    sv_model_initialise(s->model, s->options.seed);
    sv_pruning_initialise(s->pruning, s->options.seed);
    s->from_scratch = !weights[0];
    for (size_t i = 0; i < s->model->parameters->count; i++) s->is_new[i] = s->from_scratch;
    return s->from_scratch ? SV_OK : sv_model_load(s->model, weights, &load, s->options.seed, s->is_new, err);
}

/* The dense model as the run finds it: what the pruned one is compared with, and its teacher where there is no other. A new head has nothing to
 * teach. */
static sv_status make_start(sv_session *s, size_t classes, sv_error *err)
{
    sv_pruning_options dense = *sv_pruning_options_of(s->pruning);
    sv_status status = sv_model_from_config(&s->start, s->config, s->data.transform.size, classes, err);
    dense.plan.stages = 0;
    if (!status) status = sv_pruning_create(&s->start_pruning, s->start, &dense, err);
    if (!status) status = sv_model_allocate(s->start, false, err);
    for (size_t i = 0; !status && i < s->start->parameters->count; i++) {
        sv_parameter *to = s->start->parameters->items[i];
        const sv_parameter *from = sv_parameters_find(s->model->parameters, to->name);
        memcpy(to->value, from->value, to->count * sizeof *to->value);
    }
    if (!status) sv_parameters_changed(s->start->parameters);
    return status;
}

static void read_latency_term(sv_pruning_options *pruning, const sv_config *config)
{
    const char *form = sv_config_text(config, "latency.loss");
    const bool none = strcmp(form, "none") == 0;
    pruning->latency_form = strcmp(form, "lagrange") == 0 ? SV_RATIO_LAGRANGE : SV_RATIO_PENALTY;
    pruning->latency_weight = none ? 0 : sv_config_real(config, "latency.weight");
    if (none && strcmp(sv_config_where(config, "latency.weight"), "default") != 0 && pruning->plan.stages)
        sv_log(SV_VERBOSE, "%s: latency.weight has no effect with latency.loss = none", sv_config_where(config, "latency.weight"));
}

static sv_status make_models(sv_session *s, sv_error *err)
{
    sv_pruning_options pruning;
    size_t classes = 0;
    sv_status status = class_count(s, &classes, err);
    if (!status) status = sv_model_from_config(&s->model, s->config, s->data.transform.size, classes, err);
    if (!status) status = sv_pruning_check_model(s->config, s->model, err);
    if (!status) status = sv_pruning_options_read(&pruning, s->config, s->model, err);
    if (status) return status;
    read_latency_term(&pruning, s->config);
    status = sv_train_options_read(&s->options, s->config, pruning.plan.stages > 0, err);
    if (!status) status = sv_pruning_create(&s->pruning, s->model, &pruning, err);
    if (!status) status = sv_model_allocate(s->model, true, err);
    if (!status) status = sv_alloc_zero(&s->is_new, s->model->parameters->count * sizeof *s->is_new, "run", err);
    if (!status) status = fill_student(s, err);
    if (!status && pruning.plan.stages && !s->from_scratch) status = make_start(s, classes, err);
    return status;
}

static sv_status choose_teacher(sv_session *s, sv_pruning_options *weights, sv_error *err)
{
    const sv_classes *classes = sv_source_classes(s->train_source);
    sv_text names = { 0 };
    sv_status status = SV_OK;
    s->teacher = s->start;
    if (s->teaching.file[0]) {
        for (size_t i = 0; i < classes->count; i++) sv_text_add(&names, "%s\n", classes->names[i]);
        status = sv_text_check(&names, err);
        if (!status) status = sv_teacher_load(&s->other, &s->teaching, s->config, s->model, names.data, err);
        sv_text_clear(&names);
        if (status) return status;
        s->teacher = s->other;
        sv_teacher_mark(s->teacher_mark, s->other);
    } else if (s->start && has_new_head(s)) {
        if (s->teaching.kind != SV_DISTILL_NONE)
            return sv_fail(err, SV_USAGE, "%s: train.distillation = %s, but the head is new, so the dense model has nothing to teach; set train.teacher, or fine-tune dense first, then prune",
                           sv_config_where(s->config, "train.distillation"), sv_config_text(s->config, "train.distillation"));
        if (weights->kl_weight > 0)
            sv_log(SV_WARNING, "the head is new, so the teacher's class logits teach nothing: pruning.distill_weight is taken as 0 (fine-tune dense first, then prune)");
        weights->kl_weight = 0;
    }
    status = sv_teacher_weigh(weights, &s->teaching, s->config, s->model, s->teacher, err);
    if (!status && s->other) sv_log(SV_INFO, "learns from %s: %s, %.2f GMAC a picture", s->teaching.file, s->other->backbone->name, 1e-9 * (double)sv_model_macs(s->other));
    return status;
}

enum { CONFUSION_MOST = 2000 }; /* classes: 32 MB of counts */

/* The student's options may lose terms that have no teacher. */
static sv_status make_tapes(sv_session *s, sv_error *err)
{
    sv_pruning_options *options = (sv_pruning_options *)(void *)sv_pruning_options_of(s->pruning);
    sv_training_choice choice = { .images = s->options.batch, .lanes = s->options.lanes, .lanes_bf16 = s->options.wire_bf16, .distillation = s->teaching.kind,
                                  .distill_alpha = s->teaching.alpha, .distill_tau = s->teaching.tau };
    if (!s->has_table) options->latency_weight = 0;
    sv_status status = choose_teacher(s, options, err);
    if (!status) status = sv_alloc(&s->targets, s->options.batch * s->model->options.classes * sizeof *s->targets, "batches", err);
    if (!status && s->model->options.classes <= CONFUSION_MOST)
        status = sv_alloc_zero(&s->confusion, s->model->options.classes * s->model->options.classes * sizeof *s->confusion, "confusion", err);
    if (!status) status = sv_training_record(&s->training, s->pruning, s->teacher, &choice, err);
    const size_t most = sv_comm_rank(s->comm) ? sv_ranks_own(s) : s->options.batch; /* rank 0 also calibrates, with whole batches */
    if (!status) status = sv_removal_record(&s->pruned, s->pruning, sv_pruning_plan_of(s->pruning), most, err);
    if (!status && s->start) status = sv_removal_record(&s->dense, s->start_pruning, NULL, most, err);
    return status;
}

static sv_status make_optimizer(sv_session *s, sv_error *err)
{
    size_t bytes = s->model->parameters->total * sizeof *s->ema;
    s->options.optimizer.all_new = s->from_scratch;
    sv_status status = sv_optimizer_create(&s->optimizer, s->model->parameters, &s->options.optimizer, s->is_new, err);
    if (status || s->options.ema.decay <= 0) return status;
    status = sv_alloc_zero(&s->ema, bytes, "averaged weights", err);
    if (!status) status = sv_alloc_zero(&s->spare, bytes, "averaged weights", err);
    if (!status) memcpy(s->ema, s->model->parameters->values, bytes);
    return status;
}

/* ---- the run's folder -------------------------------------------------------------------------------------------- */

static sv_status keep_text(char **out, sv_text *text, sv_error *err)
{
    sv_status status = sv_text_check(text, err);
    if (!status) status = sv_text_copy(out, text->data, err);
    sv_text_clear(text);
    return status;
}

/* What does not change the result (where a run stands, how often it saves, what it keeps, how long it may take) is left out of checkpoints: the
 * same run gives the same bytes anywhere. */
static void drop_places(char *text)
{
    static const struct { const char *key; bool anywhere; } keys[] = { { "dir = ", false }, { "threads = ", false }, { "tensorboard = ", false }, { "pictures = ", false }, { "rank_timeout = ", false },
        { "check_every = ", false }, { "recompute = ", true }, { "keep_last = ", false }, { "keep_best = ", false }, { "log_mb = ", false }, { "max_time = ", true }, { "max_steps = ", true },
        { "save_every_min = ", true } };
    const char *end = strstr(text, "\n\n");
    char *to = text;
    for (const char *from = text; *from;) {
        size_t length = strcspn(from, "\n") + 1;
        bool run_section = !end || from < end, drop = false;
        for (size_t i = 0; i < SV_COUNT(keys); i++) drop = drop || ((run_section || keys[i].anywhere) && strncmp(from, keys[i].key, strlen(keys[i].key)) == 0);
        if (from[length - 1] == 0) length--;
        if (!drop) {
            memmove(to, from, length);
            to += length;
        }
        from += length;
    }
    *to = 0;
}

static sv_status make_texts(sv_session *s, sv_error *err)
{
    const sv_classes *classes = sv_source_classes(s->train_source);
    sv_text text = { 0 };
    sv_model_print(s->model, &text);
    sv_status status = keep_text(&s->model_text, &text, err);
    for (size_t i = 0; !status && i < classes->count; i++) sv_text_add(&text, "%s\n", classes->names[i]);
    if (!status) status = keep_text(&s->classes_text, &text, err);
    if (!status) status = sv_config_print(s->config, &text, err);
    if (!status) status = keep_text(&s->config_text, &text, err);
    if (!status) status = sv_text_copy(&s->recipe_text, s->config_text, err);
    if (!status) drop_places(s->recipe_text);
    return status;
}

static sv_status open_folder(sv_session *s, sv_error *err)
{
    char *path = NULL;
    const bool writes = !sv_comm_rank(s->comm);
    sv_status status = sv_text_copy(&s->folder, sv_config_text(s->config, "run.dir"), err);
    if (!status && !s->folder[0])
        status = sv_fail(err, SV_USAGE, "%s: run.dir is empty; expected the folder of the run", sv_config_where(s->config, "run.dir"));
    if (!status && writes) status = sv_folder_create(s->folder, err);
    if (!status) status = sv_path_join(&s->last, s->folder, "last.safetensors", err);
    if (!status) status = sv_path_join(&s->best, s->folder, "best.safetensors", err);
    if (status || !writes) return status;
    if (!status && !s->request->dry_run) status = sv_run_lock_take(&s->lock, s->folder, err);
    if (!status) status = sv_path_join(&path, s->folder, "log.txt", err);
    if (!status && !s->request->dry_run) status = sv_run_log_open(&s->log, path, s->options.log_bytes, SV_VERBOSE, sv_log_level(), err);
    sv_free(path);
    return status;
}

static sv_status write_config(const sv_session *s, sv_error *err)
{
    char *path = NULL;
    sv_status status = sv_path_join(&path, s->folder, "config.ini", err);
    if (!status) status = sv_file_write_atomic(path, s->config_text, strlen(s->config_text), err);
    sv_free(path);
    return status;
}

sv_status sv_session_open(sv_session *s, sv_error *err)
{
    s->began = s->saved = sv_now_seconds();
    s->state.best = -1;
    s->options.batch = (size_t)sv_config_int(s->config, "train.batch");
    sv_ranks_threads(s, false);
    sv_status status = sv_train_options_read(&s->options, s->config, false, err);
    if (!status) status = sv_teacher_options_read(&s->teaching, s->config, err);
    if (!status) status = sv_data_options_read(s->config, &s->data, err);
    if (!status) status = sv_ranks_places(s, err);
    if (!status) status = open_folder(s, err);
    if (!status) status = open_data(s, err);
    if (!status) status = make_models(s, err);
    if (!status) status = sv_ranks_in_turn(s, sv_session_plan, err);
    if (!status) status = make_optimizer(s, err);
    if (!status) status = make_tapes(s, err);
    if (!status) status = make_texts(s, err);
    if (!status && !s->request->dry_run && !sv_comm_rank(s->comm)) status = write_config(s, err);
    if (!status) status = sv_ranks_open(s, err);
    s->epochs = s->options.epochs;
    s->options.schedule.steps = (double)s->steps_per_epoch;
    return status;
}

void sv_session_close(sv_session *s)
{
    sv_ranks_close(s);
    sv_metrics_close(s->metrics);
    sv_events_close(s->events);
    sv_free(s->confusion);
    sv_records_clear(&s->records);
    sv_training_clear(&s->training);
    sv_removal_clear(&s->pruned);
    sv_removal_clear(&s->dense);
    sv_optimizer_destroy(s->optimizer);
    sv_pruning_destroy(s->pruning);
    sv_pruning_destroy(s->start_pruning);
    sv_model_destroy(s->model);
    sv_model_destroy(s->start);
    sv_model_destroy(s->other);
    sv_loader_destroy(s->train);
    sv_loader_destroy(s->val);
    sv_loader_destroy(s->calibrate);
    sv_source_close(s->train_source);
    sv_source_close(s->val_source);
    sv_latency_table_clear(&s->table);
    sv_free(s->is_new);
    sv_free(s->ema);
    sv_free(s->spare);
    sv_free(s->targets);
    sv_free(s->folder);
    sv_free(s->last);
    sv_free(s->best);
    sv_free(s->model_text);
    sv_free(s->classes_text);
    sv_free(s->config_text);
    sv_free(s->recipe_text);
    sv_run_lock_release(s->lock);
    sv_run_log_close(s->log);
}
