#include "train/search_trial.h"

#include "formats/weights.h"
#include "train/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sv_status path_of(char **out, const char *folder, const char *form, size_t number, sv_error *err)
{
    char name[64];
    snprintf(name, sizeof name, form, number);
    return sv_path_join(out, folder, name, err);
}

/* ---- weights to begin with --------------------------------------------------------------------------------------- */

/* "selectors.2.fc_in.weight" with another number; "" where the stage has no place any more. Stages are counted from the last: new ones come in front. */
static void renumber(char *room, size_t bytes, const char *name, size_t old_stages, size_t stages)
{
    const char *dot = strchr(name, '.');
    char *rest = NULL;
    if (!sv_name_selects(name) || !dot) {
        snprintf(room, bytes, "%s", name);
        return;
    }
    const size_t behind = old_stages - 1 - strtoul(dot + 1, &rest, 10);
    room[0] = 0;
    if (behind < stages) snprintf(room, bytes, "%.*s%zu%s", (int)(dot + 1 - name), name, stages - 1 - behind, rest);
}

static sv_status renumber_file(const char *from, const char *to, size_t old_stages, size_t stages, sv_error *err)
{
    sv_weights *file = NULL;
    sv_weights_writer *writer = NULL;
    void **data = NULL;
    size_t count = 0;
    sv_status status = sv_weights_open(&file, from, err);
    if (!status) status = sv_weights_writer_create(&writer, err);
    if (!status) status = sv_alloc_zero(&data, (count = sv_weights_count(file)) * sizeof *data, "weights", err);
    for (size_t i = 0; !status && i < count; i++) {
        const sv_weights_entry *entry = sv_weights_at(file, i);
        char name[256];
        renumber(name, sizeof name, entry->name, old_stages, stages);
        if (!name[0]) continue;
        status = sv_alloc(&data[i], entry->count * sv_dtype_bytes(entry->dtype), "weights", err);
        if (!status) status = sv_weights_read_bytes(file, entry, data[i], err);
        if (!status) status = sv_weights_writer_add(writer, name, entry->dtype, entry->rank, entry->shape, data[i], err);
    }
    if (!status) status = sv_weights_write_safetensors(writer, to, SV_WITH_CRC, err);
    for (size_t i = 0; data && i < count; i++) sv_free(data[i]);
    sv_free(data);
    sv_weights_writer_destroy(writer);
    sv_weights_close(file);
    return status;
}

/* The weights of the last accepted trial, its selectors at their new numbers. */
static sv_status start_weights(char **out, const sv_trial_place *place, const sv_trial *trial, const char *folder, sv_error *err)
{
    char *from = NULL;
    sv_status status = path_of(&from, place->folder, "accepted-%zu.safetensors", place->best, err);
    if (!status) status = sv_folder_create(folder, err);
    if (!status) status = sv_path_join(out, folder, "start.safetensors", err);
    if (!status) status = renumber_file(from, *out, place->best_stages, trial->stages, err);
    sv_free(from);
    return status;
}

/* ---- a run -------------------------------------------------------------------------------------------------------- */

sv_status sv_trial_set_plan(sv_config *config, const sv_trial *trial, sv_error *err)
{
    sv_text at = { 0 }, keep = { 0 };
    for (size_t t = 0; t < trial->stages; t++) {
        sv_text_add(&at, "%s%zu", t ? "," : "", trial->at[t]);
        sv_text_add(&keep, "%s%.4g", t ? "," : "", trial->keep[t]);
    }
    sv_status status = trial->stages ? sv_text_check(&at, err) : SV_OK;
    if (!status && trial->stages) status = sv_text_check(&keep, err);
    if (!status && trial->stages) status = sv_config_set(config, "pruning.at", at.data, "search", err);
    if (!status && trial->stages) status = sv_config_set(config, "pruning.keep", keep.data, "search", err);
    if (!status && !trial->stages) status = sv_config_set(config, "pruning.method", "none", "search", err);
    sv_text_clear(&at);
    sv_text_clear(&keep);
    return status;
}

static sv_status set_all(sv_config *config, const sv_trial_place *place, const sv_trial *trial, const char *folder, const char *weights, sv_error *err)
{
    char hold_out[24], epochs[24];
    const bool trains = place->trains && trial->stages;
    snprintf(hold_out, sizeof hold_out, "%zu", place->hold_out);
    snprintf(epochs, sizeof epochs, "%zu", trains ? place->epochs : 0);
    const struct { const char *key, *value; } rows[] = {
        { "run.dir", folder }, { "run.tensorboard", "no" }, { "run.pictures", "0" }, { "data.hold_out", hold_out }, { "train.epochs", epochs },
        { "latency.budget", "" }, { "latency.table", "" }, { "latency.loss", "none" }, { "train.warmup_epochs", "0" }, { "train.frozen_epochs", "0" }, { "train.lr_jump_epoch", "0" },
        { "train.evaluate_every", "100000" }, { "train.max_steps", "0" }, { weights ? "model.weights" : NULL, weights }, { trains ? NULL : "pruning.rule", "topk" },
    };
    sv_status status = sv_trial_set_plan(config, trial, err);
    for (size_t i = 0; !status && i < SV_COUNT(rows); i++)
        if (rows[i].key) status = sv_config_set(config, rows[i].key, rows[i].value, "search", err);
    return status;
}

sv_status sv_trial_config(sv_config **out, const sv_trial_place *place, const sv_trial *trial, size_t number, sv_error *err)
{
    sv_config_group groups[SV_TRAIN_GROUPS_MOST];
    const size_t count = sv_train_config_groups(groups);
    sv_config *config = NULL;
    char *folder = NULL, *weights = NULL;
    sv_status status = path_of(&folder, place->folder, "trial-%zu", number, err);
    if (!status && place->trains && place->best && trial->stages) status = start_weights(&weights, place, trial, folder, err);
    if (!status) status = sv_config_create(&config, groups, count, err);
    if (!status) status = sv_config_read(config, place->config, err);
    if (!status) status = set_all(config, place, trial, folder, weights, err);
    sv_free(folder);
    sv_free(weights);
    if (status) sv_config_destroy(config);
    else *out = config;
    return status;
}

sv_status sv_trial_run(const sv_trial_place *place, sv_trial *trial, size_t number, sv_error *err)
{
    const sv_train_request request = { .unmeasured = true };
    const sv_level level = sv_log_level();
    sv_train_result result;
    sv_config *config = NULL;
    sv_status status = sv_trial_config(&config, place, trial, number, err);
    if (status) return status;
    if (level == SV_INFO) sv_log_set(NULL, NULL, SV_WARNING);
    status = sv_train(config, &request, &result, err);
    sv_log_set(NULL, NULL, level);
    sv_config_destroy(config);
    if (status) return sv_fail_within(err, "trial %zu", number);
    trial->images = result.images;
    trial->right = place->among ? result.right_among : result.right;
    return SV_OK;
}

sv_status sv_trial_keep(const sv_trial_place *place, size_t number, sv_error *err)
{
    char *from = NULL, *to = NULL, name[64];
    if (!place->trains) return SV_OK;
    snprintf(name, sizeof name, "trial-%zu/model.safetensors", number);
    sv_status status = sv_path_join(&from, place->folder, name, err);
    if (!status) status = path_of(&to, place->folder, "accepted-%zu.safetensors", number, err);
    if (!status && rename(from, to) != 0) status = sv_fail(err, SV_FAULT, "%s cannot be moved to %s", from, to);
    sv_free(from);
    sv_free(to);
    return status;
}

/* What cannot be removed stays: it is in nobody's way. */
void sv_trial_sweep(const sv_trial_place *place, size_t number, size_t replaced)
{
    static const char *const hidden = ".lock";
    sv_names names = { 0 };
    sv_error err = { 0 };
    char *folder = NULL, *path = NULL;
    if (!path_of(&folder, place->folder, "trial-%zu", number, &err) && sv_path_is_folder(folder) && !sv_folder_list(folder, SV_FAULT, &names, &err)) {
        for (size_t i = 0; i <= names.count; i++) {
            if (!sv_path_join(&path, folder, i < names.count ? names.items[i] : hidden, &err)) remove(path);
            sv_free(path);
            path = NULL;
        }
        rmdir(folder);
    }
    sv_names_clear(&names);
    sv_free(folder);
    if (replaced && !path_of(&path, place->folder, "accepted-%zu.safetensors", replaced, &err)) remove(path);
    sv_free(path);
}
