/* The plan of a tape: what is kept, what is rebuilt, where everything stands, which gradients are written first and which are added.
 * Made once, before the first step. See tape_internal.h for how time is counted. */
#include "autograd/tape_internal.h"

#include <string.h>

bool sv_node_active(const sv_tape *tape, const sv_node *node)
{
    if (!node->op->backward) return false;
    for (uint32_t o = 0; o < node->output_count; o++)
        if (tape->plans[node->out[o]->index].reached) return true;
    return false;
}

size_t sv_tensor_bytes(const sv_tensor *tensor)
{
    size_t bytes = 0;
    if (sv_mul_size3(&bytes, tensor->rows.most, tensor->width, sv_dtype_size(tensor->dtype)) || sv_align_up(&bytes, bytes, SV_ALIGN))
        return SIZE_MAX / 4;
    return bytes ? bytes : SV_ALIGN;
}

static size_t gradient_bytes(const sv_tensor *tensor)
{
    sv_tensor whole = *tensor;
    if (whole.dtype == SV_BF16) whole.dtype = SV_REAL;
    return sv_tensor_bytes(&whole);
}

static uint32_t segment_of(const sv_tape *tape, const sv_tensor *tensor)
{
    return tensor->node == UINT32_MAX ? 0 : tape->nodes[tensor->node]->segment;
}

static uint32_t back_time(const sv_tape *tape, uint32_t segment) { return 2 * tape->segment_count - 1 - segment; }

/* ---- what takes part in backward --------------------------------------------------------------------------------- */

static void mark_reached(sv_tape *tape)
{
    if (!tape->loss) return;
    tape->plans[tape->loss->index].reached = tape->loss->needs_gradient;
    for (size_t n = tape->node_count; n-- > 0;) {
        const sv_node *node = tape->nodes[n];
        if (!sv_node_active(tape, node)) continue;
        for (uint32_t i = 0; i < node->input_count; i++)
            if (node->in[i] && node->in[i]->needs_gradient) tape->plans[node->in[i]->index].reached = true;
    }
}

static void mark_crossings(sv_tape *tape)
{
    for (size_t n = 0; n < tape->node_count; n++) {
        const sv_node *node = tape->nodes[n];
        for (uint32_t i = 0; i < node->input_count; i++) {
            const sv_tensor *t = node->in[i];
            if (t && t->extent == SV_PER_IMAGE && (t->node == UINT32_MAX || segment_of(tape, t) != node->segment))
                tape->plans[t->index].crosses = true;
        }
    }
}

static bool can_rebuild(const sv_tape *tape, const sv_tensor *tensor)
{
    const sv_tensor_plan *plan = &tape->plans[tensor->index];
    if (tensor->node == UINT32_MAX || plan->crosses || plan->kept) return false;
    const sv_node *node = tape->nodes[tensor->node];
    return node->op->rebuild && node->out[0] == tensor;
}

static void mark_read(sv_tape *tape, const sv_tensor *tensor, bool dead)
{
    if (!tensor) return;
    tape->plans[tensor->index].backward_reads = true;
    if (dead) tape->plans[tensor->index].backward_reads_dead = true;
}

/* Segments that can be run again: of one image alone, without row counts of their own making. */
static bool can_redo(const sv_tape *tape, const sv_node *node)
{
    if (!tape->options.recompute || !tape->loss) return false;
    for (size_t n = 0; n < tape->node_count; n++) {
        const sv_node *other = tape->nodes[n];
        if (other->segment == node->segment && (other->op->locality == SV_BATCH_OP || other->op->sets_count)) return false;
    }
    return true;
}

static bool ends_here(const sv_tape *tape, const sv_tensor *tensor) { return !tape->plans[tensor->index].crosses && !tape->plans[tensor->index].kept; }

/* A node that is run again makes all its outputs again, from whole inputs. */
static void mark_redone(sv_tape *tape, const sv_node *node)
{
    bool wanted = node->op->saved && sv_node_active(tape, node);
    for (uint32_t o = 0; o < node->output_count; o++) wanted = wanted || (tape->plans[node->out[o]->index].backward_reads && ends_here(tape, node->out[o]));
    if (!wanted) return;
    tape->redone[node->index] = 1;
    for (uint32_t o = 0; o < node->output_count; o++) {
        sv_tensor_plan *plan = &tape->plans[node->out[o]->index];
        plan->rebuilt = ends_here(tape, node->out[o]);
        plan->backward_reads = plan->backward_reads || !plan->rebuilt; /* written again where it stood: the place must still be its own */
    }
    for (uint32_t i = 0; i < node->input_count; i++) mark_read(tape, node->in[i], true);
}

/* From the last node to the first, so that what a rebuild reads is known before its own maker is met. */
static void mark_backward_reads(sv_tape *tape)
{
    for (size_t n = tape->node_count; n-- > 0;) {
        const sv_node *node = tape->nodes[n];
        const sv_op *op = node->op;
        if (sv_node_active(tape, node)) {
            for (uint32_t i = 0; i < node->input_count; i++)
                if (op->backward_inputs >> i & 1) mark_read(tape, node->in[i], op->backward_dead >> i & 1);
            for (uint32_t o = 0; o < node->output_count; o++)
                if (op->backward_outputs >> o & 1) mark_read(tape, node->out[o], false);
        }
        if (can_redo(tape, node)) {
            mark_redone(tape, node);
            continue;
        }
        sv_tensor_plan *made = &tape->plans[node->out[0]->index];
        if (made->backward_reads && can_rebuild(tape, node->out[0])) {
            made->rebuilt = true;
            for (uint32_t i = 0; i < node->input_count; i++)
                if (op->rebuild_inputs >> i & 1) mark_read(tape, node->in[i], made->backward_reads_dead);
        }
    }
}

/* ---- what is bf16 in memory -------------------------------------------------------------------------------------- */

/* Somebody reads it, and everybody as an operand of products, be it after rows were moved. */
static bool readers_take_half(const sv_tape *tape, const sv_tensor *t)
{
    bool read = false;
    if (tape->plans[t->index].kept) return false;
    for (size_t n = t->node + 1; n < tape->node_count; n++) {
        const sv_node *reader = tape->nodes[n];
        for (uint32_t i = 0; i < reader->input_count; i++) {
            if (reader->in[i] != t) continue;
            if (!(reader->op->moves_half ? readers_take_half(tape, reader->out[0]) : reader->op->takes_half >> i & 1)) return false;
            read = true;
        }
    }
    return read;
}

/* Tensors are asked in rising order: what is moved has been asked. */
static bool may_be_half(const sv_tape *tape, const sv_tensor *t)
{
    const sv_node *maker = t->node == UINT32_MAX ? NULL : tape->nodes[t->node];
    if (!maker || maker->out[0] != t || t->dtype != SV_REAL) return false;
    if (maker->op->moves_half) return maker->in[0]->dtype == SV_BF16;
    if (!maker->op->gives_half || (sv_node_active(tape, maker) && (maker->op->backward_outputs & 1))) return false;
    return readers_take_half(tape, t);
}

static void make_halves(sv_tape *tape)
{
    for (size_t t = 0; tape->options.precision == SV_PRECISION_BF16 && t < tape->tensor_count; t++)
        if (may_be_half(tape, tape->tensors[t])) tape->tensors[t]->dtype = SV_BF16;
}

/* ---- segments and their way back --------------------------------------------------------------------------------- */

static sv_status make_segments(sv_tape *tape, sv_error *err)
{
    size_t bytes = 0;
    if (sv_mul_size(&bytes, tape->segment_count, sizeof *tape->segments)) return sv_fail(err, SV_FAULT, "the tape has too many segments");
    sv_status status = sv_alloc_zero(&tape->segments, bytes, "plan", err);
    if (status) return status;
    for (size_t n = 0; n < tape->node_count; n++) {
        sv_segment *segment = &tape->segments[tape->nodes[n]->segment];
        if (!segment->end) segment->first = (uint32_t)n;
        segment->end = (uint32_t)n + 1;
        segment->batch = tape->nodes[n]->op->locality == SV_BATCH_OP;
    }
    return SV_OK;
}

typedef struct way_maker { sv_tape *tape; sv_segment *segment; uint8_t *ready; } way_maker; /* ready: by tensor, rebuilt in this segment */

static void need(way_maker *maker, const sv_tensor *tensor)
{
    if (!tensor || !maker->tape->plans[tensor->index].rebuilt || maker->ready[tensor->index]) return;
    const sv_node *node = maker->tape->nodes[tensor->node];
    for (uint32_t i = 0; i < node->input_count; i++)
        if (node->op->rebuild_inputs >> i & 1) need(maker, node->in[i]);
    maker->ready[tensor->index] = 1;
    maker->segment->way[maker->segment->way_count++] = (sv_way){ .node = node->index, .kind = SV_WAY_REBUILD };
}

/* Whether each gradient written by this node adds to what is there; marks it as there. */
static uint32_t accumulate_bits(way_maker *maker, const sv_node *node, uint8_t *written)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < node->input_count; i++) {
        const sv_tensor *t = node->in[i];
        if (!t || !maker->tape->plans[t->index].reached) continue;
        if (written[t->index]) bits |= 1u << i;
        written[t->index] = 1;
    }
    return bits;
}

static sv_status make_way(sv_tape *tape, sv_segment *segment, uint8_t *ready, uint8_t *written, sv_error *err)
{
    way_maker maker = { tape, segment, ready };
    size_t most = 2 * (size_t)(segment->end - segment->first), bytes = 0;
    if (sv_mul_size(&bytes, most, sizeof *segment->way)) return sv_fail(err, SV_FAULT, "the tape is too long");
    sv_status status = sv_alloc_zero(&segment->way, bytes, "plan", err);
    if (status) return status;
    for (uint32_t n = segment->first; n < segment->end; n++) {
        if (!tape->redone[n]) continue;
        for (uint32_t o = 0; o < tape->nodes[n]->output_count; o++) ready[tape->nodes[n]->out[o]->index] = 1;
        segment->way[segment->way_count++] = (sv_way){ .node = n, .kind = SV_WAY_REDO };
    }
    for (uint32_t n = segment->end; n-- > segment->first;) {
        const sv_node *node = tape->nodes[n];
        if (!sv_node_active(tape, node)) continue;
        for (uint32_t i = 0; i < node->input_count; i++)
            if (node->op->backward_inputs >> i & 1) need(&maker, node->in[i]);
        for (uint32_t o = 0; o < node->output_count; o++)
            if (node->op->backward_outputs >> o & 1) need(&maker, node->out[o]);
        uint32_t bits = accumulate_bits(&maker, node, written);
        segment->way[segment->way_count++] = (sv_way){ .node = n, .accumulate = bits };
    }
    return SV_OK;
}

/* Parameters of a segment get a place in its lane; their first writer in a segment overwrites (for the lane's first image). */
static sv_status make_lane(sv_tape *tape, sv_segment *segment, sv_error *err)
{
    size_t capacity = 0;
    for (uint32_t n = segment->first; n < segment->end; n++) {
        const sv_node *node = tape->nodes[n];
        for (uint32_t i = 0; sv_node_active(tape, node) && i < node->input_count; i++) {
            const sv_tensor *t = node->in[i];
            bool known = false;
            if (!t || t->extent != SV_SHARED || !tape->plans[t->index].reached) continue;
            for (size_t k = 0; k < segment->lane_item_count; k++) known = known || segment->lane_items[k].parameter == t->parameter;
            if (known) continue;
            sv_status status = sv_grow(&segment->lane_items, &capacity, segment->lane_item_count + 1, sizeof *segment->lane_items, "plan", err);
            if (status) return status;
            segment->lane_items[segment->lane_item_count++] = (sv_lane_item){ t->parameter, segment->lane_numbers };
            segment->lane_numbers += (t->parameter->count + 15) / 16 * 16;
        }
    }
    if (segment->lane_numbers > tape->lane_stride) tape->lane_stride = segment->lane_numbers;
    return SV_OK;
}

static sv_status make_ways(sv_tape *tape, sv_error *err)
{
    uint8_t *ready = NULL, *written = NULL;
    sv_status status = sv_alloc_zero(&ready, tape->tensor_count, "plan", err);
    if (!status) status = sv_alloc_zero(&written, tape->tensor_count, "plan", err);
    for (uint32_t s = tape->segment_count; !status && tape->loss && s-- > 0;) {
        for (size_t t = 0; t < tape->tensor_count; t++)
            if (tape->tensors[t]->extent == SV_SHARED) written[t] = 0; /* every segment sums into its own lanes */
        status = make_way(tape, &tape->segments[s], ready, written, err);
        if (!status) status = make_lane(tape, &tape->segments[s], err);
    }
    sv_free(written);
    sv_free(ready);
    return status;
}

/* ---- gradients that may share memory ----------------------------------------------------------------------------- */

static uint32_t group_of(sv_tape *tape, uint32_t tensor)
{
    while (tape->plans[tensor].gradient_group != tensor) tensor = tape->plans[tensor].gradient_group;
    return tensor;
}

static void join_gradients(sv_tape *tape)
{
    for (uint32_t t = 0; t < tape->tensor_count; t++) tape->plans[t].gradient_group = t;
    for (uint32_t s = 0; tape->loss && s < tape->segment_count; s++)
        for (size_t w = 0; w < tape->segments[s].way_count; w++) {
            const sv_way *way = &tape->segments[s].way[w];
            const sv_node *node = tape->nodes[way->node];
            if (way->kind != SV_WAY_BACK || !node->op->passes_gradient) continue;
            uint32_t k = node->op->passes_gradient - 1;
            const sv_tensor *in = k < node->input_count ? node->in[k] : NULL, *out = node->out[0];
            bool once = in && in->extent == SV_PER_IMAGE && out->extent == SV_PER_IMAGE && tape->plans[in->index].reached &&
                        tape->plans[out->index].reached && !(way->accumulate >> k & 1) && in->width == out->width &&
                        sv_rows_equal(in->rows, out->rows) && sv_rows_equal(in->live, out->live);
            for (uint32_t i = 0; once && i < node->input_count; i++)
                if (i != k && node->in[i] == in) once = false;
            if (once) tape->plans[group_of(tape, in->index)].gradient_group = group_of(tape, out->index);
        }
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

typedef struct life_list { sv_life *items; sv_where **places; size_t count, capacity, place_capacity; } life_list;

static sv_status life_add(life_list *list, sv_where *place, size_t bytes, uint32_t first, uint32_t last, sv_error *err)
{
    sv_status status = sv_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, "plan", err);
    if (!status) status = sv_grow(&list->places, &list->place_capacity, list->count + 1, sizeof *list->places, "plan", err);
    if (status) return status;
    list->items[list->count] = (sv_life){ .bytes = bytes, .first = first, .last = last };
    list->places[list->count++] = place;
    return SV_OK;
}

static sv_status life_place(life_list *list, sv_storage place, size_t *total, sv_error *err)
{
    size_t sum = 0;
    sv_status status = sv_place_lives(list->items, list->count, &sum, err);
    if (status) return status;
    for (size_t i = 0; i < list->count; i++) {
        list->places[i]->place = place;
        list->places[i]->offset = list->items[i].offset;
    }
    if (sum > *total) *total = sum;
    list->count = 0;
    return SV_OK;
}

static void life_clear(life_list *list)
{
    sv_free(list->items);
    sv_free(list->places);
}

static bool stored(const sv_tape *tape, const sv_tensor *t)
{
    const sv_tensor_plan *plan = &tape->plans[t->index];
    return t->extent == SV_PER_IMAGE && (plan->crosses || plan->kept || (plan->backward_reads && !plan->rebuilt));
}

/* Last time anything reads the tensor's data. */
static uint32_t last_read(const sv_tape *tape, const sv_tensor *t)
{
    const sv_tensor_plan *plan = &tape->plans[t->index];
    uint32_t last = segment_of(tape, t);
    if (plan->kept) return UINT32_MAX;
    for (size_t n = 0; n < tape->node_count; n++) {
        const sv_node *node = tape->nodes[n];
        for (uint32_t i = 0; i < node->input_count; i++)
            if (node->in[i] == t && node->segment > last) last = node->segment;
    }
    /* a backward reader stands in the segment of a node that reads it forward, or in its own: the first of them is met last */
    return plan->backward_reads ? back_time(tape, segment_of(tape, t)) : last;
}

static uint32_t gradient_first(const sv_tape *tape, uint32_t group)
{
    uint32_t latest = 0;
    for (size_t n = 0; n < tape->node_count; n++)
        for (uint32_t i = 0; i < tape->nodes[n]->input_count; i++) {
            const sv_tensor *t = tape->nodes[n]->in[i];
            if (t && sv_node_active(tape, tape->nodes[n]) && group_of((sv_tape *)tape, t->index) == group && tape->nodes[n]->segment > latest)
                latest = tape->nodes[n]->segment;
        }
    return back_time(tape, latest);
}

static bool has_own_gradient(const sv_tape *tape, const sv_tensor *t)
{
    return t->extent == SV_PER_IMAGE && tape->plans[t->index].reached;
}

/* A group of gradients is in the arena where any of its tensors crosses segments or is wanted by the caller. */
static sv_status arena_gradients(sv_tape *tape, life_list *list, sv_error *err)
{
    for (uint32_t g = 0; g < tape->tensor_count; g++) {
        bool cross = false, wanted = false, any = false;
        uint32_t last = 0;
        for (uint32_t t = 0; t < tape->tensor_count; t++) {
            if (group_of(tape, t) != g || !has_own_gradient(tape, tape->tensors[t])) continue;
            uint32_t time = back_time(tape, segment_of(tape, tape->tensors[t]));
            any = true;
            cross = cross || tape->plans[t].crosses;
            wanted = wanted || tape->plans[t].wanted;
            if (time > last) last = time;
        }
        if (!any || !(cross || wanted)) continue;
        sv_where *place = &tape->plans[g].gradient;
        place->stride = gradient_bytes(tape->tensors[g]);
        size_t bytes = 0;
        if (sv_mul_size(&bytes, place->stride, tape->options.images_most)) return sv_fail(err, SV_FAULT, "the batch does not fit the address space");
        sv_status status = life_add(list, place, bytes, gradient_first(tape, g), wanted ? UINT32_MAX : last, err);
        if (status) return status;
    }
    return SV_OK;
}

static sv_status place_arena(sv_tape *tape, sv_error *err)
{
    life_list list = { 0 };
    sv_status status = SV_OK;
    for (size_t t = 0; !status && t < tape->tensor_count; t++) {
        sv_tensor *tensor = tape->tensors[t];
        size_t bytes = 0;
        if (!stored(tape, tensor)) continue;
        tape->plans[t].data.stride = sv_tensor_bytes(tensor);
        if (sv_mul_size(&bytes, tape->plans[t].data.stride, tape->options.images_most)) status = sv_fail(err, SV_FAULT, "a batch of %zu does not fit the address space", tape->options.images_most);
        else status = life_add(&list, &tape->plans[t].data, bytes, tape->plans[t].kept ? 0 : segment_of(tape, tensor), last_read(tape, tensor), err);
    }
    for (size_t n = 0; !status && n < tape->node_count; n++) {
        const sv_node *node = tape->nodes[n];
        size_t bytes = 0;
        if (!node->op->saved || tape->redone[n] || !(sv_node_active(tape, node) || tape->plans[node->out[0]->index].rebuilt)) continue;
        if (sv_mul_size(&tape->saved[n].stride, node->op->saved(node), sizeof(sv_real)) || sv_align_up(&tape->saved[n].stride, tape->saved[n].stride, SV_ALIGN) ||
            sv_mul_size(&bytes, tape->saved[n].stride, tape->options.images_most))
            status = sv_fail(err, SV_FAULT, "a batch of %zu does not fit the address space", tape->options.images_most);
        else status = life_add(&list, &tape->saved[n], bytes, node->segment, back_time(tape, node->segment), err);
    }
    if (!status) status = arena_gradients(tape, &list, err);
    if (!status) status = life_place(&list, SV_IN_ARENA, &tape->arena_bytes, err);
    life_clear(&list);
    return status;
}

/* Forward scratch of a segment: lifetimes in nodes. */
static sv_status place_forward_scratch(sv_tape *tape, const sv_segment *segment, life_list *list, sv_error *err)
{
    for (uint32_t n = segment->first; n < segment->end; n++)
        for (uint32_t o = 0; o < tape->nodes[n]->output_count; o++) {
            const sv_tensor *t = tape->nodes[n]->out[o];
            uint32_t last = n;
            if (t->extent != SV_PER_IMAGE || stored(tape, t)) continue;
            for (uint32_t m = n + 1; m < segment->end; m++)
                for (uint32_t i = 0; i < tape->nodes[m]->input_count; i++)
                    if (tape->nodes[m]->in[i] == t) last = m;
            sv_status status = life_add(list, &tape->plans[t->index].data, sv_tensor_bytes(t), n, last, err);
            if (status) return status;
        }
    return life_place(list, SV_IN_SCRATCH, &tape->scratch_bytes, err);
}

static bool way_reads(const sv_tape *tape, const sv_way *way, const sv_tensor *t)
{
    const sv_node *node = tape->nodes[way->node];
    uint32_t in = way->kind == SV_WAY_REDO ? UINT32_MAX : way->kind == SV_WAY_REBUILD ? node->op->rebuild_inputs : node->op->backward_inputs;
    for (uint32_t i = 0; i < node->input_count; i++)
        if (node->in[i] == t && (in >> i & 1)) return true;
    for (uint32_t o = 0; o < node->output_count && way->kind == SV_WAY_BACK; o++)
        if (node->out[o] == t && (node->op->backward_outputs >> o & 1)) return true;
    return false;
}

static bool way_touches_gradient(sv_tape *tape, const sv_way *way, uint32_t group)
{
    const sv_node *node = tape->nodes[way->node];
    if (way->kind != SV_WAY_BACK) return false;
    for (uint32_t i = 0; i < node->input_count; i++)
        if (node->in[i] && has_own_gradient(tape, node->in[i]) && group_of(tape, node->in[i]->index) == group) return true;
    for (uint32_t o = 0; o < node->output_count; o++)
        if (has_own_gradient(tape, node->out[o]) && group_of(tape, node->out[o]->index) == group) return true;
    return false;
}

/* What way w makes lives until the last way that reads it; the saved numbers of a node that is run again, until its backward. */
static sv_status place_made_again(sv_tape *tape, const sv_segment *segment, uint32_t w, life_list *list, sv_error *err)
{
    const sv_way *way = &segment->way[w];
    const sv_node *node = tape->nodes[way->node];
    sv_status status = SV_OK;
    for (uint32_t o = 0; !status && o < (way->kind == SV_WAY_REDO ? node->output_count : 1); o++) {
        const sv_tensor *t = node->out[o];
        uint32_t last = w;
        if (!tape->plans[t->index].rebuilt) continue;
        for (uint32_t v = w + 1; v < segment->way_count; v++)
            if (way_reads(tape, &segment->way[v], t)) last = v;
        status = life_add(list, &tape->plans[t->index].again, sv_tensor_bytes(t), w, last, err);
    }
    if (status || way->kind != SV_WAY_REDO || !node->op->saved) return status;
    uint32_t last = w;
    for (uint32_t v = w + 1; v < segment->way_count; v++)
        if (segment->way[v].node == way->node) last = v;
    if (sv_mul_size(&tape->saved[node->index].stride, node->op->saved(node), sizeof(sv_real)) ||
        sv_align_up(&tape->saved[node->index].stride, tape->saved[node->index].stride, SV_ALIGN))
        return sv_fail(err, SV_FAULT, "the plan does not fit the address space");
    return life_add(list, &tape->saved[node->index], tape->saved[node->index].stride, w, last, err);
}

static sv_status place_back_scratch(sv_tape *tape, const sv_segment *segment, life_list *list, sv_error *err)
{
    sv_status status = SV_OK;
    for (uint32_t w = 0; !status && w < segment->way_count; w++)
        if (segment->way[w].kind != SV_WAY_BACK) status = place_made_again(tape, segment, w, list, err);
    for (uint32_t n = segment->first; !status && n < segment->end; n++)
        for (uint32_t o = 0; !status && o < tape->nodes[n]->output_count; o++) {
            const sv_tensor *t = tape->nodes[n]->out[o];
            uint32_t first = UINT32_MAX, last = 0, group = group_of(tape, t->index);
            if (!has_own_gradient(tape, t) || group != t->index || tape->plans[group].gradient.place == SV_IN_ARENA) continue;
            for (uint32_t w = 0; w < segment->way_count; w++)
                if (way_touches_gradient(tape, &segment->way[w], group)) {
                    if (first == UINT32_MAX) first = w;
                    last = w;
                }
            if (first != UINT32_MAX) status = life_add(list, &tape->plans[group].gradient, gradient_bytes(t), first, last, err);
        }
    return status ? status : life_place(list, SV_IN_SCRATCH, &tape->scratch_bytes, err);
}

static sv_status place_scratch(sv_tape *tape, sv_error *err)
{
    life_list list = { 0 };
    sv_status status = SV_OK;
    for (uint32_t s = 0; !status && s < tape->segment_count; s++) {
        if (tape->segments[s].batch) continue;
        status = place_forward_scratch(tape, &tape->segments[s], &list, err);
        if (!status && tape->loss) status = place_back_scratch(tape, &tape->segments[s], &list, err);
    }
    life_clear(&list);
    for (uint32_t t = 0; t < tape->tensor_count; t++) /* members of a group stand where its first one stands */
        if (has_own_gradient(tape, tape->tensors[t])) tape->plans[t].gradient = tape->plans[group_of(tape, t)].gradient;
    for (size_t n = 0; n < tape->node_count; n++) {
        size_t bytes = tape->nodes[n]->op->scratch ? tape->nodes[n]->op->scratch(tape->nodes[n]) : 0;
        if (bytes > tape->op_scratch_bytes) tape->op_scratch_bytes = bytes;
    }
    return status;
}

/* Numbers of the batch are few: each has its own place, gradient behind data. */
static sv_status place_batch(sv_tape *tape, sv_error *err)
{
    for (size_t t = 0; t < tape->tensor_count; t++) {
        size_t bytes = sv_tensor_bytes(tape->tensors[t]), twice = 0;
        if (tape->tensors[t]->extent != SV_PER_BATCH) continue;
        if (sv_add_size(&twice, bytes, bytes)) return sv_fail(err, SV_FAULT, "the plan does not fit the address space");
        tape->plans[t].data = (sv_where){ SV_IN_BATCH, tape->batch_bytes, 0 };
        tape->plans[t].gradient = (sv_where){ SV_IN_BATCH, tape->batch_bytes + bytes, 0 };
        if (sv_add_size(&tape->batch_bytes, tape->batch_bytes, twice)) return sv_fail(err, SV_FAULT, "the plan does not fit the address space");
    }
    return SV_OK;
}

/* A real output that nothing on the way to the loss reads has a gradient of zeros. */
static size_t zeros_needed(const sv_tape *tape)
{
    size_t most = 0;
    for (size_t n = 0; n < tape->node_count; n++)
        for (uint32_t o = 0; sv_node_active(tape, tape->nodes[n]) && o < tape->nodes[n]->output_count; o++) {
            const sv_tensor *t = tape->nodes[n]->out[o];
            if (t->dtype == SV_REAL && !tape->plans[t->index].reached && sv_tensor_bytes(t) > most) most = sv_tensor_bytes(t);
        }
    return most;
}

static sv_status allocate(sv_tape *tape, sv_error *err)
{
    size_t bytes = 0;
    sv_status status = sv_alloc_zero(&tape->arena, tape->arena_bytes, "activations", err);
    if (!status) status = sv_alloc_zero(&tape->batch_arena, tape->batch_bytes, "activations", err);
    if (!status) status = sv_alloc_zero(&tape->zeros, zeros_needed(tape), "activations", err);
    if (!status && (sv_mul_size3(&bytes, tape->count_sources, tape->options.images_most, sizeof *tape->counts)))
        status = sv_fail(err, SV_FAULT, "a batch of %zu does not fit the address space", tape->options.images_most);
    if (!status) status = sv_alloc_zero(&tape->counts, bytes, "activations", err);
    if (!status && sv_mul_size3(&bytes, tape->lane_stride, tape->options.lanes, sizeof(sv_real)))
        status = sv_fail(err, SV_FAULT, "%zu lanes of gradients do not fit the address space; lower train.lanes", tape->options.lanes);
    if (!status) status = sv_alloc_zero(&tape->lanes, bytes, "gradient lanes", err);
    if (!status) status = sv_alloc_zero(&tape->lane_empty, tape->options.lanes * sizeof *tape->lane_empty, "gradient lanes", err);
    if (!status && sv_mul_size(&bytes, tape->options.images_most, sizeof *tape->samples)) status = sv_fail(err, SV_FAULT, "the batch is too large");
    if (!status) status = sv_alloc_zero(&tape->samples, bytes, "tape", err);
    return status;
}

/* What each product should fetch for the one after it. */
static sv_status mark_packed(sv_tape *tape, sv_error *err)
{
    uint32_t next = UINT32_MAX;
    const sv_status status = sv_alloc_zero(&tape->next_packed, tape->node_count * sizeof *tape->next_packed, "plan", err);
    if (status) return status;
    for (uint32_t s = 0; s < tape->segment_count; s++) tape->segments[s].first_packed = UINT32_MAX;
    for (size_t round = 0; round < 2; round++) /* the second time the last nodes know the first one */
        for (size_t n = tape->node_count; n-- > 0;) {
            tape->next_packed[n] = next;
            if (!tape->nodes[n]->op->pack_forward) continue;
            next = (uint32_t)n;
            tape->segments[tape->nodes[n]->segment].first_packed = next;
        }
    return SV_OK;
}

sv_status sv_tape_plan(sv_tape *tape, sv_error *err)
{
    size_t bytes = 0;
    if (sv_mul_size(&bytes, tape->node_count, sizeof *tape->saved)) return sv_fail(err, SV_FAULT, "the tape is too long");
    sv_status status = sv_alloc_zero(&tape->saved, bytes, "plan", err);
    if (!status) status = sv_alloc_zero(&tape->redone, tape->node_count, "plan", err);
    if (status) return status;
    mark_reached(tape);
    mark_crossings(tape);
    mark_backward_reads(tape);
    make_halves(tape);
    if (!status) status = make_segments(tape, err);
    if (!status) status = make_ways(tape, err);
    if (!status) status = mark_packed(tape, err);
    join_gradients(tape);
    if (!status) status = place_batch(tape, err);
    if (!status) status = place_arena(tape, err);
    if (!status) status = place_scratch(tape, err);
    if (!status) status = allocate(tape, err);
    return status;
}
