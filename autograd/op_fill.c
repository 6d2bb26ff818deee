/* Constants of an image's size: what is known without looking at a number, but not before the number of rows. */
#include "autograd/op_shape.h"

static sv_status count_up_shape(sv_node *node, sv_error *err)
{
    node->out[0]->dtype = SV_INDEX;
    node->out[0]->width = 1;
    return sv_want_any(node->in[0], "like", err);
}

static void count_up_forward(const sv_call *call)
{
    for (size_t r = call->row_begin; r < call->row_end; r++) call->out[0].ints[r] = (int32_t)(call->attributes->i[0] + (int64_t)r);
}

static sv_status fill_shape_of(sv_node *node, sv_dtype dtype, sv_error *err)
{
    const int64_t rows = node->attributes.i[0];
    if (rows < 0 || rows > INT32_MAX) return sv_fail(err, SV_USAGE, "%lld rows cannot be filled", (long long)rows);
    node->out[0]->dtype = dtype;
    sv_make_image(node->out[0], rows ? sv_rows_fixed((size_t)rows) : node->in[0]->rows, 1);
    return sv_want_any(node->in[0], "the tensor whose images it is for", err);
}

static sv_status fill_shape(sv_node *node, sv_error *err) { return fill_shape_of(node, SV_REAL, err); }
static sv_status fill_index_shape(sv_node *node, sv_error *err) { return fill_shape_of(node, SV_INDEX, err); }

static void fill_forward(const sv_call *call)
{
    for (size_t r = call->row_begin; r < call->row_end; r++) call->out[0].data[r] = (sv_real)call->attributes->r[0];
}

static void fill_index_forward(const sv_call *call)
{
    for (size_t r = call->row_begin; r < call->row_end; r++) call->out[0].ints[r] = (int32_t)call->attributes->i[1];
}

static const sv_sample count_up_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 3) }, .attributes.i = { 0 } },
    { .name = "five rows", .images = 2, .in = { IMAGE(NORMAL, 5, 1) }, .attributes.i = { 0 } },
    { .name = "from one", .images = 2, .in = { IMAGE(NORMAL, 5, 17) }, .attributes.i = { 1 } },
    { .name = "from minus one", .images = 2, .in = { IMAGE(NORMAL, 5, 17) }, .attributes.i = { -1 } },
    { .name = "like a constant", .images = 1, .in = { CONSTANT(NORMAL, 4, 2) }, .attributes.i = { 0 } },
    { .name = "like indices", .images = 3, .in = { CONSTANT(INDEX, 4, 1) }, .attributes.i = { 7 } },
};

static const sv_sample fill_samples[] = {
    { .name = "one row", .images = 1, .in = { IMAGE(NORMAL, 1, 3) }, .attributes = { .i = { 0, 1 }, .r = { 1 } } },
    { .name = "as many rows", .images = 2, .in = { IMAGE(NORMAL, 5, 17) }, .attributes = { .i = { 0, -1 }, .r = { -1 } } },
    { .name = "fewer rows", .images = 2, .in = { IMAGE(NORMAL, 5, 17) }, .attributes = { .i = { 2, 0 }, .r = { 0 } } },
    { .name = "more rows", .images = 3, .in = { IMAGE(NORMAL, 1, 1) }, .attributes = { .i = { 9, 3 }, .r = { 0.5 } } },
    { .name = "of a constant", .images = 1, .in = { CONSTANT(NORMAL, 4, 2) }, .attributes = { .i = { 0, 7 }, .r = { 1e30 } } },
    { .name = "of indices", .images = 3, .in = { CONSTANT(INDEX, 4, 1) }, .attributes = { .i = { 0, 7 }, .r = { 1e-30 } } },
};

const sv_op sv_op_count_up = {
    .name = "count_up",
    .formula = "like [R,*] -> index [R,1] = first + r",
    .source = "torch.arange",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_ROW_LOCAL,
    .shape = count_up_shape,
    .forward = count_up_forward,
    .stops_gradient = true,
    SV_SAMPLES_OF(count_up_samples),
};

const sv_op sv_op_fill = {
    .name = "fill",
    .formula = "of [R,*] -> y [rows,1] = value; rows 0: R",
    .source = "torch.full",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = fill_shape,
    .forward = fill_forward,
    .stops_gradient = true,
    SV_SAMPLES_OF(fill_samples),
};

const sv_op sv_op_fill_index = {
    .name = "fill_index",
    .formula = "of [R,*] -> index [rows,1] = value; rows 0: R",
    .source = "torch.full",
    .inputs_least = 1,
    .inputs_most = 1,
    .outputs = 1,
    .locality = SV_IMAGE_ROWS,
    .shape = fill_index_shape,
    .forward = fill_index_forward,
    .stops_gradient = true,
    SV_SAMPLES_OF(fill_samples),
};

sv_tensor *sv_tape_count_up(sv_tape *tape, sv_tensor *like, int64_t first)
{
    sv_attributes attributes = { .i = { first } };
    return sv_tape_record(tape, &sv_op_count_up, &like, 1, &attributes, NULL);
}

sv_tensor *sv_tape_fill(sv_tape *tape, sv_tensor *of, size_t rows, double value)
{
    sv_attributes attributes = { .i = { (int64_t)rows }, .r = { value } };
    return sv_tape_record(tape, &sv_op_fill, &of, 1, &attributes, NULL);
}

sv_tensor *sv_tape_fill_index(sv_tape *tape, sv_tensor *of, size_t rows, int64_t value)
{
    sv_attributes attributes = { .i = { (int64_t)rows, value } };
    return sv_tape_record(tape, &sv_op_fill_index, &of, 1, &attributes, NULL);
}
