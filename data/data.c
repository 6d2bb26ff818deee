/* The rows of [data] and what they become. */
#include "data/data.h"

#include <string.h>

const sv_config_row sv_data_rows[] = {
    { "data.train", SV_CONFIG_TEXT, "", 0, 0, NULL, "folder of training pictures: FOLDER/CLASS/PICTURE, or shards FOLDER/*.tar" },
    { "data.val", SV_CONFIG_TEXT, "", 0, 0, NULL, "folder of validation pictures: the same, or FOLDER/PICTURE with a list of labels" },
    { "data.val_list", SV_CONFIG_TEXT, "", 0, 0, NULL, "lines 'PICTURE LABEL' for a flat data.val; none: val.txt in the folder, else beside it" },
    { "data.classes", SV_CONFIG_TEXT, "", 0, 0, NULL, "file of 'folder<TAB>name' lines that fixes the class indices; none: the sorted folders" },
    { "data.hold_out", SV_CONFIG_INT, "0", 0, 1e9, NULL, "pictures of data.train, drawn by run.seed, that are kept from training and take the place of data.val: to choose settings by; 0: none" },
    { "data.unlisted", SV_CONFIG_CHOICE, "error", 0, 0, "error|skip", "class folders that data.classes does not name: refused, or left out (a subset of the classes)" },
    { "data.format", SV_CONFIG_CHOICE, "auto", 0, 0, "auto|folder|flat|shards", "how pictures lie on disk; auto: shards where there is a *.tar, else class folders, else a list" },
    { "data.shuffle_buffer", SV_CONFIG_INT, "1000", 1, 100000000, NULL, "shards: samples over which training shuffles while it reads shard by shard" },
    { "data.image_size", SV_CONFIG_INT, "224", 8, 4096, NULL, "pixels a side of what the model sees" },
    { "data.interpolation", SV_CONFIG_CHOICE, "bicubic", 0, 0, "bicubic|bilinear", "filter of every resize" },
    { "data.resize_order", SV_CONFIG_CHOICE, "pillow13", 0, 0, "pillow13|pillow12", "order of the two resize passes, as Pillow from 13 on or up to 12" },
    { "data.crop_ratio", SV_CONFIG_REAL, "0.875", 0.05, 1, NULL, "validation: the shorter side becomes image_size / crop_ratio before the centre crop" },
    { "data.crop_round", SV_CONFIG_CHOICE, "even", 0, 0, "even|up", "validation: an odd margin is halved to the even neighbour or up" },
    { "data.scale_min", SV_CONFIG_REAL, "0.08", 0.0001, 1, NULL, "training: least share of the area a random crop covers" },
    { "data.scale_max", SV_CONFIG_REAL, "1", 0.0001, 1, NULL, "training: most share of the area a random crop covers" },
    { "data.ratio_min", SV_CONFIG_REAL, "0.75", 0.05, 20, NULL, "training: least width over height of a random crop" },
    { "data.ratio_max", SV_CONFIG_REAL, "1.3333333333333333", 0.05, 20, NULL, "training: most width over height of a random crop" },
    { "data.flip", SV_CONFIG_REAL, "0.5", 0, 1, NULL, "training: probability of a horizontal flip" },
    { "data.augment", SV_CONFIG_TEXT, "", 0, 0, NULL, "training: RandAugment in timm's words, as 'rand-m9-mstd0.5-inc1' (DeiT); empty: none" },
    { "data.color_jitter", SV_CONFIG_REAL, "0", 0, 10, NULL, "training: strength of changes of brightness, contrast and colour, where data.augment is empty" },
    { "data.erase", SV_CONFIG_REAL, "0", 0, 1, NULL, "training: probability that a box is filled with noise (DeiT: 0.25)" },
    { "data.repeats", SV_CONFIG_INT, "1", 1, 16, NULL, "training: repeated augmentation, so many versions of a picture in a batch (DeiT: 3); an epoch then sees that share of the pictures" },
    { "data.ra_world", SV_CONFIG_INT, "1", 1, 1024, NULL, "training: ranks that repeats are dealt to before they make a batch (DeiT: 8 GPUs); 1: repeats stand side by side" },
    { "data.mixup", SV_CONFIG_REAL, "0.8", 0, 100, NULL, "training: alpha of mixup, 0 for none" },
    { "data.cutmix", SV_CONFIG_REAL, "1", 0, 100, NULL, "training: alpha of cutmix, 0 for none" },
    { "data.mix_probability", SV_CONFIG_REAL, "1", 0, 1, NULL, "training: share of batches that are mixed" },
    { "data.mix_switch", SV_CONFIG_REAL, "0.5", 0, 1, NULL, "training: share of mixed batches that take cutmix where both are on" },
    { "data.smoothing", SV_CONFIG_REAL, "0.1", 0, 0.999, NULL, "training: label smoothing" },
    { "data.mean", SV_CONFIG_REALS, "0.485,0.456,0.406", 0, 1, NULL, "subtracted from each channel after / 255" },
    { "data.deviation", SV_CONFIG_REALS, "0.229,0.224,0.225", 0.0001, 10, NULL, "divides each channel after that" },
    { "data.workers", SV_CONFIG_INT, "0", 0, 256, NULL, "loader threads; 0: one, and one more for each 8 cores" },
    { "data.queue", SV_CONFIG_INT, "2", 1, 64, NULL, "batches made ahead" },
    { "data.max_bad", SV_CONFIG_REAL, "0.001", 0, 1, NULL, "share of pictures that may be unreadable before the run stops" },
    { "data.cache_mb", SV_CONFIG_INT, "0", 0, 1048576, NULL, "MiB for decoded pictures kept in memory, for small sets" },
};
const size_t sv_data_row_count = SV_COUNT(sv_data_rows);

static sv_status least_below_most(const sv_config *config, const char *least, const char *most, sv_error *err)
{
    if (sv_config_real(config, least) <= sv_config_real(config, most)) return SV_OK;
    return sv_fail(err, SV_USAGE, "%s: %s = %g is above %s = %g (%s); swap them", sv_config_where(config, least), least, sv_config_real(config, least), most,
                   sv_config_real(config, most), sv_config_where(config, most));
}

static sv_status channels_read(const sv_config *config, const char *key, float out[3], sv_error *err)
{
    size_t count;
    const double *values = sv_config_reals(config, key, &count);
    if (count != 3) return sv_fail(err, SV_USAGE, "%s: %s has %zu values, 3 were expected: red, green, blue", sv_config_where(config, key), key, count);
    for (size_t c = 0; c < 3; c++) out[c] = (float)values[c];
    return SV_OK;
}

static sv_status transform_read(const sv_config *config, sv_transform_options *transform, sv_error *err)
{
    *transform = sv_transform_defaults();
    transform->size = (size_t)sv_config_int(config, "data.image_size");
    transform->interpolation = (sv_interpolation)sv_config_choice(config, "data.interpolation");
    transform->pass_order = (sv_pass_order)sv_config_choice(config, "data.resize_order");
    transform->crop_ratio = sv_config_real(config, "data.crop_ratio");
    transform->crop_round = (sv_crop_round)sv_config_choice(config, "data.crop_round");
    transform->scale_min = sv_config_real(config, "data.scale_min");
    transform->scale_max = sv_config_real(config, "data.scale_max");
    transform->ratio_min = sv_config_real(config, "data.ratio_min");
    transform->ratio_max = sv_config_real(config, "data.ratio_max");
    transform->flip = sv_config_real(config, "data.flip");
    transform->jitter = sv_config_real(config, "data.color_jitter");
    transform->erase = sv_config_real(config, "data.erase");
    sv_status status = sv_rand_augment_read(&transform->augment, sv_config_text(config, "data.augment"), err);
    if (status) return sv_fail_within(err, "%s: data.augment", sv_config_where(config, "data.augment"));
    status = least_below_most(config, "data.scale_min", "data.scale_max", err);
    if (!status) status = least_below_most(config, "data.ratio_min", "data.ratio_max", err);
    if (!status) status = channels_read(config, "data.mean", transform->mean, err);
    if (!status) status = channels_read(config, "data.deviation", transform->deviation, err);
    return status;
}

sv_status sv_data_options_read(const sv_config *config, sv_data_options *options, sv_error *err)
{
    sv_data_options read = { 0 };
    sv_status status = transform_read(config, &read.transform, err);
    if (status) return status;
    read.train = sv_config_text(config, "data.train");
    read.val = sv_config_text(config, "data.val");
    read.classes = sv_config_text(config, "data.classes");
    read.val_list = sv_config_text(config, "data.val_list");
    read.format = sv_config_text(config, "data.format");
    read.unlisted = (sv_unlisted)sv_config_choice(config, "data.unlisted");
    read.shuffle_buffer = (size_t)sv_config_int(config, "data.shuffle_buffer");
    read.mix = (sv_mix_options){ .mixup = sv_config_real(config, "data.mixup"), .cutmix = sv_config_real(config, "data.cutmix"),
                                 .probability = sv_config_real(config, "data.mix_probability"), .switching = sv_config_real(config, "data.mix_switch"),
                                 .smoothing = sv_config_real(config, "data.smoothing") };
    read.repeats = (size_t)sv_config_int(config, "data.repeats");
    read.repeat_ranks = (size_t)sv_config_int(config, "data.ra_world");
    read.workers = (size_t)sv_config_int(config, "data.workers");
    read.queue = (size_t)sv_config_int(config, "data.queue");
    read.hold_out = (size_t)sv_config_int(config, "data.hold_out");
    if (read.hold_out) read.hold_out_seed = (uint64_t)sv_config_int(config, "run.seed");
    read.max_bad = sv_config_real(config, "data.max_bad");
    read.cache_bytes = (size_t)sv_config_int(config, "data.cache_mb") << 20;
    *options = read;
    return SV_OK;
}

static sv_status source_open(const sv_data_options *options, const char *key, const char *path, const char *list_file, const char *list_name, sv_source **out, sv_error *err)
{
    sv_source_options opening = { .format = options->format, .class_file = options->classes, .list_file = list_file, .list_name = list_name,
                                  .unlisted = options->unlisted, .shuffle_buffer = options->shuffle_buffer };
    if (!*path) return sv_fail(err, SV_DATA, "%s is not set; give it the folder of pictures, in the config or as --%s=FOLDER", key, key);
    sv_status status = sv_source_open(out, path, &opening, err);
    return status ? sv_fail_within(err, "%s", key) : SV_OK;
}

static sv_status part_of(const sv_data_options *options, sv_slice_part part, sv_source *whole, sv_source **out, sv_error *err)
{
    sv_status status = SV_OK;
    if (options->hold_out) status = sv_source_slice(out, whole, part, options->hold_out, options->hold_out_seed, err);
    else *out = whole;
    if (!status) return SV_OK;
    sv_source_close(whole);
    return sv_fail_within(err, "data.hold_out");
}

sv_status sv_data_open_train(const sv_data_options *options, sv_source **out, sv_error *err)
{
    sv_source *whole = NULL;
    sv_status status = source_open(options, "data.train", options->train, NULL, "train.txt", &whole, err);
    return status ? status : part_of(options, SV_SLICE_TRAINING, whole, out, err);
}

sv_status sv_data_open_val(const sv_data_options *options, sv_source **out, sv_error *err)
{
    sv_source *whole = NULL;
    if (!options->hold_out) return source_open(options, "data.val", options->val, options->val_list, "val.txt", out, err);
    sv_status status = source_open(options, "data.train", options->train, NULL, "train.txt", &whole, err);
    return status ? status : part_of(options, SV_SLICE_HELD_OUT, whole, out, err);
}

sv_loader_options sv_data_loader_options(const sv_data_options *options, sv_loader_use use, size_t batch, uint64_t seed)
{
    return (sv_loader_options){ .use = use, .batch = batch, .workers = options->workers, .queue = options->queue, .seed = seed, .max_bad = options->max_bad,
                                .cache_bytes = options->cache_bytes, .repeats = options->repeats, .repeat_ranks = options->repeat_ranks, .transform = options->transform };
}
