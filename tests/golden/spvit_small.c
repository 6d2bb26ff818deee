/* SPViT steps and removals of a tiny model against PyTorch in double, without any file but data/spvit_small.txt: three package forms and
 * none, both kinds of empty package, with and without distillation token, selectors before the first, last and neighbouring blocks, all
 * loss terms. Weights, pictures and noise are hashes of (name, index), made here as data/make_spvit_small.py makes them. */
#include "test_steps.h"

#define COMMON .mask_clamp = 30, .tau = 1, .kl_weight = 0.5, .token_weight = 0.5
static const small_case cases[] = {
    { .name = "wavg", false,
      { .plan = { .stages = 2, .at = { 1, 3 }, .keep = { 0.7, 0.4 }, .package = SV_CHOICE_WAVG, .empty = SV_EMPTY_MASK }, COMMON },
      { 0, 1 } },
    { .name = "sum", true,
      { .plan = { .stages = 3, .at = { 0, 2, 4 }, .keep = { 0.8, 0.5, 0.3 }, .package = SV_CHOICE_SUM, .empty = SV_EMPTY_KEEP_ZERO },
        .ratio_per_image = true, .latency_weight = 0.7, COMMON },
      { 0, 2.0 / 3 } },
    { .name = "mean", false,
      { .plan = { .stages = 1, .at = { 2 }, .keep = { 0.5 }, .package = SV_CHOICE_MEAN, .empty = SV_EMPTY_MASK },
        .ratio_form = SV_RATIO_LAGRANGE, COMMON },
      { 0.3, 2 } },
    { .name = "bare", true,
      { .plan = { .stages = 2, .at = { 1, 2 }, .keep = { 0.6, 0.6 }, .package = SV_CHOICE_NONE, .empty = SV_EMPTY_MASK },
        .latency_weight = 0.4, COMMON },
      { 0, 1 } },
    { .name = "dense", true, { COMMON }, { 0 } },
};

SMALL_TESTS(cases, "tests/golden/data/spvit_small.txt")
