/* Matrix products of DeiT-T in OpenBLAS (cblas_sgemm) and oneDNN (dnnl_sgemm, and its matmul in bf16), as yardsticks beside
 * `bench --case gemm`: the same shapes, weights packed or reordered beforehand where the library can, medians of short batches.
 * Build: cc -O2 gemm.c -o gemm -lopenblas -ldnnl -lgomp -lm   (Debian: libopenblas-dev, libdnnl-dev)   Run: ./gemm [THREADS] */
#include <cblas.h>
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern void openblas_set_num_threads(int);
extern void omp_set_num_threads(int);

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

typedef struct shape { int m, n, k; int outer; } shape; /* outer: c[n,k] += a[m,n]^T b[m,k], the weight gradient */
static float *x, *w, *y;

static void openblas(const shape *s)
{
    if (s->outer) cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, s->n, s->k, s->m, 1, x, s->n, w, s->k, 1, y, s->k);
    else cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, s->m, s->n, s->k, 1, x, s->k, w, s->k, 0, y, s->n);
}

static void onednn(const shape *s)
{
    if (s->outer) dnnl_sgemm('T', 'N', s->n, s->k, s->m, 1, x, s->n, w, s->k, 1, y, s->k);
    else dnnl_sgemm('N', 'T', s->m, s->n, s->k, 1, x, s->k, w, s->k, 0, y, s->n);
}

/* oneDNN's own bf16 matrix product; source and weights in bf16, result f32. */
static dnnl_engine_t engine;
static dnnl_stream_t stream;
static dnnl_primitive_t product;
static dnnl_exec_arg_t arguments[3];

static void bf16(const shape *s)
{
    (void)s;
    dnnl_primitive_execute(product, stream, 3, arguments);
    dnnl_stream_wait(stream);
}

static dnnl_memory_t memory_of(const dnnl_memory_desc_t *description)
{
    dnnl_memory_t memory;
    void *room;
    dnnl_memory_create(&memory, description, engine, DNNL_MEMORY_ALLOCATE);
    dnnl_memory_get_data_handle(memory, &room);
    memset(room, 0, dnnl_memory_desc_get_size(description));
    return memory;
}

static int prepare_bf16(const shape *s)
{
    const dnnl_dims_t a_dims = { s->outer ? s->n : s->m, s->outer ? s->m : s->k }, b_dims = { s->outer ? s->m : s->k, s->outer ? s->k : s->n };
    const dnnl_dims_t c_dims = { a_dims[0], b_dims[1] };
    dnnl_memory_desc_t a, b, c;
    dnnl_matmul_desc_t description;
    dnnl_primitive_desc_t chosen;
    dnnl_memory_desc_init_by_tag(&a, 2, a_dims, dnnl_bf16, s->outer ? dnnl_ba : dnnl_ab);
    dnnl_memory_desc_init_by_tag(&b, 2, b_dims, dnnl_bf16, s->outer ? dnnl_ab : dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&c, 2, c_dims, dnnl_f32, dnnl_ab);
    if (dnnl_matmul_desc_init(&description, &a, &b, NULL, &c) || dnnl_primitive_desc_create(&chosen, &description, NULL, engine, NULL)) return 0;
    const int kinds[3] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST };
    const dnnl_query_t queries[3] = { dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md };
    dnnl_primitive_create(&product, chosen);
    for (int i = 0; i < 3; i++) arguments[i] = (dnnl_exec_arg_t){ kinds[i], memory_of(dnnl_primitive_desc_query_md(chosen, queries[i], 0)) };
    return 1;
}

static void run(const char *name, void (*multiply)(const shape *), const shape *s)
{
    enum { BATCHES = 15 };
    double times[BATCHES], flops = 2.0 * s->m * s->n * s->k;
    double begin = now();
    for (int i = 0; i < 3; i++) multiply(s);
    int calls = (int)(0.01 / ((now() - begin) / 3)) + 1;
    for (int b = 0; b < BATCHES; b++) {
        begin = now();
        for (int i = 0; i < calls; i++) multiply(s);
        times[b] = (now() - begin) / calls;
    }
    qsort(times, BATCHES, sizeof *times, by_value);
    printf("%-10s %-8s %dx%d rows %-5d %9.4f ms %8.1f GFLOP/s\n", name, s->outer ? "gradient" : "product", s->k, s->n, s->m, 1e3 * times[BATCHES / 2],
           flops / times[BATCHES / 2] * 1e-9);
}

int main(int count, char **words)
{
    static const int layers[][2] = { { 192, 576 }, { 192, 192 }, { 192, 768 }, { 768, 192 } };
    const int threads = count > 1 ? atoi(words[1]) : 1;
    openblas_set_num_threads(threads);
    omp_set_num_threads(threads);
    x = aligned_alloc(64, sizeof(float) * 6304 * 768);
    w = aligned_alloc(64, sizeof(float) * 6304 * 768);
    y = aligned_alloc(64, sizeof(float) * 6304 * 768);
    for (int i = 0; i < 6304 * 768; i++) x[i] = w[i] = 1e-3f * (float)(i % 97 - 48), y[i] = 0;
    dnnl_engine_create(&engine, dnnl_cpu, 0);
    dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
    for (int outer = 0; outer < 2; outer++)
        for (int l = 0; l < 4; l++)
            for (int rows = 197; rows <= 6304; rows = rows == 197 ? 6304 : 10000) {
                const shape s = { rows, layers[l][1], layers[l][0], outer };
                run("OpenBLAS", openblas, &s);
                run("oneDNN", onednn, &s);
                if (prepare_bf16(&s)) run("oneDNN bf16", bf16, &s);
            }
    return 0;
}
