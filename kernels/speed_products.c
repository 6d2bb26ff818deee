/* Matrix products, timed. */
#include "kernels/speed.h"

#include <stdio.h>

typedef struct shape {
    size_t m, n, k;
} shape;
typedef struct job {
    const sv_kernel_speed *s;
    sv_speed_room *room;
    shape shape;
    sv_epilogue epilogue;
} job;

static void rows_of_thread(void *context, size_t item)
{
    const job *j = context;
    const size_t begin = j->shape.m * item / j->s->threads, end = j->shape.m * (item + 1) / j->s->threads;
    const sv_product p = { .m = end - begin,
                           .n = j->shape.n,
                           .k = j->shape.k,
                           .x = j->room->x + begin * j->shape.k,
                           .x_stride = j->shape.k,
                           .panels = j->room->panels,
                           .parts = j->s->parts,
                           .bias = j->room->w,
                           .epilogue = j->epilogue,
                           .addend = j->room->z + begin * j->shape.n,
                           .addend_stride = j->shape.n,
                           .before = j->room->z + begin * j->shape.n,
                           .before_stride = j->shape.n,
                           .y = j->room->y + begin * j->shape.n,
                           .y_stride = j->shape.n };
    sv_product_rows(&p);
}

static void outer_of_thread(void *context, size_t item)
{
    const job *j = context; /* each thread an image of its own, as in training */
    const shape *s = &j->shape;
    const sv_real *a = j->room->y + item * s->m * s->n, *b = j->room->x + item * s->m * s->k;
    const sv_parts parts = j->s->parts;
    if (parts) sv_product_outer_parts(j->room->sums[item], s->k, a, s->n, b, NULL, s->k, s->m, s->n, s->k, true, parts, j->room->scratch[item]);
    else sv_product_outer(j->room->sums[item], s->k, a, s->n, b, s->k, s->m, s->n, s->k, true);
}

static void pack(const sv_kernel_speed *s, sv_speed_room *r, size_t n, size_t k)
{
    sv_pack_forward_parts(r->panels, r->w, n, k, s->parts);
}

static const struct {
    size_t k, n;
} layers[] = { { 192, 576 }, { 192, 192 }, { 192, 768 }, { 768, 192 } };

static void gemm_rows(const sv_kernel_speed *s, sv_speed_room *r)
{
    static const size_t counts[] = { 27, 68, 97, 138, 197, 6304 };
    for (size_t l = 0; l < SV_COUNT(layers); l++) {
        pack(s, r, layers[l].n, layers[l].k);
        for (size_t c = 0; c < SV_COUNT(counts); c++) {
            job j = { s, r, { counts[c], layers[l].n, layers[l].k }, SV_STORE };
            sv_kernel_time result = { .flops = 2.0 * (double)(j.shape.m * j.shape.n * j.shape.k) };
            snprintf(result.name, sizeof result.name, "product %zux%zu rows %zu", layers[l].k, layers[l].n, counts[c]);
            sv_speed_row(&result, rows_of_thread, &j, s);
            s->tell(s->context, &result);
        }
    }
}

static void gemm_epilogues(const sv_kernel_speed *s, sv_speed_room *r)
{
    static const struct {
        const char *name;
        size_t k, n;
        sv_epilogue epilogue;
    } rows[] = { { "gelu", 192, 768, SV_GELU }, { "add", 768, 192, SV_ADD } };
    for (size_t i = 0; i < SV_COUNT(rows); i++) {
        pack(s, r, rows[i].n, rows[i].k);
        job j = { s, r, { 197, rows[i].n, rows[i].k }, rows[i].epilogue };
        sv_kernel_time result = { .flops = 2.0 * (double)(j.shape.m * j.shape.n * j.shape.k) };
        snprintf(result.name, sizeof result.name, "product %zux%zu rows 197 + %s", rows[i].k, rows[i].n, rows[i].name);
        sv_speed_row(&result, rows_of_thread, &j, s);
        s->tell(s->context, &result);
    }
}

sv_status sv_speed_products(const sv_kernel_speed *s, sv_error *err)
{
    sv_speed_room r;
    sv_status status = sv_speed_room_make(&r, s, err);
    if (status) return status;
    gemm_rows(s, &r);
    gemm_epilogues(s, &r);
    for (size_t l = 0; l < SV_COUNT(layers); l++) {
        job j = { s, &r, { 197, layers[l].n, layers[l].k }, SV_STORE };
        sv_kernel_time result = { .flops = 2.0 * (double)(j.shape.m * j.shape.n * j.shape.k * s->threads) };
        snprintf(result.name, sizeof result.name, "weight gradient %zux%zu rows 197", layers[l].k, layers[l].n);
        sv_speed_row(&result, outer_of_thread, &j, s);
        s->tell(s->context, &result);
    }
    sv_speed_room_clear(&r);
    return SV_OK;
}
