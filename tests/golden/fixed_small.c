/* Class attention, EViT and ToMe on a tiny model against PyTorch in double, without any file but data/fixed_small.txt: a training step with all
 * gradients, and the deployed form, which here is the same. With and without a distillation token. */
#include "test_steps.h"

#define COMMON .mask_clamp = 30, .tau = 1, .kl_weight = 0.5
#define TOPK .rule = SV_RULE_TOPK, .min_keep = 1
static const small_case cases[] = {
    { .name = "attention",
      .options = { .plan = { .method = SV_METHOD_ATTENTION,
                             .package = SV_CHOICE_NONE,
                             .stages = 2,
                             .at = { 1, 3 },
                             .keep = { 0.7, 0.49 },
                             TOPK },
                   .token_weight = 0.5,
                   COMMON },
      .fixed = true },
    { .name = "evit",
      .options = { .plan = { .method = SV_METHOD_EVIT,
                             .package = SV_CHOICE_SUM,
                             .stages = 3,
                             .at = { 0, 2, 4 },
                             .keep = { 0.7, 0.5, 0.3 },
                             TOPK },
                   .token_weight = 0.5,
                   COMMON },
      .fixed = true },
    { .name = "evit_two",
      .distilled = true,
      .options = { .plan = { .method = SV_METHOD_EVIT, .package = SV_CHOICE_SUM, .stages = 2, .at = { 1, 2 }, .keep = { 0.8, 0.4 }, TOPK },
                   .token_weight = 0.5,
                   COMMON },
      .fixed = true },
    { .name = "tome",
      .options = { .plan = { .method = SV_METHOD_TOME, .package = SV_CHOICE_NONE, .stages = 1, .keep = { 0.4 }, TOPK }, COMMON },
      .fixed = true },
    { .name = "tome_two",
      .distilled = true,
      .options = { .plan = { .method = SV_METHOD_TOME, .package = SV_CHOICE_NONE, .stages = 1, .keep = { 0.25 }, TOPK }, COMMON },
      .fixed = true },
};

static void steps_equal_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) step_equals(&cases[i]);
}

static void answers_equal_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        small_world w = small_open(&cases[i]);
        removal_equals(&w, SV_RULE_TOPK, "topk");
        small_close(&w);
    }
}

static int name_lines(void **state)
{
    *state = (void *)(uintptr_t) "tests/golden/data/fixed_small.txt";
    return read_lines(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(steps_equal_pytorch), cmocka_unit_test(answers_equal_pytorch) };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, name_lines, free_lines);
}
