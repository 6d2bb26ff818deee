/* The [pruning] keys and what they become. Names and defaults are those of specs SPViT and DynamicViT; each default that differs from the reference's code is
 * listed in docs/decisions.md. */
#include "pruning/form.h"

#include <string.h>

#define AUTO "; auto: as the method has it, "
#define WORD(NAME, name) "|" #name
static const sv_config_row rows[] = {
    { "pruning.method", SV_CONFIG_CHOICE, "none", 0, 0, "none" SV_METHOD_ROWS(WORD), "none: the dense model; spvit: token selectors and package tokens; dynamicvit: token predictors, dropped tokens leave nothing behind; without anything learned: random: by chance; attention: by what the class token sees; evit: so too, inside the block, the others fused into a token; tome: the most similar tokens merge in every block (docs/methods.md)" },
    { "pruning.at", SV_CONFIG_INTS, "", 1, 1023, NULL, "blocks, counted from 0, in front of which a selector stands; rising. Empty: three that part the depth in four, as the papers have it (3,6,9 of 12; LV-ViT-S 4,8,12; LV-ViT-M 5,10,15)" },
    { "pruning.keep", SV_CONFIG_REALS, "0.7,0.49,0.343", 0.001, 1, NULL, "share of all patches kept behind each selector; not rising. Not given, or empty over a config that gives it: set by the solver from latency.budget, else 0.7, 0.7^2, ... Of tome one ratio, what is left behind the last block" },
    { "pruning.merge", SV_CONFIG_INT, "0", 0, 1000000, NULL, "tome: tokens merged in each block, r of its paper; another way to say pruning.keep. 0: by pruning.keep or latency.budget" },
    { "pruning.rule", SV_CONFIG_CHOICE, "auto", 0, 0, "threshold|topk|argmax|gumbel|auto", "how the deployed model decides: by calibrated thresholds (count differs per picture), the best k, a >= 0, or at random" AUTO "spvit threshold, the others topk" },
    { "pruning.min_keep", SV_CONFIG_INT, "1", 0, 1000000, NULL, "patches that always stay" },
    { "pruning.package_form", SV_CONFIG_CHOICE, "auto", 0, 0, "wavg|sum|mean|none|auto", "what dropped tokens become: average weighted by their scores (paper), sum (reference code), mean, nothing" AUTO "spvit wavg, evit sum, the others none, which can have no other" },
    { "pruning.package_empty", SV_CONFIG_CHOICE, "mask", 0, 0, "mask|keep_zero", "a package of nothing: left out, or kept as a row of zeros" },
    { "pruning.mask_eps", SV_CONFIG_REAL, "0", 0, 1, NULL, "added to masked attention in training; 0 is exact and makes steps cheaper, the reference has 1e-6" },
    { "pruning.mask_max", SV_CONFIG_CHOICE, "kept", 0, 0, "kept|all", "keys the softmax maximum is taken over; the reference: all" },
    { "pruning.mask_clamp", SV_CONFIG_REAL, "30", 1, 80, NULL, "largest exponent of a dropped key in the gradient of its decision" },
    { "pruning.tau", SV_CONFIG_REAL, "1", 0.01, 100, NULL, "temperature of the Gumbel-softmax" },
    { "pruning.selector_init_keep_bias", SV_CONFIG_BOOL, "yes", 0, 0, NULL, "selectors start at the target ratios instead of at one half" },
    { "pruning.ratio_scope", SV_CONFIG_CHOICE, "auto", 0, 0, "batch|image|auto", "whether the mean over the batch or each picture is pulled to the ratio" AUTO "spvit batch, dynamicvit image" },
    { "pruning.ratio_loss", SV_CONFIG_CHOICE, "auto", 0, 0, "penalty|lagrange|auto", "penalty: a fixed weight, drifts above the target (the papers); lagrange: a multiplier a stage meets it" AUTO "spvit lagrange, dynamicvit penalty" },
    { "pruning.ratio_weight", SV_CONFIG_REAL, "2", 0, 1e6, NULL, "weight of the penalty form" },
    { "pruning.multiplier_rate", SV_CONFIG_REAL, "0.5", 0, 1e6, NULL, "step of the multipliers of the Lagrange form, per optimizer step" },
    { "pruning.distill_weight", SV_CONFIG_REAL, "-1", -1, 1e6, NULL, "weight of KL(teacher || student) on class logits; -1: 0.5 with selectors, 0 without and with train.distillation" },
    { "pruning.token_weight", SV_CONFIG_REAL, "-1", -1, 1e6, NULL, "weight of the squared distance of kept tokens to the teacher's; -1: 0.5 with selectors and a teacher with as many patches of the same width, else 0" },
};
const sv_config_group sv_pruning_config = SV_CONFIG_GROUP(rows);

static const double FAMILY = 0.7; /* what pruning.keep begins with */

bool sv_pruning_keep_given(const sv_config *config)
{
    size_t count = 0;
    sv_config_reals(config, "pruning.keep", &count);
    return count && sv_config_given(config, "pruning.keep");
}

/* Three places that part the depth in four; fewer in models of less than four blocks. */
static size_t default_places(int64_t *at, size_t depth)
{
    size_t count = 0;
    for (size_t quarter = 1; quarter < 4; quarter++) {
        int64_t place = (int64_t)(quarter * depth / 4);
        if (place > (count ? at[count - 1] : 0)) at[count++] = place;
    }
    return count;
}

/* A grid behind the first may hold fewer patches than the model's first, which sv_pruning_options_read has looked at. */
static sv_status check_counts(const sv_pruning_plan *plan, const sv_config *config, sv_error *err)
{
    for (size_t t = 0; t < plan->stages; t++)
        if (plan->min_keep > plan->patches[t])
            return sv_fail(err, SV_USAGE, "%s: pruning.min_keep = %zu, but selector %zu stands on a grid of %zu patches", sv_config_where(config, "pruning.min_keep"), plan->min_keep,
                           t + 1, plan->patches[t]);
    return SV_OK;
}

static sv_status read_places(sv_pruning_plan *plan, const sv_config *config, const sv_model *model, sv_error *err)
{
    const size_t depth = sv_model_depth(model);
    size_t count = 0, keeps = 0;
    const int64_t *at = sv_config_ints(config, "pruning.at", &count);
    const double *keep = sv_config_reals(config, "pruning.keep", &keeps);
    const char *where = sv_config_where(config, "pruning.at");
    int64_t automatic[3];
    if (!count) count = default_places(automatic, depth), at = automatic;
    if (!count || count > SV_MOST_STAGES) return sv_fail(err, SV_USAGE, "%s: pruning.at names %zu places; expected 1 to %d", where, count, SV_MOST_STAGES);
    for (size_t t = 0; t < count; t++) {
        if ((size_t)at[t] >= depth)
            return sv_fail(err, SV_USAGE, "%s: pruning.at = %lld lies behind the last block; the model has blocks 0 to %zu", where, (long long)at[t], depth - 1);
        if (t && at[t] <= at[t - 1]) return sv_fail(err, SV_USAGE, "%s: pruning.at must rise, but %lld follows %lld", where, (long long)at[t], (long long)at[t - 1]);
        plan->at[t] = (size_t)at[t];
    }
    plan->stages = count;
    sv_plan_fit(plan, model);
    if (!sv_pruning_keep_given(config)) { /* the family of the default, for any number of selectors */
        double family[SV_MOST_STAGES];
        for (size_t t = 0; t < count; t++) family[t] = t ? family[t - 1] * FAMILY : FAMILY;
        sv_plan_set_keep(plan, family);
        return check_counts(plan, config, err);
    }
    where = sv_config_where(config, "pruning.keep");
    if (keeps != count) return sv_fail(err, SV_USAGE, "%s: pruning.keep has %zu ratios for the %zu selectors of pruning.at; give as many", where, keeps, count);
    for (size_t t = 1; t < count; t++)
        if (keep[t] > keep[t - 1] && sv_model_place(model, plan->at[t]).stage == sv_model_place(model, plan->at[t - 1]).stage)
            return sv_fail(err, SV_USAGE, "%s: pruning.keep rises from %g to %g; ratios are shares of all patches, and a dropped patch does not come back", where, keep[t - 1], keep[t]);
    sv_plan_set_keep(plan, keep);
    return check_counts(plan, config, err);
}

/* One stage: what is left behind the last block. Places of selectors are not looked at, so that one config serves all methods. */
static sv_status read_merging(sv_pruning_plan *plan, const sv_config *config, const sv_model *model, sv_error *err)
{
    const size_t depth = sv_model_depth(model), patches = sv_model_patches(model);
    size_t keeps = 0, each = (size_t)sv_config_int(config, "pruning.merge"), kept = 0;
    const double *keep = sv_config_reals(config, "pruning.keep", &keeps);
    plan->stages = 1;
    plan->at[0] = 0;
    if (plan->rule != SV_RULE_TOPK)
        return sv_fail(err, SV_USAGE, "%s: pruning.rule = %s, but tome decides nothing by scores; leave it auto", sv_config_where(config, "pruning.rule"), sv_config_text(config, "pruning.rule"));
    if (each && sv_pruning_keep_given(config))
        return sv_fail(err, SV_USAGE, "%s: pruning.merge = %zu and pruning.keep say the same thing; give one of them", sv_config_where(config, "pruning.merge"), each);
    if (sv_pruning_keep_given(config) && keeps != 1)
        return sv_fail(err, SV_USAGE, "%s: pruning.keep has %zu ratios; tome has one, the share of patches left behind the last block", sv_config_where(config, "pruning.keep"), keeps);
    sv_plan_fit(plan, model);
    sv_plan_set_keep(plan, keeps ? keep : &FAMILY);
    if (!each) return SV_OK;
    for (size_t i = kept = 0, left = patches; i < depth; i++) kept = left -= each < left / 2 ? each : left / 2;
    if (each * depth + kept > patches)
        return sv_fail(err, SV_USAGE, "%s: pruning.merge = %zu in each of %zu blocks is more than %zu patches allow, which a block can at most halve", sv_config_where(config, "pruning.merge"), each, depth, patches);
    plan->keep[0] = (double)kept / (double)patches;
    plan->count[0] = kept;
    return SV_OK;
}

sv_status sv_pruning_check_model(const sv_config *config, const sv_model *model, sv_error *err)
{
    const size_t choice = sv_config_choice(config, "pruning.method"); /* none, then the methods in order */
    char why[512];
    if (!choice || sv_form_find((sv_method)(choice - 1), model)) return SV_OK;
    return sv_fail(err, SV_USAGE, "%s: pruning.method = %s does not fit %s: %s; set pruning.method = none, or take a backbone such as deit_s",
                   sv_config_where(config, "pruning.method"), sv_config_text(config, "pruning.method"), model->backbone->name,
                   sv_form_misfits(why, sizeof why, (sv_method)(choice - 1), model));
}

void sv_plan_fit(sv_pruning_plan *plan, const sv_model *model)
{
    for (size_t t = 0; t < plan->stages; t++) plan->patches[t] = sv_model_place(model, plan->at[t]).patches;
}

void sv_plan_fit_grid(sv_pruning_plan *plan, size_t patches)
{
    for (size_t t = 0; t < plan->stages; t++) plan->patches[t] = patches;
}

size_t sv_plan_patches_most(const sv_pruning_plan *plan)
{
    size_t most = 0;
    for (size_t t = 0; t < plan->stages; t++)
        if (plan->patches[t] > most) most = plan->patches[t];
    return most;
}

void sv_plan_set_keep(sv_pruning_plan *plan, const double *keep)
{
    for (size_t t = 0; t < plan->stages; t++) {
        plan->keep[t] = keep[t];
        plan->count[t] = (size_t)((double)plan->patches[t] * keep[t] + 1e-9);
        if (plan->count[t] < plan->min_keep) plan->count[t] = plan->min_keep;
    }
}

/* A weight that is not given: of the papers with selectors, none without. */
static double weight_or(const sv_config *config, const char *key, bool selects)
{
    double weight = sv_config_real(config, key);
    return weight >= 0 ? weight : selects ? 0.5 : 0;
}

/* A choice whose last word is auto: then the method's own. */
static size_t choice_or(const sv_config *config, const char *key, size_t automatic, size_t of_method)
{
    size_t choice = sv_config_choice(config, key);
    return choice == automatic ? of_method : choice;
}

/* What methods decide for themselves unless told. */
static sv_status read_method(sv_pruning_options *o, const sv_config *config, sv_method method, sv_error *err)
{
    const sv_pruning_method *m = sv_pruning_method_of(method);
    o->plan.method = method;
    o->plan.rule = (sv_decision_rule)choice_or(config, "pruning.rule", SV_RULE_GUMBEL + 1, m->rule);
    o->plan.package = (sv_package_choice)choice_or(config, "pruning.package_form", SV_CHOICE_NONE + 1, m->package);
    o->ratio_per_image = choice_or(config, "pruning.ratio_scope", 2, m->ratio_per_image) == 1;
    o->ratio_form = (sv_ratio_form)choice_or(config, "pruning.ratio_loss", SV_RATIO_LAGRANGE + 1, m->ratio_form);
    if (m->packs || o->plan.package == SV_CHOICE_NONE) return SV_OK;
    return sv_fail(err, SV_USAGE, "%s: pruning.package_form = %s, but %s has no package tokens; set none or auto", sv_config_where(config, "pruning.package_form"),
                   sv_config_text(config, "pruning.package_form"), m->name);
}

sv_status sv_pruning_options_read(sv_pruning_options *o, const sv_config *config, const sv_model *model, sv_error *err)
{
    const size_t patches = sv_model_patches(model);
    memset(o, 0, sizeof *o);
    size_t choice = sv_config_choice(config, "pruning.method"); /* none, then the methods in order */
    bool selects = choice > 0;
    sv_status status = read_method(o, config, selects ? (sv_method)(choice - 1) : SV_METHOD_SPVIT, err);
    if (status) return status;
    o->plan.empty = (sv_package_empty)sv_config_choice(config, "pruning.package_empty");
    o->plan.min_keep = (size_t)sv_config_int(config, "pruning.min_keep");
    for (size_t t = 0; t < SV_MOST_STAGES; t++) o->plan.threshold[t] = 0.5;
    o->mask_eps = sv_config_real(config, "pruning.mask_eps");
    o->mask_all = sv_config_choice(config, "pruning.mask_max") == 1;
    o->mask_clamp = sv_config_real(config, "pruning.mask_clamp");
    o->tau = sv_config_real(config, "pruning.tau");
    o->keep_bias = sv_config_bool(config, "pruning.selector_init_keep_bias");
    o->ratio_weight = sv_config_real(config, "pruning.ratio_weight");
    o->multiplier_rate = sv_config_real(config, "pruning.multiplier_rate");
    o->kl_weight = weight_or(config, "pruning.distill_weight", selects);
    o->token_weight = weight_or(config, "pruning.token_weight", selects);
    if (o->plan.min_keep > patches)
        return sv_fail(err, SV_USAGE, "%s: pruning.min_keep = %zu, but a picture has %zu patches", sv_config_where(config, "pruning.min_keep"), o->plan.min_keep, patches);
    if (!selects) return SV_OK;
    const sv_pruning_method *m = sv_pruning_method_of(o->plan.method);
    if (m->fixed) o->ratio_form = SV_RATIO_PENALTY; /* nothing is pulled, no multiplier moves */
    if (m->merges && sv_config_real(config, "pruning.token_weight") < 0) o->token_weight = 0; /* a merged token is no patch of the teacher's */
    if (sv_config_int(config, "pruning.merge") > 0 && !m->merges)
        return sv_fail(err, SV_USAGE, "%s: pruning.merge is of tome alone; %s has pruning.keep", sv_config_where(config, "pruning.merge"), m->name);
    return m->merges ? read_merging(&o->plan, config, model, err) : read_places(&o->plan, config, model, err);
}
