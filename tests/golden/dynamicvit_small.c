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

SMALL_TESTS(cases, "tests/golden/data/dynamicvit_small.txt")
