/* DynamicViT steps and removals of a tiny model against PyTorch in double, without any file but data/dynamicvit_small.txt: in our exact masked
 * attention and in the reference's (eps 1e-6, maximum over all keys), ratio per picture and per batch, with and without distillation token,
 * predictors before the first, last and neighbouring blocks. Weights, pictures and noise are hashes of (name, index), made here as
 * make_dynamicvit.py makes them. */
#include "test_steps.h"

#define COMMON .mask_clamp = 30, .tau = 1, .kl_weight = 0.5, .token_weight = 0.5
#define DYNAMICVIT .method = SV_METHOD_DYNAMICVIT, .package = SV_CHOICE_NONE
static const small_case cases[] = {
    { .name = "exact",
      false,
      { .plan = { DYNAMICVIT, .stages = 2, .at = { 1, 3 }, .keep = { 0.7, 0.49 } }, .ratio_per_image = true, COMMON },
      { 0, 1 } },
    { .name = "reference",
      false,
      { .plan = { DYNAMICVIT, .stages = 3, .at = { 0, 2, 4 }, .keep = { 0.7, 0.49, 0.343 } },
        .mask_eps = 1e-6,
        .mask_all = true,
        .ratio_per_image = true,
        COMMON },
      { 0, 2.0 / 3 } },
    { .name = "batch", true, { .plan = { DYNAMICVIT, .stages = 2, .at = { 1, 2 }, .keep = { 0.55, 0.3 } }, COMMON }, { 0, 1 } },
};

static void steps_equal_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) step_equals(&cases[i]);
}

static void removals_equal_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        small_world w = small_open(&cases[i]);
        if (w.t.stages) {
            removal_equals(&w, SV_RULE_TOPK, "topk");
            removal_equals(&w, SV_RULE_THRESHOLD, "threshold");
        }
        small_close(&w);
    }
}

static int name_lines(void **state)
{
    *state = (void *)(uintptr_t) "tests/golden/data/dynamicvit_small.txt";
    return read_lines(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(steps_equal_pytorch), cmocka_unit_test(removals_equal_pytorch) };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, name_lines, free_lines);
}
