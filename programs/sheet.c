/* sheet: draws a contact sheet of training pictures as a model will see them, so that a person can check an augmentation. */
#include "base/program.h"
#include "data/data.h"
#include "kernels/kernels.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: sheet --config FILE [--section.key=value ...] [--out sheet.png] [options]\n"
    "\n"
    "Draws a row for each of a few training pictures: first as validation sees it, then as training sees it in one epoch after\n"
    "another: crop, flip, RandAugment or colour jitter, erasing. The same draws as `train` makes with this config and seed\n"
    "(mixup and cutmix come later, to whole batches, and are not shown).\n"
    "\n"
    "Examples\n"
    "  sheet --config deit_t_mobile.ini --data.train=photos/train\n"
    "  sheet --config my.ini --data.augment=rand-m15-n3 --out strong.png\n"
    "\n"
    "Options\n"
    "  --out FILE       where to (sheet.png)\n"
    "  --pictures N     rows, from evenly spread places of the training set (8)\n"
    "  --epochs N       columns beside the first (9)\n"
    "  --threads N, --seed N, --quiet, --verbose, --help, --keys, --version\n"
    "\n"
    "Exit codes: 0 done, 1 fault (memory, disk), 2 usage or config, 3 data\n";

enum { GAP = 6, MOST = 64, SIDE_MOST = 16384 };

static const char *out_path = "sheet.png", *rows_text = "8", *columns_text = "9";
static const sv_flag flags[] = { { "--out", NULL, &out_path }, { "--pictures", NULL, &rows_text }, { "--epochs", NULL, &columns_text } };

static sv_status count_read(const char *name, const char *text, size_t *out, sv_error *err)
{
    int64_t value;
    if (!sv_parse_int(text, &value) || value < 1 || value > MOST) return sv_fail(err, SV_USAGE, "%s %s: a whole number from 1 to %d was expected", name, text, MOST);
    *out = (size_t)value;
    return SV_OK;
}

typedef struct sheet {
    const sv_data_options *data;
    sv_source *source;
    sv_transform *transform;
    sv_picture picture, page;
    sv_real *numbers;
    uint64_t seed;
    size_t rows, columns;
} sheet;

/* Numbers of a model's input back to bytes, into the page. */
static void put(sheet *s, size_t row, size_t column)
{
    const sv_transform_options *o = &s->data->transform;
    const size_t size = o->size, step = size + GAP;
    for (size_t y = 0; y < size; y++)
        for (size_t x = 0; x < size; x++)
            for (size_t c = 0; c < 3; c++) {
                const double share = (double)s->numbers[(c * size + y) * size + x] * (double)o->deviation[c] + (double)o->mean[c];
                s->page.rgb[((row * step + y) * s->page.width + column * step + x) * 3 + c] = (uint8_t)nearbyint(255 * fmin(fmax(share, 0), 1));
            }
}

static sv_status draw_row(sheet *s, size_t row, sv_error *err)
{
    const size_t sample = row * sv_source_count(s->source) / s->rows;
    sv_status status = sv_source_read(s->source, sample, &s->picture, err);
    if (!status) status = sv_transform_evaluation(s->transform, &s->picture, s->numbers, err);
    if (!status) put(s, row, 0);
    for (size_t i = 1; !status && i < s->columns; i++) {
        const sv_draw draw = { s->seed, sample, (uint32_t)(i - 1), 0 };
        status = sv_transform_training(s->transform, &s->picture, draw, s->numbers, err);
        if (!status) put(s, row, i);
    }
    return status;
}

static sv_status draw(sheet *s, sv_error *err)
{
    const size_t size = s->data->transform.size, step = size + GAP, width = s->columns * step - GAP, height = s->rows * step - GAP;
    if (width > SIDE_MOST || height > SIDE_MOST)
        return sv_fail(err, SV_USAGE, "a sheet of %zu x %zu pixels is too large; lower --pictures, --epochs or data.image_size", width, height);
    sv_status status = sv_data_open_train(s->data, &s->source, err);
    if (!status) status = sv_transform_create(&s->transform, &s->data->transform, err);
    if (!status) status = sv_picture_resize(&s->page, width, height, err);
    if (!status) status = sv_alloc(&s->numbers, 3 * size * size * sizeof *s->numbers, "sheet", err);
    if (status) return status;
    if (s->rows > sv_source_count(s->source)) s->rows = sv_source_count(s->source);
    memset(s->page.rgb, 255, width * height * 3);
    for (size_t row = 0; !status && row < s->rows; row++) status = draw_row(s, row, err);
    return status ? status : sv_png_write(out_path, &s->page, err);
}

static sv_status run(const sv_program_call *call, sv_error *err)
{
    sv_data_options data;
    sheet s = { .data = &data, .seed = (uint64_t)sv_config_int(call->config, "run.seed") };
    size_t epochs = 0;
    if (call->word_count) return sv_fail(err, SV_USAGE, "'%s' is not understood; sheet --help says what is", call->words[0]);
    sv_status status = count_read("--pictures", rows_text, &s.rows, err);
    if (!status) status = count_read("--epochs", columns_text, &epochs, err);
    if (!status) status = sv_data_options_read(call->config, &data, err);
    if (status) return status;
    s.columns = 1 + epochs;
    sv_kernels_init();
    status = draw(&s, err);
    if (!status) sv_log(SV_INFO, "%s: %zu pictures, validation's view and %zu epochs of training", out_path, s.rows, epochs);
    sv_source_close(s.source);
    sv_transform_destroy(s.transform);
    sv_picture_clear(&s.picture);
    sv_picture_clear(&s.page);
    sv_free(s.numbers);
    return status;
}

int main(int argc, char **argv)
{
    sv_config_group groups[SV_TRAIN_GROUPS_MOST];
    static const char *const unneeded[] = { "data.val", "model.weights", "run.", "train.", NULL };
    sv_program program = { .name = "sheet", .usage = usage, .unneeded = unneeded, .groups = groups, .group_count = sv_train_config_groups(groups), .flags = flags, .flag_count = SV_COUNT(flags),
                           .needs_arguments = true, .run = run };
    return sv_program_main(&program, argc, argv);
}
