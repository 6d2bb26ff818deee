/* One image split by rows over a team of threads (inference with fewer images than threads). Threads run the same nodes, each on its
 * share of rows, and meet only where a node may read rows another thread made. What stays inside a thread's own rows is private
 * scratch, at the places of the ordinary plan; the rest is shared, and its memory is used again only behind the next meeting. */
#include "autograd/tape_internal.h"

/* The reader needs, of this input, only the rows its own thread made. */
static bool own_rows_only(const sv_tape *tape, const sv_node *reader, const sv_tensor *t)
{
    if (t->node == UINT32_MAX) return false;
    const sv_node *maker = tape->nodes[t->node];
    return maker->op->locality != SV_IMAGE_WHOLE && reader->op->locality == SV_ROW_LOCAL && maker->segment == reader->segment &&
           sv_rows_equal(t->rows, reader->out[0]->rows) && sv_rows_equal(maker->out[0]->rows, t->rows);
}

static void mark_private(sv_tape *tape)
{
    for (size_t t = 0; t < tape->tensor_count; t++)
        tape->plans[t].private_rows = tape->tensors[t]->extent == SV_PER_IMAGE && tape->plans[t].data.place == SV_IN_SCRATCH;
    for (size_t n = 0; n < tape->node_count; n++) {
        const sv_node *node = tape->nodes[n];
        for (uint32_t i = 0; i < node->input_count; i++)
            if (node->in[i] && node->in[i]->extent == SV_PER_IMAGE && !own_rows_only(tape, node, node->in[i]))
                tape->plans[node->in[i]->index].private_rows = false;
        if (node->op->locality == SV_IMAGE_WHOLE)
            for (uint32_t o = 0; o < node->output_count; o++) tape->plans[node->out[o]->index].private_rows = false;
    }
}

/* epoch[n]: meetings before or at node n, counted from the start of its segment. */
static void place_barriers(sv_tape *tape, const sv_segment *segment, uint32_t *epoch)
{
    uint32_t now = 0;
    for (uint32_t n = segment->first; n < segment->end; n++) {
        const sv_node *node = tape->nodes[n];
        bool meet = false;
        for (uint32_t i = 0; i < node->input_count && !meet; i++) {
            const sv_tensor *t = node->in[i];
            if (!t || t->extent != SV_PER_IMAGE || t->node == UINT32_MAX || t->node < segment->first) continue;
            meet = epoch[t->node] == now && !own_rows_only(tape, node, t) &&
                   !(node->op->locality == SV_IMAGE_WHOLE && tape->nodes[t->node]->op->locality == SV_IMAGE_WHOLE);
        }
        /* a count is read by whoever runs a node with rows of that count */
        for (uint32_t m = segment->first; m < n && !meet; m++)
            meet = tape->nodes[m]->count_source >= 0 && epoch[m] == now && node->op->locality != SV_IMAGE_WHOLE;
        tape->barriers[n] = meet;
        if (meet) now++;
        epoch[n] = now;
    }
}

static sv_status place_shared(sv_tape *tape, const sv_segment *segment, const uint32_t *epoch, sv_life *lives, sv_error *err)
{
    size_t count = 0, total = 0;
    for (uint32_t n = segment->first; n < segment->end; n++)
        for (uint32_t o = 0; o < tape->nodes[n]->output_count; o++) {
            const sv_tensor *t = tape->nodes[n]->out[o];
            const sv_tensor_plan *plan = &tape->plans[t->index];
            uint32_t last = epoch[n];
            if (t->extent != SV_PER_IMAGE || plan->data.place != SV_IN_SCRATCH || plan->private_rows) continue;
            for (uint32_t m = n + 1; m < segment->end; m++)
                for (uint32_t i = 0; i < tape->nodes[m]->input_count; i++)
                    if (tape->nodes[m]->in[i] == t) last = epoch[m];
            lives[count++] = (sv_life){ .bytes = sv_tensor_bytes(t), .first = epoch[n], .last = last };
        }
    sv_status status = sv_place_lives(lives, count, &total, err);
    if (status) return status;
    count = 0;
    for (uint32_t n = segment->first; n < segment->end; n++)
        for (uint32_t o = 0; o < tape->nodes[n]->output_count; o++) {
            const sv_tensor *t = tape->nodes[n]->out[o];
            sv_tensor_plan *plan = &tape->plans[t->index];
            if (t->extent != SV_PER_IMAGE || plan->data.place != SV_IN_SCRATCH || plan->private_rows) continue;
            plan->team = (sv_where){ SV_IN_TEAM, lives[count++].offset, 0 };
        }
    if (total > tape->team_bytes) tape->team_bytes = total;
    return SV_OK;
}

sv_status sv_plan_team(sv_tape *tape, sv_error *err)
{
    uint32_t *epoch = NULL;
    sv_life *lives = NULL;
    size_t bytes = 0;
    sv_status status = sv_alloc_zero(&tape->barriers, tape->node_count, "plan", err);
    if (status) return status;
    if (sv_mul_size3(&bytes, tape->node_count, SV_MOST_OUTPUTS, sizeof *lives)) return sv_fail(err, SV_FAULT, "the tape is too long");
    status = sv_alloc(&lives, bytes, "plan", err);
    if (!status) status = sv_alloc_zero(&epoch, bytes, "plan", err);
    if (status) goto done;
    mark_private(tape);
    for (uint32_t s = 0; !status && s < tape->segment_count; s++) {
        if (tape->segments[s].batch) continue;
        place_barriers(tape, &tape->segments[s], epoch);
        status = place_shared(tape, &tape->segments[s], epoch, lives, err);
    }
    if (!status) status = sv_alloc_zero(&tape->team_arena, tape->team_bytes, "activations", err);
    tape->can_split = !status;
done:
    sv_free(epoch);
    sv_free(lives);
    return status;
}
