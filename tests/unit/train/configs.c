/* Every config that is shipped holds keys and values this version knows, and the recipes say what the papers say (spec training 1).
 * Run from the root of the tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "pruning/pruning.h"
#include "train/train.h"

static sv_config *read_config(const char *path)
{
    static sv_config_group groups[SV_TRAIN_GROUPS_MOST];
    const size_t count = sv_train_config_groups(groups);
    sv_config *config = NULL;
    sv_error err = { .text = "" };
    sv_status status = sv_config_create(&config, groups, count, &err);
    if (!status) status = sv_config_read(config, path, &err);
    if (status) fail_msg("%s", err.text);
    return config;
}

static sv_status pruning_of(sv_pruning_options *out, const sv_config *config, sv_error *err)
{
    sv_data_options data;
    sv_model *model = NULL;
    sv_status status = sv_data_options_read(config, &data, err);
    if (!status) status = sv_model_from_config(&model, config, data.transform.size, 1000, err);
    if (!status) status = sv_pruning_check_model(config, model, err);
    if (!status) status = sv_pruning_options_read(out, config, model, err);
    sv_model_destroy(model);
    return status;
}

/* What each part of a run makes of the config; its pictures and weights are not looked for. */
static sv_train_options options_of(const sv_config *config)
{
    sv_train_options options = { .folder = NULL };
    sv_data_options data;
    sv_pruning_options pruning;
    sv_error err = { .text = "" };
    sv_status status = sv_data_options_read(config, &data, &err);
    if (!status) status = pruning_of(&pruning, config, &err);
    if (!status) status = sv_train_options_read(&options, config, pruning.plan.stages > 0, &err);
    if (status) fail_msg("%s", err.text);
    return options;
}

static void every_shipped_config_is_understood(void **state)
{
    DIR *folder = opendir("configs");
    size_t count = 0;
    (void)state;
    assert_non_null(folder);
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        const char *ending = strrchr(entry->d_name, '.');
        char path[512];
        if (!ending || strcmp(ending, ".ini") != 0) continue;
        snprintf(path, sizeof path, "configs/%s", entry->d_name);
        sv_config *config = read_config(path);
        options_of(config);
        sv_config_destroy(config);
        count++;
    }
    closedir(folder);
    assert_true(count >= 10);
}

static void near(double got, double expected) { assert_true(fabs(got - expected) <= 1e-12 * fabs(expected)); }

static void the_recipe_is(const char *path, double epochs)
{
    sv_config *config = read_config(path);
    const sv_train_options o = options_of(config);
    assert_int_equal(o.batch * o.accumulate, 1024);
    assert_int_equal(o.schedule.schedule, SV_COSINE_EPOCH);
    assert_int_equal(o.optimizer.kind, SV_ADAMW);
    assert_false(o.optimizer.skip_frozen || o.optimizer.train_embeddings || o.ema.warmup);
    near(o.schedule.lr, 1e-3);
    near(o.schedule.min_lr, 1e-5);
    near(o.schedule.backbone_scale, 0.01);
    near(o.schedule.epochs, epochs);
    near(o.schedule.frozen_epochs, 5);
    near(o.optimizer.decay, 0.05);
    near(o.ema.decay, 0.99996);
    near(sv_config_real(config, "data.erase"), 0.25);
    assert_int_equal(sv_config_int(config, "data.repeats"), 3);
    assert_int_equal(sv_config_int(config, "data.ra_world"), 8);
    assert_string_equal(sv_config_text(config, "data.augment"), "rand-m9-mstd0.5-inc1");
    sv_config_destroy(config);
}

static void imagenet_recipes_are_those_of_the_papers(void **state)
{
    (void)state;
    the_recipe_is("configs/deit_t_mobile.ini", 30);
    the_recipe_is("configs/deit_s_mobile.ini", 30);
    the_recipe_is("configs/deit_b_mobile.ini", 60);
}

static void the_dynamicvit_recipe_is_that_of_its_code(void **state)
{
    sv_config *config = read_config("configs/deit_s_dynamicvit.ini");
    const sv_train_options o = options_of(config);
    sv_pruning_options p;
    sv_error err = { .text = "" };
    (void)state;
    if (pruning_of(&p, config, &err)) fail_msg("%s", err.text);
    assert_int_equal(o.batch * o.accumulate, 1024);
    assert_int_equal(o.schedule.schedule, SV_COSINE_STEP);
    assert_false(o.optimizer.skip_frozen || o.optimizer.train_embeddings || o.ema.warmup || o.optimizer.decay_all_selectors);
    near(o.schedule.lr, 1e-3);
    near(o.schedule.min_lr, 1e-6);
    near(o.schedule.backbone_scale, 0.01);
    near(o.schedule.epochs, 30);
    near(o.schedule.warmup_epochs, 5);
    near(o.schedule.frozen_epochs, 5);
    near(o.ema.decay, 0.9999);
    assert_int_equal(sv_config_int(config, "data.repeats"), 1);
    assert_int_equal(p.plan.method, SV_METHOD_DYNAMICVIT);
    assert_int_equal(p.plan.rule, SV_RULE_TOPK);
    assert_true(p.ratio_per_image && p.ratio_form == SV_RATIO_PENALTY && !p.keep_bias);
    assert_true(p.plan.count[0] == 137 && p.plan.count[1] == 96 && p.plan.count[2] == 67);
    near(p.ratio_weight, 2);
    near(p.kl_weight, 0.5);
    near(p.token_weight, 0.5);
    sv_config_destroy(config);
}

int main(void)
{
    static const char *const folders[] = { "IMAGENET", "WEIGHTS", "DATA", "PICTURES", "QUICKSTART" };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shipped_config_is_understood),
        cmocka_unit_test(imagenet_recipes_are_those_of_the_papers),
        cmocka_unit_test(the_dynamicvit_recipe_is_that_of_its_code),
    };
    for (size_t i = 0; i < SV_COUNT(folders); i++) setenv(folders[i], "/nowhere", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
