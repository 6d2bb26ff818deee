/* Data parallel training. A batch is cut into train.lanes parts whatever the number of ranks, and rank r makes those of its lanes (autograd/peers.c),
 * so that 1, 2 and 4 ranks end with the same bytes. All ranks hold the whole model and make the same optimizer step; rank 0 alone evaluates,
 * writes and talks. */
#include "train/ranks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- shares ------------------------------------------------------------------------------------------------------- */

void sv_ranks_threads(const sv_session *s, bool alone)
{
    size_t threads = (size_t)sv_config_int(s->config, "run.threads"), ranks = sv_comm_ranks(s->comm);
    if (sv_comm_forked(s->comm) && !alone) {
        if (!threads) threads = sv_cores();
        threads = threads > ranks ? threads / ranks : 1;
    }
    sv_threads_set(threads);
}

sv_status sv_ranks_places(sv_session *s, sv_error *err)
{
    const size_t ranks = sv_comm_ranks(s->comm), batch = s->options.batch, lanes = s->options.lanes;
    for (size_t r = 0; r <= ranks; r++) s->places[r] = sv_tape_rank_first(batch, lanes, ranks, r);
    for (size_t r = 0; r < ranks; r++)
        if (s->places[r] == s->places[r + 1])
            return sv_fail(
                err, SV_USAGE,
                "rank %zu of %zu would have no picture: train.batch = %zu is shared out in train.lanes = %zu parts; use at most %zu ranks",
                r, ranks, batch, lanes, lanes < batch ? lanes : batch);
    return SV_OK;
}

size_t sv_ranks_own(const sv_session *s)
{
    const size_t rank = sv_comm_rank(s->comm);
    return s->places[rank + 1] - s->places[rank];
}

static void one_each(size_t *first, size_t ranks)
{
    for (size_t r = 0; r <= ranks; r++) first[r] = r;
}

static sv_status peers_gather(void *context, void *base, size_t stride, size_t bytes, const size_t *first, bool to_all, sv_error *err)
{
    return sv_comm_gather(context, base, stride, bytes, first, to_all, err);
}

static sv_status peers_trade(void *context, const sv_peer_items *out, const sv_peer_items *in, sv_error *err)
{
    sv_comm_items gives[SV_RANKS_MOST], gets[SV_RANKS_MOST];
    for (size_t r = 0; r < sv_comm_ranks(context); r++) {
        gives[r] = (sv_comm_items){ out[r].base, out[r].stride, out[r].bytes, out[r].count };
        gets[r] = (sv_comm_items){ in[r].base, in[r].stride, in[r].bytes, in[r].count };
    }
    return sv_comm_trade(context, gives, gets, err);
}

static void say_ranks(const sv_session *s)
{
    sv_text text = { 0 };
    for (size_t r = 1; r < sv_comm_ranks(s->comm); r++) sv_text_add(&text, " %ld", sv_comm_process(s->comm, r));
    if (text.data)
        sv_log(SV_INFO, "%zu ranks of %zu threads; processes of ranks 1 and on:%s", sv_comm_ranks(s->comm), sv_threads(), text.data);
    sv_text_clear(&text);
}

sv_status sv_ranks_open(sv_session *s, sv_error *err)
{
    const size_t batch = s->options.batch;
    const sv_tape_peers peers = { sv_comm_rank(s->comm), sv_comm_ranks(s->comm), s->comm, peers_gather, peers_trade };
    sv_status status = SV_OK;
    if (!s->comm) return SV_OK;
    status = sv_alloc_zero(&s->labels, batch * sizeof *s->labels, "batches", err);
    if (!status) status = sv_alloc_zero(&s->draws, batch * sizeof *s->draws, "batches", err);
    if (!status && (s->data.mix.mixup > 0 || s->data.mix.cutmix > 0))
        status = sv_alloc_zero(&s->pictures_of_all,
                               batch * 3 * s->data.transform.size * s->data.transform.size * sizeof *s->pictures_of_all, "batches", err);
    if (!status) status = sv_comm_mesh(s->comm, err);
    if (!status) status = sv_tape_set_peers(s->training.tape, &peers, err);
    if (!status) status = sv_ranks_agree(s, err);
    if (!status) say_ranks(s);
    return status;
}

static void say_exchange(const sv_session *s)
{
    if (!s->comm || sv_comm_rank(s->comm) || !s->training.tape) return;
    const sv_peers_seconds spent = sv_tape_peers_seconds(s->training.tape);
    if (spent.exchange <= 0) return;
    sv_log(SV_INFO, "gradients were on their way for %.2f s of %.2f s of steps (%.2f s of a core); backward waited %.2f s for them, %.0f %% was hidden behind it",
           spent.exchange, s->worked, spent.core, spent.waited, 100 * fmax(0, 1 - spent.waited / spent.exchange));
}

void sv_ranks_close(sv_session *s)
{
    say_exchange(s);
    sv_free(s->labels);
    sv_free(s->draws);
    sv_free(s->pictures_of_all);
}

/* ---- a step ------------------------------------------------------------------------------------------------------- */

static sv_status gather_places(sv_session *s, void *base, size_t bytes, sv_error *err)
{
    return sv_comm_gather(s->comm, base, bytes, bytes, s->places, true, err);
}

/* Of `own` those places whose partners are among `theirs`. */
static sv_comm_items partners(sv_session *s, const size_t own[2], const size_t theirs[2])
{
    const size_t count = s->options.batch, numbers = 3 * s->data.transform.size * s->data.transform.size, bytes = numbers * sizeof(sv_real);
    const size_t low = count - theirs[1], high = count - theirs[0], first = own[0] > low ? own[0] : low, end = own[1] < high ? own[1] : high;
    return (sv_comm_items){ s->pictures_of_all + (first < end ? first : 0) * numbers, bytes, bytes, first < end ? end - first : 0 };
}

/* Place i is mixed with place count-1-i: each rank gets the partners of its own pictures from who made them. */
static sv_status trade_partners(sv_session *s, sv_error *err)
{
    sv_comm_items out[SV_RANKS_MOST], in[SV_RANKS_MOST];
    const size_t *own = s->places + sv_comm_rank(s->comm);
    for (size_t r = 0; r < sv_comm_ranks(s->comm); r++) {
        out[r] = partners(s, own, s->places + r);
        in[r] = partners(s, s->places + r, own);
    }
    return sv_comm_trade(s->comm, out, in, err);
}

sv_status sv_ranks_batch(sv_session *s, const sv_batch *batch, bool paired, sv_whole_batch *out, sv_error *err)
{
    const size_t numbers = 3 * s->data.transform.size * s->data.transform.size, rank = sv_comm_rank(s->comm);
    *out = (sv_whole_batch){ batch->count, 0, batch->count, 0, batch->pictures, batch->labels, batch->draws };
    if (!s->comm) return SV_OK;
    *out =
        (sv_whole_batch){ s->options.batch, s->places[rank], s->places[rank + 1], s->places[rank], batch->pictures, s->labels, s->draws };
    if (batch->count != out->end - out->first)
        return sv_fail(err, SV_FAULT, "rank %zu made %zu pictures of a batch; expected %zu", rank, batch->count, out->end - out->first);
    memcpy(s->labels + out->first, batch->labels, batch->count * sizeof *s->labels);
    memcpy(s->draws + out->first, batch->draws, batch->count * sizeof *s->draws);
    sv_status status = gather_places(s, s->labels, sizeof *s->labels, err);
    if (!status) status = gather_places(s, s->draws, sizeof *s->draws, err);
    if (status || !paired) return status;
    memcpy(s->pictures_of_all + out->first * numbers, batch->pictures, batch->count * numbers * sizeof *batch->pictures);
    out->pictures = s->pictures_of_all;
    out->from = 0;
    return trade_partners(s, err);
}

typedef struct beat {
    uint64_t stop, save, bad;
} beat;

void sv_ranks_hear(sv_session *s)
{
    char text[SV_SAID_TEXT];
    size_t rank = 0;
    while (sv_comm_heard(s->comm, &rank, text)) sv_log(SV_WARNING, "rank %zu: %s", rank, text);
}

sv_status sv_ranks_meet(sv_session *s, bool *stop, bool *save, sv_error *err)
{
    beat beats[SV_RANKS_MOST] = { 0 };
    size_t first[SV_RANKS_MOST + 1], ranks = sv_comm_ranks(s->comm), bad = 0, count = 0;
    if (!s->comm) return SV_OK;
    count = sv_source_count(s->train_source);
    sv_ranks_hear(s);
    one_each(first, ranks);
    beats[sv_comm_rank(s->comm)] = (beat){ *stop, *save, sv_loader_stats_now(s->train).bad_pictures };
    sv_status status = sv_comm_gather(s->comm, beats, sizeof *beats, sizeof *beats, first, true, err);
    for (size_t r = 0; !status && r < ranks; r++) {
        *stop = *stop || beats[r].stop;
        *save = beats[0].save;
        bad += (size_t)beats[r].bad;
    }
    if (!status && (double)bad > s->data.max_bad * (double)count)
        status = sv_fail(err, SV_DATA,
                         "%s: %zu of %zu pictures cannot be read, more than data.max_bad = %g allows; remove them or raise data.max_bad",
                         sv_source_name(s->train_source), bad, count, s->data.max_bad);
    return status;
}

/* ---- what rank 0 does alone --------------------------------------------------------------------------------------- */

typedef struct news {
    uint64_t status, epochs, again;
    double budget_ms;
    sv_run_state state;
    sv_pruning_plan plan;
    char text[sizeof((sv_error *)0)->text];
} news;

static void tell_news(const sv_session *s, news *told, sv_status status, const sv_error *err)
{
    memset(told, 0, sizeof *told);
    told->status = status;
    told->epochs = s->epochs;
    told->again = s->again;
    told->budget_ms = s->budget_ms;
    told->state = s->state;
    told->plan = *sv_pruning_plan_of(s->pruning);
    if (status) snprintf(told->text, sizeof told->text, "%s", err->text);
}

static sv_status take_news(sv_session *s, const news *told, sv_error *err)
{
    if (told->status) return sv_fail(err, (sv_status)told->status, "%.*s", (int)sizeof told->text - 1, told->text);
    s->epochs = (size_t)told->epochs;
    s->again = told->again;
    s->budget_ms = told->budget_ms;
    s->state = told->state;
    sv_status status = sv_session_apply_keep(s, told->state.keep, err);
    *sv_pruning_plan_of(s->pruning) = told->plan;
    return status;
}

sv_status sv_ranks_lead(sv_session *s, sv_lead_work *work, sv_error *err)
{
    news told;
    sv_error aside;
    if (!s->comm) return work(s, err);
    if (sv_comm_rank(s->comm)) {
        sv_status status = sv_comm_broadcast(s->comm, &told, sizeof told, err);
        return status ? status : take_news(s, &told, err);
    }
    sv_ranks_threads(s, true);
    sv_status status = work(s, err);
    sv_ranks_threads(s, false);
    tell_news(s, &told, status, err);
    sv_status sent = sv_comm_broadcast(s->comm, &told, sizeof told, status ? &aside : err);
    return status ? status : sent;
}

sv_status sv_ranks_in_turn(sv_session *s, sv_lead_work *work, sv_error *err)
{
    sv_error told = { 0 };
    if (!s->comm) return work(s, err);
    if (sv_comm_rank(s->comm)) {
        sv_status status = sv_comm_broadcast(s->comm, &told, sizeof told, err);
        if (!status && told.code) status = sv_fail(err, told.code, "%.*s", (int)sizeof told.text - 1, told.text);
        return status ? status : work(s, err);
    }
    sv_ranks_threads(s, true);
    sv_status status = work(s, err);
    sv_ranks_threads(s, false);
    if (status) told = *err;
    sv_status sent = sv_comm_broadcast(s->comm, &told, sizeof told, status ? &told : err);
    return status ? status : sent;
}

/* ---- one state on all --------------------------------------------------------------------------------------------- */

sv_status sv_ranks_share(sv_session *s, sv_error *err)
{
    const size_t bytes = s->model->parameters->total * sizeof(sv_real);
    sv_status status = SV_OK;
    if (!s->comm) return SV_OK;
    status = sv_comm_broadcast(s->comm, s->model->parameters->values, bytes, err);
    if (!status) status = sv_comm_broadcast(s->comm, s->optimizer->first, bytes, err);
    if (!status && s->optimizer->second) status = sv_comm_broadcast(s->comm, s->optimizer->second, bytes, err);
    if (!status && s->ema) status = sv_comm_broadcast(s->comm, s->ema, bytes, err);
    if (!status) status = sv_comm_broadcast(s->comm, &s->optimizer->t, sizeof s->optimizer->t, err);
    if (!status) status = sv_comm_broadcast(s->comm, &s->optimizer->t_backbone, sizeof s->optimizer->t_backbone, err);
    sv_parameters_changed(s->model->parameters);
    return status;
}

sv_status sv_ranks_check(sv_session *s, sv_error *err)
{
    uint64_t hashes[SV_RANKS_MOST] = { 0 };
    size_t first[SV_RANKS_MOST + 1], ranks = sv_comm_ranks(s->comm);
    if (!s->comm) return SV_OK;
    one_each(first, ranks);
    hashes[sv_comm_rank(s->comm)] = sv_ranks_hash_state(s);
    sv_status status = sv_comm_gather(s->comm, hashes, sizeof *hashes, sizeof *hashes, first, true, err);
    for (size_t r = 1; !status && r < ranks; r++)
        if (hashes[r] != hashes[0])
            status = sv_fail(err, SV_FAULT,
                             "after step %llu the weights of rank %zu are no longer those of rank 0: memory or arithmetic slipped on one "
                             "of the two machines; "
                             "the last checkpoint was written before",
                             (unsigned long long)s->state.step, r);
    return status;
}

sv_status sv_ranks_save(sv_session *s, sv_error *err)
{
    sv_status status = sv_ranks_check(s, err);
    return status ? status : sv_ranks_lead(s, sv_session_save, err);
}
