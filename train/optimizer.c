/* AdamW or SGD in groups over flat blocks. The work is cut into chunks of fixed size, so that it can be shared out to threads and the gradient's
 * norm is the same sum in the same order for any number of them. */
#include "train/optimizer.h"
#include "kernels/kernels.h"
#include "layers/layers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 32768 };

typedef struct sv_chunk { size_t parameter, offset, count; } sv_chunk;

const char *sv_optimizer_name(sv_optimizer_kind kind)
{
    static const char *const names[SV_OPTIMIZER_KINDS] = { "adamw", "sgd" };
    return names[kind];
}

static bool is_embedding(const char *name)
{
    return strcmp(name, "cls_token") == 0 || strcmp(name, "dist_token") == 0 || strcmp(name, "pos_embed") == 0;
}

static sv_group group_of(const sv_parameter *parameter, const sv_optimizer_options *options, bool is_new)
{
    const char *name = parameter->name;
    if (parameter->fixed) return SV_GROUP_FROZEN;
    if (sv_name_selects(name)) return SV_GROUP_SELECTOR;
    if (options->all_new || is_new) return SV_GROUP_NEW;
    if (!options->train_embeddings && is_embedding(name)) return SV_GROUP_FROZEN;
    return SV_GROUP_BACKBONE;
}

/* Block of "blocks.N.rest", or -1. */
static int block_of(const char *name)
{
    unsigned index = 0;
    int used = 0;
    return sscanf(name, "blocks.%u.%n", &index, &used) == 1 && used ? (int)index : -1;
}

/* How many times layer_decay stands in the rate of a parameter. */
static int layers_behind(const char *name, int depth)
{
    const int block = block_of(name);
    if (block >= 0) return depth - block;
    return is_embedding(name) || strncmp(name, "patch_embed.", 12) == 0 ? depth + 1 : 0;
}

static sv_status set_shares(sv_optimizer *optimizer, sv_error *err)
{
    const sv_parameters *set = optimizer->set;
    const double decay = optimizer->options.layer_decay > 0 ? optimizer->options.layer_decay : 1;
    int depth = 0;
    for (size_t i = 0; i < set->count; i++) depth = block_of(set->items[i]->name) >= depth ? block_of(set->items[i]->name) + 1 : depth;
    for (size_t i = 0; i < set->count; i++) {
        optimizer->share[i] = 1;
        for (int k = layers_behind(set->items[i]->name, depth); k > 0; k--) optimizer->share[i] *= decay;
    }
    if (decay < 1 && !depth)
        return sv_fail(err, SV_USAGE, "train.layer_decay = %g counts blocks from first to last, but this backbone counts them by stage; set it to 1", decay);
    return SV_OK;
}

static bool decays(const sv_optimizer *optimizer, size_t i)
{
    const sv_parameter *p = optimizer->set->items[i];
    if (optimizer->group[i] == SV_GROUP_SELECTOR && optimizer->options.decay_all_selectors) return true;
    return p->dims >= 2 && !is_embedding(p->name) && !strstr(p->name, "relative_position_bias_table");
}

static sv_status make_chunks(sv_optimizer *optimizer, sv_error *err)
{
    size_t count = 0, bytes = 0;
    for (size_t i = 0; i < optimizer->set->count; i++) count += (optimizer->set->items[i]->count + CHUNK - 1) / CHUNK;
    if (sv_mul_size(&bytes, count, sizeof *optimizer->chunks)) return sv_fail(err, SV_FAULT, "the model does not fit the address space");
    sv_status status = sv_alloc(&optimizer->chunks, bytes, "optimizer", err);
    if (!status) status = sv_alloc_zero(&optimizer->norms, bytes, "optimizer", err);
    if (status) return status;
    for (size_t i = 0; i < optimizer->set->count; i++) {
        size_t whole = optimizer->set->items[i]->count;
        for (size_t at = 0; at < whole; at += CHUNK)
            optimizer->chunks[optimizer->chunk_count++] = (sv_chunk){ i, at, whole - at < CHUNK ? whole - at : CHUNK };
    }
    return SV_OK;
}

sv_status sv_optimizer_create(sv_optimizer **out, sv_parameters *set, const sv_optimizer_options *options, const bool *is_new, sv_error *err)
{
    sv_optimizer *optimizer = NULL;
    size_t bytes = 0;
    sv_status status = sv_alloc_zero(&optimizer, sizeof *optimizer, "optimizer", err);
    if (status) return status;
    optimizer->set = set;
    optimizer->options = *options;
    if (sv_mul_size(&bytes, set->total, sizeof(sv_real))) status = sv_fail(err, SV_FAULT, "the model does not fit the address space");
    if (!status) status = sv_alloc_zero(&optimizer->first, bytes, "moments", err);
    if (!status && options->kind == SV_ADAMW) status = sv_alloc_zero(&optimizer->second, bytes, "moments", err);
    if (!status) status = sv_alloc_zero(&optimizer->group, set->count, "optimizer", err);
    if (!status) status = sv_alloc_zero(&optimizer->share, set->count * sizeof *optimizer->share, "optimizer", err);
    if (!status) status = make_chunks(optimizer, err);
    if (status) {
        sv_optimizer_destroy(optimizer);
        return status;
    }
    for (size_t i = 0; i < set->count; i++) {
        optimizer->group[i] = (uint8_t)group_of(set->items[i], options, is_new && is_new[i]);
        set->items[i]->trainable = optimizer->group[i] != SV_GROUP_FROZEN;
    }
    status = set_shares(optimizer, err);
    if (status) {
        sv_optimizer_destroy(optimizer);
        return status;
    }
    *out = optimizer;
    return SV_OK;
}

void sv_optimizer_destroy(sv_optimizer *optimizer)
{
    if (!optimizer) return;
    sv_free(optimizer->first);
    sv_free(optimizer->second);
    sv_free(optimizer->group);
    sv_free(optimizer->share);
    sv_free(optimizer->chunks);
    sv_free(optimizer->norms);
    sv_free(optimizer);
}

/* Whether a step with these rates uses a group's gradients. */
static bool takes_part(const sv_optimizer *optimizer, sv_group group, const double *rates)
{
    if (group == SV_GROUP_BACKBONE && optimizer->options.skip_frozen && rates) return rates[group] > 0;
    return group != SV_GROUP_FROZEN;
}

typedef struct step_run { sv_optimizer *optimizer; const double *rates; double scale; } step_run;

static void norm_chunk(void *context, size_t item, size_t thread)
{
    const step_run *run = context;
    sv_optimizer *optimizer = run->optimizer;
    const sv_chunk *chunk = &optimizer->chunks[item];
    const sv_real *g = optimizer->set->items[chunk->parameter]->gradient + chunk->offset;
    double sum = 0;
    (void)thread;
    if (takes_part(optimizer, (sv_group)optimizer->group[chunk->parameter], run->rates))
        for (size_t i = 0; i < chunk->count; i += 4096) {
            size_t count = chunk->count - i < 4096 ? chunk->count - i : 4096;
            sum += (double)sv_dot(g + i, g + i, count);
        }
    optimizer->norms[item] = sum;
}

double sv_optimizer_gradient_norm(sv_optimizer *optimizer, const double rates[SV_GROUP_COUNT])
{
    step_run run = { .optimizer = optimizer, .rates = rates };
    double sum = 0;
    sv_for_items(optimizer->chunk_count, norm_chunk, &run);
    for (size_t i = 0; i < optimizer->chunk_count; i++) sum += optimizer->norms[i];
    return sqrt(sum);
}

static void step_chunk(void *context, size_t item, size_t thread)
{
    const step_run *run = context;
    const sv_optimizer *o = run->optimizer;
    const sv_chunk *chunk = &o->chunks[item];
    const sv_parameter *p = o->set->items[chunk->parameter];
    const sv_group group = (sv_group)o->group[chunk->parameter];
    const double rate = run->rates[group] * o->share[chunk->parameter], decay = decays(o, chunk->parameter) ? o->options.decay : 0;
    size_t at = p->offset + chunk->offset;
    (void)thread;
    if (!takes_part(o, group, run->rates)) return;
    if (o->options.kind == SV_SGD) {
        const sv_sgd sgd = { .lr = rate, .decay = decay, .momentum = o->options.momentum, .nesterov = o->options.nesterov, .gradient_scale = run->scale };
        sv_sgd_step(o->set->values + at, o->first + at, o->set->gradients + at, chunk->count, &sgd);
        return;
    }
    const sv_adamw adamw = { .lr = rate, .decay = decay, .beta1 = o->options.beta1, .beta2 = o->options.beta2, .eps = o->options.eps,
                             .t = group == SV_GROUP_BACKBONE ? o->t_backbone : o->t, .gradient_scale = run->scale };
    sv_adamw_step(o->set->values + at, o->first + at, o->second + at, o->set->gradients + at, chunk->count, &adamw);
}

void sv_optimizer_step(sv_optimizer *optimizer, const double rates[SV_GROUP_COUNT], double gradient_scale)
{
    step_run run = { optimizer, rates, gradient_scale };
    optimizer->t++;
    if (takes_part(optimizer, SV_GROUP_BACKBONE, rates)) optimizer->t_backbone++;
    sv_for_items(optimizer->chunk_count, step_chunk, &run);
    sv_parameters_changed(optimizer->set);
}

static const double pi = 3.14159265358979323846;
static const double jumped_lr = 5e-4; /* the reference's own number: it forgets to scale it by the batch */

static double cosine(double from, double to, double done) { return to + (from - to) * 0.5 * (1 + cos(pi * fmin(fmax(done, 0), 1))); }

/* Share of the warm-up that is done, 0 .. 1. The first step of the step form has 0 and its last 1. */
static double warmed(const sv_schedule_options *o, double epoch, double share)
{
    if (o->schedule == SV_COSINE_EPOCH) return epoch / o->warmup_epochs;
    if (o->steps <= 0) return (epoch + share) / o->warmup_epochs;
    const double values = ceil(o->warmup_epochs * o->steps), at = rint((epoch + share) * o->steps);
    return values > 1 ? fmin(at / (values - 1), 1) : 0;
}

static double rate_at(const sv_schedule_options *o, double lr, double epoch, double share)
{
    const double at = o->schedule == SV_COSINE_EPOCH ? epoch : epoch + share, from = o->schedule == SV_COSINE_STEP ? o->warmup_epochs : 0;
    if (at < o->warmup_epochs) return o->warmup_lr + (lr - o->warmup_lr) * warmed(o, epoch, share);
    if (o->schedule == SV_CONSTANT) return lr;
    return cosine(lr, o->min_lr, o->epochs > from ? (at - from) / (o->epochs - from) : 0);
}

void sv_schedule_rates(const sv_schedule_options *options, size_t epoch, double share, double rates[SV_GROUP_COUNT])
{
    const double lr = options->jump_epoch > 0 && (double)epoch >= options->jump_epoch ? jumped_lr : options->lr;
    const double rate = rate_at(options, lr, (double)epoch, share);
    double backbone = options->schedule == SV_COSINE_EPOCH ? fmin(options->backbone_scale * lr, rate) : options->backbone_scale * rate;
    if ((double)epoch < options->frozen_epochs) backbone = 0;
    rates[SV_GROUP_SELECTOR] = rates[SV_GROUP_NEW] = rate;
    rates[SV_GROUP_FROZEN] = 0;
    rates[SV_GROUP_BACKBONE] = backbone;
}
