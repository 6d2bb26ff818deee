/* Wrong shapes: the recording says which op, which tensors, what was expected. */
#include "test_ops.h"

enum { ROWS = 4, WIDTH = 12 };

typedef struct bench {
    sv_tape *tape;
    sv_parameters *set;
    sv_tensor *x, *y, *short_x, *column, *index, *row, *number, *weight, *vector, *trained;
} bench;

static sv_tensor *parameter(bench *t, const char *name, uint32_t dims, const size_t *shape)
{
    sv_parameter *p = NULL;
    assert_int_equal(sv_parameters_add(t->set, &p, name, dims, shape, NULL), SV_OK);
    return sv_tape_parameter(t->tape, p);
}

static bench bench_create(void)
{
    bench t = { .tape = tape_in(SV_TRAINING, 2) };
    assert_int_equal(sv_parameters_create(&t.set, NULL), SV_OK);
    t.x = sv_tape_input(t.tape, "x", SV_REAL, ROWS, WIDTH, true);
    t.y = sv_tape_input(t.tape, "y", SV_REAL, ROWS, WIDTH + 1, false);
    t.short_x = sv_tape_input(t.tape, "short", SV_REAL, ROWS - 1, WIDTH, false);
    t.column = sv_tape_input(t.tape, "column", SV_REAL, ROWS, 1, false);
    t.index = sv_tape_input(t.tape, "index", SV_INDEX, ROWS, 1, false);
    t.row = sv_tape_input(t.tape, "row", SV_REAL, 1, WIDTH, false);
    t.trained = sv_tape_input(t.tape, "trained", SV_REAL, 1, WIDTH, true);
    t.number = sv_tape_batch_input(t.tape, "number", 1);
    t.weight = parameter(&t, "weight", 2, (size_t[]){ 5, WIDTH + 1 });
    t.vector = parameter(&t, "vector", 1, (size_t[]){ WIDTH + 2 });
    return t;
}

/* A wrong use, and what the sentence must hold beside the name of the op. */
typedef void misuse_of(bench *t);
typedef struct misuse {
    misuse_of *use;
    const char *op, *says;
} misuse;

static void linear_width(bench *t) { sv_tape_linear(t->tape, t->x, t->weight, NULL); }
static void linear_no_parameter(bench *t) { sv_tape_linear(t->tape, t->x, t->y, NULL); }
static void linear_bias(bench *t) { sv_tape_linear(t->tape, t->y, t->weight, t->vector); }
static void linear_of_indices(bench *t) { sv_tape_linear(t->tape, t->index, t->weight, NULL); }
static void linear_addend(bench *t) { sv_tape_linear_add(t->tape, t->y, t->weight, NULL, t->x); }
static void linear_missing(bench *t) { sv_tape_linear(t->tape, t->x, NULL, NULL); }
static void product_inner(bench *t) { sv_tape_product(t->tape, t->x, t->x, false, false); }
static void picture_cut(bench *t) { sv_tape_patch_embed(t->tape, t->row, parameter(t, "patch", 4, (size_t[]){ 5, 3, 2, 2 }), NULL, 3, 2); }
static void picture_size(bench *t) { sv_tape_patch_embed(t->tape, t->row, parameter(t, "patch", 4, (size_t[]){ 5, 3, 2, 2 }), NULL, 4, 2); }
static void norm_gain(bench *t) { sv_tape_layer_norm(t->tape, t->x, t->vector, t->vector, 1e-6); }
static sv_tensor *kernel(bench *t, size_t outs, size_t channels, size_t side) { return parameter(t, "kernel", 4, (size_t[]){ outs, channels, side, side }); }
static void conv_channels(bench *t) { sv_tape_conv2d(t->tape, t->x, kernel(t, 5, 3, 3), NULL, 2, 2, 1, 1, 1); }
static void conv_window(bench *t) { sv_tape_conv2d(t->tape, t->x, kernel(t, 5, WIDTH, 3), NULL, 2, 2, 1, 0, 1); }
static void conv_groups(bench *t) { sv_tape_conv2d(t->tape, t->x, kernel(t, 5, 6, 1), NULL, 2, 2, 1, 0, 2); }
static void conv_rows(bench *t) { sv_tape_conv2d(t->tape, t->x, kernel(t, 5, WIDTH, 1), NULL, 2, 3, 1, 0, 1); }
static void conv_planes(bench *t) { sv_tape_conv2d(t->tape, t->row, kernel(t, 5, 3, 1), NULL, 2, 3, 1, 0, 1); }
static void conv_stride(bench *t) { sv_tape_conv2d(t->tape, t->x, kernel(t, 5, WIDTH, 1), NULL, 2, 2, 0, 0, 1); }
static void depthwise_outs(bench *t) { sv_tape_depthwise_conv(t->tape, t->x, kernel(t, 7, 1, 3), NULL, 2, 2, 1, 1); }
static void depthwise_channels(bench *t) { sv_tape_depthwise_conv(t->tape, t->x, kernel(t, WIDTH, 2, 3), NULL, 2, 2, 1, 1); }
static void pool_padding(bench *t) { sv_tape_pool(t->tape, t->x, SV_POOL_MAX, 2, 2, 2, 1, 2); }
static void pool_kind(bench *t) { sv_tape_pool(t->tape, t->x, (sv_pool_kind)7, 2, 2, 2, 1, 0); }
static void batch_norm_gain(bench *t) { sv_tape_batch_norm(t->tape, t->x, t->vector, t->vector, t->vector, t->vector, 1e-5); }
static void scale_add_width(bench *t) { sv_tape_layer_scale_add(t->tape, t->x, parameter(t, "gain", 1, (size_t[]){ WIDTH }), t->y); }
static void scale_gain(bench *t) { sv_tape_layer_scale(t->tape, t->x, t->vector); }
static void windows_cut(bench *t) { sv_tape_window_partition(t->tape, t->x, 2, 2, 3, 0); }
static void windows_shift(bench *t) { sv_tape_window_reverse(t->tape, t->x, 2, 2, 2, 2); }
static void windows_heads(bench *t) { sv_tape_window_attention(t->tape, t->x, t->weight, 2, 2, 2, 0, 5); }
static void windows_table(bench *t) { sv_tape_window_attention(t->tape, t->x, parameter(t, "table", 2, (size_t[]){ 9, 3 }), 2, 2, 2, 0, 2); }
static void merge_odd(bench *t) { sv_tape_merge_patches(t->tape, t->x, 1, 4); }
static void map_places(bench *t)
{
    sv_tape_embed_map(t->tape, t->x, parameter(t, "tokens", 3, (size_t[]){ 1, 1, WIDTH }), parameter(t, "map", 4, (size_t[]){ 1, WIDTH, 3, 3 }));
}
static void attention_heads(bench *t) { sv_tape_attention(t->tape, t->x, NULL, 5, 80); }
static void attention_policy(bench *t) { sv_tape_attention(t->tape, t->short_x, t->column, 2, 80); }
static void attention_live(bench *t)
{
    sv_tape_attention(t->tape, sv_tape_gather_rows(t->tape, t->x, sv_tape_live_order(t->tape, t->column), SV_TAKE_ALL), NULL, 2, 80);
}
static void attention_clamp(bench *t) { sv_tape_attention(t->tape, t->x, NULL, 2, 0); }
static void add_rows(bench *t) { sv_tape_add(t->tape, t->x, t->short_x); }
static void add_number(bench *t) { sv_tape_add(t->tape, t->x, t->number); }
static void slice_beyond(bench *t) { sv_tape_slice_rows(t->tape, t->x, 3, 2); }
static void columns_beyond(bench *t) { sv_tape_slice_columns(t->tape, t->x, WIDTH, 1); }
static void gather_order(bench *t) { sv_tape_gather_rows(t->tape, t->x, t->column, SV_TAKE_ALL); }
static void heads_split(bench *t) { sv_tape_norm_heads(t->tape, t->x, t->vector, t->vector, 1e-6, 5); }
static void dropout_share(bench *t) { sv_tape_dropout(t->tape, t->x, 1, 0); }
static void mean_groups(bench *t) { sv_tape_weighted_mean(t->tape, t->x, t->column, 2); }
static void decide_origin(bench *t) { sv_tape_decide(t->tape, t->column, t->column, t->column, NULL, 1, 0, false); }
static void decide_stage(bench *t) { sv_tape_decide(t->tape, t->column, t->column, t->index, NULL, 1, 64, false); }
static void choose_trained(bench *t)
{
    sv_tape_choose(t->tape, sv_tape_slice_columns(t->tape, t->x, 0, 1), t->column, t->index, t->number, SV_BY_TOP_K, 0, 1);
}
static void choose_stage(bench *t) { sv_tape_choose(t->tape, t->column, t->column, t->index, t->number, SV_BY_TOP_K, 1, 1); }
static void package_score(bench *t) { sv_tape_package(t->tape, t->x, t->column, t->column, t->x, SV_PACKAGE_SUM, SV_EMPTY_MASK, NULL); }
static void entropy_rows(bench *t) { sv_tape_cross_entropy(t->tape, t->x, t->x); }
static void kl_teacher(bench *t) { sv_tape_kl(t->tape, t->row, t->trained); }
static void ratio_goal(bench *t) { sv_tape_ratio_loss(t->tape, sv_tape_slice_columns(t->tape, t->trained, 0, 1), t->number, false); }
static void latency_curve(bench *t)
{
    sv_tape_latency_loss(t->tape, &(sv_tensor *){ sv_tape_slice_columns(t->tape, t->trained, 0, 1) }, 1, t->number, 4, NULL);
}
static void latency_stages(bench *t) { sv_tape_latency_loss(t->tape, &t->row, 7, t->number, 4, NULL); }
static void sum_of_images(bench *t) { sv_tape_weighted_sum(t->tape, &t->row, 1, (double[]){ 1 }); }
static void sum_of_nothing(bench *t) { sv_tape_weighted_sum(t->tape, &t->row, 0, NULL); }

static const misuse misuses[] = {
    { linear_width, "linear(x", "dimension 1 of weight must be 12, but is 13" },
    { linear_no_parameter, "linear(x", "weight must be a parameter" },
    { linear_bias, "linear(y", "dimension 0 of bias must be 5" },
    { linear_of_indices, "linear(index", "x must hold real numbers" },
    { linear_addend, "linear_add(y", "addend must be 5 wide" },
    { linear_missing, "linear(x", "input 1 is missing" },
    { product_inner, "product(", "inner dimensions" },
    { picture_cut, "patch_embed(row", "3 x 2 cannot be cut" },
    { picture_size, "patch_embed(row", "must hold 24 numbers (3 x 4 x 2), but holds 12" },
    { norm_gain, "layer_norm(x", "dimension 0 of gain must be 12" },
    { conv_channels, "conv2d(x", "x must be 3 wide" },
    { conv_window, "conv2d(x", "a window of 3 x 3 does not fit a picture of 2 x 2" },
    { conv_groups, "conv2d(x", "5 channels of the result cannot be cut into 2 groups" },
    { conv_rows, "conv2d(x", "must have 6 rows" },
    { conv_planes, "conv2d(row", "picture must be 18 wide" },
    { conv_stride, "conv2d(x", "stride 0" },
    { depthwise_outs, "depthwise_conv(x", "7 channels of the result cannot be cut into 12 groups" },
    { depthwise_channels, "depthwise_conv(x", "one channel a group, but has 2" },
    { pool_padding, "pool(x", "more than half of the window" },
    { pool_kind, "pool(x", "no pooling 7" },
    { batch_norm_gain, "batch_norm(x", "dimension 0 of gain must be 12" },
    { scale_gain, "layer_scale(x", "dimension 0 of gain must be 12" },
    { scale_add_width, "layer_scale_add(x", "addend must be 12 wide" },
    { windows_cut, "window_rows(x", "windows of 3 x 3" },
    { windows_shift, "window_rows(x", "cannot be shifted by 2" },
    { windows_heads, "window_attention(x", "5 heads" },
    { windows_table, "window_attention(x", "dimension 1 of table must be 2" },
    { merge_odd, "merge_patches(x", "windows of 2 x 2" },
    { map_places, "embed_map(x", "a map of 3 x 3 places does not fit 4 patches" },
    { attention_heads, "attention(x", "5 heads" },
    { attention_policy, "attention(short", "policy must have the rows of qkv" },
    { attention_live, "attention(", "all rows must be live" },
    { attention_clamp, "attention(x", "clamp" },
    { add_rows, "add(x", "b must have the rows of a" },
    { add_number, "add(x", "b must be a tensor of each image" },
    { slice_beyond, "slice_rows(x", "at most 4 rows" },
    { columns_beyond, "slice_columns(x", "12 wide" },
    { gather_order, "gather_rows(x", "order must hold indices" },
    { heads_split, "norm_heads(x", "5 heads" },
    { dropout_share, "dropout(x", "below 1" },
    { mean_groups, "weighted_mean(x", "2 rows for each row of weight" },
    { decide_origin, "decide(column", "origin must hold indices" },
    { decide_stage, "decide(column", "stage must be 0 to 63" },
    { choose_trained, "choose(", "has no gradient" },
    { choose_stage, "choose(column", "value holds 1 stages" },
    { package_score, "package(x", "score must be 1 wide" },
    { entropy_rows, "cross_entropy(x", "logits must have 1 rows" },
    { kl_teacher, "kl(row", "teacher logits must be constant" },
    { ratio_goal, "ratio_loss(", "goal must hold 3 numbers" },
    { latency_curve, "latency_loss(", "curve must hold 8 numbers" },
    { latency_stages, "latency_loss", "1 to 6 stages" },
    { sum_of_images, "weighted_sum(row", "numbers of the batch" },
    { sum_of_nothing, "weighted_sum", "1 to 8 terms" },
};

static void wrong_shapes_are_refused_in_one_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(misuses); i++) {
        bench t = bench_create();
        sv_error err = { 0 };
        misuses[i].use(&t);
        assert_int_not_equal(sv_tape_finish(t.tape, NULL, &err), SV_OK);
        if (strncmp(err.text, misuses[i].op, strlen(misuses[i].op)) || !strstr(err.text, misuses[i].says))
            fail_msg("misuse %zu: the sentence '%s' does not begin with '%s' and say '%s'", i, err.text, misuses[i].op, misuses[i].says);
        sv_tape_destroy(t.tape);
        sv_parameters_destroy(t.set);
    }
}

static void after_an_error_every_op_returns_nothing(void **state)
{
    (void)state;
    bench t = bench_create();
    sv_tensor *second = t.x;
    linear_width(&t);
    assert_null(sv_tape_linear_gelu(t.tape, t.y, t.weight, NULL));
    assert_null(sv_tape_add(t.tape, NULL, NULL));
    assert_null(sv_tape_package(t.tape, NULL, NULL, NULL, NULL, SV_PACKAGE_SUM, SV_EMPTY_MASK, &second));
    assert_null(second);
    second = t.x;
    assert_null(sv_tape_combine_heads(t.tape, NULL, NULL, &second));
    assert_null(second);
    second = t.x;
    assert_null(sv_tape_latency_loss(t.tape, &(sv_tensor *){ NULL }, 1, NULL, 4, &second));
    assert_null(second);
    assert_null(sv_tape_dropout(t.tape, NULL, 0.5, 0));
    sv_tape_destroy(t.tape);
    sv_parameters_destroy(t.set);
}

static void every_op_says_what_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < sv_op_count; i++) {
        const sv_op *op = sv_ops[i];
        assert_non_null(op->name);
        assert_true(op->formula && op->source && op->shape && op->forward);
        assert_true(op->backward || op->stops_gradient || strcmp(op->name, "choose") == 0);
        assert_true(op->inputs_least <= op->inputs_most && op->inputs_most <= SV_MOST_INPUTS && op->outputs <= SV_MOST_OUTPUTS);
        assert_true((op->backward_dead & ~op->backward_inputs) == 0); /* dead rows of what is read at all */
        for (size_t k = 0; k < i; k++) assert_string_not_equal(op->name, sv_ops[k]->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_shapes_are_refused_in_one_sentence),
        cmocka_unit_test(after_an_error_every_op_returns_nothing),
        cmocka_unit_test(every_op_says_what_it_is),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
