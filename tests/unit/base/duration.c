/* base/duration.c, base/disk.c: times as people write them, and room asked for before it is used. */
#include "tests/unit/base/test_base.h"

static void times_are_read_as_people_write_them(void **state)
{
    (void)state;
    static const struct { const char *text; double seconds; } good[] = {
        { "0", 0 }, { "5", 300 }, { "45s", 45 }, { "90min", 5400 }, { "8h", 28800 }, { "1.5 h", 5400 }, { "2d", 172800 }, { "0.01s", 0.01 }, { "1e3s", 1000 },
    };
    static const char *const bad[] = { "", "h", "3x", "-5", "5 m", "1h30", "1e99s", "nan", "inf", "8h ", "99999999999999999999999999999999999999", "1e" };
    double seconds = -1;
    for (size_t i = 0; i < SV_COUNT(good); i++) {
        if (!sv_parse_duration(good[i].text, &seconds)) fail_msg("'%s' is not read", good[i].text);
        assert_true(seconds > good[i].seconds - 1e-9 && seconds < good[i].seconds + 1e-9);
    }
    seconds = -1;
    for (size_t i = 0; i < SV_COUNT(bad); i++)
        if (sv_parse_duration(bad[i], &seconds) || seconds != -1) fail_msg("'%s' is read as %g", bad[i], seconds);
}

static void a_disk_without_room_is_said_before_the_write(void **state)
{
    (void)state;
    sv_error err = { 0 };
    sv_disk disk = { 0 };
    assert_true(sv_disk_about(in_folder("not there yet"), &disk));
    assert_true(disk.free > 0 && disk.total >= disk.free);
    assert_ok(sv_disk_check(in_folder("not there yet"), 1, &err), err);
    assert_int_equal(sv_disk_check(in_folder("a"), UINT64_MAX, &err), SV_FAULT);
    assert_non_null(strstr(err.text, "MiB left"));
    assert_int_equal(sv_disk_check(in_folder("a"), disk.total, &err), SV_FAULT);
    sv_fault_set(SV_FAULT_SPACE, 1, false);
    assert_int_equal(sv_disk_check(in_folder("a"), 1, &err), SV_FAULT);
    assert_ok(sv_disk_check("/no/such/folder/at/all", 1, &err), err); /* the write itself will tell */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read_as_people_write_them),
        cmocka_unit_test_setup_teardown(a_disk_without_room_is_said_before_the_write, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
