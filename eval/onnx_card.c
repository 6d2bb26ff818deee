/* The model card in the metadata of an export: what it is, what it was trained on and how well, how fast where, under which licence. What the
 * checkpoint does not tell is left out, not guessed. */
#include "eval/onnx_inside.h"
#include "formats/weights.h"

#include <stdio.h>
#include <string.h>

static void put(sv_onnx_mapping *m, sv_text *text, const char *key)
{
    if (text->data && text->length && !text->failed) sv_onnx_metadata(m->graph, key, text->data);
    sv_text_clear(text);
}

/* The value of "key = value" in a section of a resolved config; empty where there is none. */
static void config_value(const char *config, const char *section, const char *key, char room[512])
{
    char wanted[64];
    const char *at = NULL;
    room[0] = 0;
    snprintf(wanted, sizeof wanted, "[%s]\n", section);
    at = config ? strstr(config, wanted) : NULL;
    snprintf(wanted, sizeof wanted, "%s = ", key);
    while (at && (at = strchr(at, '\n')) && at[1] != '[') {
        at++;
        if (strncmp(at, wanted, strlen(wanted)) != 0) continue;
        at += strlen(wanted);
        snprintf(room, 512, "%.*s", (int)(strcspn(at, "\n") < 511 ? strcspn(at, "\n") : 511), at);
        return;
    }
}

static void add_data(sv_onnx_mapping *m)
{
    char train[512], val[512], mean[512], deviation[512];
    sv_text text = { 0 };
    config_value(m->d->config, "data", "train", train);
    config_value(m->d->config, "data", "val", val);
    config_value(m->d->config, "data", "mean", mean);
    config_value(m->d->config, "data", "deviation", deviation);
    if (train[0]) sv_text_add(&text, "trained on %s%s%s", train, val[0] ? ", checked on " : "", val);
    put(m, &text, "data");
    sv_text_add(&text, "RGB / 255, minus mean (%s), by deviation (%s); channels first", mean[0] ? mean : "0.485,0.456,0.406",
                deviation[0] ? deviation : "0.229,0.224,0.225");
    put(m, &text, "input");
}

/* "best X" of a run's state: the best top-1 on its validation pictures, -1 where there was none. */
static sv_status add_accuracy(sv_onnx_mapping *m, const char *source, sv_error *err)
{
    sv_weights *file = NULL;
    sv_text text = { 0 };
    double best = -1;
    sv_status status = sv_weights_open(&file, source, err);
    if (status) return status;
    const char *state = sv_weights_metadata(file, "sieve.state"), *line = state ? strstr(state, "\nbest ") : NULL;
    char number[64] = { 0 };
    if (line) snprintf(number, sizeof number, "%.*s", (int)strcspn(line + 6, "\n") < 60 ? (int)strcspn(line + 6, "\n") : 60, line + 6);
    if (line && sv_parse_real(number, &best) && best >= 0) sv_text_add(&text, "top-1 %.2f %%, the best of its run", 100 * best);
    put(m, &text, "accuracy");
    sv_weights_close(file);
    return SV_OK;
}

static void add_plan(sv_onnx_mapping *m)
{
    const sv_pruning_plan *plan = m->plan;
    static const char *const forms[] = {
        [SV_CHOICE_WAVG] = "weighted average", [SV_CHOICE_SUM] = "sum", [SV_CHOICE_MEAN] = "mean", [SV_CHOICE_NONE] = "none"
    };
    const bool is_static = m->options.mode == SV_ONNX_STATIC;
    sv_text text = { 0 };
    if (!plan->stages) {
        sv_onnx_metadata(m->graph, "pruning", "none");
        return;
    }
    sv_text_add(&text, "SPViT, %s, package token: %s",
                is_static ? "static: a fixed number of patches by rank" : "dynamic: by thresholds, one picture at a time",
                forms[plan->package]);
    put(m, &text, "pruning");
    for (size_t t = 0; t < plan->stages; t++) sv_text_add(&text, "%s%.4f before block %zu", t ? ", " : "", plan->keep[t], plan->at[t]);
    put(m, &text, "keep_ratios");
    for (size_t t = 0; t < plan->stages; t++) {
        if (is_static)
            sv_text_add(&text, "%s%zu", t ? "," : "", plan->count[t]);
        else
            sv_text_add(&text, "%s%.9g", t ? "," : "", plan->rule == SV_RULE_ARGMAX ? 0.5 : plan->threshold[t]);
    }
    put(m, &text, is_static ? "tokens_kept" : "thresholds");
}

sv_status sv_onnx_card(sv_onnx_mapping *m, const char *source, double ms, sv_error *err)
{
    const sv_model *model = m->d->model;
    char machine[256];
    sv_text text = { 0 };
    sv_status status = source ? add_accuracy(m, source, err) : SV_OK;
    if (status) return status;
    sv_text_add(&text, "%s, pictures of %zu x %zu, %zu classes", model->backbone->name, model->options.image, model->options.image,
                model->options.classes);
    put(m, &text, "model");
    sv_onnx_metadata(m->graph, "tool", "Sieve " SV_VERSION);
    sv_onnx_metadata(m->graph, "weights",
                     m->options.weights == SV_ONNX_FLOAT     ? "float32"
                     : m->options.weights == SV_ONNX_FLOAT16 ? "float16, computed in float32"
                                                             : "bfloat16, computed in float32");
    add_plan(m);
    add_data(m);
    sv_text_add(&text, "%.3f ms a picture at batch 1 in Sieve (fp32, %zu threads) on %s%s", ms, sv_threads(),
                sv_machine_name(machine, sizeof machine), sv_machine_load() > (double)sv_cores() ? ", which was busy with other work" : "");
    put(m, &text, "latency");
    if (m->options.licence) sv_onnx_metadata(m->graph, "licence", m->options.licence);
    if (m->d->classes) sv_onnx_metadata(m->graph, "classes", m->d->classes);
    return SV_OK;
}
