/* See card.h. */
#include "eval/card.h"
#include "formats/weights.h"

#include <stdio.h>
#include <string.h>

typedef struct telling {
    const sv_card *card;
    sv_card_sink *sink;
    void *context;
} telling;

static void put(const telling *t, sv_text *text, const char *key)
{
    if (text->data && text->length && !text->failed) t->sink(t->context, key, text->data);
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

static void tell_model(const telling *t)
{
    const sv_model *model = t->card->model;
    const sv_pruning_plan *plan = t->card->plan;
    sv_text text = { 0 };
    sv_text_add(&text, "%s, pictures of %zu x %zu, %zu classes, %zu parameters", model->backbone->name, model->options.image,
                model->options.image, model->options.classes, sv_model_parameter_count(model));
    put(t, &text, "model");
    sv_text_add(&text, "%.3f GMAC a picture dense", 1e-9 * (double)sv_model_macs(model));
    if (plan->stages)
        sv_text_add(&text, ", %.3f GMAC pruned at the plan's counts", 1e-9 * (double)sv_pruned_macs(model, plan, plan->count));
    put(t, &text, "work");
}

static void tell_plan(const telling *t)
{
    static const char *const forms[] = {
        [SV_CHOICE_WAVG] = "weighted average", [SV_CHOICE_SUM] = "sum", [SV_CHOICE_MEAN] = "mean", [SV_CHOICE_NONE] = "none"
    };
    const sv_pruning_plan *plan = t->card->plan;
    const bool by_rank = plan->rule == SV_RULE_TOPK;
    sv_text text = { 0 };
    if (!plan->stages) {
        t->sink(t->context, "pruning", "none");
        return;
    }
    sv_text_add(&text, "%s, %s, package token: %s", sv_method_title(plan->method),
                by_rank ? "static: a fixed number of patches by rank" : "dynamic: by thresholds, each picture its own number",
                forms[plan->package]);
    put(t, &text, "pruning");
    for (size_t i = 0; i < plan->stages; i++) sv_text_add(&text, "%s%.4f before block %zu", i ? ", " : "", plan->keep[i], plan->at[i]);
    put(t, &text, "keep_ratios");
    for (size_t i = 0; i < plan->stages; i++) {
        if (by_rank)
            sv_text_add(&text, "%s%zu", i ? "," : "", plan->count[i]);
        else
            sv_text_add(&text, "%s%.9g", i ? "," : "", plan->rule == SV_RULE_ARGMAX ? 0.5 : plan->threshold[i]);
    }
    put(t, &text, by_rank ? "tokens_kept" : "thresholds");
}

static void tell_data(const telling *t)
{
    char train[512], val[512], mean[512], deviation[512];
    sv_text text = { 0 };
    config_value(t->card->config, "data", "train", train);
    config_value(t->card->config, "data", "val", val);
    config_value(t->card->config, "data", "mean", mean);
    config_value(t->card->config, "data", "deviation", deviation);
    if (train[0]) sv_text_add(&text, "trained on %s%s%s", train, val[0] ? ", checked on " : "", val);
    put(t, &text, "data");
    sv_text_add(&text, "RGB / 255, minus mean (%s), by deviation (%s); channels first", mean[0] ? mean : "0.485,0.456,0.406",
                deviation[0] ? deviation : "0.229,0.224,0.225");
    put(t, &text, "input");
}

void sv_card_tell(const sv_card *card, sv_card_sink *sink, void *context)
{
    const telling t = { card, sink, context };
    char licence[512];
    config_value(card->config, "model", "licence", licence);
    tell_model(&t);
    tell_plan(&t);
    sink(context, "weights", card->weights);
    tell_data(&t);
    if (card->accuracy && card->accuracy[0]) sink(context, "accuracy", card->accuracy);
    if (card->latency && card->latency[0]) sink(context, "latency", card->latency);
    if (card->licence || licence[0]) sink(context, "licence", card->licence ? card->licence : licence);
    sink(context, "tool", "Sieve " SV_VERSION);
}

static void add_line(void *context, const char *key, const char *value) { sv_text_add(context, "%s: %s\n", key, value); }

void sv_card_print(const sv_card *card, sv_text *text) { sv_card_tell(card, add_line, text); }

/* ---- what others said -------------------------------------------------------------------------------------------- */

static void copy_line(char room[256], const char *from)
{
    const size_t length = strcspn(from, "\n");
    snprintf(room, 256, "%.*s", (int)(length < 255 ? length : 255), from);
}

sv_status sv_card_accuracy(const char *path, char room[256], sv_error *err)
{
    sv_weights *file = NULL;
    double best = -1;
    sv_status status = sv_weights_open(&file, path, err);
    if (status) return status;
    const char *card = sv_weights_metadata(file, "sieve.card"), *said = card ? strstr(card, "\naccuracy: ") : NULL,
               *state = sv_weights_metadata(file, "sieve.state"), *line = state ? strstr(state, "\nbest ") : NULL;
    room[0] = 0;
    if (said) {
        copy_line(room, said + strlen("\naccuracy: "));
    } else if (line) {
        copy_line(room, line + strlen("\nbest "));
        if (sv_parse_real(room, &best) && best >= 0)
            snprintf(room, 256, "top-1 %.2f %%, the best of its run", 100 * best);
        else
            room[0] = 0;
    }
    sv_weights_close(file);
    return SV_OK;
}

void sv_card_latency(double ms, char room[512])
{
    char machine[256];
    snprintf(room, 512, "%.3f ms a picture at batch 1 in Sieve (fp32, %zu threads) on %s%s", ms, sv_threads(),
             sv_machine_name(machine, sizeof machine), sv_machine_load() > (double)sv_cores() ? ", which was busy with other work" : "");
}
