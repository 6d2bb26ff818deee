/* One optimizer step: batches of pictures through the training tape, gradients added up, the guard against numbers that are not finite, clipping,
 * the optimizer, averaged weights, multipliers. Everything a step does is a function of the run's state: a resumed run makes the same steps. */
#include "train/guard.h"
#include "train/ranks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct step_sums { double sums[SV_STATE_SUMS]; double share[SV_MOST_STAGES]; size_t batches; bool finite; } step_sums;

/* Every rank mixes what its own pictures need; targets are cheap and made for all. */
static sv_status fill_batch(sv_session *s, const sv_batch *batch, sv_whole_batch *whole, sv_error *err)
{
    size_t size = s->data.transform.size, numbers = 3 * size * size, classes = sv_tensor_width(s->training.target);
    sv_mix mix = sv_mix_draw(&s->data.mix, s->options.seed, batch->epoch, batch->index, size, size);
    if ((s->comm ? s->options.batch : batch->count) % 2) mix = (sv_mix){ .kind = SV_MIX_NONE, .share = 1 };
    sv_status status = sv_ranks_batch(s, batch, mix.kind != SV_MIX_NONE, whole, err);
    if (status) return status;
    sv_mix_pictures_of(&mix, whole->pictures, whole->count, whole->first, whole->end, 3, size, size);
    for (size_t b = whole->first; b < whole->end; b++)
        memcpy(sv_tape_data(s->training.tape, s->training.picture, b), whole->pictures + (b - whole->from) * numbers, numbers * sizeof(sv_real));
    sv_mix_targets(&mix, s->data.mix.smoothing, whole->labels, whole->count, classes, s->targets);
    for (size_t b = 0; b < whole->count; b++) memcpy(sv_tape_data(s->training.tape, s->training.target, b), s->targets + b * classes, classes * sizeof(sv_real));
    return SV_OK;
}

static double value_of(const sv_session *s, const sv_tensor *tensor) { return tensor ? (double)sv_tape_data(s->training.tape, tensor, 0)[0] : 0; }

/* The square of the excess, whatever the form and weight of the term. */
static void add_latency(const sv_session *s, step_sums *sums)
{
    if (!s->training.latency) return;
    const double ms = value_of(s, s->training.predicted_ms), excess = fmax(0, ms / sv_session_goal_ms(s) - 1);
    sums->sums[SV_SUM_LATENCY] += excess * excess;
    sums->sums[SV_SUM_MS] += ms;
}

static void add_sums(const sv_session *s, size_t images, step_sums *sums)
{
    sv_stage_report stages[SV_MOST_STAGES];
    sums->sums[SV_SUM_LOSS] += value_of(s, s->training.loss);
    sums->sums[SV_SUM_CLS] += value_of(s, s->training.cls);
    sums->sums[SV_SUM_KL] += value_of(s, s->training.kl);
    sums->sums[SV_SUM_DISTILL] += value_of(s, s->training.distill);
    sums->sums[SV_SUM_TOKEN] += value_of(s, s->training.token);
    add_latency(s, sums);
    sv_training_report(&s->training, images, stages);
    for (size_t t = 0; t < s->training.stages; t++) {
        double off = stages[t].share - s->state.keep[t];
        sums->sums[SV_SUM_RATIO] += off * off;
        sums->sums[SV_SUM_SHARE + t] += stages[t].share;
        sums->share[t] += stages[t].share;
        if (t < 3) sums->sums[SV_SUM_MEAN + t] += stages[t].mean;
        if (t < 3) sums->sums[SV_SUM_DEVIATION + t] += stages[t].deviation;
    }
    sums->batches++;
    if (!isfinite(value_of(s, s->training.loss))) sums->finite = false;
}

static sv_status run_batches(sv_session *s, step_sums *sums, bool *ended, sv_error *err)
{
    for (size_t i = 0; i < s->options.accumulate; i++) {
        sv_batch *batch = NULL;
        sv_status status = sv_loader_next(s->train, &batch, err);
        if (status) return status;
        if (!batch || batch->epoch != s->state.epoch) {
            *ended = true;
            return SV_OK;
        }
        sv_whole_batch whole;
        status = fill_batch(s, batch, &whole, err);
        if (status) return status;
        sv_step step = { .images = whole.count, .seed = s->options.seed, .epoch = (uint32_t)s->state.epoch, .samples = whole.draws };
        status = sv_tape_forward(s->training.tape, &step, err);
        if (status) return status;
        sv_tape_backward(s->training.tape, 1.0 / (double)s->options.accumulate);
        status = sv_tape_peers_check(s->training.tape, err);
        if (status) return status;
        add_sums(s, whole.count, sums);
        s->pictures += whole.count;
    }
    return SV_OK;
}

static void move_multipliers(sv_session *s, const step_sums *sums)
{
    const sv_pruning_options *o = sv_pruning_options_of(s->pruning);
    for (size_t t = 0; t < s->training.stages && o->ratio_form == SV_RATIO_LAGRANGE; t++) {
        double mean = sums->share[t] / (double)sums->batches;
        s->state.multiplier[t] = fmax(0, s->state.multiplier[t] + o->multiplier_rate * (mean - s->state.keep[t]));
    }
    if (!s->training.latency || o->latency_form != SV_RATIO_LAGRANGE) return;
    const double ms = sums->sums[SV_SUM_MS] / (double)sums->batches;
    s->state.latency_multiplier = fmax(0, s->state.latency_multiplier + sv_config_real(s->config, "latency.multiplier_rate") * (ms / sv_session_goal_ms(s) - 1));
}

/* Far above what is usual: skipped like one that is not finite. */
static sv_status spike_step(sv_session *s, const sv_spike *spike, sv_error *err)
{
    s->state.skipped_steps++;
    s->state.skipped_in_row++;
    s->spiking = true;
    if (!sv_comm_rank(s->comm))
        sv_log(SV_WARNING, "step %llu: the %s is %.4g, %.1f deviations above its mean of %.4g; the step is skipped", (unsigned long long)s->state.step, spike->what, spike->value,
               (spike->value - spike->mean) / spike->deviation, spike->mean);
    if (s->state.skipped_in_row <= s->options.max_bad_steps) return SV_OK;
    return sv_fail(err, SV_NOT_FINITE, "%llu steps in a row had a loss or gradient norm far above their means (train.spike_z = %g)", (unsigned long long)s->state.skipped_in_row, s->options.spike_z);
}

/* Too many bad steps in a row: the last good checkpoint is taken up once; then the run ends, naming what was not finite. */
static sv_status bad_step(sv_session *s, sv_error *err)
{
    const char *what = sv_tape_not_finite(s->training.tape);
    char name[96];
    s->spiking = false;
    s->state.skipped_steps++;
    s->state.skipped_in_row++;
    if (!sv_comm_rank(s->comm)) sv_log(SV_WARNING, "step %llu: loss or gradient is not finite (first: %s); the step is skipped", (unsigned long long)s->state.step, what ? what : "the gradient");
    if (s->state.skipped_in_row <= s->options.max_bad_steps) return SV_OK;
    snprintf(name, sizeof name, "%s", what ? what : "the gradient");
    return sv_fail(err, SV_NOT_FINITE, "%llu steps in a row had a loss or gradient that is not finite; the first tensor that is not finite is '%s'. Lower train.lr, set train.clip, or look at the data",
                   (unsigned long long)s->state.skipped_in_row, name);
}

sv_status sv_session_step(sv_session *s, bool *ended, sv_error *err)
{
    step_sums sums = { .finite = true };
    double rates[SV_GROUP_COUNT], scale = 1, begin = sv_now_seconds(), waited = sv_loader_stats_now(s->train).waited_seconds;
    *ended = s->state.batch / s->options.accumulate >= s->steps_per_epoch;
    if (*ended) return SV_OK;
    sv_parameters_zero_gradients(s->model->parameters);
    sv_training_set_goals(&s->training, sv_pruning_options_of(s->pruning), s->state.keep, s->state.multiplier, s->state.latency_multiplier);
    sv_status status = run_batches(s, &sums, ended, err);
    if (status || *ended) return status;
    size_t epoch = s->state.epoch < s->options.epochs ? (size_t)s->state.epoch : s->options.epochs ? s->options.epochs - 1 : 0;
    sv_schedule_rates(&s->options.schedule, epoch, (double)s->state.batch / (double)(s->steps_per_epoch * s->options.accumulate), rates);
    double norm = sv_optimizer_gradient_norm(s->optimizer, rates);
    s->waited += sv_loader_stats_now(s->train).waited_seconds - waited;
    s->state.batch += s->options.accumulate;
    if (!sums.finite || !isfinite(norm)) return bad_step(s, err);
    if (s->options.spike_z > 0) {
        const sv_spike spike = sv_guard_judge(&s->state, s->options.spike_z, sums.sums[SV_SUM_LOSS] / (double)sums.batches, norm);
        if (spike.what) return spike_step(s, &spike, err);
    }
    s->state.skipped_in_row = 0;
    if (s->options.clip > 0 && norm > s->options.clip) scale = s->options.clip / norm;
    sv_optimizer_step(s->optimizer, rates, scale);
    if (s->ema) sv_average_step(s->ema, s->model->parameters->values, s->model->parameters->total, sv_average_decay(&s->options.ema, s->optimizer->t));
    move_multipliers(s, &sums);
    sums.sums[SV_SUM_NORM] = norm * (double)sums.batches;
    for (size_t i = 0; i < SV_STATE_SUMS; i++) s->state.sums[i] += sums.sums[i] / (double)sums.batches;
    s->state.sum_count++;
    s->state.step++;
    s->worked += sv_now_seconds() - begin;
    return SV_OK;
}
