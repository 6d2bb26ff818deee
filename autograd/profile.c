/* Where the time of a tape goes: a clock around each call of an op, a few for the engine's own work, and the wall time of whole
 * runs; what is left of threads x wall is waiting. A clock costs some 50 ns a call, three calls in ten thousand of a step. */
#include "autograd/tape_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct sv_clocks {
    double *nodes;                  /* [threads][nodes][forward, backward] */
    double *own;                    /* [threads][SV_CLOCK_OWN_COUNT] */
    size_t threads;
    double wall;
    uint64_t runs;
} sv_clocks;

static const char *const own_names[SV_CLOCK_OWN_COUNT] = { "(pack weights)", "(add lanes)" };

double sv_clock_begin(const sv_tape *tape) { return tape->clocks ? sv_now_seconds() : 0; }

bool sv_clock_ready(sv_tape *tape, size_t threads)
{
    sv_clocks *clocks = tape->clocks;
    double *nodes = NULL, *own = NULL;
    if (!clocks || threads <= clocks->threads) return true;
    if (sv_alloc_zero(&nodes, threads * tape->node_count * 2 * sizeof *nodes, "profile", NULL) ||
        sv_alloc_zero(&own, threads * SV_CLOCK_OWN_COUNT * sizeof *own, "profile", NULL)) {
        sv_free(nodes);
        return false;
    }
    if (clocks->threads) {
        memcpy(nodes, clocks->nodes, clocks->threads * tape->node_count * 2 * sizeof *nodes);
        memcpy(own, clocks->own, clocks->threads * SV_CLOCK_OWN_COUNT * sizeof *own);
    }
    sv_free(clocks->nodes);
    sv_free(clocks->own);
    clocks->nodes = nodes;
    clocks->own = own;
    clocks->threads = threads;
    return true;
}

void sv_clock_node(const sv_tape *tape, const sv_node *node, size_t thread, bool backward, double begin)
{
    if (tape->clocks) tape->clocks->nodes[(thread * tape->node_count + node->index) * 2 + (backward ? 1 : 0)] += sv_now_seconds() - begin;
}

void sv_clock_own(const sv_tape *tape, sv_own_work work, size_t thread, double begin)
{
    if (tape->clocks) tape->clocks->own[thread * SV_CLOCK_OWN_COUNT + work] += sv_now_seconds() - begin;
}

void sv_clock_run(sv_tape *tape, bool forward, double begin)
{
    if (!tape->clocks) return;
    tape->clocks->wall += sv_now_seconds() - begin;
    tape->clocks->runs += forward;
}

void sv_clocks_destroy(sv_tape *tape)
{
    if (!tape->clocks) return;
    sv_free(tape->clocks->nodes);
    sv_free(tape->clocks->own);
    sv_free(tape->clocks);
    tape->clocks = NULL;
}

sv_status sv_tape_profile(sv_tape *tape, bool on, sv_error *err)
{
    sv_clocks_destroy(tape);
    return on ? sv_alloc_zero(&tape->clocks, sizeof *tape->clocks, "profile", err) : SV_OK;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static sv_profile_row *row_of(sv_profile *profile, const char *op)
{
    for (size_t i = 0; i < profile->count; i++)
        if (profile->rows[i].op == op) return &profile->rows[i];
    profile->rows[profile->count] = (sv_profile_row){ .op = op };
    return &profile->rows[profile->count++];
}

static uint64_t span_bytes(const sv_span *span) { return span->present ? (uint64_t)span->rows * span->width * sizeof(sv_real) : 0; }

static void count_work(const sv_tape *tape, const sv_node *node, sv_profile_row *row)
{
    const size_t images = node->op->locality == SV_BATCH_OP ? 1 : tape->step.images;
    for (size_t b = 0; tape->has_run && b < images; b++) {
        sv_call call;
        sv_call_of(tape, &call, node, b, 0, SV_FORWARD);
        if (node->op->macs) row->macs += node->op->macs(&call) * tape->clocks->runs;
        for (uint32_t i = 0; i < node->input_count; i++) row->bytes += span_bytes(&call.in[i]) * tape->clocks->runs;
        for (uint32_t o = 0; o < node->output_count; o++) row->bytes += span_bytes(&call.out[o]) * tape->clocks->runs;
    }
}

static int most_time_first(const void *a, const void *b)
{
    const sv_profile_row *x = a, *y = b;
    const double left = x->forward_seconds + x->backward_seconds, right = y->forward_seconds + y->backward_seconds;
    return (left < right) - (left > right);
}

sv_status sv_tape_profile_read(const sv_tape *tape, sv_profile *out, sv_error *err)
{
    const sv_clocks *clocks = tape->clocks;
    size_t most = 0;
    *out = (sv_profile){ 0 };
    if (!clocks || !clocks->runs) return SV_OK;
    if (sv_add_size(&most, tape->node_count, SV_CLOCK_OWN_COUNT + 1) || sv_mul_size(&most, most, sizeof *out->rows))
        return sv_fail(err, SV_FAULT, "the tape is too long");
    const sv_status status = sv_alloc_zero(&out->rows, most, "profile", err);
    if (status) return status;
    out->threads = clocks->threads;
    out->runs = clocks->runs;
    out->wall_seconds = clocks->wall;
    double busy = 0;
    for (size_t n = 0; n < tape->node_count; n++) {
        sv_profile_row *row = row_of(out, tape->nodes[n]->op->name);
        for (size_t t = 0; t < clocks->threads; t++) {
            row->forward_seconds += clocks->nodes[(t * tape->node_count + n) * 2];
            row->backward_seconds += clocks->nodes[(t * tape->node_count + n) * 2 + 1];
            busy += clocks->nodes[(t * tape->node_count + n) * 2] + clocks->nodes[(t * tape->node_count + n) * 2 + 1];
        }
        count_work(tape, tape->nodes[n], row);
    }
    for (size_t w = 0; w < SV_CLOCK_OWN_COUNT; w++) {
        sv_profile_row *row = row_of(out, own_names[w]);
        for (size_t t = 0; t < clocks->threads; t++) row->forward_seconds += clocks->own[t * SV_CLOCK_OWN_COUNT + w];
        busy += row->forward_seconds;
    }
    row_of(out, "(waiting)")->forward_seconds = (double)out->threads * out->wall_seconds - busy;
    qsort(out->rows, out->count, sizeof *out->rows, most_time_first);
    return SV_OK;
}

/* ---- showing ----------------------------------------------------------------------------------------------------- */

static void rate(sv_text *text, double amount, double seconds)
{
    if (amount > 0 && seconds > 0) sv_text_add(text, " %9.1f", amount / seconds * 1e-9);
    else sv_text_add(text, " %9s", "");
}

void sv_profile_print(sv_text *text, const sv_profile *profile, const char *other, double other_seconds)
{
    const double runs = profile->runs ? (double)profile->runs : 1, threads = (double)profile->threads;
    const double step = profile->wall_seconds + other_seconds;
    sv_text_add(text, "%-24s %9s %9s %7s %9s %9s %9s\n", "op, ms of a step", "forward", "backward", "share", "GFLOP/s", "backward", "GB/s");
    for (size_t i = 0; i < profile->count; i++) {
        const sv_profile_row *row = &profile->rows[i];
        const double forward = row->forward_seconds / threads, backward = row->backward_seconds / threads;
        if (forward + backward < step * 1e-5) continue;
        sv_text_add(text, "%-24s %9.3f %9.3f %6.1f%%", row->op, 1e3 * forward / runs, 1e3 * backward / runs, 100 * (forward + backward) / step);
        rate(text, 2 * (double)row->macs, forward);
        rate(text, 4 * (double)row->macs, backward);
        rate(text, (double)row->bytes, forward);
        sv_text_add(text, "\n");
    }
    if (other_seconds > 0) sv_text_add(text, "%-24s %9.3f %9s %6.1f%%\n", other, 1e3 * other_seconds / runs, "", 100 * other_seconds / step);
    sv_text_add(text, "%-24s %9.3f ms a step, %zu threads; rates are of all threads together; backward at twice the forward's work\n", "all",
                1e3 * step / runs, profile->threads);
}
