/* report/{letters,heat,canvas,figure}.c: every letter leaves ink where it should and nowhere else, colours are even, figures show what they are given. */
#include "tests/unit/report/test_report.h"

#include "report/figure.h"
#include "report/heat.h"

static const uint8_t black[3] = { 0, 0, 0 };

static sv_picture paper(size_t width, size_t height)
{
    sv_picture made = { 0 };
    sv_error err = { 0 };
    assert_ok(sv_picture_resize(&made, width, height, &err), err);
    memset(made.rgb, 255, 3 * width * height);
    return made;
}

static size_t dark_pixels(const sv_picture *p, size_t left, size_t top, size_t right, size_t bottom)
{
    size_t count = 0;
    for (size_t y = top; y < bottom; y++)
        for (size_t x = left; x < right; x++) count += p->rgb[3 * (y * p->width + x)] < 128;
    return count;
}

/* ---- letters ----------------------------------------------------------------------------------------------------- */

static void each_character_has_a_letter_of_its_own(void **state)
{
    (void)state;
    enum { SIDE = 60 };
    uint64_t marks[128] = { 0 };
    for (char c = '!'; c <= '~'; c++) {
        const char text[2] = { c, 0 };
        sv_picture p = paper(SIDE, SIDE);
        sv_letters_draw(&p, 10, 45, 40, SV_ANCHOR_START, black, text);
        assert_true(dark_pixels(&p, 0, 0, SIDE, SIDE) >= 4);
        assert_int_equal(dark_pixels(&p, 0, 0, 6, SIDE), 0); /* nothing far left of where it begins: the hook of j alone is left at all */
        assert_int_equal(dark_pixels(&p, 10 + (size_t)(sv_letters_width(text, 40) + 2), 0, SIDE, SIDE), 0);
        for (size_t i = 0; i < 3 * SIDE * SIDE; i++) marks[(size_t)c] = marks[(size_t)c] * 31 + p.rgb[i];
        for (char other = '!'; other < c; other++)
            if (marks[(size_t)other] == marks[(size_t)c]) fail_msg("'%c' looks like '%c'", c, other);
        sv_picture_clear(&p);
    }
    assert_true(sv_letters_width("ab", 20) == sv_letters_width("a", 20) + sv_letters_width("b", 20));
    assert_true(sv_letters_width("\xc3\xa9", 20) == sv_letters_width("\xe2\x82\xac", 20)); /* one box a character, however many bytes */
    assert_true(sv_letters_width("", 20) == 0);
}

static void words_stand_where_they_are_anchored_and_may_leave_the_paper(void **state)
{
    (void)state;
    sv_picture p = paper(200, 40);
    sv_letters_draw(&p, 100, 30, 20, SV_ANCHOR_END, black, "HHH");
    assert_true(dark_pixels(&p, 60, 0, 100, 40) > 20);
    assert_int_equal(dark_pixels(&p, 100, 0, 200, 40), 0);
    sv_letters_draw(&p, 190, 5, 60, SV_ANCHOR_START, black, "HHH");
    sv_letters_draw(&p, -30, 80, 60, SV_ANCHOR_MIDDLE, black, "HHH");
    sv_picture_clear(&p);
}

/* ---- colours ----------------------------------------------------------------------------------------------------- */

static double linear(uint8_t value)
{
    const double share = value / 255.0;
    return share <= 0.04045 ? share / 12.92 : pow((share + 0.055) / 1.055, 2.4);
}

/* The way back, sRGB to OKLab. */
static double lightness(const uint8_t rgb[3])
{
    const double r = linear(rgb[0]), g = linear(rgb[1]), b = linear(rgb[2]);
    return 0.2104542553 * cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) + 0.7936177850 * cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
           - 0.0040720468 * cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
}

static void colours_grow_lighter_in_equal_steps(void **state)
{
    (void)state;
    uint8_t rgb[3], end[3];
    for (int i = 0; i <= 20; i++) {
        sv_heat_color(i / 20.0, rgb);
        assert_true(fabs(lightness(rgb) - (0.24 + 0.70 * i / 20)) < 0.006);
    }
    sv_heat_color(7, end);
    assert_memory_equal(rgb, end, 3);
    sv_heat_color(0, rgb);
    sv_heat_color(-1, end);
    assert_memory_equal(rgb, end, 3);
    sv_heat_color(NAN, end);
    assert_memory_equal(rgb, end, 3);
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

enum { SIZE = 4, PANEL = 168 /* 42 times */, GRID = 2 };
static uint8_t red[3 * SIZE * SIZE];
static const uint8_t kept[GRID * GRID] = { 1, 0, 0, 0 };
static const float score[GRID * GRID] = { 1, 0, NAN, 0.5f };
static const size_t blocks[] = { 3 };

static sv_figure figure_of(sv_figure_row *row, sv_figure_stage *stage)
{
    for (size_t i = 0; i < SIZE * SIZE; i++) red[3 * i] = 200;
    *stage = (sv_figure_stage){ .kept = kept, .score = score, .packaged = 0.25 };
    *row = (sv_figure_row){ .rgb = red, .name = "a <name>", .note = "right, 90.0 %", .kind = SV_NOTE_RIGHT, .stages = stage };
    return (sv_figure){ .width = SIZE, .height = SIZE, .grid_columns = GRID, .grid_rows = GRID, .stages = 1, .before_block = blocks, .rows = row, .row_count = 1 };
}

static void assert_pixel(const sv_canvas *c, size_t x, size_t y, const uint8_t rgb[3])
{
    const uint8_t *p = c->picture.rgb + 3 * (y * c->width + x);
    if (memcmp(p, rgb, 3)) fail_msg("%zu, %zu: %u %u %u, expected %u %u %u", x, y, p[0], p[1], p[2], rgb[0], rgb[1], rgb[2]);
}

static void a_row_is_input_survivors_and_scores(void **state)
{
    (void)state;
    enum { LEFT = 28, TOP = 28 + 40 - 12, STAGE = LEFT + PANEL + 24, HEAT = STAGE + PANEL + 14 };
    sv_figure_row row;
    sv_figure_stage stage;
    sv_figure figure = figure_of(&row, &stage);
    sv_canvas c;
    sv_error err = { 0 };
    static const uint8_t white[3] = { 255, 255, 255 }, full[3] = { 200, 0, 0 }, gone[3] = { 236, 238, 241 };
    uint8_t object[SIZE * SIZE] = { [5] = 255 }, color[3];
    row.object = object;
    figure.heat = true;
    assert_ok(sv_figure_draw(&c, SV_CANVAS_PIXELS, &figure, &err), err);
    assert_int_equal(c.width, HEAT + PANEL + 28);
    assert_pixel(&c, 2, 2, white);
    assert_pixel(&c, c.width - 3, c.height - 3, white);
    assert_pixel(&c, LEFT + 10, TOP + 10, full);
    assert_pixel(&c, LEFT + 42, TOP + 42, (const uint8_t[]){ 255, 106, 0 }); /* the object's edge */
    assert_pixel(&c, LEFT + 63, TOP + 63, full);                             /* inside of it */
    assert_pixel(&c, STAGE + 10, TOP + 10, full);                            /* stays */
    assert_true(c.picture.rgb[3 * ((TOP + 10) * c.width + STAGE + 100) + 1] > 150); /* faded */
    sv_heat_color(1, color);
    assert_pixel(&c, HEAT + 10, TOP + 10, color);
    sv_heat_color(0, color);
    assert_pixel(&c, HEAT + 100, TOP + 10, color);
    assert_pixel(&c, HEAT + 10, TOP + 100, gone);
    sv_canvas_clear(&c);
}

static void svg_has_the_words_as_text(void **state)
{
    (void)state;
    sv_figure_row row;
    sv_figure_stage stage;
    sv_figure figure = figure_of(&row, &stage);
    sv_canvas c;
    sv_error err = { 0 };
    assert_ok(sv_figure_draw(&c, SV_CANVAS_SVG, &figure, &err), err);
    assert_part(c.svg.data, "a &lt;name&gt;</text>");
    assert_part(c.svg.data, ">1 of 4</text>");
    assert_part(c.svg.data, ">before block 3</text>");
    assert_int_equal(times_in(c.svg.data, "<image "), 2);
    assert_well_formed(c.svg.data);
    assert_int_equal(sv_canvas_write(&c, "x.png", &err), SV_USAGE);
    sv_canvas_clear(&c);
}

static void what_cannot_be_drawn_is_said(void **state)
{
    (void)state;
    sv_figure_row row;
    sv_figure_stage stage;
    sv_figure figure = figure_of(&row, &stage);
    sv_canvas c;
    sv_canvas_form form;
    sv_error err = { 0 };
    sv_memory memory = sv_memory_now();
    figure.row_count = 0;
    assert_int_equal(sv_figure_draw(&c, SV_CANVAS_PIXELS, &figure, &err), SV_USAGE);
    figure = figure_of(&row, &stage);
    figure.grid_rows = 3;
    assert_int_equal(sv_figure_draw(&c, SV_CANVAS_PIXELS, &figure, &err), SV_USAGE);
    assert_int_equal(sv_canvas_form_of(&form, "figure.pdf", &err), SV_USAGE);
    assert_non_null(strstr(err.text, ".svg"));
    assert_ok(sv_canvas_form_of(&form, "a.b/figure.SVG", &err), err);
    assert_int_equal(form, SV_CANVAS_SVG);
    for (int32_t at = 1; at < 12; at++) { /* memory that fails at any moment */
        figure = figure_of(&row, &stage);
        sv_fault_set(SV_FAULT_ALLOC, at, false);
        if (sv_figure_draw(&c, at % 2 ? SV_CANVAS_SVG : SV_CANVAS_PIXELS, &figure, &err)) assert_int_equal(err.code, SV_FAULT);
        sv_fault_set(SV_FAULT_ALLOC, 0, false);
        sv_canvas_clear(&c);
    }
    assert_int_equal(sv_memory_now().live, memory.live);
}

static void long_words_are_cut_to_their_room(void **state)
{
    (void)state;
    sv_canvas c;
    sv_error err = { 0 };
    assert_ok(sv_canvas_open(&c, SV_CANVAS_SVG, 100, 100, &err), err);
    sv_canvas_text(&c, 0, 50, 20, 60, SV_ANCHOR_START, black, "a name that is long");
    sv_canvas_text(&c, 0, 50, 20, 30, SV_ANCHOR_START, black, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
    sv_canvas_text(&c, 0, 50, 20, 0, SV_ANCHOR_START, black, "ab");
    assert_ok(sv_canvas_check(&c), err);
    assert_part(c.svg.data, ">a n");
    assert_part(c.svg.data, "...</text>");
    assert_well_formed(c.svg.data);
    sv_canvas_clear(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_character_has_a_letter_of_its_own), cmocka_unit_test(words_stand_where_they_are_anchored_and_may_leave_the_paper),
        cmocka_unit_test(colours_grow_lighter_in_equal_steps),    cmocka_unit_test(a_row_is_input_survivors_and_scores),
        cmocka_unit_test(svg_has_the_words_as_text),              cmocka_unit_test(what_cannot_be_drawn_is_said),
        cmocka_unit_test(long_words_are_cut_to_their_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
