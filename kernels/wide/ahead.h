/* Asking for what is read after this product, a share with each of its blocks: at batch 1 every weight comes from L3 or memory, and
 * the first block of rows would wait for it. */
#ifndef SIEVE_KERNELS_WIDE_AHEAD_H
#define SIEVE_KERNELS_WIDE_AHEAD_H

/* After `done` of the m n results were made, `more` of them are next. */
static void fetch_ahead(const sv_product *p, size_t done, size_t more)
{
    if (!p->ahead) return;
    const char *from = (const char *)p->ahead;
    const size_t lines = p->ahead_bytes / 64, all = p->m * p->n, end = lines * (done + more) / all;
    for (size_t line = lines * done / all; line < end; line++) __builtin_prefetch(from + 64 * line, 0, 2);
}

#endif
