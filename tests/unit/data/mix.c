/* Mixup, cutmix and targets: formulas of timm on a made-up batch, and the distributions of the draws. */
#include "data/mix.h"
#include "tests/unit/base/test_base.h"

#include <math.h>

static const sv_mix_options BOTH = { .mixup = 0.8, .cutmix = 1.0, .probability = 1, .switching = 0.5, .smoothing = 0.1 };

enum { COUNT = 4, CHANNELS = 2, HEIGHT = 5, WIDTH = 6, PICTURE = CHANNELS * HEIGHT * WIDTH };

static void fill(sv_real *pictures)
{
    for (int i = 0; i < COUNT * PICTURE; i++) pictures[i] = (sv_real)(i % 97) / 16;
}

static void mixup_blends_with_the_batch_reversed(void **state)
{
    sv_real before[COUNT][PICTURE], after[COUNT][PICTURE];
    const sv_mix mix = { .kind = SV_MIX_UP, .share = 0.3 };
    (void)state;
    fill(&before[0][0]);
    fill(&after[0][0]);
    sv_mix_pictures(&mix, &after[0][0], COUNT, CHANNELS, HEIGHT, WIDTH);
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < PICTURE; k++) assert_true(after[i][k] == (sv_real)0.3 * before[i][k] + (sv_real)0.7 * before[COUNT - 1 - i][k]);
}

static void cutmix_exchanges_the_box_alone(void **state)
{
    sv_real before[COUNT][CHANNELS][HEIGHT][WIDTH], after[COUNT][CHANNELS][HEIGHT][WIDTH];
    const sv_mix mix = { .kind = SV_MIX_CUT, .share = 0.8, .top = 1, .bottom = 4, .left = 2, .right = 4 };
    (void)state;
    fill(&before[0][0][0][0]);
    fill(&after[0][0][0][0]);
    sv_mix_pictures(&mix, &after[0][0][0][0], COUNT, CHANNELS, HEIGHT, WIDTH);
    for (size_t i = 0; i < COUNT; i++)
        for (size_t c = 0; c < CHANNELS; c++)
            for (size_t y = 0; y < HEIGHT; y++)
                for (size_t x = 0; x < WIDTH; x++) {
                    bool inside = y >= 1 && y < 4 && x >= 2 && x < 4;
                    assert_true(after[i][c][y][x] == before[inside ? COUNT - 1 - i : i][c][y][x]);
                }
}

/* What a rank mixes: its pictures get the bits they have in the whole batch, those of nobody's concern stay. */
static void a_part_of_a_batch_is_mixed_as_in_the_whole(void **state)
{
    sv_real before[COUNT][PICTURE], whole[COUNT][PICTURE], part[COUNT][PICTURE];
    const sv_mix mixes[] = { { .kind = SV_MIX_UP, .share = 0.3 }, { .kind = SV_MIX_CUT, .share = 0.8, .top = 1, .bottom = 4, .left = 2, .right = 4 } };
    (void)state;
    for (size_t m = 0; m < SV_COUNT(mixes); m++)
        for (size_t first = 0; first < COUNT; first++) {
            fill(&before[0][0]), fill(&whole[0][0]), fill(&part[0][0]);
            sv_mix_pictures(&mixes[m], &whole[0][0], COUNT, CHANNELS, HEIGHT, WIDTH);
            sv_mix_pictures_of(&mixes[m], &part[0][0], COUNT, first, first + 1, CHANNELS, HEIGHT, WIDTH);
            for (size_t i = 0; i < COUNT; i++) {
                const bool mixed = i == first || i == COUNT - 1 - first;
                assert_memory_equal(part[i], mixed ? whole[i] : before[i], sizeof part[i]);
            }
        }
}

static void targets_are_smoothed_and_sum_to_one(void **state)
{
    const uint32_t labels[COUNT] = { 0, 2, 2, 4 };
    const sv_mix mix = { .kind = SV_MIX_UP, .share = 0.25 }, none = { .kind = SV_MIX_NONE, .share = 1 };
    sv_real targets[COUNT][5];
    const double on = 0.92, off = 0.02;
    (void)state;
    sv_mix_targets(&mix, 0.1, labels, COUNT, 5, &targets[0][0]);
    for (int i = 0; i < COUNT; i++) {
        double sum = 0;
        for (int k = 0; k < 5; k++) sum += (double)targets[i][k];
        assert_true(fabs(sum - 1) < 1e-6);
    }
    assert_true(fabs((double)targets[0][0] - (0.25 * on + 0.75 * off)) < 1e-7);
    assert_true(fabs((double)targets[0][4] - (0.25 * off + 0.75 * on)) < 1e-7);
    assert_true(fabs((double)targets[0][1] - off) < 1e-7);
    assert_true(fabs((double)targets[1][2] - on) < 1e-7); /* both of one class */
    sv_mix_targets(&none, 0, labels, COUNT, 5, &targets[0][0]);
    assert_true(targets[3][4] == 1 && targets[3][0] == 0);
}

static void draws_follow_their_distributions(void **state)
{
    enum { DRAWS = 20000 };
    double sum_up = 0, square_up = 0, sum_cut = 0, square_cut = 0;
    int ups = 0, cuts = 0;
    (void)state;
    for (uint64_t step = 0; step < DRAWS; step++) {
        sv_mix mix = sv_mix_draw(&BOTH, 7, 1, step, 224, 224);
        if (mix.kind == SV_MIX_UP) {
            ups++;
            sum_up += mix.share;
            square_up += mix.share * mix.share;
        } else if (mix.kind == SV_MIX_CUT) {
            cuts++;
            assert_true(mix.top <= mix.bottom && mix.bottom <= 224 && mix.left <= mix.right && mix.right <= 224);
            double area = (double)((mix.bottom - mix.top) * (mix.right - mix.left)) / (224 * 224);
            assert_true(fabs(1 - area - mix.share) < 1e-12);
            sum_cut += mix.share;
            square_cut += mix.share * mix.share;
        }
        assert_true(mix.share >= 0 && mix.share <= 1);
    }
    /* Beta(0.8, 0.8): mean 0.5, variance 1 / (4 (2 * 0.8 + 1)) = 0.0962; four deviations of the mean of 10,000 are 0.0124. */
    double mean = sum_up / ups, variance = square_up / ups - mean * mean;
    assert_true(abs(ups - DRAWS / 2) < 300 && ups + cuts > DRAWS - 50);
    assert_true(fabs(mean - 0.5) < 0.0125 && fabs(variance - 0.0962) < 0.004);
    /* Boxes are cut off at the border, so the kept share is above one half. */
    assert_true(sum_cut / cuts > 0.5 && sum_cut / cuts < 0.75 && square_cut / cuts < 1);
}

static void what_is_off_is_never_drawn(void **state)
{
    sv_mix_options options = BOTH;
    (void)state;
    for (uint64_t step = 0; step < 200; step++) {
        options.mixup = 0, options.cutmix = 1;
        assert_int_not_equal(sv_mix_draw(&options, 1, 2, step, 64, 64).kind, SV_MIX_UP);
        options.mixup = 0.8, options.cutmix = 0;
        assert_int_not_equal(sv_mix_draw(&options, 1, 2, step, 64, 64).kind, SV_MIX_CUT);
        options.mixup = options.cutmix = 0;
        assert_int_equal(sv_mix_draw(&options, 1, 2, step, 64, 64).kind, SV_MIX_NONE);
        options = BOTH;
        options.probability = 0;
        assert_int_equal(sv_mix_draw(&options, 1, 2, step, 64, 64).kind, SV_MIX_NONE);
        options = BOTH;
    }
}

static void a_draw_is_a_function_of_seed_epoch_and_step(void **state)
{
    (void)state;
    sv_mix one = sv_mix_draw(&BOTH, 7, 1, 5, 224, 224), same = sv_mix_draw(&BOTH, 7, 1, 5, 224, 224);
    assert_true(one.share == same.share && one.kind == same.kind);
    assert_true(one.share != sv_mix_draw(&BOTH, 8, 1, 5, 224, 224).share);
    assert_true(one.share != sv_mix_draw(&BOTH, 7, 2, 5, 224, 224).share);
    assert_true(one.share != sv_mix_draw(&BOTH, 7, 1, 6, 224, 224).share);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixup_blends_with_the_batch_reversed),
        cmocka_unit_test(cutmix_exchanges_the_box_alone),
        cmocka_unit_test(a_part_of_a_batch_is_mixed_as_in_the_whole),
        cmocka_unit_test(targets_are_smoothed_and_sum_to_one),
        cmocka_unit_test(draws_follow_their_distributions),
        cmocka_unit_test(what_is_off_is_never_drawn),
        cmocka_unit_test(a_draw_is_a_function_of_seed_epoch_and_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
