/* eval/{stage_view,object,object_share,overlays}.c: scores and packages as the tape has them, objects where masks and boxes say, shares counted by hand. */
#include "tests/unit/eval/test_eval.h"

#include "data/shapes.h"
#include "eval/object.h"
#include "eval/overlays.h"
#include "eval/stage_view.h"

static void assert_close(double value, double expected)
{
    if (!(fabs(value - expected) < 1e-9)) fail_msg("%.15g, expected %.15g", value, expected);
}

/* ---- counted by hand --------------------------------------------------------------------------------------------- */

static void coverage_is_a_share_of_each_patch(void **state)
{
    (void)state;
    uint8_t view[16] = { 255, 255, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255 };
    double coverage[4];
    assert_close(sv_object_coverage(view, 4, 2, coverage), 4 / 16.0);
    assert_close(coverage[0], 0.75);
    assert_close(coverage[1], 0);
    assert_close(coverage[2], 0);
    assert_close(coverage[3], 0.25);
}

static void shares_are_means_over_pictures(void **state)
{
    (void)state;
    sv_object_share sums = { 0 };
    static const double first[4] = { 1, 0.5, 0, 0 }, none[4] = { 0 };
    static const uint8_t stays[8] = { 1, 0, 1, 0, /* second selector */ 0, 1, 0, 0 };
    sv_object_share_add(&sums, first, stays, 2, 4);
    sv_object_share_add(&sums, none, stays, 2, 4);
    assert_int_equal(sums.pictures, 1);
    assert_int_equal(sums.unseen, 1);
    assert_close(sums.area, 1.5 / 4);
    assert_close(sums.kept[0], 0.5);
    assert_close(sums.on_object[0], 0.5);
    assert_close(sums.object_kept[0], 1 / 1.5);
    assert_close(sums.on_object[1], 0.5);
    assert_close(sums.object_kept[1], 0.5 / 1.5);
    sv_object_share_add(&sums, first, (const uint8_t[8]){ 0 }, 2, 4); /* nothing kept divides nothing */
    assert_close(sums.on_object[0], 0.5);
    sv_text text = { 0 };
    sums.pictures = 1;
    sv_object_share_print(&text, &sums, (const size_t[]){ 3, 6 });
    assert_non_null(strstr(text.data, "before block 3     50.0 %          50.0 %            0.67              66.7 %\n"));
    sv_text_clear(&text);
}

/* ---- the built-in pictures --------------------------------------------------------------------------------------- */

enum { SIZE = 32 };
static void write_shapes(void)
{
    sv_error err = { 0 };
    const sv_shapes_options options = { .folder = in_folder("shapes"), .train = 0, .val = 20, .size = SIZE, .seed = 5 };
    assert_ok(sv_shapes_write(&options, &err), err);
}

/* What the model sees of the object is what the generator drew, whichever way it is told. */
static void masks_are_those_of_the_generator(void **state)
{
    (void)state;
    sv_source *source = NULL;
    sv_objects *objects = NULL;
    sv_error err = { 0 };
    sv_transform_options transform = sv_transform_defaults();
    uint8_t view[SIZE * SIZE];
    size_t count;
    transform.size = SIZE, transform.crop_ratio = 1; /* pixel by pixel */
    write_shapes();
    assert_ok(sv_source_open_folder(&source, in_folder("shapes/val"), NULL, &err), err);
    assert_ok(sv_objects_open(&objects, SV_OBJECT_MASKS, source, &err), err);
    (void)sv_objects_samples(objects, &count);
    assert_int_equal(count, 20);
    for (size_t i = 0; i < count; i++) {
        sv_picture picture = { 0 }, mask = { 0 };
        assert_ok(sv_shapes_at(5, SIZE, 1, 10 * (i % 2) + i / 2, &picture, &mask, &err), err);
        assert_ok(sv_objects_view(objects, i, &transform, view, &err), err);
        for (size_t p = 0; p < SIZE * SIZE; p++) assert_int_equal(view[p], mask.rgb[3 * p] >= 128 ? 255 : 0);
        sv_picture_clear(&picture);
        sv_picture_clear(&mask);
    }
    sv_objects_close(objects);
    sv_source_close(source);
}

static void boxes_are_cropped_as_the_picture_is(void **state)
{
    (void)state;
    sv_source *source = NULL;
    sv_objects *objects = NULL;
    sv_error err = { 0 };
    sv_transform_options transform = sv_transform_defaults();
    uint8_t view[16 * 16];
    double coverage[16];
    size_t count;
    transform.size = 16, transform.crop_ratio = 0.5; /* the middle half of 32 pixels, one to one */
    write_shapes();
    write_text(in_folder("boxes.csv"), "file,left,top,right,bottom\ndisc/disc_00000.png,8,8,12,12\ndisc_00000.png,16,8,99,12\n\nstar_00001.jpg,0,0,8,32\r\n");
    assert_ok(sv_source_open_folder(&source, in_folder("shapes/val"), NULL, &err), err);
    assert_ok(sv_objects_open(&objects, in_folder("boxes.csv"), source, &err), err);
    const uint64_t *samples = sv_objects_samples(objects, &count);
    assert_int_equal(count, 2);
    assert_int_equal(samples[0], 8);  /* disc: class 4 of two pictures each */
    assert_int_equal(samples[1], 17); /* star: class 8 */
    assert_ok(sv_objects_view(objects, samples[0], &transform, view, &err), err);
    assert_close(sv_object_coverage(view, 16, 4, coverage), 3 / 16.0);
    for (size_t p = 0; p < 16; p++) assert_close(coverage[p], p == 0 || p == 2 || p == 3);
    assert_ok(sv_objects_view(objects, samples[1], &transform, view, &err), err);
    assert_close(sv_object_coverage(view, 16, 4, coverage), 0); /* the crop leaves it out */
    sv_objects_close(objects);
    sv_source_close(source);
}

static void assert_refused(const sv_source *source, const char *text, const char *sentence)
{
    sv_objects *objects = NULL;
    sv_error err = { 0 };
    write_text(in_folder("bad.csv"), text);
    assert_int_equal(sv_objects_open(&objects, in_folder("bad.csv"), source, &err), SV_DATA);
    if (!strstr(err.text, sentence)) fail_msg("'%s' is not in '%s'", sentence, err.text);
    assert_null(objects);
}

static void boxes_that_cannot_be_are_said_with_their_line(void **state)
{
    (void)state;
    sv_source *source = NULL;
    sv_error err = { 0 };
    uint8_t view[SIZE * SIZE];
    sv_objects *objects = NULL;
    const sv_memory memory = sv_memory_now();
    sv_transform_options transform = sv_transform_defaults();
    transform.size = SIZE;
    write_shapes();
    assert_ok(sv_source_open_folder(&source, in_folder("shapes/val"), NULL, &err), err);
    assert_refused(source, "disc_00000.png,1,1,2,2\n", "bad.csv:1: expected the heading");
    assert_refused(source, "file,left,top,right,bottom\n", "there is no box");
    assert_refused(source, "file,left,top,right,bottom\nnone.png,1,1,2,2\n", "bad.csv:2: no picture of");
    assert_refused(source, "file,left,top,right,bottom\nisc_00000.png,1,1,2,2\n", "no picture of"); /* no part of a name */
    assert_refused(source, "file,left,top,right,bottom\ndisc_00000.png,1,1,1,2\n", "left < right");
    assert_refused(source, "file,left,top,right,bottom\ndisc_00000.png,1,1,2\n", "bad.csv:2: expected file,left");
    assert_refused(source, "file,left,top,right,bottom\ndisc_00000.png,1,-1,2,2\n", "bad.csv:2");
    assert_int_equal(sv_objects_open(&objects, in_folder("absent.csv"), source, &err), SV_DATA);
    assert_ok(sv_objects_open(&objects, SV_OBJECT_MASKS, source, &err), err);
    assert_int_equal(remove(in_folder("shapes/masks/val/arrow/arrow_00000.png")), 0);
    assert_int_equal(sv_objects_view(objects, 0, &transform, view, &err), SV_DATA);
    assert_non_null(strstr(err.text, "masks/val/arrow/arrow_00000.png"));
    sv_objects_close(objects);
    sv_source_close(source);
    assert_int_equal(sv_memory_now().live, memory.live);
}

/* ---- with a model ------------------------------------------------------------------------------------------------ */

static void a_view_is_what_the_tape_decided(void **state)
{
    (void)state;
    bench b;
    sv_error err = { 0 };
    sv_pruning_plan plan = plan_of(SV_RULE_TOPK, 0.7, 0.4);
    uint8_t kept[2][PATCHES];
    float score[2][PATCHES];
    put_tree("p", 6, 3);
    for (int packs = 0; packs < 2; packs++) {
        plan.package = packs ? SV_CHOICE_WAVG : SV_CHOICE_NONE;
        bench_open(&b, &plan, CLASSES, "p");
        (void)evaluate(&b, NULL);
        assert_ok(sv_tape_forward(b.removal.tape, &(sv_step){ .images = 2 }, &err), err);
        for (size_t image = 0; image < 2; image++) {
            for (size_t t = 0; t < 2; t++) {
                const double packaged = sv_stage_view(&b.removal, t, image, PATCHES, kept[t], score[t]);
                double all = 0, packed = 0;
                size_t count = 0;
                for (size_t p = 0; p < PATCHES; p++) {
                    count += kept[t][p];
                    assert_true(!kept[t][p] || isfinite(score[t][p]));
                    assert_int_equal(isfinite(score[t][p]) != 0, t == 0 || kept[0][p]); /* those that had left are not scored */
                    if (isfinite(score[t][p])) all += (double)score[t][p], packed += kept[t][p] ? 0 : (double)score[t][p];
                }
                assert_int_equal(count, sv_removal_kept(&b.removal, t, image));
                if (packs) assert_true(fabs(packaged - packed / all) < 1e-6);
                else assert_true(isnan(packaged));
            }
            for (size_t p = 0; p < PATCHES; p++) /* the best stay */
                for (size_t q = 0; q < PATCHES; q++) assert_true(!kept[0][p] || kept[0][q] || score[0][p] >= score[0][q]);
        }
        bench_close(&b);
    }
}

/* A selector that keeps everything keeps as much of the object as of the rest. */
static void a_model_that_keeps_all_is_at_chance(void **state)
{
    (void)state;
    bench b;
    sv_error err = { 0 };
    sv_objects *objects = NULL;
    sv_object_share share;
    sv_transform_options transform = sv_transform_defaults();
    sv_pruning_plan plan = plan_of(SV_RULE_THRESHOLD, 0.7, 0.4);
    transform.size = IMAGE;
    write_shapes();
    bench_open(&b, &plan, 10, "shapes/val");
    b.plan.threshold[0] = 0, b.plan.threshold[1] = 1;
    sv_removal_set_plan(&b.removal, &b.plan);
    assert_ok(sv_objects_open(&objects, SV_OBJECT_MASKS, b.source, &err), err);
    assert_ok(sv_object_share_of(&share, &b.removal, b.source, objects, &transform, 4, &err), err);
    assert_int_equal(share.pictures, 20);
    assert_true(share.area > 0.1 && share.area < 0.6);
    assert_close(share.kept[0], 1);
    assert_close(share.on_object[0], share.area);
    assert_close(share.object_kept[0], 1);
    assert_close(share.kept[1], 1.0 / PATCHES); /* min_keep */
    sv_objects_close(objects);
    bench_close(&b);
}

static void overlays_are_drawn_as_png_jpeg_and_svg(void **state)
{
    (void)state;
    bench b;
    sv_error err = { 0 };
    sv_overlays overlays = { 0 };
    sv_picture read = { 0 };
    sv_transform_options transform = sv_transform_defaults();
    sv_pruning_plan plan = plan_of(SV_RULE_TOPK, 0.7, 0.4);
    const uint64_t samples[] = { 3, 1 };
    transform.size = IMAGE;
    put_tree("p", 6, 3);
    bench_open(&b, &plan, CLASSES, "p");
    assert_ok(sv_overlays_make(&overlays, &b.removal, b.source, &transform, 4, &(sv_overlay_choice){ .wanted = 2, .samples = samples, .before_block = plan.at }, &err), err);
    assert_int_equal(overlays.count, 2);
    assert_int_equal(overlays.items[0].sample, 3);
    assert_int_equal(overlays.items[1].sample, 1);
    assert_int_equal(overlays.items[0].kept[0], 11);
    static const char *const names[] = { "a.png", "a.jpg", "a.svg" };
    for (size_t i = 0; i < 3; i++)
        assert_ok(sv_overlays_write(&overlays, SIZE_MAX, sv_source_classes(b.source), &(sv_overlay_figure){ .heat = i != 1 }, in_folder(names[i]), &err), err);
    assert_ok(sv_picture_read(&read, in_folder("a.png"), &err), err);
    const size_t both = read.height;
    assert_ok(sv_overlays_write(&overlays, 1, sv_source_classes(b.source), &(sv_overlay_figure){ .heat = true }, in_folder("b.png"), &err), err);
    assert_ok(sv_picture_read(&read, in_folder("b.png"), &err), err);
    assert_true(read.height < both);
    assert_int_equal(sv_overlays_write(&overlays, 1, sv_source_classes(b.source), &(sv_overlay_figure){ 0 }, in_folder("b.tif"), &err), SV_USAGE);
    sv_picture_clear(&read);
    sv_overlays_clear(&overlays);
    bench_close(&b);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coverage_is_a_share_of_each_patch),
        cmocka_unit_test(shares_are_means_over_pictures),
        WITH_FOLDER(masks_are_those_of_the_generator),
        WITH_FOLDER(boxes_are_cropped_as_the_picture_is),
        WITH_FOLDER(boxes_that_cannot_be_are_said_with_their_line),
        WITH_FOLDER(a_view_is_what_the_tape_decided),
        WITH_FOLDER(a_model_that_keeps_all_is_at_chance),
        WITH_FOLDER(overlays_are_drawn_as_png_jpeg_and_svg),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
