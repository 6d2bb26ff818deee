/* train/options.c: keys become what the papers and the help say, and values that clash are refused with the place they came from. */
#include "tests/unit/base/test_base.h"

#include "train/options.h"

#include <math.h>

/* "key=value" pairs set from "test.ini:LINE"; ends with NULL. */
static sv_config *config_of(const char *const *pairs)
{
    static const sv_config_group *const parts[] = { &sv_run_config, &sv_train_config };
    sv_config_group groups[2] = { *parts[0], *parts[1] };
    sv_config *config = NULL;
    sv_error err = { 0 };
    assert_ok(sv_config_create(&config, groups, 2, &err), err);
    for (size_t i = 0; pairs && pairs[i]; i++) {
        char key[128], where[32];
        const char *equals = strchr(pairs[i], '=');
        snprintf(key, sizeof key, "%.*s", (int)(equals - pairs[i]), pairs[i]);
        snprintf(where, sizeof where, "test.ini:%zu", i + 1);
        assert_ok(sv_config_set(config, key, equals + 1, where, &err), err);
    }
    return config;
}

#define PAIRS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void the_defaults_are_the_recipe_of_the_papers(void **state)
{
    (void)state;
    sv_config *config = config_of(NULL);
    sv_train_options o;
    sv_error err = { 0 };
    assert_ok(sv_train_options_read(&o, config, true, &err), err);
    assert_string_equal(o.folder, "runs/default");
    assert_true(o.seed == 0 && o.epochs == 30 && o.batch == 32 && o.accumulate == 1 && o.lanes == 4 && o.save_every == 0);
    assert_true(o.max_bad_steps == 10 && o.calibrate == 512 && o.evaluate_every == 1 && o.clip == 0 && o.max_steps == 0);
    assert_true(o.tensorboard && o.ema.decay == 0 && !o.ema.warmup);
    assert_true(o.schedule.schedule == SV_COSINE_EPOCH && o.schedule.lr == 5e-4 && o.schedule.min_lr == 1e-5 && o.schedule.epochs == 30);
    assert_true(o.schedule.warmup_epochs == 0 && o.schedule.frozen_epochs == 0 && o.schedule.backbone_scale == 0.01);
    assert_true(o.schedule.warmup_lr == 0 && o.schedule.jump_epoch == 0);
    assert_true(o.optimizer.kind == SV_ADAMW && o.optimizer.layer_decay == 1 && !o.optimizer.nesterov && !o.optimizer.skip_frozen);
    assert_true(o.optimizer.decay == 0.05 && o.optimizer.beta1 == 0.9 && o.optimizer.beta2 == 0.999 && o.optimizer.eps == 1e-8);
    assert_false(o.optimizer.decay_all_selectors || o.optimizer.train_embeddings || o.optimizer.all_new);
    sv_config_destroy(config);
}

/* Every key has a value of its own, so that no two can be mixed up. */
static void every_key_reaches_its_option(void **state)
{
    (void)state;
    sv_config *config = config_of(PAIRS(
        "run.dir=a b", "run.seed=9007199254740992", "train.epochs=100", "train.batch=6", "train.accumulate=5", "train.lr=0.25",
        "train.min_lr=0.125", "train.schedule=constant", "train.warmup_epochs=2.5", "train.backbone_scale=0.75", "train.frozen_epochs=7",
        "train.weight_decay=0.0625", "train.selector_decay_all=yes", "train.embeddings=yes", "train.beta1=0.5", "train.beta2=0.875",
        "train.eps=0.001", "train.clip=3.5", "train.ema=0.99996", "train.lanes=9", "train.evaluate_every=4", "train.calibrate=77",
        "train.save_every=11", "train.max_bad_steps=13", "train.max_steps=1000000000000000", "run.tensorboard=no", "train.optimizer=sgd",
        "train.momentum=0.375", "train.nesterov=yes", "train.lr_jump_epoch=17", "train.warmup_lr=0.03125", "train.frozen_moments=skip",
        "train.layer_decay=0.6875", "train.ema_warmup=yes"));
    sv_train_options o;
    sv_error err = { 0 };
    assert_ok(sv_train_options_read(&o, config, true, &err), err);
    assert_string_equal(o.folder, "a b");
    assert_true(o.seed == UINT64_C(9007199254740992) && o.epochs == 100 && o.batch == 6 && o.accumulate == 5 && o.lanes == 9
                && o.save_every == 11);
    assert_true(o.max_bad_steps == 13 && o.calibrate == 77 && o.evaluate_every == 4 && o.clip == 3.5
                && o.max_steps == UINT64_C(1000000000000000));
    assert_true(o.schedule.schedule == SV_CONSTANT && o.schedule.lr == 0.25 && o.schedule.min_lr == 0.125 && o.schedule.epochs == 100);
    assert_true(o.schedule.warmup_epochs == 2.5 && o.schedule.frozen_epochs == 7 && o.schedule.backbone_scale == 0.75);
    assert_true(o.optimizer.decay == 0.0625 && o.optimizer.beta1 == 0.5 && o.optimizer.beta2 == 0.875 && o.optimizer.eps == 0.001);
    assert_true(o.optimizer.decay_all_selectors && o.optimizer.train_embeddings);
    assert_true(!o.tensorboard && o.ema.decay == 0.99996 && o.ema.warmup && o.schedule.warmup_lr == 0.03125 && o.schedule.jump_epoch == 17);
    assert_true(o.optimizer.kind == SV_SGD && o.optimizer.momentum == 0.375 && o.optimizer.nesterov && o.optimizer.skip_frozen
                && o.optimizer.layer_decay == 0.6875);
    sv_config_destroy(config);
    config = config_of(PAIRS("train.schedule=cosine_step"));
    assert_ok(sv_train_options_read(&o, config, true, &err), err);
    assert_int_equal(o.schedule.schedule, SV_COSINE_STEP);
    sv_config_destroy(config);
}

static void the_rate_grows_with_the_effective_batch_where_a_reference_is_given(void **state)
{
    (void)state;
    /* the reference's logged run: 8 x 80 pictures, 5e-4 for 512 */
    sv_config *config = config_of(PAIRS("train.batch=80", "train.accumulate=8", "train.lr_reference_batch=512"));
    sv_train_options o;
    sv_error err = { 0 };
    assert_ok(sv_train_options_read(&o, config, true, &err), err);
    assert_true(fabs(o.schedule.lr - 6.25e-4) < 1e-18);
    sv_config_destroy(config);
    config = config_of(PAIRS("train.batch=80", "train.accumulate=8"));
    assert_ok(sv_train_options_read(&o, config, true, &err), err);
    assert_true(o.schedule.lr == 5e-4);
    sv_config_destroy(config);
    config = config_of(PAIRS("train.batch=65536", "train.accumulate=65536", "train.lr_reference_batch=1"));
    assert_ok(sv_train_options_read(&o, config, true, &err), err);
    assert_true(fabs(o.schedule.lr / (5e-4 * 4294967296.0) - 1) < 1e-15);
    sv_config_destroy(config);
}

static void the_backbone_is_slow_beside_selectors_and_not_without_them(void **state)
{
    (void)state;
    sv_train_options o;
    sv_error err = { 0 };
    sv_config *config = config_of(NULL);
    assert_ok(sv_train_options_read(&o, config, true, &err), err);
    assert_true(o.schedule.backbone_scale == 0.01);
    assert_ok(sv_train_options_read(&o, config, false, &err), err);
    assert_true(o.schedule.backbone_scale == 1);
    sv_config_destroy(config);
    config = config_of(PAIRS("train.backbone_scale=0")); /* 0 is a scale: the backbone stands still */
    assert_ok(sv_train_options_read(&o, config, false, &err), err);
    assert_true(o.schedule.backbone_scale == 0);
    sv_config_destroy(config);
}

static void assert_clash(const char *const *pairs, const char *sentence)
{
    sv_config *config = config_of(pairs);
    sv_train_options o;
    sv_error err = { 0 };
    assert_int_equal(sv_train_options_read(&o, config, true, &err), SV_USAGE);
    if (!strstr(err.text, sentence)) fail_msg("'%s'; expected '%s' in it", err.text, sentence);
    sv_config_destroy(config);
}

static void values_that_clash_are_refused_with_their_place(void **state)
{
    (void)state;
    assert_clash(PAIRS("run.dir="), "test.ini:1: run.dir is empty");
    assert_clash(PAIRS("train.lr=1e-3", "train.min_lr=2e-3"), "test.ini:2: train.min_lr = 0.002 is above the learning rate 0.001");
    assert_clash(PAIRS("train.min_lr=4e-4", "train.batch=32", "train.lr_reference_batch=512"),
                 "test.ini:1: train.min_lr = 0.0004 is above the learning rate 3.125e-05");
    assert_clash(PAIRS("train.epochs=5", "train.frozen_epochs=5"),
                 "test.ini:2: train.frozen_epochs = 5 leaves none of the 5 epochs to the backbone");
    assert_clash(PAIRS("train.epochs=5", "train.frozen_epochs=6"), "test.ini:2: train.frozen_epochs = 6");
    assert_clash(PAIRS("train.beta1=1"), "test.ini:1: train.beta1");
    assert_clash(PAIRS("train.warmup_epochs=2"), "test.ini:1: train.warmup_epochs with train.schedule = cosine_epoch");
    assert_clash(PAIRS("train.optimizer=sgd", "train.momentum=1"), "test.ini:2: train.momentum must be below 1");
    assert_clash(PAIRS("train.optimizer=sgd", "train.nesterov=yes", "train.momentum=0"), "test.ini:3: train.momentum must be");
}

static void the_place_of_a_beta_is_that_of_the_one_which_is_wrong(void **state)
{
    (void)state;
    assert_clash(PAIRS("train.batch=8", "train.beta2=1"), "test.ini:2: ");
    assert_clash(PAIRS("train.beta1=0.5", "train.beta2=1"), "test.ini:2: ");
    assert_clash(PAIRS("train.beta1=1", "train.beta2=0.5"), "test.ini:1: ");
}

static void values_at_the_edge_are_taken(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        { "train.min_lr=5e-4", NULL },
        { "train.epochs=5", "train.frozen_epochs=4", NULL },
        { "train.epochs=0", NULL },
        { "train.epochs=0", "train.frozen_epochs=5", NULL }, /* nothing is trained: nothing clashes */
        { "train.beta1=0", "train.beta2=0", NULL },
        { "train.lr=0", "train.min_lr=0", NULL },
        { "train.warmup_epochs=2", "train.warmup_lr=1e-6", NULL },
        { "train.warmup_epochs=2", "train.schedule=cosine_step", NULL },
        { "train.momentum=1", NULL }, /* of sgd, which is not chosen */
        { "train.optimizer=sgd", "train.momentum=0", NULL },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        sv_config *config = config_of(cases[i]);
        sv_train_options o;
        sv_error err = { 0 };
        assert_ok(sv_train_options_read(&o, config, true, &err), err);
        sv_config_destroy(config);
    }
}

static void a_value_out_of_its_range_is_refused_before_it_is_read(void **state)
{
    (void)state;
    static const char *const refused[][2] = {
        { "train.batch", "0" },           { "train.accumulate", "0" },    { "train.lanes", "0" },
        { "train.epochs", "-1" },         { "train.lr", "-1" },           { "train.lr", "nan" },
        { "train.schedule", "cosine" },   { "train.ema", "1.5" },         { "train.calibrate", "0" },
        { "train.evaluate_every", "0" },  { "run.seed", "-1" },           { "run.threads", "5000" },
        { "train.backbone_scale", "-2" }, { "train.max_bad_steps", "0" }, { "train.batch", "1.5" },
    };
    sv_config *config = config_of(NULL);
    for (size_t i = 0; i < SV_COUNT(refused); i++) {
        sv_error err = { 0 };
        if (sv_config_set(config, refused[i][0], refused[i][1], "test.ini:3", &err) != SV_USAGE)
            fail_msg("%s = %s was taken", refused[i][0], refused[i][1]);
        assert_non_null(strstr(err.text, "test.ini:3"));
    }
    sv_config_destroy(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_the_recipe_of_the_papers),
        cmocka_unit_test(every_key_reaches_its_option),
        cmocka_unit_test(the_rate_grows_with_the_effective_batch_where_a_reference_is_given),
        cmocka_unit_test(the_backbone_is_slow_beside_selectors_and_not_without_them),
        cmocka_unit_test(values_that_clash_are_refused_with_their_place),
        cmocka_unit_test(the_place_of_a_beta_is_that_of_the_one_which_is_wrong),
        cmocka_unit_test(values_at_the_edge_are_taken),
        cmocka_unit_test(a_value_out_of_its_range_is_refused_before_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
