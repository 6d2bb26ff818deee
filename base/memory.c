/* The one door to the heap. A block is
 *
 *     | head, 64 bytes: magic, size, label | the caller's bytes, 64-byte aligned | what malloc puts behind
 *
 * The caller's last byte is the last of the system's block, so that AddressSanitizer sees one byte too many; the head is
 * poisoned for it, so that it sees one byte too few. Counters are atomic: any thread may allocate. */
#include "base/base.h"
#include "base/fault.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef __has_feature
#define __has_feature(name) 0 /* gcc tells by macros of its own */
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define HIDE(address, bytes) ASAN_POISON_MEMORY_REGION(address, bytes)
#define SHOW(address, bytes) ASAN_UNPOISON_MEMORY_REGION(address, bytes)
#else
#define HIDE(address, bytes) ((void)(address), (void)(bytes))
#define SHOW(address, bytes) ((void)(address), (void)(bytes))
#endif

/* Sanitizers end the process where the system would say no; here no is an answer. clang's OpenMP keeps its threads' memory. */
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libomp.so\n"; }
#elif defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "allocator_may_return_null=1"; }
#endif

enum { ALIGNMENT = 64 };
static const uint64_t MAGIC = 0x5349455645424c4bu;

enum { MOST_LABELS = 128 }; /* in the whole program; more share the last row */

typedef struct label_row { _Atomic(const char *) label; atomic_size_t bytes_now, bytes_peak; } label_row;

typedef struct block_head {
    uint64_t magic;
    size_t bytes;
    label_row *label;
} block_head;
_Static_assert(sizeof(block_head) <= ALIGNMENT, "the head fits before the caller's first byte");

static atomic_size_t bytes_now, bytes_peak, allocations, live;
static label_row labels[MOST_LABELS];

/* The row of a label, taken at its first use. Rows are never given back, so a pointer to one stays good. */
static label_row *row_of(const char *label)
{
    for (size_t i = 0; i < MOST_LABELS; i++) {
        const char *there = atomic_load_explicit(&labels[i].label, memory_order_acquire);
        if (!there && atomic_compare_exchange_strong(&labels[i].label, &there, label)) return &labels[i];
        if (there == label || strcmp(there, label) == 0) return &labels[i];
    }
    return &labels[MOST_LABELS - 1];
}

static void add_bytes(atomic_size_t *sum, atomic_size_t *most, size_t bytes)
{
    size_t now = atomic_fetch_add(sum, bytes) + bytes;
    size_t peak = atomic_load(most);
    while (now > peak && !atomic_compare_exchange_weak(most, &peak, now)) continue;
}

/* Large blocks stand on large pages where the system has them: walking 600 MiB of activations over 4 KiB pages made a training step of DeiT-T
 * half as long again (docs/decisions.md). A hint: without large pages all works alike. */
enum { LARGE_PAGE = 2 << 20, LARGE_BLOCK = 4 << 20 };

static int take_block(void **block, size_t whole)
{
    bool large = whole >= LARGE_BLOCK;
    int failed = posix_memalign(block, large ? LARGE_PAGE : ALIGNMENT, whole);
    if (!failed && large) (void)madvise(*block, whole / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
    return failed;
}

sv_status sv_alloc(void *pointer, size_t bytes, const char *label, sv_error *err)
{
    size_t whole;
    void *block = NULL;
    bool refused = sv_fault_here(SV_FAULT_ALLOC);
    if (refused || sv_add_size(&whole, bytes, ALIGNMENT) || whole > PTRDIFF_MAX || take_block(&block, whole))
        return sv_fail(err, SV_FAULT, "out of memory: %s needs %zu bytes, %zu are in use; use a smaller batch or a machine with more memory",
                       label, bytes, atomic_load(&bytes_now));
    label_row *row = row_of(label);
    *(block_head *)block = (block_head){ MAGIC, bytes, row };
    HIDE(block, ALIGNMENT);
    void *user = (char *)block + ALIGNMENT;
    memcpy(pointer, &user, sizeof user);
    add_bytes(&bytes_now, &bytes_peak, bytes);
    add_bytes(&row->bytes_now, &row->bytes_peak, bytes);
    atomic_fetch_add(&allocations, 1);
    atomic_fetch_add(&live, 1);
    return SV_OK;
}

sv_status sv_alloc_zero(void *pointer, size_t bytes, const char *label, sv_error *err)
{
    void *user;
    sv_status status = sv_alloc(&user, bytes, label, err);
    if (status) return status;
    memset(user, 0, bytes);
    memcpy(pointer, &user, sizeof user);
    return SV_OK;
}

void sv_free(void *pointer)
{
    if (!pointer) return;
    block_head *head = (block_head *)(void *)((char *)pointer - ALIGNMENT);
    SHOW(head, ALIGNMENT);
    assert(head->magic == MAGIC && "freed once, and only what sv_alloc gave");
    head->magic = 0;
    atomic_fetch_sub(&bytes_now, head->bytes);
    atomic_fetch_sub(&head->label->bytes_now, head->bytes);
    atomic_fetch_sub(&live, 1);
    free(head);
}

sv_status sv_grow(void *pointer, size_t *capacity, size_t need, size_t item_bytes, const char *label, sv_error *err)
{
    if (need <= *capacity) return SV_OK;
    size_t items = *capacity > SIZE_MAX / 2 ? SIZE_MAX : *capacity * 2, bytes;
    if (items < need) items = need;
    if (items < 8) items = 8;
    if (sv_mul_size(&bytes, items, item_bytes)) bytes = SIZE_MAX;
    void *larger, *old;
    sv_status status = sv_alloc(&larger, bytes, label, err);
    if (status) return status;
    memcpy(&old, pointer, sizeof old);
    if (old) memcpy(larger, old, *capacity * item_bytes);
    sv_free(old);
    memcpy(pointer, &larger, sizeof larger);
    *capacity = items;
    return SV_OK;
}

sv_memory sv_memory_now(void)
{
    return (sv_memory){ atomic_load(&bytes_now), atomic_load(&bytes_peak), atomic_load(&allocations), atomic_load(&live) };
}

size_t sv_memory_labels(sv_memory_label *rows, size_t room)
{
    size_t count = 0;
    for (; count < MOST_LABELS && atomic_load(&labels[count].label); count++)
        if (count < room)
            rows[count] = (sv_memory_label){ atomic_load(&labels[count].label), atomic_load(&labels[count].bytes_now), atomic_load(&labels[count].bytes_peak) };
    return count;
}
