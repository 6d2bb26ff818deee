/* Running a planned tape. Forward: segment by segment; in each, images are shared out to threads, and one thread takes an image through
 * all nodes of the segment while its rows are in cache. Backward: the same from the end; images belong to lanes, a lane is run by one
 * thread at a time in rising order of its images, and lanes are added to the gradient in order: same bits for any number of threads. */
#include "autograd/op_shape.h"
#include "autograd/tape_internal.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

/* ---- where things are -------------------------------------------------------------------------------------------- */

static uint32_t rows_at(const sv_tape *tape, sv_rows rows, size_t image)
{
    if (rows.source < 0) return rows.most;
    int64_t count = tape->counts[(size_t)rows.source * tape->options.images_most + image];
    return (uint32_t)((count + rows.add) * rows.times);
}

static void *at(const sv_tape *tape, sv_where where, size_t image, size_t thread)
{
    switch (where.place) {
    case SV_IN_ARENA: return tape->arena + where.offset + image * where.stride;
    case SV_IN_BATCH: return tape->batch_arena + where.offset;
    case SV_IN_SCRATCH: return tape->scratch[thread] + where.offset;
    case SV_IN_TEAM: return tape->team_arena + where.offset;
    default: return NULL;
    }
}

static void span_of(const sv_tape *tape, sv_span *span, const sv_tensor *t, size_t image, size_t thread, sv_phase phase)
{
    memset(span, 0, sizeof *span);
    if (!t) return;
    const sv_tensor_plan *plan = &tape->plans[t->index];
    span->present = true;
    span->width = t->width;
    span->half = t->dtype == SV_BF16;
    if (t->extent == SV_SHARED) {
        span->parameter = t->parameter;
        span->data = t->parameter->value;
        span->rows = span->live = t->rows.most;
        return;
    }
    sv_where where = plan->data;
    if (phase == SV_SPLIT && plan->team.place) where = plan->team;
    if (phase == SV_BACKWARD && plan->rebuilt) where = plan->again;
    if (phase == SV_BACKWARD && where.place == SV_IN_SCRATCH && !plan->rebuilt) where.place = SV_NOWHERE; /* forward's, gone */
    span->data = at(tape, where, image, thread);
    span->rows = rows_at(tape, t->rows, image);
    span->live = rows_at(tape, t->live, image);
    span->image_stride = where.stride / sv_dtype_size(t->dtype);
}

/* Many images: the segment's own weights come again with the next one. One image: the next segment's follow. */
static void look_ahead(const sv_tape *tape, sv_call *call, const sv_node *node, sv_phase phase)
{
    uint32_t next = tape->next_packed[node->index];
    if (next == UINT32_MAX || !node->op->pack_forward) return;
    if (phase == SV_FORWARD && tape->nodes[next]->segment != node->segment) next = tape->segments[node->segment].first_packed;
    const sv_node *reader = tape->nodes[next];
    for (uint32_t i = 0; i < reader->input_count; i++) {
        if (!(reader->op->pack_forward >> i & 1) || !reader->in[i]) continue;
        const sv_parameter *weight = reader->in[i]->parameter;
        call->ahead = weight->forward[reader->precision].panels;
        call->ahead_bytes = weight->forward[reader->precision].bytes;
        return;
    }
}

void sv_call_of(const sv_tape *tape, sv_call *call, const sv_node *node, size_t image, size_t thread, sv_phase phase)
{
    memset(call, 0, sizeof *call);
    call->node = node;
    call->attributes = &node->attributes;
    call->step = &tape->step;
    call->image = image;
    call->images = tape->step.images;
    call->sample = tape->step.samples[image];
    for (uint32_t i = 0; i < node->input_count; i++) span_of(tape, &call->in[i], node->in[i], image, thread, phase);
    for (uint32_t o = 0; o < node->output_count; o++) span_of(tape, &call->out[o], node->out[o], image, thread, phase);
    call->row_end = call->out[0].rows;
    if (tape->saved[node->index].stride && (phase == SV_BACKWARD || !tape->redone[node->index]))
        call->saved = at(tape, tape->saved[node->index], image, thread);
    call->scratch = tape->scratch[thread] + tape->scratch_bytes;
    if (phase != SV_BACKWARD) look_ahead(tape, call, node, phase);
    if (node->count_source >= 0) call->count = &tape->counts[(size_t)node->count_source * tape->options.images_most + image];
}

static void add_gradients(const sv_tape *tape, sv_call *call, const sv_node *node, size_t image, size_t thread, uint32_t accumulate)
{
    for (uint32_t i = 0; i < node->input_count; i++) {
        const sv_tensor *t = node->in[i];
        if (!t || !tape->plans[t->index].reached || t->extent == SV_SHARED) continue;
        call->in[i].gradient = at(tape, tape->plans[t->index].gradient, image, thread);
        call->in[i].accumulate = accumulate >> i & 1;
        if (!call->in[i].image_stride) call->in[i].image_stride = tape->plans[t->index].gradient.stride / sizeof(sv_real);
    }
    for (uint32_t o = 0; o < node->output_count; o++) {
        const sv_tensor *t = node->out[o];
        bool reached = tape->plans[t->index].reached;
        call->out[o].gradient = reached ? at(tape, tape->plans[t->index].gradient, image, thread) : tape->zeros;
    }
}

static void run_forward(const sv_tape *tape, const sv_call *call, size_t thread)
{
    double begin = sv_clock_begin(tape);
    call->node->op->forward(call);
    sv_clock_node(tape, call->node, thread, false, begin);
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

typedef struct segment_run { sv_tape *tape; const sv_segment *segment; double scale; size_t first; /* image or lane of item 0 */ sv_real *lanes; } segment_run;

static void forward_image(void *context, size_t item, size_t thread)
{
    const segment_run *run = context;
    const size_t image = run->first + item;
    for (uint32_t n = run->segment->first; n < run->segment->end; n++) {
        sv_call call;
        sv_call_of(run->tape, &call, run->tape->nodes[n], image, thread, SV_FORWARD);
        run_forward(run->tape, &call, thread);
    }
}

static void split_node(sv_tape *tape, sv_team *team, const sv_node *node, size_t image, size_t thread, size_t threads)
{
    sv_call call;
    if (tape->barriers[node->index]) sv_team_barrier(team);
    if (node->op->locality == SV_IMAGE_WHOLE && thread != 0) return;
    sv_call_of(tape, &call, node, image, thread, SV_SPLIT);
    if (node->op->locality != SV_IMAGE_WHOLE) {
        call.row_begin = call.out[0].rows * thread / threads;
        call.row_end = call.out[0].rows * (thread + 1) / threads;
        if (call.row_begin == call.row_end) return;
    }
    run_forward(tape, &call, thread);
}

static void forward_split(void *context, sv_team *team, size_t thread, size_t threads)
{
    const segment_run *run = context;
    sv_tape *tape = run->tape;
    for (uint32_t s = 0; s < tape->segment_count; s++) {
        const sv_segment *segment = &tape->segments[s];
        const double begin = thread == 0 && tape->segment_seconds ? sv_now_seconds() : 0;
        for (size_t image = 0; image < (segment->batch ? 1 : tape->step.images); image++) {
            if (segment->batch) {
                if (thread == 0) forward_image(&(segment_run){ tape, segment, 0, 0, NULL }, 0, 0);
            } else {
                for (uint32_t n = segment->first; n < segment->end; n++) split_node(tape, team, tape->nodes[n], image, thread, threads);
            }
            sv_team_barrier(team); /* shared memory is used again by the next image or segment */
        }
        if (thread == 0 && tape->segment_seconds) tape->segment_seconds[s] = sv_now_seconds() - begin;
    }
}

/* ---- before a run ------------------------------------------------------------------------------------------------ */

/* Scratch for every thread there is now. More threads than ever before: the one place where a later step may allocate. */
static bool have_scratch(sv_tape *tape)
{
    size_t threads = sv_threads(), bytes = tape->scratch_bytes + tape->op_scratch_bytes + SV_ALIGN, capacity = tape->scratch_threads;
    if (threads > tape->scratch_threads) {
        if (sv_grow(&tape->scratch, &capacity, threads, sizeof *tape->scratch, "scratch", NULL)) return false;
        while (tape->scratch_threads < threads) {
            if (sv_alloc_zero(&tape->scratch[tape->scratch_threads], bytes, "scratch", NULL)) return false;
            tape->scratch_threads++;
        }
    }
    return sv_clock_ready(tape, threads);
}

static void weight_shape(const sv_parameter *parameter, size_t *n, size_t *k)
{
    *n = parameter->shape[0];
    *k = *n ? parameter->count / *n : 0;
}

static bool pack_one(sv_parameter *parameter, sv_precision precision, bool backward)
{
    struct sv_packed *packed = backward ? &parameter->backward[precision] : &parameter->forward[precision];
    const sv_parts parts = sv_parts_of(precision);
    size_t n = 0, k = 0;
    if (packed->version == parameter->set->version) return true;
    weight_shape(parameter, &n, &k);
    const size_t bytes = (backward ? sv_pack_backward_parts_bytes : sv_pack_forward_parts_bytes)(n, k, parts);
    if (!packed->panels && sv_alloc(&packed->panels, bytes, "packed weights", NULL)) return false;
    (backward ? sv_pack_backward_parts : sv_pack_forward_parts)(packed->panels, parameter->value, n, k, parts);
    packed->version = parameter->set->version;
    packed->bytes = bytes;
    return true;
}

typedef struct pack_run { sv_tape *tape; bool failed; } pack_run;

static void pack_tensor(void *context, size_t index, size_t thread)
{
    pack_run *run = context;
    const sv_tensor *t = run->tape->tensors[index];
    uint32_t need = run->tape->plans[index].parameter_slot;
    if (t->extent != SV_SHARED) return;
    const double begin = sv_clock_begin(run->tape);
    if (((need & 1) && !pack_one(t->parameter, run->tape->options.precision, false)) || ((need & 2) && !pack_one(t->parameter, run->tape->options.precision, true))) run->failed = true;
    sv_clock_own(run->tape, SV_CLOCK_PACK, thread, begin);
}

/* Which panels each parameter is read by: bit 0 forward, bit 1 backward. */
static void mark_packs(sv_tape *tape)
{
    for (size_t n = 0; n < tape->node_count; n++) {
        const sv_node *node = tape->nodes[n];
        for (uint32_t i = 0; i < node->input_count; i++) {
            if (!node->in[i] || node->in[i]->extent != SV_SHARED) continue;
            uint32_t bits = node->op->pack_forward >> i & 1;
            if (tape->loss && sv_node_active(tape, node) && (node->op->pack_backward >> i & 1)) bits |= 2;
            tape->plans[node->in[i]->index].parameter_slot |= bits;
        }
    }
}

static sv_status prepare(sv_tape *tape, sv_error *err)
{
    pack_run run = { tape, false };
    if (!have_scratch(tape)) return sv_fail(err, SV_FAULT, "no memory for the scratch of %zu threads; use a smaller batch or fewer threads", sv_threads());
    if (!tape->has_run) mark_packs(tape);
    sv_for_items(tape->tensor_count, pack_tensor, &run);
    if (run.failed) return sv_fail(err, SV_FAULT, "no memory for packed weights; use a smaller batch");
    return SV_OK;
}

static sv_status run_all(sv_tape *tape, const sv_step *step, sv_error *err)
{
    if (!tape->finished) return sv_fail(err, SV_FAULT, "the tape is not finished");
    if (step->images < 1 || step->images > tape->options.images_most)
        return sv_fail(err, SV_FAULT, "a step of %zu images; this tape takes 1 to %zu", step->images, tape->options.images_most);
    sv_status status = prepare(tape, err);
    if (status) return status;
    for (size_t b = 0; b < step->images; b++) tape->samples[b] = step->samples ? step->samples[b] : b;
    tape->step = *step;
    tape->step.samples = tape->samples;
    tape->has_run = true;
    segment_run run = { tape, NULL, 0, 0, NULL };
    if (tape->can_split && step->images < sv_threads()) {
        sv_team_run(forward_split, &run);
        return SV_OK;
    }
    const size_t first = sv_peers_image(tape, tape->peers.rank), own = sv_peers_image(tape, tape->peers.rank + 1) - first;
    for (uint32_t s = 0; !status && s < tape->segment_count; s++) {
        const double begin = tape->segment_seconds ? sv_now_seconds() : 0;
        run.segment = &tape->segments[s];
        run.first = run.segment->batch ? 0 : first;
        if (run.segment->batch) status = sv_peers_gather_inputs(tape, tape->nodes[run.segment->first], err);
        if (!status) sv_for_items(run.segment->batch ? 1 : own, forward_image, &run);
        if (tape->segment_seconds) tape->segment_seconds[s] = sv_now_seconds() - begin;
    }
    return status ? status : sv_peers_gather_kept(tape, err);
}

sv_status sv_tape_forward(sv_tape *tape, const sv_step *step, sv_error *err)
{
    const double begin = sv_clock_begin(tape);
    const sv_status status = run_all(tape, step, err);
    if (!status) sv_clock_run(tape, true, begin);
    return status;
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* Parameter gradients of a call go to the lane; the first image of a lane overwrites. */
static void lane_gradients(const sv_tape *tape, const sv_segment *segment, sv_call *call, const sv_node *node, sv_real *lane, bool first_image,
                           uint32_t accumulate)
{
    for (uint32_t i = 0; i < node->input_count; i++) {
        const sv_tensor *t = node->in[i];
        if (!t || t->extent != SV_SHARED || !tape->plans[t->index].reached) continue;
        for (size_t k = 0; k < segment->lane_item_count; k++)
            if (segment->lane_items[k].parameter == t->parameter) {
                call->in[i].gradient = lane + segment->lane_items[k].offset;
                call->in[i].accumulate = (accumulate >> i & 1) || !first_image;
                break;
            }
    }
}

static void run_way(const segment_run *run, const sv_way *way, size_t image, size_t thread, sv_real *lane, bool first_image)
{
    const sv_tape *tape = run->tape;
    const sv_node *node = tape->nodes[way->node];
    double begin = sv_clock_begin(tape);
    sv_call call;
    sv_call_of(tape, &call, node, image, thread, SV_BACKWARD);
    if (way->kind == SV_WAY_REDO) {
        node->op->forward(&call);
    } else if (way->kind == SV_WAY_REBUILD) {
        if (!tape->plans[node->out[0]->index].backward_reads_dead) call.row_end = call.out[0].live;
        node->op->rebuild(&call);
    } else {
        add_gradients(tape, &call, node, image, thread, way->accumulate);
        if (lane) lane_gradients(tape, run->segment, &call, node, lane, first_image, way->accumulate);
        node->op->backward(&call);
    }
    sv_clock_node(tape, node, thread, true, begin);
}

size_t sv_lane_begin(const sv_tape *tape, size_t lane) { return lane * tape->step.images / tape->options.lanes; }

static void backward_lane(void *context, size_t item, size_t thread)
{
    const segment_run *run = context;
    const sv_tape *tape = run->tape;
    const size_t lane = run->first + item;
    sv_real *sums = run->lanes + lane * tape->lane_stride;
    size_t begin = sv_lane_begin(tape, lane), end = sv_lane_begin(tape, lane + 1);
    for (size_t image = begin; image < end; image++)
        for (size_t w = 0; w < run->segment->way_count; w++) run_way(run, &run->segment->way[w], image, thread, sums, image == begin);
}

enum { LANE_CHUNK = 8192 };

/* gradient += lane 0, then lane 1, ...: a chunk by one thread. */
static void add_lanes(void *context, size_t chunk, size_t thread)
{
    const segment_run *run = context;
    const sv_tape *tape = run->tape;
    size_t begin = chunk * LANE_CHUNK, end = begin + LANE_CHUNK;
    const double began = sv_clock_begin(tape);
    for (size_t k = 0; k < run->segment->lane_item_count; k++) {
        const sv_lane_item *item = &run->segment->lane_items[k];
        size_t from = item->offset > begin ? item->offset : begin, to = item->offset + item->parameter->count < end ? item->offset + item->parameter->count : end;
        if (from >= to) continue;
        if (tape->options.lanes_bf16) {
            sv_lanes_add_rounded(item->parameter->gradient + (from - item->offset), tape->lanes + from, tape->lane_stride, tape->options.lanes,
                                 tape->lane_empty, to - from);
            continue;
        }
        for (size_t lane = 0; lane < tape->options.lanes; lane++)
            if (sv_lane_begin(tape, lane) < sv_lane_begin(tape, lane + 1))
                sv_scale(item->parameter->gradient + (from - item->offset), tape->lanes + lane * tape->lane_stride + from, 1, to - from, true);
    }
    sv_clock_own(tape, SV_CLOCK_LANES, thread, began);
}

void sv_tape_backward(sv_tape *tape, double scale)
{
    segment_run run = { tape, NULL, scale, sv_peers_lane(tape, tape->peers.rank), tape->lanes };
    const size_t own = sv_peers_lane(tape, tape->peers.rank + 1) - run.first;
    const double begin = sv_clock_begin(tape);
    tape->peers_error.code = SV_OK;
    if (!tape->loss || !tape->has_run || !tape->plans[tape->loss->index].reached) return;
    *(sv_real *)at(tape, tape->plans[tape->loss->index].gradient, 0, 0) = (sv_real)scale;
    for (size_t lane = 0; lane < tape->options.lanes; lane++) tape->lane_empty[lane] = sv_lane_begin(tape, lane) == sv_lane_begin(tape, lane + 1);
    for (uint32_t s = tape->segment_count; s-- > 0;) {
        run.segment = &tape->segments[s];
        if (run.segment->batch) {
            for (size_t w = 0; w < run.segment->way_count; w++) run_way(&run, &run.segment->way[w], 0, 0, NULL, false);
            continue;
        }
        if (!run.segment->way_count) continue;
        run.lanes = sv_exchange_lanes(tape);
        sv_for_items(own, backward_lane, &run);
        if (!run.segment->lane_numbers) continue;
        if (tape->exchange)
            sv_exchange_post(tape, run.segment);
        else
            sv_for_items((run.segment->lane_numbers + LANE_CHUNK - 1) / LANE_CHUNK, add_lanes, &run);
    }
    sv_exchange_wait(tape);
    sv_clock_run(tape, false, begin);
}

/* ---- looking at the results -------------------------------------------------------------------------------------- */

sv_real *sv_tape_data(const sv_tape *tape, const sv_tensor *tensor, size_t image)
{
    if (!tensor || !tape->finished) return NULL;
    if (tensor->extent == SV_SHARED) return tensor->parameter->value;
    return at(tape, tape->plans[tensor->index].data, image, 0);
}

sv_real *sv_tape_gradient(const sv_tape *tape, const sv_tensor *tensor, size_t image)
{
    return tensor && tape->plans[tensor->index].reached ? at(tape, tape->plans[tensor->index].gradient, image, 0) : NULL;
}

size_t sv_tape_segments(const sv_tape *tape) { return tape->segment_count; }
void sv_tape_watch(sv_tape *tape, double *seconds) { tape->segment_seconds = seconds; }

size_t sv_tape_rows(const sv_tape *tape, const sv_tensor *tensor, size_t image) { return rows_at(tape, tensor->rows, image); }

uint64_t sv_tape_macs(const sv_tape *tape)
{
    uint64_t sum = 0;
    if (!tape->has_run) return 0;
    for (size_t n = 0; n < tape->node_count; n++) {
        const sv_node *node = tape->nodes[n];
        size_t images = node->op->locality == SV_BATCH_OP ? 1 : tape->step.images;
        for (size_t b = 0; node->op->macs && b < images; b++) {
            sv_call call;
            sv_call_of(tape, &call, node, b, 0, SV_FORWARD);
            sum += node->op->macs(&call);
        }
    }
    return sum;
}

sv_tape_bytes sv_tape_bytes_planned(const sv_tape *tape)
{
    return (sv_tape_bytes){ .stored = tape->arena_bytes + tape->batch_bytes + tape->team_bytes,
                            .scratch = (tape->scratch_bytes + tape->op_scratch_bytes) * sv_threads(),
                            .lanes = tape->lane_stride * tape->options.lanes * sizeof(sv_real) };
}

static bool all_finite(const sv_real *data, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(data[i])) return false;
    return true;
}

const char *sv_tape_not_finite(const sv_tape *tape)
{
    for (size_t t = 0; tape->has_run && t < tape->tensor_count; t++) {
        const sv_tensor *tensor = tape->tensors[t];
        if (tensor->dtype != SV_REAL) continue;
        if (tensor->extent == SV_SHARED && !all_finite(tensor->parameter->value, tensor->parameter->count)) return tensor->label;
        if (tensor->extent == SV_PER_BATCH && !all_finite(sv_tape_data(tape, tensor, 0), tensor->width)) return tensor->label;
        /* memory of tensors that do not live to the end may be used again: only what is kept is looked at */
        if (tensor->extent != SV_PER_IMAGE || !tape->plans[t].kept) continue;
        const size_t end = sv_peers_image(tape, tape->peers.rank + 1);
        for (size_t b = sv_peers_image(tape, tape->peers.rank); b < end; b++)
            if (!all_finite(sv_tape_data(tape, tensor, b), sv_tape_rows(tape, tensor, b) * tensor->width)) return tensor->label;
    }
    return NULL;
}
