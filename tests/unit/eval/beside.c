/* eval/beside.c: settings out of a stored config, and whose word counts for the teacher. */
#include "tests/unit/eval/test_eval.h"

#include "eval/beside.h"

static char config[] = "[run]\nweights = no\n\n[model]\narch = vit_nano\nweights = a b.pth\nweights_more = x\n\n[train]\nteacher = \" spaced \"\nteacher_arch = \nweights = no\n";

static void assert_setting(const char *section, const char *key, const char *expected)
{
    const sv_deployed deployed = { .config = config };
    char *got = NULL;
    sv_error err = { 0 };
    assert_ok(sv_deployed_setting(&deployed, section, key, &got, &err), err);
    assert_string_equal(got, expected);
    sv_free(got);
}

static void a_setting_is_that_of_its_section(void **state)
{
    (void)state;
    assert_setting("model", "weights", "a b.pth");
    assert_setting("model", "arch", "vit_nano");
    assert_setting("train", "teacher", " spaced ");
    assert_setting("train", "teacher_arch", "");
    assert_setting("train", "absent", "");
    assert_setting("mode", "arch", "");
}

static void a_model_without_a_config_has_no_teacher(void **state)
{
    (void)state;
    bench b;
    sv_error err = { 0 };
    sv_deployed out = { 0 };
    put_tree("p", 2, 1);
    bench_open(&b, NULL, CLASSES, "p");
    assert_int_equal(sv_deployed_open_teacher(&out, &(sv_deployed){ .model = b.model }, &err), SV_USAGE);
    assert_non_null(strstr(err.text, "--beside FILE"));
    assert_int_equal(sv_deployed_open_teacher(&out, &(sv_deployed){ .model = b.model, .config = config }, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, " spaced "));
    assert_null(out.model);
    bench_close(&b);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_setting_is_that_of_its_section), WITH_FOLDER(a_model_without_a_config_has_no_teacher) };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
