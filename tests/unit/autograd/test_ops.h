/* For tests of ops: two ways to record the same thing, run on the same numbers, compared in values and all gradients. */
#ifndef SIEVE_TEST_OPS_H
#define SIEVE_TEST_OPS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "autograd/op.h"
#include "autograd/ops.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What rounding may do to sums of a few hundred terms of size 1. */
#ifdef SIEVE_F64
#define CLOSE 1e-12
#else
#define CLOSE 2e-5
#endif

static inline double number(sv_random *random) { return sv_random_normal(random); }

static inline void fill_normal(sv_real *data, size_t count, uint64_t seed, double factor)
{
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 1, 0, 0);
    for (size_t i = 0; i < count; i++) data[i] = (sv_real)(factor * number(&random));
}

static inline const sv_op *op_named(const char *name)
{
    for (size_t i = 0; i < sv_op_count; i++)
        if (strcmp(sv_ops[i]->name, name) == 0) return sv_ops[i];
    fail_msg("no op is named %s", name);
    return NULL;
}

static inline sv_tape *tape_in(sv_mode mode, size_t images)
{
    sv_tape *tape = NULL;
    sv_tape_options options = { .mode = mode, .images_most = images, .lanes = 2 };
    assert_int_equal(sv_tape_create(&tape, &options, NULL), SV_OK);
    return tape;
}

static inline void finish(sv_tape *tape, sv_tensor *loss)
{
    sv_error err = { 0 };
    if (sv_tape_finish(tape, loss, &err)) fail_msg("%s", err.text);
}

static inline void forward(sv_tape *tape, size_t images, uint64_t seed)
{
    sv_error err = { 0 };
    sv_step step = { .images = images, .seed = seed };
    if (sv_tape_forward(tape, &step, &err)) fail_msg("%s", err.text);
}

/* The mean over images of the summed squares of y's live rows: a loss that reaches every number. */
static inline sv_tensor *square_loss(sv_tape *tape, sv_tensor *y)
{
    sv_tensor *zeros = sv_tape_input(tape, "zeros", SV_REAL, y ? sv_tensor_rows(y).most : 1, y ? sv_tensor_width(y) : 1, false);
    sv_tensor *sum = sv_tape_masked_square(tape, y, zeros, sv_tape_count_up(tape, y, 0), 0);
    return sv_tape_batch_mean(tape, sv_tape_slice_columns(tape, sum, 0, 1));
}

static inline void assert_near(double got, double expected, double bound, const char *what, size_t place)
{
    if (!(fabs(got - expected) <= bound * fmax(1, fabs(expected))))
        fail_msg("%s, number %zu: got %.17g, expected %.17g", what, place, got, expected);
}

/* ---- the same sample recorded in two ways ------------------------------------------------------------------------- */

typedef sv_tensor *record_way(sv_tape *tape, sv_tensor *const *in, const sv_attributes *attributes);

/* Values of the output, then all gradients, in order. */
typedef struct numbers {
    double *items;
    size_t count;
} numbers;

static inline void keep_number(numbers *n, double value)
{
    n->items = realloc(n->items, (n->count + 1) * sizeof *n->items);
    assert_non_null(n->items);
    n->items[n->count++] = value;
}

static inline numbers run_way(const sv_sample *sample, record_way *way)
{
    numbers out = { 0 };
    sv_parameters *set = NULL;
    sv_parameter *parameters[SV_MOST_INPUTS] = { NULL };
    sv_tensor *in[SV_MOST_INPUTS] = { NULL };
    size_t images = sample->images;
    sv_tape *tape = tape_in(SV_TRAINING, images);
    assert_int_equal(sv_parameters_create(&set, NULL), SV_OK);
    for (size_t i = 0; i < SV_MOST_INPUTS; i++) {
        const sv_sample_input *s = &sample->in[i];
        const char name[] = { 'p', (char)('0' + i), 0 };
        size_t shape[2] = { s->rows ? s->rows : s->width, s->width };
        if (s->fill != SV_FILL_NONE && s->kind == SV_SAMPLE_PARAMETER)
            assert_int_equal(sv_parameters_add(set, &parameters[i], name, s->rows ? 2 : 1, shape, NULL), SV_OK);
    }
    assert_int_equal(sv_parameters_allocate(set, true, NULL), SV_OK);
    for (size_t i = 0; i < SV_MOST_INPUTS; i++) {
        const sv_sample_input *s = &sample->in[i];
        if (s->fill == SV_FILL_NONE) continue;
        if (s->kind == SV_SAMPLE_PARAMETER)
            in[i] = sv_tape_parameter(tape, parameters[i]);
        else
            in[i] = sv_tape_input(tape, "x", SV_REAL, s->rows, s->width, s->kind == SV_SAMPLE_IMAGE);
    }
    sv_tensor *y = way(tape, in, &sample->attributes);
    sv_tape_keep(tape, y);
    finish(tape, square_loss(tape, y));
    fill_normal(set->values, set->total, 77, 1);
    sv_parameters_changed(set);
    for (size_t i = 0; i < SV_MOST_INPUTS; i++)
        for (size_t b = 0; in[i] && !parameters[i] && b < images; b++)
            fill_normal(sv_tape_data(tape, in[i], b), sample->in[i].rows * sample->in[i].width, 100 * i + b,
                        sample->in[i].fill == SV_FILL_LARGE ? 10 : 1);
    forward(tape, images, 1);
    for (size_t b = 0; b < images; b++)
        for (size_t k = 0; k < sv_tape_rows(tape, y, b) * sv_tensor_width(y); k++) keep_number(&out, (double)sv_tape_data(tape, y, b)[k]);
    sv_tape_backward(tape, 1);
    for (size_t i = 0; i < SV_MOST_INPUTS; i++) {
        for (size_t k = 0; parameters[i] && k < parameters[i]->count; k++) keep_number(&out, (double)parameters[i]->gradient[k]);
        for (size_t b = 0; in[i] && !parameters[i] && b < images; b++)
            for (size_t k = 0; sv_tape_gradient(tape, in[i], b) && k < sample->in[i].rows * sample->in[i].width; k++)
                keep_number(&out, (double)sv_tape_gradient(tape, in[i], b)[k]);
    }
    sv_tape_destroy(tape);
    sv_parameters_destroy(set);
    return out;
}

static inline void assert_ways_equal(const char *op, record_way *fused, record_way *plain)
{
    const sv_op *of = op_named(op);
    assert_non_null(of->equals);
    for (size_t s = 0; s < of->sample_count; s++) {
        numbers a = run_way(&of->samples[s], fused), b = run_way(&of->samples[s], plain);
        double most = 1;
        assert_int_equal(a.count, b.count);
        assert_true(a.count > 0);
        for (size_t i = 0; i < a.count; i++) most = fmax(most, fabs(b.items[i]));
        for (size_t i = 0; i < a.count; i++) assert_near(a.items[i] / most, b.items[i] / most, CLOSE, of->samples[s].name, i);
        free(a.items);
        free(b.items);
    }
}

#endif
