/* The engine, through a small transformer: the same bits however the work is shared out, no allocation after the first step, gradients that
 * add up, errors that stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "autograd/ops.h"
#include "kernels/kernels.h"

enum { WIDTH = 32, HEADS = 2, DEPTH = 3, SIDE = 16, PATCH = 4, CLASSES = 7, IMAGES = 6, LAYER = 12 };

typedef struct net {
    sv_parameters *set;
    sv_tape *tape;
    sv_tensor *picture, *target, *logits, *loss;
} net;

static sv_parameter *parameter(sv_parameters *set, const char *name, int layer, uint32_t dims, size_t a, size_t b, size_t c, size_t d)
{
    sv_parameter *out = NULL;
    sv_text text = { 0 };
    size_t shape[] = { a, b, c, d };
    sv_text_add(&text, "%s.%d", name, layer);
    assert_int_equal(sv_parameters_add(set, &out, text.data, dims, shape, NULL), SV_OK);
    sv_text_clear(&text);
    return out;
}

static sv_parameters *parameters(sv_parameter *p[4 + LAYER * DEPTH + 4])
{
    sv_parameters *set = NULL;
    size_t tokens = (SIDE / PATCH) * (SIDE / PATCH) + 1, n = 0;
    assert_int_equal(sv_parameters_create(&set, NULL), SV_OK);
    p[n++] = parameter(set, "patch.weight", 0, 4, WIDTH, 3, PATCH, PATCH);
    p[n++] = parameter(set, "patch.bias", 0, 1, WIDTH, 0, 0, 0);
    p[n++] = parameter(set, "cls", 0, 3, 1, 1, WIDTH, 0);
    p[n++] = parameter(set, "pos", 0, 3, 1, tokens, WIDTH, 0);
    for (int i = 0; i < DEPTH; i++) {
        p[n++] = parameter(set, "norm1.gain", i, 1, WIDTH, 0, 0, 0);
        p[n++] = parameter(set, "norm1.bias", i, 1, WIDTH, 0, 0, 0);
        p[n++] = parameter(set, "qkv.weight", i, 2, 3 * WIDTH, WIDTH, 0, 0);
        p[n++] = parameter(set, "qkv.bias", i, 1, 3 * WIDTH, 0, 0, 0);
        p[n++] = parameter(set, "proj.weight", i, 2, WIDTH, WIDTH, 0, 0);
        p[n++] = parameter(set, "proj.bias", i, 1, WIDTH, 0, 0, 0);
        p[n++] = parameter(set, "norm2.gain", i, 1, WIDTH, 0, 0, 0);
        p[n++] = parameter(set, "norm2.bias", i, 1, WIDTH, 0, 0, 0);
        p[n++] = parameter(set, "fc1.weight", i, 2, 4 * WIDTH, WIDTH, 0, 0);
        p[n++] = parameter(set, "fc1.bias", i, 1, 4 * WIDTH, 0, 0, 0);
        p[n++] = parameter(set, "fc2.weight", i, 2, WIDTH, 4 * WIDTH, 0, 0);
        p[n++] = parameter(set, "fc2.bias", i, 1, WIDTH, 0, 0, 0);
    }
    p[n++] = parameter(set, "norm.gain", 0, 1, WIDTH, 0, 0, 0);
    p[n++] = parameter(set, "norm.bias", 0, 1, WIDTH, 0, 0, 0);
    p[n++] = parameter(set, "head.weight", 0, 2, CLASSES, WIDTH, 0, 0);
    p[n++] = parameter(set, "head.bias", 0, 1, CLASSES, 0, 0, 0);
    assert_int_equal(sv_parameters_allocate(set, true, NULL), SV_OK);
    sv_random random = sv_random_at(3, SV_FOR_TEST, 0, 0, 0);
    for (size_t i = 0; i < set->count; i++)
        for (size_t k = 0; k < set->items[i]->count; k++) set->items[i]->value[k] = (sv_real)((strstr(set->items[i]->name, "gain") ? 1 : 0) + 0.2 * sv_random_normal(&random));
    return set;
}

static sv_precision precision_now;
static bool recompute_now;

/* What must hold however products are made and whatever is kept. */
static void in_every_precision(void (*test)(void))
{
    for (int way = 0; way < 2 * SV_PRECISION_COUNT; way++) {
        precision_now = (sv_precision)(way / 2);
        recompute_now = way % 2 != 0;
        test();
    }
    precision_now = SV_PRECISION_FP32;
    recompute_now = false;
}

typedef enum cuts { CUT_BLOCKS, CUT_NOWHERE } cuts;
static bool keep_all_now; /* every tensor of a block can be looked at after the run */
static sv_tensor *kept(sv_tape *tape, sv_tensor *tensor)
{
    if (keep_all_now) sv_tape_keep(tape, tensor);
    return tensor;
}

static net net_create(sv_mode mode, size_t images, cuts where)
{
    net n = { 0 };
    sv_parameter *p[4 + LAYER * DEPTH + 4];
    sv_tape_options options = { .mode = mode, .images_most = images, .precision = precision_now, .recompute = recompute_now, .lanes = 3 };
    sv_error err = { 0 };
    n.set = parameters(p);
    assert_int_equal(sv_tape_create(&n.tape, &options, NULL), SV_OK);
#define PARAM(i) sv_tape_parameter(n.tape, p[i])
    n.picture = sv_tape_input(n.tape, "picture", SV_REAL, 1, 3 * SIDE * SIDE, false);
    sv_tensor *x = sv_tape_embed_tokens(n.tape, sv_tape_patch_embed(n.tape, n.picture, PARAM(0), PARAM(1), SIDE, SIDE), PARAM(2), NULL, PARAM(3));
    for (size_t i = 0; i < DEPTH; i++) {
        size_t b = 4 + LAYER * i;
        if (where == CUT_BLOCKS) sv_tape_cut(n.tape);
        sv_tensor *h = sv_tape_linear(n.tape, kept(n.tape, sv_tape_layer_norm(n.tape, x, PARAM(b), PARAM(b + 1), 1e-6)), PARAM(b + 2), PARAM(b + 3));
        x = sv_tape_linear_add(n.tape, kept(n.tape, sv_tape_attention(n.tape, h, NULL, HEADS, 30)), PARAM(b + 4), PARAM(b + 5), x);
        h = kept(n.tape, sv_tape_layer_norm(n.tape, x, PARAM(b + 6), PARAM(b + 7), 1e-6));
        h = kept(n.tape, sv_tape_linear_gelu(n.tape, h, PARAM(b + 8), PARAM(b + 9)));
        x = sv_tape_linear_add(n.tape, h, PARAM(b + 10), PARAM(b + 11), x);
    }
    size_t e = 4 + LAYER * DEPTH;
    x = sv_tape_layer_norm(n.tape, sv_tape_slice_rows(n.tape, x, 0, 1), PARAM(e), PARAM(e + 1), 1e-6);
    n.logits = sv_tape_linear(n.tape, x, PARAM(e + 2), PARAM(e + 3));
    sv_tape_keep(n.tape, n.logits);
    if (mode == SV_TRAINING) {
        n.target = sv_tape_input(n.tape, "target", SV_REAL, 1, CLASSES, false);
        n.loss = sv_tape_batch_mean(n.tape, sv_tape_cross_entropy(n.tape, n.logits, n.target));
    }
    if (sv_tape_finish(n.tape, n.loss, &err)) fail_msg("%s", err.text);
    return n;
}

static void net_destroy(net *n)
{
    sv_tape_destroy(n->tape);
    sv_parameters_destroy(n->set);
}

/* Picture b of the test is the same wherever it stands in a batch. */
static void fill(net *n, size_t place, uint64_t picture)
{
    sv_random random = sv_random_at(4, SV_FOR_TEST, 0, picture, 0);
    sv_real *data = sv_tape_data(n->tape, n->picture, place);
    for (size_t i = 0; i < 3 * SIDE * SIDE; i++) data[i] = (sv_real)sv_random_normal(&random);
    for (size_t k = 0; n->target && k < CLASSES; k++) sv_tape_data(n->tape, n->target, place)[k] = (sv_real)(k == picture % CLASSES ? 0.9 : 0.1 / (CLASSES - 1));
}

static void run(net *n, size_t images)
{
    sv_step step = { .images = images, .seed = 1 };
    for (size_t b = 0; b < images; b++) fill(n, b, b);
    assert_int_equal(sv_tape_forward(n->tape, &step, NULL), SV_OK);
    if (n->loss) sv_tape_backward(n->tape, 1);
}

static void threads_do_not_change_a_bit_here(void)
{
    static const size_t threads[] = { 1, 2, 3, 5, 8 };
    net first = net_create(SV_TRAINING, IMAGES, CUT_BLOCKS);
    sv_threads_set(1);
    run(&first, IMAGES);
    for (size_t t = 1; t < SV_COUNT(threads); t++) {
        net other = net_create(SV_TRAINING, IMAGES, CUT_BLOCKS);
        sv_threads_set(threads[t]);
        run(&other, IMAGES);
        assert_memory_equal(sv_tape_data(first.tape, first.loss, 0), sv_tape_data(other.tape, other.loss, 0), sizeof(sv_real));
        assert_memory_equal(first.set->gradients, other.set->gradients, first.set->total * sizeof(sv_real));
        net_destroy(&other);
    }
    net_destroy(&first);
    sv_threads_set(0);
}
static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    in_every_precision(threads_do_not_change_a_bit_here);
}

static void one_by_one_split_by_rows_equals_batch_here(void)
{
    net batch = net_create(SV_INFERENCE, IMAGES, CUT_BLOCKS), one = net_create(SV_INFERENCE, 1, CUT_BLOCKS);
    sv_threads_set(1);
    run(&batch, IMAGES);
    for (size_t threads = 1; threads <= 7; threads += 2) {
        sv_threads_set(threads);
        for (size_t b = 0; b < IMAGES; b++) {
            sv_step step = { .images = 1 };
            fill(&one, 0, b);
            assert_int_equal(sv_tape_forward(one.tape, &step, NULL), SV_OK);
            assert_memory_equal(sv_tape_data(one.tape, one.logits, 0), sv_tape_data(batch.tape, batch.logits, b), CLASSES * sizeof(sv_real));
        }
    }
    net_destroy(&batch);
    net_destroy(&one);
    sv_threads_set(0);
}
static void one_by_one_split_by_rows_equals_batch(void **state)
{
    (void)state;
    in_every_precision(one_by_one_split_by_rows_equals_batch_here);
}

static void cuts_do_not_change_a_bit_here(void)
{
    net cut = net_create(SV_TRAINING, IMAGES, CUT_BLOCKS), whole = net_create(SV_TRAINING, IMAGES, CUT_NOWHERE);
    run(&cut, IMAGES);
    run(&whole, IMAGES);
    assert_memory_equal(cut.set->gradients, whole.set->gradients, cut.set->total * sizeof(sv_real));
    net_destroy(&cut);
    net_destroy(&whole);
}
static void cuts_do_not_change_a_bit(void **state)
{
    (void)state;
    in_every_precision(cuts_do_not_change_a_bit_here);
}

static void inference_computes_what_training_computes_here(void)
{
    net training = net_create(SV_TRAINING, IMAGES, CUT_BLOCKS), inference = net_create(SV_INFERENCE, IMAGES, CUT_BLOCKS);
    run(&training, IMAGES);
    run(&inference, IMAGES);
    for (size_t b = 0; b < IMAGES; b++)
        assert_memory_equal(sv_tape_data(training.tape, training.logits, b), sv_tape_data(inference.tape, inference.logits, b), CLASSES * sizeof(sv_real));
    assert_true(sv_tape_bytes_planned(inference.tape).stored < sv_tape_bytes_planned(training.tape).stored);
    net_destroy(&training);
    net_destroy(&inference);
}
static void inference_computes_what_training_computes(void **state)
{
    (void)state;
    in_every_precision(inference_computes_what_training_computes_here);
}

/* What products alone read is bf16 in memory; what the user looks at is not. */
static void bf16_in_memory_does_not_change_a_bit_here(void)
{
    for (int mode = SV_INFERENCE; mode <= SV_TRAINING; mode++) {
        net half = net_create((sv_mode)mode, IMAGES, CUT_BLOCKS);
        keep_all_now = true;
        net whole = net_create((sv_mode)mode, IMAGES, CUT_BLOCKS);
        keep_all_now = false;
        run(&half, IMAGES);
        run(&whole, IMAGES);
        for (size_t b = 0; b < IMAGES; b++)
            assert_memory_equal(sv_tape_data(half.tape, half.logits, b), sv_tape_data(whole.tape, whole.logits, b), CLASSES * sizeof(sv_real));
        assert_memory_equal(half.set->gradients, whole.set->gradients, half.set->total * sizeof(sv_real));
        net_destroy(&half);
        net_destroy(&whole);
    }
}
static void bf16_in_memory_does_not_change_a_bit(void **state)
{
    (void)state;
    in_every_precision(bf16_in_memory_does_not_change_a_bit_here);
}

static size_t scratch_of(sv_precision precision)
{
    precision_now = precision;
    net n = net_create(SV_INFERENCE, 2, CUT_BLOCKS);
    sv_threads_set(2);
    run(&n, 2);
    const size_t bytes = sv_tape_bytes_planned(n.tape).scratch;
    net_destroy(&n);
    precision_now = SV_PRECISION_FP32;
    sv_threads_set(0);
    return bytes;
}
static void bf16_in_memory_takes_less_of_it(void **state)
{
    (void)state;
    assert_true(scratch_of(SV_PRECISION_BF16) < scratch_of(SV_PRECISION_FP32));
}

static void later_steps_allocate_nothing_here(void)
{
    net n = net_create(SV_TRAINING, IMAGES, CUT_BLOCKS);
    run(&n, IMAGES);
    size_t before = sv_memory_now().allocations;
    for (size_t images = 1; images <= IMAGES; images++) {
        sv_parameters_changed(n.set);
        run(&n, images);
    }
    assert_int_equal(sv_memory_now().allocations, before);
    net_destroy(&n);
}
static void later_steps_allocate_nothing(void **state)
{
    (void)state;
    in_every_precision(later_steps_allocate_nothing_here);
}

static void gradients_add_up_and_scale(void **state)
{
    (void)state;
    net n = net_create(SV_TRAINING, IMAGES, CUT_BLOCKS);
    sv_step step = { .images = IMAGES };
    run(&n, IMAGES);
    sv_real *once = NULL;
    assert_int_equal(sv_alloc(&once, n.set->total * sizeof *once, "test", NULL), SV_OK);
    memcpy(once, n.set->gradients, n.set->total * sizeof *once);
    assert_int_equal(sv_tape_forward(n.tape, &step, NULL), SV_OK);
    sv_tape_backward(n.tape, 2);
    for (size_t i = 0; i < n.set->total; i++) assert_true(fabs((double)n.set->gradients[i] - 3 * (double)once[i]) <= 1e-5 * (1 + fabs((double)once[i])));
    sv_free(once);
    net_destroy(&n);
}

/* Numeric against analytic for a few numbers of every parameter of the whole net. */
static void gradients_of_the_whole_net_are_right(void **state)
{
    (void)state;
#ifdef SIEVE_F64
    const double h = 1e-4, bound = 1e-8;
#else
    const double h = 2e-2, bound = 2e-3;
#endif
    net n = net_create(SV_TRAINING, IMAGES, CUT_BLOCKS);
    sv_step step = { .images = IMAGES, .seed = 1 };
    run(&n, IMAGES);
    for (size_t i = 0; i < n.set->count; i++) {
        sv_parameter *p = n.set->items[i];
        for (size_t k = 0; k < p->count; k += p->count / 3 + 1) {
            static const double at[] = { -2, -1, 1, 2 }, factor[] = { 1, -8, 8, -1 };
            sv_real keep = p->value[k];
            double numeric = 0;
            for (size_t j = 0; j < 4; j++) {
                p->value[k] = (sv_real)((double)keep + at[j] * h);
                sv_parameters_changed(n.set);
                assert_int_equal(sv_tape_forward(n.tape, &step, NULL), SV_OK);
                numeric += factor[j] * (double)sv_tape_data(n.tape, n.loss, 0)[0] / (12 * h);
            }
            p->value[k] = keep;
            if (fabs(numeric - (double)p->gradient[k]) > bound) fail_msg("%s[%zu]: analytic %.9g, numeric %.9g", p->name, k, (double)p->gradient[k], numeric);
        }
    }
    net_destroy(&n);
}

static void the_first_error_stays_and_names_op_and_tensors(void **state)
{
    (void)state;
    sv_tape *tape = NULL;
    sv_parameters *set = NULL;
    sv_parameter *weight = NULL;
    sv_error err = { 0 };
    size_t shape[] = { 8, 9 };
    sv_tape_options options = { .mode = SV_TRAINING, .images_most = 2 };
    assert_int_equal(sv_tape_create(&tape, &options, NULL), SV_OK);
    assert_int_equal(sv_parameters_create(&set, NULL), SV_OK);
    assert_int_equal(sv_parameters_add(set, &weight, "blocks.0.mlp.fc1.weight", 2, shape, NULL), SV_OK);
    assert_int_equal(sv_parameters_allocate(set, true, NULL), SV_OK);
    sv_tensor *x = sv_tape_input(tape, "tokens", SV_REAL, 5, 10, true);
    sv_tensor *y = sv_tape_linear(tape, x, sv_tape_parameter(tape, weight), NULL);
    assert_null(y);
    assert_null(sv_tape_gelu(tape, y));
    assert_int_not_equal(sv_tape_finish(tape, NULL, &err), SV_OK);
    assert_non_null(strstr(err.text, "linear"));
    assert_non_null(strstr(err.text, "tokens"));
    assert_non_null(strstr(err.text, "blocks.0.mlp.fc1.weight"));
    sv_tape_destroy(tape);
    sv_parameters_destroy(set);
}

static void a_step_larger_than_the_tape_is_refused(void **state)
{
    (void)state;
    net n = net_create(SV_INFERENCE, 2, CUT_BLOCKS);
    sv_step step = { .images = 3 };
    sv_error err = { 0 };
    assert_int_equal(sv_tape_forward(n.tape, &step, &err), SV_FAULT);
    assert_non_null(strstr(err.text, "takes 1 to 2"));
    net_destroy(&n);
}

static void macs_are_those_of_the_formula(void **state)
{
    (void)state;
    net n = net_create(SV_INFERENCE, 2, CUT_BLOCKS);
    uint64_t t = 17, d = WIDTH;
    run(&n, 2);
    assert_int_equal(sv_tape_macs(n.tape), 2 * (16 * 48 * d + DEPTH * (12 * t * d * d + 2 * t * t * d) + CLASSES * d));
    net_destroy(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_change_a_bit), cmocka_unit_test(one_by_one_split_by_rows_equals_batch), cmocka_unit_test(cuts_do_not_change_a_bit),
        cmocka_unit_test(inference_computes_what_training_computes), cmocka_unit_test(bf16_in_memory_does_not_change_a_bit),
        cmocka_unit_test(bf16_in_memory_takes_less_of_it), cmocka_unit_test(later_steps_allocate_nothing), cmocka_unit_test(gradients_add_up_and_scale),
        cmocka_unit_test(gradients_of_the_whole_net_are_right), cmocka_unit_test(the_first_error_stays_and_names_op_and_tensors),
        cmocka_unit_test(a_step_larger_than_the_tape_is_refused), cmocka_unit_test(macs_are_those_of_the_formula),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
