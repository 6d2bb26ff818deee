/* Grids of several stages drawn on one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pruning/grid.h"

static void one_grid_is_drawn_as_it_is(void **state)
{
    (void)state;
    assert_int_equal(sv_grid_common((const size_t[]){ 196, 196, 196 }, 3, 224), 14);
}

static void the_finest_is_taken_where_all_divide_it(void **state)
{
    (void)state;
    assert_int_equal(sv_grid_common((const size_t[]){ 3136, 784, 196, 49 }, 4, 224), 56);
    assert_int_equal(sv_grid_common((const size_t[]){ 49, 196 }, 2, 224), 14);
}

static void grids_that_do_not_divide_one_another_get_a_finer_one(void **state)
{
    (void)state;
    const size_t side = sv_grid_common((const size_t[]){ 729, 196, 49 }, 3, 224); /* PiT: 27, 14, 7 */
    assert_true(side >= 27 && 224 % side == 0);
    assert_int_equal(sv_grid_common((const size_t[]){ 729 }, 1, 31), 31);
}

static void cells_have_what_the_patch_over_them_had(void **state)
{
    (void)state;
    float cells[36] = { 1, 2, 3, 4 };
    sv_grid_spread(cells, sizeof *cells, 4, 36);
    for (size_t y = 0; y < 6; y++)
        for (size_t x = 0; x < 6; x++) assert_true(cells[6 * y + x] == (float)(1 + y / 3 * 2 + x / 3));
    uint8_t same[4] = { 7, 8, 9, 10 };
    sv_grid_spread(same, 1, 4, 4);
    assert_int_equal(same[3], 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(one_grid_is_drawn_as_it_is), cmocka_unit_test(the_finest_is_taken_where_all_divide_it),
                                        cmocka_unit_test(grids_that_do_not_divide_one_another_get_a_finer_one), cmocka_unit_test(cells_have_what_the_patch_over_them_had) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
