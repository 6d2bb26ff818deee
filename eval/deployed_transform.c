/* What a picture must go through before a deployed model sees it: the [data] keys of the config that is stored with the model. Of that config only
 * these keys are read: its other sections belong to folders that deployment does not know. */
#include "data/data.h"
#include "eval/eval.h"

#include <stdio.h>
#include <string.h>

/* What sv_transform_evaluation reads; the size is the model's. */
static const char *const keys[] = { "data.interpolation", "data.resize_order", "data.crop_ratio",
                                    "data.crop_round",    "data.mean",         "data.deviation" };
enum { LONGEST_LINE = 256 };

static bool wanted(const char *key)
{
    for (size_t i = 0; i < SV_COUNT(keys); i++)
        if (strcmp(keys[i], key) == 0) return true;
    return false;
}

/* A line as sv_config_print writes it: "[section]" or "key = value"; plain, for none of these values needs quotes. */
static sv_status take_line(sv_config *config, char *line, bool *inside, sv_error *err)
{
    char key[LONGEST_LINE + 8], *equals = strstr(line, " = ");
    if (line[0] == '[') *inside = strcmp(line, "[data]") == 0;
    if (!*inside || !equals) return SV_OK;
    *equals = 0;
    snprintf(key, sizeof key, "data.%s", line);
    return wanted(key) ? sv_config_set(config, key, equals + 3, "the config stored in the model", err) : SV_OK;
}

static sv_status take_text(sv_config *config, const char *text, sv_error *err)
{
    char line[LONGEST_LINE];
    bool inside = false;
    sv_status status = SV_OK;
    while (!status && *text) {
        size_t length = strcspn(text, "\n");
        if (length < sizeof line) { /* none of these keys is as long */
            memcpy(line, text, length);
            line[length] = 0;
            status = take_line(config, line, &inside, err);
        }
        text += length + (text[length] == '\n');
    }
    return status;
}

sv_status sv_deployed_transform(const sv_deployed *deployed, sv_transform_options *out, sv_error *err)
{
    const sv_config_group group = { sv_data_rows, sv_data_row_count };
    sv_config *config = NULL;
    sv_data_options options;
    sv_status status = sv_config_create(&config, &group, 1, err);
    if (!status && deployed->config) status = take_text(config, deployed->config, err);
    if (!status) status = sv_data_options_read(config, &options, err);
    if (!status) {
        *out = options.transform;
        out->size = deployed->model->options.image;
    } else if (status == SV_USAGE) {
        (void)sv_fail_within(err, "the model file is damaged");
        status = SV_MODEL_FILE; /* nobody typed these values */
        if (err) err->code = status;
    }
    sv_config_destroy(config);
    return status;
}
