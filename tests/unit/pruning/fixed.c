/* Methods that learn nothing: they keep what the plan counts, training is what is deployed, work and times add up by formula. What PyTorch says of them
 * stands in tests/golden/fixed_small.c. */
#include "test_pruning.h"

#include "latency/measure_model.h"

enum { WORLDS = 40 };
static const sv_method methods[] = { SV_METHOD_RANDOM, SV_METHOD_ATTENTION, SV_METHOD_EVIT, SV_METHOD_TOME };

/* As world_of, every backbone in turn, some stages at least. */
static world fixed_of(uint64_t seed)
{
    world w = world_of(seed);
    sv_pruning_plan *plan = &w.options.plan;
    plan->method = methods[seed % SV_COUNT(methods)];
    plan->rule = SV_RULE_TOPK, plan->min_keep = 1;
    plan->package = plan->method == SV_METHOD_EVIT ? SV_CHOICE_SUM : SV_CHOICE_NONE;
    plan->empty = SV_EMPTY_MASK;
    if (seed % 8 >= 4)
        w.backbone = "lvvit_test", w.sizes.image = w.sizes.image / 4 % 4 * 16 + 16, w.sizes.patch = 16, w.sizes.distilled = false;
    w.sizes.depth += 1;
    if (!plan->stages) plan->stages = 1, plan->at[0] = 1, plan->keep[0] = 0.5;
    if (plan->method == SV_METHOD_ATTENTION)
        for (size_t t = 0; t < plan->stages; t++) plan->at[t] += plan->at[0] == 0 || (t && plan->at[t] <= plan->at[t - 1]);
    if (plan->method == SV_METHOD_TOME) plan->stages = 1, plan->at[0] = 0;
    w.options.token_weight = 0; /* LV-ViT then reads the measured answer in training too */
    return w;
}

/* Patches that go on behind stage t of an image, as far as there is room. */
static size_t left_of(const world *w, size_t t, size_t image, int32_t *patches)
{
    const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(w->removal.tape, w->removal.after[t], image);
    size_t count = 0;
    for (size_t r = 0; r < sv_tape_rows(w->removal.tape, w->removal.after[t], image); r++)
        if (origin[r] >= 0) patches[count++] = origin[r];
    return count;
}

static size_t left_by_merging(const world *w)
{
    size_t patches = sv_model_patches(w->student), left = patches;
    for (size_t i = 0; i < w->sizes.depth; i++) left -= sv_merge_count(patches, w->options.plan.count[0], w->sizes.depth, i, left);
    return left;
}

static void counts_are_the_plans_and_later_patches_are_earlier_ones(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world w = fixed_of(seed);
        world_open(&w);
        forward(w.removal.tape, w.images, seed);
        for (size_t b = 0; b < w.images; b++) {
            bool before[64], now[64];
            memset(before, true, sizeof before);
            for (size_t t = 0; t < w.options.plan.stages; t++) {
                int32_t patches[64];
                const size_t count = left_of(&w, t, b, patches);
                memset(now, false, sizeof now);
                assert_int_equal(count, w.options.plan.method == SV_METHOD_TOME ? left_by_merging(&w) : w.options.plan.count[t]);
                for (size_t i = 0; i < count; i++) {
                    assert_true(patches[i] >= 0 && (size_t)patches[i] < sv_model_patches(w.student));
                    assert_true(before[patches[i]] && !now[patches[i]]);
                    if (i && w.options.plan.method != SV_METHOD_TOME) assert_true(patches[i] > patches[i - 1]);
                    now[patches[i]] = true;
                }
                memcpy(before, now, sizeof now);
            }
        }
        world_close(&w);
    }
}

static void training_answers_as_the_deployed_form_and_teaches_every_weight(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world w = fixed_of(seed);
        w.sizes.precision = (sv_precision)(seed / 3 % SV_PRECISION_COUNT);
        world_open(&w);
        forward(w.training.tape, w.images, seed);
        forward(w.removal.tape, w.images, seed);
        for (size_t b = 0; b < w.images; b++)
            assert_same_numbers(sv_tape_data(w.training.tape, w.training.logits, b), sv_tape_data(w.removal.tape, w.removal.logits, b),
                                w.sizes.classes, "logits", seed);
        sv_tape_backward(w.training.tape, 1);
        assert_null(sv_tape_not_finite(w.training.tape));
        for (size_t i = 0; i < w.student->parameters->count; i++) {
            const sv_parameter *p = w.student->parameters->items[i];
            bool some = p->fixed;
            for (size_t k = 0; k < p->count; k++) some = some || p->gradient[k] < 0 || p->gradient[k] > 0;
            if (!some && !strstr(p->name, "qkv.bias") && sv_model_patches(w.student) > 1)
                fail_msg("world %d: %s learns nothing", (int)seed, p->name);
        }
        world_close(&w);
    }
}

static void keeping_all_is_the_dense_model(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 16; seed++) {
        const world w = fixed_of(seed);
        assert_nothing_dropped_is_dense(w, w.options.plan.method == SV_METHOD_TOME ? assert_near : assert_same_numbers); /* merging puts rows in another order */
    }
}

static void a_picture_alone_gets_the_bits_it_gets_in_a_batch(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 16; seed++) {
        world w = fixed_of(seed);
        world_open(&w);
        assert_alone_as_in_batch(&w);
        world_close(&w);
    }
}

static void the_work_counted_by_formula_is_the_work_done(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world w = fixed_of(seed);
        uint64_t sum = 0;
        w.options.plan.empty = SV_EMPTY_KEEP_ZERO; /* a fused token each stage, as the formula has it */
        world_open(&w);
        forward(w.removal.tape, w.images, seed);
        for (size_t b = 0; b < w.images; b++) sum += sv_pruned_macs(w.student, &w.options.plan, w.options.plan.count);
        assert_int_equal(sum, sv_tape_macs(w.removal.tape));
        world_close(&w);
    }
}

static void chance_is_a_function_of_seed_and_picture(void **state)
{
    (void)state;
    size_t same = 0, all = 0;
    for (uint64_t seed = 0; seed < 30; seed++) {
        world w = fixed_of(8 * seed); /* random on vit_test */
        int32_t first[64], again[64], other[64];
        world_open(&w);
        forward(w.removal.tape, w.images, 1);
        const size_t count = left_of(&w, 0, 0, first);
        forward(w.removal.tape, w.images, 1);
        assert_int_equal(left_of(&w, 0, 0, again), count);
        assert_memory_equal(first, again, count * sizeof *first);
        forward(w.removal.tape, w.images, 2);
        left_of(&w, 0, 0, other);
        for (size_t i = 0; i < count; i++, all++) same += first[i] == other[i];
        world_close(&w);
    }
    assert_true(all > 100 && same < all * 3 / 4);
}

/* ms of a part = its tokens: the prediction is the sum over the parts that such a model has. */
static void times_add_up_by_the_parts_of_the_method(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        world w = fixed_of(seed);
        sv_latency_shape shape;
        sv_latency_prediction predicted;
        sv_latency_table table = { 0 };
        sv_latency_row *rows = NULL;
        size_t count = 0, left = 0;
        sv_error err = { 0 };
        world_open(&w);
        const sv_pruning_plan *plan = &w.options.plan;
        const size_t prefix = sv_model_prefix(w.student), patches = sv_model_patches(w.student), depth = w.sizes.depth;
        assert_ok(sv_latency_rows_wanted(&rows, &count, w.pruning, 1, &err), err);
        for (size_t i = 0; i < count; i++) {
            rows[i].median_ms = rows[i].p95_ms = (double)rows[i].tokens;
            assert_ok(sv_latency_table_add(&table, &rows[i], &err), err);
        }
        assert_ok(sv_latency_shape_of(&shape, w.student, plan, &err), err);
        assert_ok(sv_latency_predict(&table, 1, &shape, plan->count, SV_LATENCY_LINEAR, &predicted, &err), err);
        double sum = (double)(prefix + patches); /* embedding */
        left = patches;
        for (size_t i = 0, t = 0; i < depth; i++) {
            if (plan->method == SV_METHOD_TOME) {
                sum += (double)left;
                left -= sv_merge_count(patches, plan->count[0], depth, i, left);
            } else if (t < plan->stages && plan->at[t] == i) {
                sum += (double)left;
                left = plan->count[t] + (plan->package == SV_CHOICE_NONE ? 0 : t + 1);
                t++;
            }
            sum += (double)(prefix + left);
        }
        sum += (double)(prefix + left); /* head */
        if (fabs(sum - predicted.total_ms) > 1e-9) fail_msg("world %d: predicted %.9g, parts %.9g", (int)seed, predicted.total_ms, sum);
        sv_free(rows);
        sv_latency_table_clear(&table);
        world_close(&w);
    }
}

static void shares_of_merging_are_even_and_at_most_half(void **state)
{
    (void)state;
    for (size_t patches = 1; patches < 60; patches++)
        for (size_t kept = 0; kept <= patches; kept++)
            for (size_t depth = 1; depth < 14; depth += 3) {
                size_t left = patches, least = patches, most = 0;
                bool halved = false;
                for (size_t i = 0; i < depth; i++) {
                    const size_t r = sv_merge_count(patches, kept, depth, i, left);
                    assert_true(r <= left / 2);
                    halved = halved || r == left / 2;
                    least = r < least ? r : least, most = r > most ? r : most;
                    left -= r;
                }
                if (halved) continue;
                assert_int_equal(left, kept);
                assert_true(most - least <= 1);
            }
}

static void what_a_method_cannot_do_is_said(void **state)
{
    static const struct {
        const char *settings[9], *says;
    } rows[] = {
        { { "pruning.method", "tome", "pruning.keep", "0.7,0.5" }, "tome has one" },
        { { "pruning.method", "tome", "pruning.rule", "threshold" }, "tome decides nothing" },
        { { "pruning.method", "tome", "pruning.merge", "40" }, "at most halve" },
        { { "pruning.method", "tome", "pruning.merge", "4", "pruning.keep", "0.5" }, "say the same thing" },
        { { "pruning.method", "evit", "pruning.merge", "4" }, "of tome alone" },
        { { "pruning.method", "random", "pruning.package_form", "sum" }, "random has no package tokens" },
    };
    (void)state;
    for (size_t i = 0; i <= SV_COUNT(rows); i++) {
        const bool fine = i == SV_COUNT(rows);
        static const char *const good[9] = { "pruning.method", "tome", "pruning.merge", "13" };
        const char *const *settings = fine ? good : rows[i].settings;
        sv_config *config = NULL;
        sv_model *model = NULL; /* 12 blocks, 196 patches */
        sv_pruning_options o;
        sv_error err = { .text = "" };
        assert_ok(sv_model_create(&model, "deit_t", NULL, &err), err);
        assert_ok(sv_config_create(&config, &sv_pruning_config, 1, &err), err);
        for (size_t k = 0; settings[k]; k += 2) assert_ok(sv_config_set(config, settings[k], settings[k + 1], "here:1", &err), err);
        sv_status status = sv_pruning_options_read(&o, config, model, &err);
        assert_int_equal(status, fine ? SV_OK : SV_USAGE);
        if (!fine && !strstr(err.text, rows[i].says)) fail_msg("'%s' is not in '%s'", rows[i].says, err.text);
        if (fine) assert_int_equal(o.plan.count[0], 196 - 12 * 13);
        sv_config_destroy(config);
        sv_model_destroy(model);
    }
    world w = fixed_of(1);
    sv_error err = { 0 };
    w.options.plan.at[0] = 0;
    assert_ok(sv_model_create(&w.student, "vit_test", NULL, &err), err);
    assert_int_equal(sv_pruning_create(&w.pruning, w.student, &w.options, &err), SV_USAGE);
    assert_non_null(strstr(err.text, "none in front of block 0"));
    sv_model_destroy(w.student);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_the_plans_and_later_patches_are_earlier_ones),
        cmocka_unit_test(training_answers_as_the_deployed_form_and_teaches_every_weight),
        cmocka_unit_test(keeping_all_is_the_dense_model),
        cmocka_unit_test(a_picture_alone_gets_the_bits_it_gets_in_a_batch),
        cmocka_unit_test(the_work_counted_by_formula_is_the_work_done),
        cmocka_unit_test(chance_is_a_function_of_seed_and_picture),
        cmocka_unit_test(times_add_up_by_the_parts_of_the_method),
        cmocka_unit_test(shares_of_merging_are_even_and_at_most_half),
        cmocka_unit_test(what_a_method_cannot_do_is_said),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
