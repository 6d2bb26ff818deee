/* A tape's batch shared out to several processes. Lanes are shared out in order, images belong to lanes, so every sum over images keeps its order:
 * a lane's sum is made by one process, the lanes are added in order (exchange.c), and ops of the batch run alike on every rank over numbers of all
 * images. Between processes go only the inputs of ops of the batch, kept tensors, row counts and the sums of lanes. */
#include "autograd/tape_internal.h"

#include <string.h>

static size_t lane_first(size_t lanes, size_t ranks, size_t rank) { return lanes * rank / ranks; }

size_t sv_tape_rank_first(size_t images, size_t lanes, size_t ranks, size_t rank)
{
    return lane_first(lanes, ranks, rank) * images / lanes;
}

size_t sv_peers_lane(const sv_tape *tape, size_t rank)
{
    const size_t ranks = tape->peers.ranks ? tape->peers.ranks : 1;
    return lane_first(tape->options.lanes, ranks, rank);
}

size_t sv_peers_image(const sv_tape *tape, size_t rank)
{
    return sv_tape_rank_first(tape->step.images, tape->options.lanes, tape->peers.ranks ? tape->peers.ranks : 1, rank);
}

sv_status sv_tape_set_peers(sv_tape *tape, const sv_tape_peers *peers, sv_error *err)
{
    const size_t lanes = tape->options.lanes, images = tape->options.images_most;
    if (!tape->finished) return sv_fail(err, SV_FAULT, "peers are set on a finished tape");
    for (size_t r = 0; r < peers->ranks; r++)
        if (sv_tape_rank_first(images, lanes, peers->ranks, r) == sv_tape_rank_first(images, lanes, peers->ranks, r + 1))
            return sv_fail(
                err, SV_USAGE,
                "rank %zu of %zu would have no picture: a batch of %zu pictures in %zu lanes (train.batch, train.lanes); use fewer ranks",
                r, peers->ranks, images, lanes);
    sv_exchange_destroy(tape);
    sv_free(tape->peer_first);
    tape->peer_first = NULL;
    sv_status status = sv_alloc_zero(&tape->peer_first, (peers->ranks + 1) * sizeof *tape->peer_first, "ranks", err);
    if (status) return status;
    tape->peers = *peers;
    return peers->ranks > 1 && lanes && tape->lane_stride ? sv_exchange_create(tape, err) : SV_OK;
}

sv_status sv_tape_peers_check(const sv_tape *tape, sv_error *err)
{
    return tape->peers_error.code ? sv_fail(err, tape->peers_error.code, "%s", tape->peers_error.text) : SV_OK;
}

static bool alone(const sv_tape *tape) { return tape->peers.ranks < 2; }

static sv_status gather(sv_tape *tape, void *base, size_t stride, size_t bytes, size_t (*first)(const sv_tape *, size_t), bool to_all,
                        sv_error *err)
{
    for (size_t r = 0; r <= tape->peers.ranks; r++) tape->peer_first[r] = first(tape, r);
    return tape->peers.gather(tape->peers.context, base, stride, bytes, tape->peer_first, to_all, err);
}

/* All rows a tensor may have: of those an image does not have nobody reads. */
static sv_status gather_tensor(sv_tape *tape, const sv_tensor *t, sv_error *err)
{
    const sv_where *where = &tape->plans[t->index].data;
    const size_t bytes = t->rows.most * t->width * sv_dtype_size(t->dtype);
    if (where->place != SV_IN_ARENA) return SV_OK;
    return gather(tape, tape->arena + where->offset, where->stride, bytes, sv_peers_image, true, err);
}

/* A tensor that two ops of the batch read is gathered by the first of them. */
static bool gathered_before(const sv_tape *tape, const sv_node *node, uint32_t input)
{
    for (uint32_t i = 0; i < input; i++)
        if (node->in[i] == node->in[input]) return true;
    for (uint32_t n = 0; n < node->index; n++) {
        const sv_node *other = tape->nodes[n];
        for (uint32_t i = 0; other->op->locality == SV_BATCH_OP && i < other->input_count; i++)
            if (other->in[i] == node->in[input]) return true;
    }
    return false;
}

sv_status sv_peers_gather_inputs(sv_tape *tape, const sv_node *node, sv_error *err)
{
    sv_status status = SV_OK;
    for (uint32_t i = 0; !alone(tape) && !status && i < node->input_count; i++) {
        const sv_tensor *t = node->in[i];
        if (t && t->extent == SV_PER_IMAGE && !gathered_before(tape, node, i)) status = gather_tensor(tape, t, err);
    }
    return status;
}

static bool read_by_batch(const sv_tape *tape, const sv_tensor *t)
{
    for (size_t n = 0; n < tape->node_count; n++)
        for (uint32_t i = 0; tape->nodes[n]->op->locality == SV_BATCH_OP && i < tape->nodes[n]->input_count; i++)
            if (tape->nodes[n]->in[i] == t) return true;
    return false;
}

sv_status sv_peers_gather_kept(sv_tape *tape, sv_error *err)
{
    sv_status status = SV_OK;
    const size_t row = tape->options.images_most * sizeof *tape->counts;
    for (size_t c = 0; !alone(tape) && !status && c < tape->count_sources; c++)
        status = gather(tape, (char *)tape->counts + c * row, sizeof *tape->counts, sizeof *tape->counts, sv_peers_image, true, err);
    for (size_t t = 0; !alone(tape) && !status && t < tape->tensor_count; t++) {
        const sv_tensor *tensor = tape->tensors[t];
        if (tensor->extent == SV_PER_IMAGE && tensor->node != UINT32_MAX && tape->plans[t].kept && !read_by_batch(tape, tensor))
            status = gather_tensor(tape, tensor, err);
    }
    return status;
}
