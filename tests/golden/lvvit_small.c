/* SPViT and DynamicViT on a tiny LV-ViT against PyTorch in double, without any file but data/lvvit_small.txt: a training step with both heads taught,
 * and removals whose answer takes the largest of the patches that are left. */
#include "test_steps.h"

#define COMMON .mask_clamp = 30, .tau = 1, .kl_weight = 0.5, .token_weight = 0.5
static const small_case cases[] = {
    { .name = "dynamicvit",
      .options = { .plan = { .method = SV_METHOD_DYNAMICVIT,
                             .package = SV_CHOICE_NONE,
                             .stages = 2,
                             .at = { 1, 3 },
                             .keep = { 0.7, 0.49 } },
                   .ratio_per_image = true,
                   COMMON },
      .goal = { 0, 1 },
      .backbone = "lvvit_test",
      .image = 64 },
    { .name = "spvit",
      .options = { .plan = { .method = SV_METHOD_SPVIT, .stages = 3, .at = { 0, 2, 4 }, .keep = { 0.7, 0.5, 0.3 } }, COMMON },
      .goal = { 0, 2.0 / 3 },
      .backbone = "lvvit_test",
      .image = 64 },
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
        removal_equals(&w, SV_RULE_TOPK, "topk");
        removal_equals(&w, SV_RULE_THRESHOLD, "threshold");
        small_close(&w);
    }
}

static int name_lines(void **state)
{
    *state = (void *)(uintptr_t) "tests/golden/data/lvvit_small.txt";
    return read_lines(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(steps_equal_pytorch), cmocka_unit_test(removals_equal_pytorch) };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, name_lines, free_lines);
}
