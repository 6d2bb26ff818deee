/* Accuracy: pictures in order through a deployed model, counted. */
#include "eval/eval.h"
#include "kernels/kernels.h"

#include <string.h>

/* Answers that beat class `label`: larger logits, or equal ones of a lower index; and what is no number beats all and is right about nothing. */
static size_t rank_of(const sv_real *logits, size_t classes, size_t label, const uint8_t *allowed)
{
    size_t better = 0;
    for (size_t k = 0; k < classes; k++)
        if ((!allowed || allowed[k]) && !(logits[label] > logits[k] || (logits[label] == logits[k] && label <= k))) better++;
    return better;
}

/* Cross entropy, and the largest probability. */
static double cross_entropy(const sv_real *logits, size_t classes, size_t label, double *confidence)
{
    double top = (double)logits[0], sum = 0;
    for (size_t k = 1; k < classes; k++)
        if ((double)logits[k] > top) top = (double)logits[k];
    for (size_t k = 0; k < classes; k++) sum += (double)sv_exp((sv_real)((double)logits[k] - top));
    *confidence = 1 / sum;
    return (double)sv_ln((sv_real)sum) + top - (double)logits[label];
}

static size_t answer_of(const sv_real *logits, size_t classes)
{
    size_t best = 0;
    for (size_t k = 1; k < classes; k++)
        if (logits[k] > logits[best]) best = k;
    return best;
}

/* What one picture adds: found by whoever ran it, added up in order of pictures by everybody. */
typedef struct seen { sv_record record; uint64_t there; } seen;
/* What a rank says of its part of a batch. */
typedef struct part { uint64_t macs, bad, stop; } part;
/* The running batch over all ranks; places without a picture are not there. */
typedef struct tally { seen *rows; size_t room, places, first; part parts[SV_RANKS_MOST]; } tally;

static sv_status look(const sv_removal_tape *removal, const sv_batch *batch, size_t b, size_t classes, const uint8_t *present, seen *out, sv_error *err)
{
    const sv_real *logits = sv_tape_data(removal->tape, removal->logits, b);
    size_t label = batch->labels[b];
    if (label >= classes) return sv_fail(err, SV_DATA, "a picture has class %zu, but the model knows %zu classes; give the class list the model was trained with (data.classes)", label, classes);
    sv_record record = { .sample = batch->samples[b], .label = (uint32_t)label, .answer = (uint32_t)answer_of(logits, classes) };
    record.rank = (uint32_t)rank_of(logits, classes, label, NULL);
    record.rank_among = (uint32_t)rank_of(logits, classes, label, present);
    record.loss = cross_entropy(logits, classes, label, &record.confidence);
    for (size_t t = 0; t < removal->stages; t++) record.kept[t] = (uint32_t)sv_removal_kept(removal, t, b);
    *out = (seen){ .record = record, .there = 1 };
    return SV_OK;
}

static sv_status keep_record(const sv_record *row, sv_records *records, sv_error *err)
{
    if (!records) return SV_OK;
    sv_status status = sv_grow(&records->rows, &records->room, records->count + 1, sizeof *records->rows, "records", err);
    if (!status) records->rows[records->count++] = *row;
    return status;
}

void sv_records_clear(sv_records *records)
{
    sv_free(records->rows);
    memset(records, 0, sizeof *records);
}

static void add(const sv_record *row, size_t stages, sv_evaluation *out, uint64_t *confusion, size_t classes)
{
    if (confusion) confusion[row->label * classes + row->answer]++;
    out->images++;
    out->top1 += row->rank < 1;
    out->top5 += row->rank < 5;
    out->top1_among += row->rank_among < 1;
    out->loss += row->loss;
    for (size_t t = 0; t < stages; t++) {
        const size_t kept = row->kept[t];
        out->kept[t] += (double)kept;
        if (kept < out->kept_least[t]) out->kept_least[t] = kept;
        if (kept > out->kept_most[t]) out->kept_most[t] = kept;
    }
}

static sv_status look_at_batch(const sv_removal_tape *removal, const sv_batch *batch, size_t count, size_t classes, const uint8_t *present,
                               const sv_evaluate_options *options, tally *all, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t b = 0; !status && b < count; b++) {
        const sv_real *logits = sv_tape_data(removal->tape, removal->logits, b);
        status = look(removal, batch, b, classes, present, &all->rows[all->first + b], err);
        if (!status && options->sink) status = options->sink(options->sink_context, batch->samples[b], batch->labels[b], logits, classes, err);
    }
    return status;
}

/* Room for a batch, all places empty. */
static sv_status clear_tally(tally *all, const sv_batch *batch, const sv_evaluate_options *options, sv_error *err)
{
    all->first = options->comm ? options->first[sv_comm_rank(options->comm)] : 0;
    all->places = options->comm ? options->first[sv_comm_ranks(options->comm)] : batch->count;
    sv_status status = sv_grow(&all->rows, &all->room, all->places ? all->places : 1, sizeof *all->rows, "evaluation", err);
    if (!status) memset(all->rows, 0, all->places * sizeof *all->rows);
    memset(all->parts, 0, sizeof all->parts);
    return status;
}

/* Everybody's part, then the sums. *stop: somebody was interrupted. */
static sv_status count_batch(const sv_removal_tape *removal, const sv_evaluate_options *options, const part *own, tally *all, sv_evaluation *out, bool *stop, sv_error *err)
{
    size_t each[SV_RANKS_MOST + 1], ranks = sv_comm_ranks(options->comm);
    all->parts[sv_comm_rank(options->comm)] = *own;
    for (size_t r = 0; r <= ranks; r++) each[r] = r;
    sv_status status = sv_comm_gather(options->comm, all->rows, sizeof *all->rows, sizeof *all->rows, options->first, true, err);
    if (!status) status = sv_comm_gather(options->comm, all->parts, sizeof *all->parts, sizeof *all->parts, each, true, err);
    if (status) return status;
    uint64_t macs = 0;
    out->bad_pictures = 0;
    for (size_t r = 0; r < ranks; r++) {
        macs += all->parts[r].macs;
        out->bad_pictures += (size_t)all->parts[r].bad;
        *stop = *stop || all->parts[r].stop;
    }
    for (size_t i = 0; !status && i < all->places; i++) {
        if (!all->rows[i].there) continue;
        add(&all->rows[i].record, removal->stages, out, options->confusion, sv_tensor_width(removal->logits));
        status = keep_record(&all->rows[i].record, options->records, err);
    }
    out->macs += (double)macs;
    return status;
}

/* Pictures of this batch that are run here: those whose places are below what is still wanted. */
static size_t pictures_wanted(const sv_evaluate_options *options, const sv_batch *batch, const tally *all, const sv_evaluation *so_far)
{
    if (!options->pictures_most) return batch->count;
    const size_t left = options->pictures_most - so_far->images, here = left > all->first ? left - all->first : 0;
    return batch->count < here ? batch->count : here;
}

static sv_status run_batch(const sv_removal_tape *removal, const sv_batch *batch, size_t count, double *seconds, sv_error *err)
{
    sv_step step = { .images = count, .samples = batch->samples };
    size_t numbers = sv_tensor_width(removal->picture);
    double begin = sv_now_seconds();
    for (size_t b = 0; b < count; b++) memcpy(sv_tape_data(removal->tape, removal->picture, b), batch->pictures + b * numbers, numbers * sizeof(sv_real));
    sv_status status = sv_tape_forward(removal->tape, &step, err);
    *seconds += sv_now_seconds() - begin;
    return status;
}

static void finish(sv_evaluation *out, size_t stages)
{
    double images = out->images ? (double)out->images : 1;
    out->loss /= images;
    out->macs /= images;
    for (size_t t = 0; t < stages; t++) {
        out->kept[t] /= images;
        if (!out->images) out->kept_least[t] = 0;
    }
}

sv_status sv_evaluate(const sv_removal_tape *removal, sv_loader *loader, const sv_source *source, const sv_evaluate_options *options, sv_evaluation *out, sv_error *err)
{
    size_t classes = sv_tensor_width(removal->logits), pictures = sv_source_count(source);
    tally all = { 0 };
    uint8_t *present = NULL;
    sv_evaluation result = { 0 };
    sv_batch *batch = NULL;
    sv_status status = sv_alloc_zero(&present, classes, "evaluation", err);
    if (status) return status;
    for (size_t i = 0; i < pictures; i++)
        if (sv_source_label(source, i) < classes) present[sv_source_label(source, i)] = 1;
    for (size_t t = 0; t < SV_MOST_STAGES; t++) result.kept_least[t] = SIZE_MAX;
    if (options->records) options->records->stages = removal->stages, options->records->classes = classes;
    sv_loader_start(loader, 0, 0, 1);
    while (!(status = sv_loader_next(loader, &batch, err)) && batch) {
        bool stop = false;
        part own = { .bad = sv_loader_stats_now(loader).bad_pictures, .stop = sv_interrupted() };
        status = clear_tally(&all, batch, options, err);
        const size_t count = pictures_wanted(options, batch, &all, &result);
        if (!status && count) status = run_batch(removal, batch, count, &result.seconds, err);
        if (!status && count) status = look_at_batch(removal, batch, count, classes, present, options, &all, err);
        if (!status && count) own.macs = sv_tape_macs(removal->tape);
        if (!status) status = count_batch(removal, options, &own, &all, &result, &stop, err);
        if (status) break;
        if (options->progress) sv_progress("%s %zu of %zu pictures, top-1 %.2f %%", options->progress, result.images, pictures, 100.0 * (double)result.top1 / (double)(result.images ? result.images : 1));
        if (options->pictures_most && result.images >= options->pictures_most) break;
        if (stop) {
            status = sv_fail(err, SV_INTERRUPTED, "interrupted while evaluating");
            break;
        }
    }
    if (options->progress) sv_progress_end();
    finish(&result, removal->stages);
    if (!status) *out = result;
    sv_free(present);
    sv_free(all.rows);
    return status;
}
