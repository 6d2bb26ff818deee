/* The largest answer of the patches that were kept (LV-ViT's second head). A row counts where it is live and its origin is the number of a patch; class,
 * package and dropped tokens do not. */
#include "autograd/op_shape.h"

#include <string.h>

static bool counts(const sv_span *origin, size_t r) { return !origin->present || origin->ints[r] >= 0; }

/* ---- largest_kept ------------------------------------------------------------------------------------------------- */

/* y[k] = max over counting rows r of x[r,k]:  dx of the first largest = dy. No row counts: y = 0. */
static sv_status largest_kept_shape(sv_node *node, sv_error *err)
{
    const sv_tensor *x = node->in[0], *origin = node->in[1];
    sv_status status = sv_want_image(x, "x", SV_REAL, err);
    if (!status && origin) status = sv_want_width(origin, "origin", SV_INDEX, 1, err);
    if (!status && origin) status = sv_want_rows(origin, "origin", x, "x", err);
    if (!status) sv_make_image(node->out[0], sv_rows_fixed(1), x->width);
    return status;
}

static void largest_kept_forward(const sv_call *call)
{
    const sv_span *x = &call->in[0];
    sv_real *y = call->out[0].data;
    bool first = true;
    memset(y, 0, x->width * sizeof *y);
    for (size_t r = 0; r < x->live; r++) {
        const sv_real *row = x->data + r * x->width;
        if (!counts(&call->in[1], r)) continue;
        for (size_t k = 0; k < x->width; k++) y[k] = first || row[k] > y[k] ? row[k] : y[k];
        first = false;
    }
}

/* Walked as forward was: scratch holds the row of the largest so far. */
static void largest_kept_backward(const sv_call *call)
{
    const sv_span *x = &call->in[0], *y = &call->out[0];
    size_t *best = call->scratch, first = SIZE_MAX;
    sv_begin_gradient(x);
    for (size_t r = 0; r < x->live; r++) {
        if (!counts(&call->in[1], r)) continue;
        for (size_t k = 0; k < x->width; k++)
            if (first == SIZE_MAX || x->data[r * x->width + k] > x->data[best[k] * x->width + k]) best[k] = r;
        if (first == SIZE_MAX) first = r;
    }
    for (size_t k = 0; first != SIZE_MAX && k < x->width; k++) x->gradient[best[k] * x->width + k] += y->gradient[k];
}

static size_t largest_kept_scratch(const sv_node *node) { return node->in[0]->width * sizeof(size_t); }

static const sv_sample largest_kept_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 3) } },
    { .name = "all rows", .images = 2, .in = { IMAGE(LARGE, 9, 7) } },
    { .name = "some rows no patches", .images = 2, .in = { IMAGE(LARGE, 5, 4), CONSTANT(ORIGIN, 5, 1) } },
    { .name = "patches in another order", .images = 3, .in = { IMAGE(LARGE, 6, 17), CONSTANT(INDEX, 6, 1) } },
    { .name = "one class", .images = 2, .in = { IMAGE(LARGE, 4, 1), CONSTANT(COUNT_UP, 4, 1) } },
    { .name = "no patch at all", .images = 1, .in = { IMAGE(NORMAL, 1, 3), CONSTANT(ORIGIN, 1, 1) } },
};

const sv_op sv_op_largest_kept = {
    .name = "largest_kept",
    .formula = "x [R,K], origin index [R,1] or none -> y [1,K] = max over live rows with origin >= 0 of x[r]; 0 where there is none",
    .source = "Jiang et al. 2021 (LV-ViT), answer of the second head; torch.max(x, 1)[0]",
    .inputs_least = 1,
    .inputs_most = 2,
    .outputs = 1,
    .optional = 1 << 1,
    .locality = SV_IMAGE_WHOLE,
    .shape = largest_kept_shape,
    .forward = largest_kept_forward,
    .backward = largest_kept_backward,
    .backward_inputs = 3,
    .scratch = largest_kept_scratch,
    SV_SAMPLES_OF(largest_kept_samples),
};

sv_tensor *sv_tape_largest_kept(sv_tape *tape, sv_tensor *x, sv_tensor *origin)
{
    return sv_tape_record(tape, &sv_op_largest_kept, (sv_tensor *[]){ x, origin }, 2, NULL, NULL);
}
