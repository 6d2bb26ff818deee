/* base/memory.c: alignment, counting, failure on demand, and that sizes that cannot be are refused before the system is asked. */
#include "tests/unit/base/test_base.h"

static void blocks_are_aligned_whole_and_writable(void **state)
{
    (void)state;
    sv_error err;
    for (size_t bytes = 0; bytes < 300; bytes++) {
        unsigned char *block = NULL;
        assert_ok(sv_alloc(&block, bytes, "test", &err), err);
        assert_int_equal((uintptr_t)block % 64, 0);
        memset(block, 0xa5, bytes);
        sv_free(block);
        assert_ok(sv_alloc_zero(&block, bytes, "test", &err), err);
        for (size_t i = 0; i < bytes; i++) assert_int_equal(block[i], 0);
        sv_free(block);
    }
    sv_free(NULL);
}

static void counters_follow_allocations(void **state)
{
    (void)state;
    sv_error err;
    void *a, *b;
    sv_memory before = sv_memory_now();
    assert_ok(sv_alloc(&a, 1000, "a", &err), err);
    assert_ok(sv_alloc(&b, 500, "b", &err), err);
    sv_memory now = sv_memory_now();
    assert_int_equal(now.bytes_now, before.bytes_now + 1500);
    assert_int_equal(now.allocations, before.allocations + 2);
    assert_int_equal(now.live, before.live + 2);
    assert_true(now.bytes_peak >= before.bytes_now + 1500);
    sv_free(a);
    sv_free(b);
    now = sv_memory_now();
    assert_int_equal(now.bytes_now, before.bytes_now);
    assert_int_equal(now.live, before.live);
    assert_int_equal(now.allocations, before.allocations + 2);
    assert_true(now.bytes_peak >= before.bytes_now + 1500);
}

static sv_memory_label label_of(const char *name)
{
    static sv_memory_label rows[128];
    size_t count = sv_memory_labels(rows, SV_COUNT(rows));
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].label, name) == 0) return rows[i];
    return (sv_memory_label){ 0 };
}

static void bytes_are_counted_by_label(void **state)
{
    (void)state;
    sv_error err;
    static const char same_words[] = "moments";
    void *a, *b, *c;
    assert_ok(sv_alloc(&a, 300, "moments", &err), err);
    assert_ok(sv_alloc(&b, 50, same_words, &err), err);
    assert_ok(sv_alloc(&c, 7, "weights", &err), err);
    assert_int_equal(label_of("moments").bytes_now, 350);
    sv_free(a);
    assert_int_equal(label_of("moments").bytes_now, 50);
    assert_int_equal(label_of("moments").bytes_peak, 350);
    assert_int_equal(label_of("weights").bytes_now, 7);
    sv_free(b);
    sv_free(c);
    assert_int_equal(label_of("moments").bytes_now, 0);
    assert_true(sv_memory_labels(NULL, 0) >= 2);
}

static void labels_beyond_the_table_share_its_last_row(void **state)
{
    (void)state;
    static char names[300][8];
    void *blocks[300];
    sv_memory before = sv_memory_now();
    for (size_t i = 0; i < SV_COUNT(names); i++) {
        snprintf(names[i], sizeof names[i], "l%zu", i);
        assert_int_equal(sv_alloc(&blocks[i], 1, names[i], NULL), SV_OK);
    }
    assert_int_equal(sv_memory_labels(NULL, 0), 128);
    for (size_t i = 0; i < SV_COUNT(names); i++) sv_free(blocks[i]);
    assert_int_equal(sv_memory_now().bytes_now, before.bytes_now);
}

static void impossible_sizes_are_refused_with_label_and_size(void **state)
{
    (void)state;
    static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 63, SIZE_MAX - 64, (size_t)PTRDIFF_MAX, (size_t)1 << 62 };
    for (size_t i = 0; i < SV_COUNT(sizes); i++) {
        sv_error err = { 0 };
        char expected[64];
        void *kept = &err, *block = kept;
        assert_int_equal(sv_alloc(&block, sizes[i], "activations", &err), SV_FAULT);
        assert_ptr_equal(block, kept);
        snprintf(expected, sizeof expected, "out of memory: activations needs %zu bytes", sizes[i]);
        assert_int_equal(strncmp(err.text, expected, strlen(expected)), 0);
    }
}

static void the_chosen_allocation_fails_and_leaves_all_as_it_was(void **state)
{
    (void)state;
    sv_error err;
    void *block = NULL;
    sv_memory before = sv_memory_now();
    sv_fault_set(SV_FAULT_ALLOC, 2, false);
    assert_ok(sv_alloc(&block, 8, "first", &err), err);
    void *kept = block;
    assert_int_equal(sv_alloc(&block, 8, "second", &err), SV_FAULT);
    assert_ptr_equal(block, kept);
    sv_free(block);
    sv_fault_set(SV_FAULT_ALLOC, 0, false);
    assert_int_equal(sv_memory_now().bytes_now, before.bytes_now);
}

static void growth_doubles_and_keeps_the_items(void **state)
{
    (void)state;
    sv_error err;
    uint32_t *items = NULL;
    size_t capacity = 0, grown = 0;
    for (size_t i = 0; i < 5000; i++) {
        size_t before = capacity;
        assert_ok(sv_grow(&items, &capacity, i + 1, sizeof *items, "items", &err), err);
        assert_true(capacity == before || capacity >= 2 * before);
        grown += capacity != before;
        items[i] = (uint32_t)i * 3;
    }
    assert_true(grown < 14);
    for (size_t i = 0; i < 5000; i++) assert_int_equal(items[i], i * 3);
    uint32_t *kept = items;
    size_t kept_capacity = capacity;
    assert_int_equal(sv_grow(&items, &capacity, SIZE_MAX / 2, sizeof *items, "items", &err), SV_FAULT);
    assert_ptr_equal(items, kept);
    assert_int_equal(capacity, kept_capacity);
    sv_fault_set(SV_FAULT_ALLOC, 1, true);
    assert_int_equal(sv_grow(&items, &capacity, capacity + 1, sizeof *items, "items", &err), SV_FAULT);
    sv_fault_set(SV_FAULT_ALLOC, 0, false);
    assert_ptr_equal(items, kept);
    assert_int_equal(items[4999], 4999 * 3);
    sv_free(items);
}

static void allocate_item(void *context, size_t item, size_t thread)
{
    (void)context, (void)thread;
    void *block;
    if (sv_alloc(&block, item + 1, "item", NULL) == SV_OK) sv_free(block);
}

static void counters_hold_with_many_threads(void **state)
{
    (void)state;
    sv_memory before = sv_memory_now();
    sv_threads_set(4);
    sv_for_items(2000, allocate_item, NULL);
    sv_memory now = sv_memory_now();
    assert_int_equal(now.allocations, before.allocations + 2000);
    assert_int_equal(now.bytes_now, before.bytes_now);
    assert_int_equal(now.live, before.live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_whole_and_writable),
        cmocka_unit_test(counters_follow_allocations),
        cmocka_unit_test(bytes_are_counted_by_label),
        cmocka_unit_test(impossible_sizes_are_refused_with_label_and_size),
        cmocka_unit_test(the_chosen_allocation_fails_and_leaves_all_as_it_was),
        cmocka_unit_test(growth_doubles_and_keeps_the_items),
        cmocka_unit_test(counters_hold_with_many_threads),
        cmocka_unit_test(labels_beyond_the_table_share_its_last_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
