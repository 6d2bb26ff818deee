/* train/retain.c: the latest and the best stay, those of a way that is no longer taken go, and no file that is not ours is touched. */
#include "tests/unit/base/test_base.h"

#include "train/retain.h"

static void save(const char *text) { assert_ok(sv_file_write_atomic(in_folder("last.safetensors"), text, strlen(text), NULL), (sv_error){ 0 }); }

static void keep_last(uint64_t step, size_t keep)
{
    sv_error err = { 0 };
    char text[32];
    snprintf(text, sizeof text, "weights of %d", (int)step);
    save(text);
    assert_ok(sv_retain_last(test_folder, in_folder("last.safetensors"), step, keep, &err), err);
}

static bool there(const char *name) { return sv_path_exists(in_folder(name)); }

static void the_latest_stay_with_their_own_bytes(void **state)
{
    (void)state;
    write_text(in_folder("step-7.safetensors"), "a person's");
    write_text(in_folder("step-000000000002.safetensors.bak"), "a person's");
    for (uint64_t step = 1; step <= 5; step++) keep_last(step, 2);
    assert_holds(in_folder("step-000000000004.safetensors"), "weights of 4");
    assert_holds(in_folder("step-000000000005.safetensors"), "weights of 5");
    assert_int_equal(entries_in(test_folder), 5);
    keep_last(5, 2); /* the same step again */
    assert_int_equal(entries_in(test_folder), 5);
    keep_last(4, 2); /* gone back: 5 is of another way */
    assert_holds(in_folder("step-000000000004.safetensors"), "weights of 4");
    assert_false(there("step-000000000005.safetensors"));
    assert_true(there("step-7.safetensors") && there("step-000000000002.safetensors.bak"));
    keep_last(6, 0); /* off: nothing is touched */
    assert_int_equal(entries_in(test_folder), 4);
}

static void a_file_system_without_links_gets_copies(void **state)
{
    (void)state;
    struct stat about;
    sv_fault_set(SV_FAULT_RENAME, 2, false); /* the first is that of the save */
    keep_last(1, 2);
    assert_holds(in_folder("step-000000000001.safetensors"), "weights of 1");
    assert_int_equal(stat(in_folder("step-000000000001.safetensors"), &about), 0);
    assert_int_equal(about.st_nlink, 1);
}

static void keep_best(double top1, uint64_t epoch, bool wanted)
{
    sv_error err = { 0 };
    bool wants = false;
    assert_ok(sv_retain_wants(test_folder, top1, epoch, 2, &wants, &err), err);
    assert_int_equal(wants, wanted);
    save("model");
    if (wants) assert_ok(sv_retain_best(test_folder, in_folder("last.safetensors"), top1, epoch, 2, &err), err);
}

static void the_best_stay_and_of_equal_ones_the_later(void **state)
{
    (void)state;
    write_text(in_folder("best.safetensors"), "the best");
    keep_best(0.5, 1, true);
    keep_best(0.25, 2, true);
    keep_best(0.125, 3, false);
    keep_best(0.5, 4, true);
    assert_true(there("best-0.500000-epoch-00001.safetensors") && there("best-0.500000-epoch-00004.safetensors"));
    assert_false(there("best-0.250000-epoch-00002.safetensors"));
    keep_best(1, 5, true);
    assert_false(there("best-0.500000-epoch-00001.safetensors"));
    keep_best(0.75, 5, true); /* epoch 5 again, another way */
    assert_false(there("best-1.000000-epoch-00005.safetensors"));
    assert_true(there("best-0.750000-epoch-00005.safetensors") && there("best-0.500000-epoch-00004.safetensors"));
    assert_int_equal(entries_in(test_folder), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_latest_stay_with_their_own_bytes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_file_system_without_links_gets_copies, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(the_best_stay_and_of_equal_ones_the_later, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
