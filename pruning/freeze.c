/* The freezing form, for backbones of several stages (PiT, Swin; spec SPViT on other backbones 3.4, 4.5, 4.9): what is dropped inside a stage stays in
 * the grid as it was when it was dropped, x_i <- D_i block(x)_i + (1 - D_i) x_i; blocks run on living rows, dropped ones are no keys. The step to the
 * next stage reads the whole grid, and behind it every patch lives again. One package token takes in what all selectors drop; it stands behind the
 * grid, crosses steps with it and is part of every block from then on. Both forms are the same sums in the same order.
 * Letters: E prefix rows, N patches of the stage's grid. Rows of a grid: prefix, patches, package. */
#include "pruning/form.h"

static const char *freeze_misfit(const sv_model *model)
{
    return model->backbone->family->among ? NULL : sv_model_unfit(model) ? sv_model_unfit(model) : "its blocks never see a part of their patches";
}

static sv_status freeze_check(const sv_model *model, const sv_pruning_options *options, sv_error *err)
{
    if (options->mask_eps <= 0 && !options->mask_all) return SV_OK;
    return sv_fail(err, SV_USAGE, "%s is pruned by freezing, which is exact alone: set pruning.mask_eps = 0 and pruning.mask_max = kept", model->backbone->name);
}

/* What goes from block to block. Beside grid all is NULL before the first selector. */
typedef struct frozen {
    sv_place at;
    sv_tensor *grid;            /* [E+N, D], with a package [E+N+1, D]; deployed: of rows that are away in `rows` an older value */
    sv_tensor *package_policy, *weight; /* [1,1] whether there is something in the package, and how much; NULL without packages */
    sv_tensor *policy;          /* [E+N+1, 1] who lives; NULL: all */
    sv_tensor *order;           /* SV_INDEX, rows of the grid, living ones first */
    sv_tensor *live, *place;    /* policy and patch numbers (below 0: none) in that order */
    sv_tensor *rows;            /* deployed: living rows, as order has them; NULL: they stand in the grid */
} frozen;

typedef struct freezer {
    sv_tape *tape;
    const sv_pruning *pruning;
    const sv_pruning_plan *plan;
    bool removes;               /* deployed */
    size_t prefix;
} freezer;

/* ---- rows ---------------------------------------------------------------------------------------------------------- */

static size_t cells_of(const freezer *f, const frozen *s) { return f->prefix + s->at.patches; }

/* Patch numbers of the grid's rows: below 0 for prefix rows, -2 for the package. */
static sv_tensor *places(const freezer *f, const frozen *s)
{
    sv_tensor *cells = sv_tape_slice_rows(f->tape, s->grid, 0, cells_of(f, s)), *numbers = sv_tape_count_up(f->tape, cells, -(int64_t)f->prefix);
    return s->weight ? sv_tape_concat_rows(f->tape, numbers, sv_tape_fill_index(f->tape, cells, 1, -2)) : numbers;
}

/* Rows that are away go back to their places. */
static void put_back(const freezer *f, frozen *s)
{
    if (s->rows) s->grid = sv_tape_put_rows(f->tape, s->grid, s->rows, s->order, NULL);
    s->rows = NULL;
}

/* From now on these of the grid live: keep [N,1], NULL all patches; the package as its policy says. */
static void set_living(const freezer *f, frozen *s, sv_tensor *keep)
{
    sv_tape *tape = f->tape;
    const size_t sure = keep ? f->prefix : cells_of(f, s);
    sv_tensor *policy = sure ? sv_tape_fill(tape, s->grid, sure, 1) : keep;
    if (sure && keep) policy = sv_tape_concat_rows(tape, policy, keep);
    if (s->weight) policy = sv_tape_concat_rows(tape, policy, s->package_policy);
    s->policy = policy;
    s->order = sv_tape_live_order(tape, policy);
    s->live = sv_tape_gather_rows(tape, policy, s->order, SV_TAKE_ALL_LIVE);
    s->place = sv_tape_gather_rows(tape, places(f, s), s->order, f->removes ? SV_TAKE_LIVE : SV_TAKE_ALL);
    s->rows = f->removes ? sv_tape_gather_rows(tape, s->grid, s->order, SV_TAKE_LIVE) : NULL;
    sv_tape_keep(tape, s->place); /* work is counted by it */
}

/* ---- selectors ----------------------------------------------------------------------------------------------------- */

/* What selector t sees: all rows behind the prefix; deployed, the living ones. */
static sv_cut scored(const freezer *f, const frozen *s)
{
    sv_tape *tape = f->tape;
    sv_tensor *x = s->rows ? s->rows : s->grid, *origin = s->rows ? s->place : places(f, s);
    sv_cut cut = { .u = sv_tape_slice_rows(tape, x, f->prefix, 0), .origin = sv_tape_slice_rows(tape, origin, f->prefix, 0) };
    cut.before = s->policy && !s->rows ? sv_tape_slice_rows(tape, s->policy, f->prefix, 0) : sv_tape_fill(tape, cut.u, 0, 1);
    return cut;
}

/* The package takes in what was dropped, and the grid goes on with it. */
static void pack(const freezer *f, frozen *s, sv_cut *cut)
{
    static const sv_package_form forms[] = { [SV_CHOICE_WAVG] = SV_PACKAGE_WAVG, [SV_CHOICE_SUM] = SV_PACKAGE_SUM, [SV_CHOICE_MEAN] = SV_PACKAGE_MEAN };
    sv_tape *tape = f->tape;
    const sv_package_choice form = f->plan->package;
    if (form == SV_CHOICE_NONE) return;
    sv_tensor *cells = sv_tape_slice_rows(tape, s->grid, 0, cells_of(f, s)), *old = s->weight ? sv_tape_slice_rows(tape, s->grid, cells_of(f, s), 1) : NULL;
    cut->package = sv_tape_carry_package(tape, cut->u, cut->before, cut->keep, cut->score, old, &s->weight, forms[form], f->plan->empty, &s->package_policy);
    cut->package_policy = s->package_policy;
    s->grid = sv_tape_concat_rows(tape, cells, cut->package);
}

/* Decisions by patch: deployed, they were made of living rows alone. */
static sv_tensor *by_patch(const freezer *f, const frozen *s, const sv_cut *cut)
{
    return f->removes ? sv_tape_scatter_rows(f->tape, cut->keep, cut->origin, s->at.patches) : sv_tape_slice_rows(f->tape, cut->keep, 0, s->at.patches);
}

/* ---- blocks -------------------------------------------------------------------------------------------------------- */

/* The step to the stage that block i opens. Ends a segment. */
static void enter(const freezer *f, frozen *s, size_t i)
{
    const sv_model *model = f->pruning->model;
    put_back(f, s);
    sv_tensor *grid = sv_model_enter(f->tape, model, i, s->grid);
    if (grid == s->grid) return;
    *s = (frozen){ .at = sv_model_place(model, i), .grid = grid, .weight = s->weight, .package_policy = s->package_policy };
    if (s->weight) set_living(f, s, NULL);
    sv_tape_cut(f->tape);
}

static void block(const freezer *f, frozen *s, size_t i)
{
    sv_tape *tape = f->tape;
    const sv_model *model = f->pruning->model;
    if (!s->policy) {
        s->grid = sv_model_block_inside(tape, model, i, s->grid, NULL);
        return;
    }
    if (f->removes) {
        s->rows = sv_model_block_among(tape, model, i, s->rows, s->place, NULL);
    } else {
        sv_tensor *x = sv_tape_gather_rows(tape, s->grid, s->order, SV_TAKE_ALL), *moved = sv_model_block_among(tape, model, i, x, s->place, s->live);
        s->grid = sv_tape_put_rows(tape, s->grid, moved, s->order, s->live);
    }
    sv_tape_cut(tape);
}

/* Whether block i stands in front of another grid than s has. */
static bool opens(const freezer *f, const frozen *s, size_t i) { return sv_model_place(f->pruning->model, i).stage != s->at.stage; }

/* ---- the masked student -------------------------------------------------------------------------------------------- */

static void mask_stage(sv_training_tape *out, const freezer *f, frozen *s, size_t t, const sv_training_choice *choice)
{
    sv_cut cut = scored(f, s);
    sv_training_decide(out, f->pruning, choice, t, &cut);
    pack(f, s, &cut);
    set_living(f, s, by_patch(f, s, &cut));
    sv_training_keep_stage(out, &cut, t, choice);
}

/* The head reads frozen cells too where it reads all; tokens are compared where they live. */
static sv_student finish(const freezer *f, const frozen *s, bool tokens)
{
    sv_tape *tape = f->tape;
    const sv_model *model = f->pruning->model;
    sv_tensor *cells = sv_tape_slice_rows(tape, s->grid, 0, cells_of(f, s));
    sv_student student = { .finished = sv_model_finish(tape, model, tokens ? cells : sv_model_head_rows(tape, model, cells)) };
    if (!tokens) return student;
    student.tokens = s->policy ? sv_tape_gather_rows(tape, student.finished, s->order, SV_TAKE_ALL) : student.finished;
    student.origin = s->policy ? s->place : sv_tape_count_up(tape, student.finished, -(int64_t)f->prefix);
    return student;
}

static sv_student freeze_student(sv_training_tape *out, const sv_pruning *pruning, const sv_training_choice *choice, bool tokens)
{
    const sv_pruning_plan *plan = &pruning->options.plan;
    const freezer f = { .tape = out->tape, .pruning = pruning, .plan = plan, .prefix = sv_model_prefix(pruning->model) };
    frozen s = { .at = sv_model_place(pruning->model, 0), .grid = sv_model_embed(out->tape, pruning->model, out->picture) };
    for (size_t i = 0, t = 0; i < sv_model_depth(pruning->model); i++) {
        if (opens(&f, &s, i)) enter(&f, &s, i);
        if (t < plan->stages && plan->at[t] == i) mask_stage(out, &f, &s, t++, choice);
        block(&f, &s, i);
    }
    return finish(&f, &s, tokens);
}

/* ---- the deployed form --------------------------------------------------------------------------------------------- */

static void remove_stage(sv_removal_tape *out, const freezer *f, frozen *s, size_t t)
{
    sv_cut cut = scored(f, s);
    sv_removal_decide(out, f->pruning, f->plan, t, &cut);
    put_back(f, s);
    pack(f, s, &cut);
    set_living(f, s, by_patch(f, s, &cut));
    sv_removal_keep_stage(out, &cut, t, s->place);
}

static sv_tensor *freeze_deployed(sv_removal_tape *out, const sv_pruning *pruning, const sv_pruning_plan *plan, sv_tensor **kept)
{
    (void)kept;
    const sv_model *model = pruning->model;
    const freezer f = { .tape = out->tape, .pruning = pruning, .plan = plan, .removes = true, .prefix = sv_model_prefix(model) };
    frozen s = { .at = sv_model_place(model, 0), .grid = sv_model_embed(out->tape, model, out->picture) };
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        if (opens(&f, &s, i)) enter(&f, &s, i);
        if (t < plan->stages && plan->at[t] == i) remove_stage(out, &f, &s, t++);
        block(&f, &s, i);
    }
    put_back(&f, &s);
    return sv_model_head_rows(out->tape, model, sv_tape_slice_rows(out->tape, s.grid, 0, cells_of(&f, &s)));
}

/* ---- parts --------------------------------------------------------------------------------------------------------- */

/* Until something was dropped blocks run over the whole grid; with a package in it, over what lives, if that is all. */
static void freeze_parts(const sv_pruning_plan *plan, sv_part_list *list)
{
    const sv_model *model = list->model;
    const size_t prefix = sv_model_prefix(model), depth = sv_model_depth(model);
    size_t stage = 0, t = 0, packages = 0, chosen = 0, rows = sv_model_patches(model); /* chosen: by this selector, beside them rows live for sure */
    bool whole = true;
    sv_part_add(list, SV_PART_EMBED, 0, 0, prefix + rows);
    for (size_t i = 0; i < depth; i++) {
        const sv_place place = sv_model_place(model, i);
        if (place.stage != stage) {
            stage = place.stage, chosen = 0, rows = place.patches + packages, whole = !packages;
            sv_part_add(list, SV_PART_STEP, i, 0, prefix + rows);
        }
        if (t < plan->stages && plan->at[t] == i) {
            sv_part_add(list, SV_PART_SELECTOR, i, chosen, rows);
            rows = packages = sv_plan_packages(plan, 1);
            chosen = ++t, whole = false;
        }
        sv_part_add(list, whole ? SV_PART_BLOCK : SV_PART_LIVING, i, chosen, prefix + rows);
    }
    sv_part_add(list, SV_PART_HEAD, depth - 1, 0, prefix + sv_model_place(model, depth - 1).patches);
}

/* ---- work ---------------------------------------------------------------------------------------------------------- */

/* Blocks on what lives, steps and ends as in the dense model. backward: twice the work of living rows; forward of the masked form: of all. */
static uint64_t sum_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept, bool training)
{
    const sv_family *family = model->backbone->family;
    uint64_t dense = 0, pruned = 0, all = 0;
    size_t stage = 0, living = sv_model_patches(model), packages = 0;
    for (size_t i = 0, t = 0; i < sv_model_depth(model); i++) {
        const sv_place place = sv_model_place(model, i);
        if (place.stage != stage) {
            living = place.patches;
            if (packages) pruned += family->carry_macs(model, i), all += family->carry_macs(model, i);
        }
        stage = place.stage;
        if (t < plan->stages && plan->at[t] == i) {
            pruned += sv_selector_macs(plan->method, &place, living + packages);
            all += sv_selector_macs(plan->method, &place, place.patches + packages);
            packages = sv_plan_packages(plan, 1);
            living = kept[t++];
        }
        dense += family->among_macs(model, i, place.patches, 0);
        pruned += family->among_macs(model, i, living, packages);
        all += family->among_macs(model, i, place.patches, packages);
    }
    const uint64_t ends = sv_model_macs(model) - dense;
    return training ? 3 * ends + all + 2 * pruned : ends + pruned;
}

static uint64_t freeze_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept) { return sum_macs(model, plan, kept, false); }
static uint64_t freeze_training_macs(const sv_model *model, const sv_pruning_plan *plan, const size_t *kept) { return sum_macs(model, plan, kept, true); }

const sv_pruning_form sv_form_freeze = {
    .name = "freeze",
    .misfit = freeze_misfit,
    .check = freeze_check,
    .student = freeze_student,
    .deployed = freeze_deployed,
    .parts = freeze_parts,
    .macs = freeze_macs,
    .training_macs = freeze_training_macs,
};
