/* AdamW in groups over flat blocks. The work is cut into chunks of fixed size, so that it can be shared out to threads and the gradient's
 * norm is the same sum in the same order for any number of them. */
#include "train/optimizer.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 32768 };

typedef struct sv_chunk { size_t parameter, offset, count; } sv_chunk;

static sv_group group_of(const sv_parameter *parameter, const sv_optimizer_options *options, bool is_new)
{
    const char *name = parameter->name;
    if (strncmp(name, "selectors.", 10) == 0) return SV_GROUP_SELECTOR;
    if (options->all_new || is_new) return SV_GROUP_NEW;
    if (!options->train_embeddings && (strcmp(name, "cls_token") == 0 || strcmp(name, "dist_token") == 0 || strcmp(name, "pos_embed") == 0))
        return SV_GROUP_FROZEN;
    return SV_GROUP_BACKBONE;
}

static bool decays(const sv_optimizer *optimizer, size_t i)
{
    const sv_parameter *p = optimizer->set->items[i];
    bool embedding = strcmp(p->name, "cls_token") == 0 || strcmp(p->name, "dist_token") == 0 || strcmp(p->name, "pos_embed") == 0;
    if (optimizer->group[i] == SV_GROUP_SELECTOR && optimizer->options.decay_all_selectors) return true;
    return p->dims >= 2 && !embedding;
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
    if (!status) status = sv_alloc_zero(&optimizer->second, bytes, "moments", err);
    if (!status) status = sv_alloc_zero(&optimizer->group, set->count, "optimizer", err);
    if (!status) status = make_chunks(optimizer, err);
    if (status) {
        sv_optimizer_destroy(optimizer);
        return status;
    }
    for (size_t i = 0; i < set->count; i++) {
        optimizer->group[i] = (uint8_t)group_of(set->items[i], options, is_new && is_new[i]);
        set->items[i]->trainable = optimizer->group[i] != SV_GROUP_FROZEN;
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
    sv_free(optimizer->chunks);
    sv_free(optimizer->norms);
    sv_free(optimizer);
}

static void norm_chunk(void *context, size_t item, size_t thread)
{
    sv_optimizer *optimizer = context;
    const sv_chunk *chunk = &optimizer->chunks[item];
    const sv_real *g = optimizer->set->items[chunk->parameter]->gradient + chunk->offset;
    double sum = 0;
    (void)thread;
    if (optimizer->group[chunk->parameter] != SV_GROUP_FROZEN)
        for (size_t i = 0; i < chunk->count; i += 4096) {
            size_t count = chunk->count - i < 4096 ? chunk->count - i : 4096;
            sum += (double)sv_dot(g + i, g + i, count);
        }
    optimizer->norms[item] = sum;
}

double sv_optimizer_gradient_norm(sv_optimizer *optimizer)
{
    double sum = 0;
    sv_for_items(optimizer->chunk_count, norm_chunk, optimizer);
    for (size_t i = 0; i < optimizer->chunk_count; i++) sum += optimizer->norms[i];
    return sqrt(sum);
}

typedef struct step_run { sv_optimizer *optimizer; const double *rates; double scale; } step_run;

static void step_chunk(void *context, size_t item, size_t thread)
{
    const step_run *run = context;
    const sv_optimizer *o = run->optimizer;
    const sv_chunk *chunk = &o->chunks[item];
    const sv_parameter *p = o->set->items[chunk->parameter];
    size_t at = p->offset + chunk->offset;
    sv_adamw adamw = { .lr = run->rates[o->group[chunk->parameter]], .decay = decays(o, chunk->parameter) ? o->options.decay : 0,
                       .beta1 = o->options.beta1, .beta2 = o->options.beta2, .eps = o->options.eps, .t = o->t, .gradient_scale = run->scale };
    (void)thread;
    if (o->group[chunk->parameter] == SV_GROUP_FROZEN) return;
    sv_adamw_step(o->set->values + at, o->first + at, o->second + at, o->set->gradients + at, chunk->count, &adamw);
}

void sv_optimizer_step(sv_optimizer *optimizer, const double rates[SV_GROUP_COUNT], double gradient_scale)
{
    step_run run = { optimizer, rates, gradient_scale };
    optimizer->t++;
    sv_for_items(optimizer->chunk_count, step_chunk, &run);
    sv_parameters_changed(optimizer->set);
}

void sv_schedule_rates(const sv_schedule_options *options, size_t epoch, double share, double rates[SV_GROUP_COUNT])
{
    const double pi = 3.14159265358979323846;
    double at = (double)epoch, rate = options->lr, backbone = 0;
    if (options->schedule == SV_COSINE_STEP) at += share;
    if (options->schedule != SV_CONSTANT) {
        double from = options->schedule == SV_COSINE_STEP ? options->warmup_epochs : 0, span = options->epochs - from;
        double done = span > 0 ? fmin(fmax((at - from) / span, 0), 1) : 0;
        rate = options->min_lr + (options->lr - options->min_lr) * 0.5 * (1 + cos(pi * done));
    }
    if (options->warmup_epochs > 0 && (double)epoch + share < options->warmup_epochs) {
        double reached = ((double)epoch + share) / options->warmup_epochs;
        rate = options->lr * reached;
    }
    if ((double)epoch >= options->frozen_epochs)
        backbone = options->schedule == SV_COSINE_EPOCH ? fmin(options->backbone_scale * options->lr, rate) : options->backbone_scale * rate;
    rates[SV_GROUP_SELECTOR] = rates[SV_GROUP_NEW] = rate;
    rates[SV_GROUP_FROZEN] = 0;
    rates[SV_GROUP_BACKBONE] = backbone;
}
