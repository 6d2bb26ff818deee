/* base/cpu.c: what the machine offers, lowered by SIEVE_ISA, and what it is called. */
#include "tests/unit/base/test_base.h"

static void the_environment_lowers_the_instruction_set(void **state)
{
    (void)state;
    sv_error err;
    unsetenv("SIEVE_ISA");
    sv_isa best = sv_isa_now();
    assert_ok(sv_isa_check(&err), err);
    setenv("SIEVE_ISA", "c", 1);
    assert_int_equal(sv_isa_now(), SV_ISA_C);
    assert_ok(sv_isa_check(&err), err);
    setenv("SIEVE_ISA", "", 1);
    assert_int_equal(sv_isa_now(), best);
    assert_ok(sv_isa_check(&err), err);
#if defined(__x86_64__)
    static const struct { const char *name; sv_isa isa; } caps[] = { { "avx2", SV_ISA_AVX2 }, { "avx512", SV_ISA_AVX512 }, { "avx512_bf16", SV_ISA_AVX512_BF16 } };
    for (size_t i = 0; i < SV_COUNT(caps); i++) {
        setenv("SIEVE_ISA", caps[i].name, 1);
        assert_int_equal(sv_isa_now(), caps[i].isa < best ? caps[i].isa : best);
        assert_ok(sv_isa_check(&err), err);
        assert_string_equal(sv_isa_name(caps[i].isa), caps[i].name);
    }
#endif
    unsetenv("SIEVE_ISA");
}

static void unknown_instruction_sets_are_refused(void **state)
{
    (void)state;
    sv_error err;
    setenv("SIEVE_ISA", "sse9\n", 1);
    assert_int_equal(sv_isa_check(&err), SV_USAGE);
#if defined(__x86_64__)
    assert_string_equal(err.text, "environment: SIEVE_ISA = 'sse9?' is not an instruction set of this kind of machine; expected one of c, avx2, "
                                  "avx512, avx512_bf16, amx");
    setenv("SIEVE_ISA", "neon", 1);
    assert_int_equal(sv_isa_check(&err), SV_USAGE);
#endif
    unsetenv("SIEVE_ISA");
}

static void the_machine_has_a_name_that_fits(void **state)
{
    (void)state;
    char room[128], small[8];
    assert_ptr_equal(sv_machine_name(room, sizeof room), room);
    assert_non_null(strstr(room, " core"));
    assert_true(strlen(room) > 8);
    sv_machine_name(small, sizeof small);
    assert_true(strlen(small) < sizeof small);
    assert_true(sv_machine_load() >= -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_lowers_the_instruction_set),
        cmocka_unit_test(unknown_instruction_sets_are_refused),
        cmocka_unit_test(the_machine_has_a_name_that_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
