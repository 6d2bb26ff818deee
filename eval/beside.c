#include "eval/beside.h"
#include "formats/weights.h"

#include <stdio.h>
#include <string.h>

sv_status sv_deployed_setting(const sv_deployed *deployed, const char *section, const char *key, char **out, sv_error *err)
{
    const size_t section_length = strlen(section), key_length = strlen(key);
    sv_text found = { 0 };
    bool inside = false;
    for (const char *at = deployed->config ? deployed->config : ""; *at;) {
        const size_t length = strcspn(at, "\n");
        if (*at == '[') inside = length == section_length + 2 && memcmp(at + 1, section, section_length) == 0;
        else if (inside && !found.length && length > key_length + 3 && memcmp(at, key, key_length) == 0 && memcmp(at + key_length, " = ", 3) == 0)
            sv_text_add_bytes(&found, at + key_length + 3, length - key_length - 3);
        at += length + (at[length] == '\n');
    }
    if (found.length >= 2 && found.data[0] == '"' && found.data[found.length - 1] == '"') { /* quotes keep spaces at the ends */
        memmove(found.data, found.data + 1, found.length - 2);
        found.data[found.length - 2] = 0;
    }
    sv_status status = sv_text_check(&found, err);
    if (!status) status = sv_text_copy(out, found.data, err);
    sv_text_clear(&found);
    return status;
}

sv_status sv_deployed_open(sv_deployed *out, const char *path, const char *arch, size_t image, size_t classes, sv_error *err)
{
    sv_weights *file = NULL;
    sv_status status = sv_weights_open(&file, path, err);
    const bool ours = !status && sv_weights_metadata(file, "sieve.model");
    sv_weights_close(file);
    if (status) return status;
    return ours ? sv_deployed_load(out, path, err) : sv_deployed_from_weights(out, arch, path, image, classes, err);
}

sv_status sv_deployed_open_teacher(sv_deployed *out, const sv_deployed *deployed, sv_error *err)
{
    char *teacher = NULL, *arch = NULL, *weights = NULL;
    const char *backbone;
    sv_deployed made = { 0 };
    sv_status status = sv_deployed_setting(deployed, "train", "teacher", &teacher, err);
    if (!status) status = sv_deployed_setting(deployed, "train", "teacher_arch", &arch, err);
    if (!status) status = sv_deployed_setting(deployed, "model", "weights", &weights, err);
    if (!status && !teacher[0] && !weights[0])
        status = sv_fail(err, SV_USAGE, "--beside " SV_BESIDE_TEACHER ": the run that made this model names no weights it started or learned from; give the file: --beside FILE");
    if (!status) {
        backbone = teacher[0] && arch[0] ? arch : deployed->model->backbone->name;
        status = sv_deployed_open(&made, teacher[0] ? teacher : weights, backbone, deployed->model->options.image, deployed->model->options.classes, err);
    }
    if (!status) {
        made.plan.stages = 0; /* the dense model teaches */
        *out = made;
    } else if (status != SV_USAGE) {
        (void)sv_fail_within(err, "--beside " SV_BESIDE_TEACHER);
    }
    sv_free(teacher);
    sv_free(arch);
    sv_free(weights);
    return status;
}
