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

SMALL_TESTS(cases, "tests/golden/data/lvvit_small.txt")
