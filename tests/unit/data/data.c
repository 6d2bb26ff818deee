/* The keys of [data] and what they become. */
#include "tests/unit/data/test_data.h"

static sv_config *config_of(void)
{
    const sv_config_group groups[] = { { sv_data_rows, sv_data_row_count } };
    sv_config *config;
    sv_error err = { 0 };
    assert_ok(sv_config_create(&config, groups, 1, &err), err);
    return config;
}

static void set(sv_config *config, const char *key, const char *value)
{
    sv_error err = { 0 };
    assert_ok(sv_config_set(config, key, value, "a.ini:7", &err), err);
}

static void defaults_of_the_keys_are_the_papers(void **state)
{
    sv_config *config = config_of();
    sv_data_options options;
    sv_transform_options plain = sv_transform_defaults();
    sv_error err = { 0 };
    (void)state;
    assert_ok(sv_data_options_read(config, &options, &err), err);
    assert_int_equal(options.transform.size, plain.size);
    assert_true(options.transform.crop_ratio == plain.crop_ratio && options.transform.scale_min == plain.scale_min && options.transform.flip == plain.flip);
    assert_true(options.transform.ratio_min == plain.ratio_min && options.transform.ratio_max == plain.ratio_max);
    for (size_t c = 0; c < 3; c++) assert_true(options.transform.mean[c] == plain.mean[c] && options.transform.deviation[c] == plain.deviation[c]);
    assert_true(options.mix.mixup == 0.8 && options.mix.cutmix == 1 && options.mix.smoothing == 0.1 && options.max_bad == 0.001);
    sv_config_destroy(config);
}

static void every_key_reaches_its_option(void **state)
{
    sv_config *config = config_of();
    sv_data_options options;
    sv_error err = { 0 };
    (void)state;
    set(config, "data.image_size", "96");
    set(config, "data.interpolation", "bilinear");
    set(config, "data.resize_order", "pillow12");
    set(config, "data.crop_ratio", "0.9");
    set(config, "data.crop_round", "up");
    set(config, "data.scale_min", "0.5");
    set(config, "data.scale_max", "0.75");
    set(config, "data.ratio_min", "0.9");
    set(config, "data.ratio_max", "1.1");
    set(config, "data.flip", "0");
    set(config, "data.mix_switch", "0.25");
    set(config, "data.mix_probability", "0.75");
    set(config, "data.mean", "0.1,0.2,0.3");
    set(config, "data.workers", "3");
    set(config, "data.queue", "5");
    set(config, "data.max_bad", "0.25");
    set(config, "data.cache_mb", "2");
    set(config, "data.unlisted", "skip");
    set(config, "data.val_list", "list.txt");
    set(config, "data.format", "shards");
    set(config, "data.shuffle_buffer", "123");
    assert_ok(sv_data_options_read(config, &options, &err), err);
    assert_int_equal(options.unlisted, SV_UNLISTED_SKIP);
    assert_string_equal(options.val_list, "list.txt");
    assert_string_equal(options.format, "shards");
    assert_int_equal(options.shuffle_buffer, 123);
    assert_int_equal(options.transform.size, 96);
    assert_int_equal(options.transform.interpolation, SV_BILINEAR);
    assert_int_equal(options.transform.pass_order, SV_ACROSS_FIRST);
    assert_int_equal(options.transform.crop_round, SV_ROUND_UP);
    assert_true(options.transform.scale_min == 0.5 && options.transform.scale_max == 0.75 && options.transform.ratio_min == 0.9 && options.transform.ratio_max == 1.1);
    assert_true(options.transform.crop_ratio == 0.9 && options.transform.flip == 0 && options.transform.mean[2] == 0.3f);
    assert_true(options.mix.switching == 0.25 && options.mix.probability == 0.75);
    sv_loader_options loader = sv_data_loader_options(&options, SV_LOAD_EVALUATION, 12, 99);
    assert_int_equal(loader.workers, 3);
    assert_int_equal(loader.queue, 5);
    assert_int_equal(loader.cache_bytes, 2 << 20);
    assert_int_equal(loader.batch, 12);
    assert_int_equal(loader.seed, 99);
    assert_true(loader.max_bad == 0.25);
    sv_config_destroy(config);
}

static void values_that_do_not_go_together_name_their_key(void **state)
{
    sv_config *config = config_of();
    sv_data_options options;
    sv_error err = { 0 };
    (void)state;
    set(config, "data.scale_max", "0.05");
    assert_int_equal(sv_data_options_read(config, &options, &err), SV_USAGE);
    assert_non_null(strstr(err.text, "data.scale_min = 0.08 is above data.scale_max = 0.05 (a.ini:7)"));
    set(config, "data.scale_max", "1");
    set(config, "data.mean", "0.5");
    assert_int_equal(sv_data_options_read(config, &options, &err), SV_USAGE);
    assert_non_null(strstr(err.text, "data.mean has 1 values"));
    sv_config_destroy(config);
}

static void sources_are_opened_by_their_keys(void **state)
{
    sv_config *config = config_of();
    sv_data_options options;
    sv_source *source;
    sv_error err = { 0 };
    (void)state;
    assert_ok(sv_data_options_read(config, &options, &err), err);
    assert_int_equal(sv_data_open_train(&options, &source, &err), SV_DATA);
    assert_non_null(strstr(err.text, "data.train is not set"));
    put_tree("keys", 2, 1);
    set(config, "data.val", in_folder("keys"));
    assert_ok(sv_data_options_read(config, &options, &err), err);
    assert_ok(sv_data_open_val(&options, &source, &err), err);
    assert_int_equal(sv_source_count(source), 2);
    sv_source_close(source);
    put_picture("keys flat/a.jpg", 0); /* a list beside the validation folder is not the training folder's */
    write_text(in_folder("val.txt"), "a.jpg 1\n");
    set(config, "data.train", in_folder("keys flat"));
    set(config, "data.val", in_folder("keys flat"));
    assert_ok(sv_data_options_read(config, &options, &err), err);
    assert_int_equal(sv_data_open_train(&options, &source, &err), SV_DATA);
    assert_ok(sv_data_open_val(&options, &source, &err), err);
    assert_int_equal(sv_source_count(source), 1);
    sv_source_close(source);
    set(config, "data.format", "shards");
    assert_ok(sv_data_options_read(config, &options, &err), err);
    assert_int_equal(sv_data_open_val(&options, &source, &err), SV_DATA);
    assert_non_null(strstr(err.text, "there is no shard in it"));
    set(config, "data.format", "auto");
    set(config, "data.val", in_folder("no such folder"));
    assert_ok(sv_data_options_read(config, &options, &err), err);
    assert_int_equal(sv_data_open_val(&options, &source, &err), SV_DATA);
    assert_int_equal(strncmp(err.text, "data.val: ", 10), 0);
    sv_config_destroy(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_of_the_keys_are_the_papers),
        cmocka_unit_test(every_key_reaches_its_option),
        cmocka_unit_test(values_that_do_not_go_together_name_their_key),
        cmocka_unit_test(sources_are_opened_by_their_keys),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
