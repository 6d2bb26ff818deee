/* Places memory by lifetime: the largest first, each at the lowest offset where nothing that lives at the same time stands. */
#include "autograd/tape_internal.h"

#include <stdlib.h>

static int larger_first(const void *a, const void *b)
{
    const sv_life *x = *(const sv_life *const *)a, *y = *(const sv_life *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int lower_first(const void *a, const void *b)
{
    const sv_life *x = *(const sv_life *const *)a, *y = *(const sv_life *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static bool together(const sv_life *a, const sv_life *b) { return a->first <= b->last && b->first <= a->last; }

sv_status sv_place_lives(sv_life *lives, size_t count, size_t *total, sv_error *err)
{
    sv_life **order = NULL, **beside = NULL;
    size_t bytes = 0;
    sv_status status = SV_OK;
    *total = 0;
    if (sv_mul_size(&bytes, count, sizeof *order)) return sv_fail(err, SV_FAULT, "the plan has too many tensors");
    status = sv_alloc(&order, bytes, "plan", err);
    if (!status) status = sv_alloc(&beside, bytes, "plan", err);
    if (status) goto done;
    for (size_t i = 0; i < count; i++) order[i] = &lives[i];
    qsort(order, count, sizeof *order, larger_first);
    for (size_t i = 0; i < count; i++) {
        size_t others = 0, at = 0;
        for (size_t j = 0; j < i; j++)
            if (together(order[i], order[j])) beside[others++] = order[j];
        qsort(beside, others, sizeof *beside, lower_first);
        for (size_t j = 0; j < others && at + order[i]->bytes > beside[j]->offset; j++) {
            size_t behind = beside[j]->offset + beside[j]->bytes;
            if (behind > at) at = behind;
        }
        order[i]->offset = at;
        if (sv_add_size(&at, at, order[i]->bytes)) {
            status = sv_fail(err, SV_FAULT, "the plan's memory does not fit the address space; use a smaller batch");
            goto done;
        }
        if (at > *total) *total = at;
    }
done:
    sv_free(beside);
    sv_free(order);
    return status;
}
