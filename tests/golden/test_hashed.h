/* What golden tests without foreign files share: weights, pictures and targets that are hashes of (name, index), made here as
 * data/make_spvit_small.py makes them, and the text of numbers to hold against them: lines "case/name value value ...". */
#ifndef SIEVE_TESTS_GOLDEN_TEST_HASHED_H
#define SIEVE_TESTS_GOLDEN_TEST_HASHED_H

#include "test_golden.h"

enum { IMAGES = 4, SIDE = 16, CLASSES = 7 };

#ifdef SIEVE_F64
static const double bound = 1e-11, gradient_bound = 1e-11;
#else
static const double bound = 1e-5, gradient_bound = 3e-4; /* float; gradients measured 1.1e-4, where PyTorch in float is off by 9.6e-5 */
#endif

/* ---- numbers made of names --------------------------------------------------------------------------------------- */

/* [0, 1): FNV-1a over the name and the four bytes of the index, mixed once more. */
static inline double unit(const char *salt, const char *name, size_t index)
{
    uint32_t h = 2166136261u;
    const char *parts[] = { salt, name };
    for (size_t p = 0; p < 2; p++)
        for (const char *c = parts[p]; *c; c++) h = (h ^ (unsigned char)*c) * 16777619u;
    for (unsigned shift = 0; shift < 32; shift += 8) h = (h ^ (uint32_t)(index >> shift & 255)) * 16777619u;
    h ^= h >> 15;
    h *= 2654435761u;
    h ^= h >> 13;
    return h / 4294967296.0;
}

static inline double both(const char *salt, const char *name, size_t index) { return 2 * unit(salt, name, index) - 1; }

static inline void fill_weights(sv_model *model, const char *salt)
{
    for (size_t i = 0; i < model->parameters->count; i++) {
        sv_parameter *p = model->parameters->items[i];
        size_t fan_in = p->shape[0] ? p->count / p->shape[0] : 1;
        bool gain = strstr(p->name, "running_var") || (p->dims == 1 && strstr(p->name, ".weight") && (strstr(p->name, "norm") || sv_name_selects(p->name)));
        double scale = p->dims == 1 ? 0.1 : p->dims == 3 ? 0.5 : sqrt(3 / (double)fan_in) * (sv_name_selects(p->name) ? 2 : 1);
        for (size_t k = 0; k < p->count; k++) {
            double v = both(salt, p->name, k);
            p->value[k] = (sv_real)(gain ? 1 + 0.2 * v : scale * v);
        }
    }
    sv_parameters_changed(model->parameters);
}

static inline void fill_pictures(const sv_tape *tape, const sv_tensor *picture)
{
    char name[16];
    for (size_t b = 0; b < IMAGES; b++) {
        snprintf(name, sizeof name, "picture%zu", b);
        for (size_t k = 0; k < sv_tensor_width(picture); k++) sv_tape_data(tape, picture, b)[k] = (sv_real)both("", name, k);
    }
}

static inline void fill_targets(const sv_training_tape *t)
{
    for (size_t b = 0; b < IMAGES; b++)
        for (size_t k = 0; k < CLASSES; k++)
            sv_tape_data(t->tape, t->target, b)[k] = (sv_real)(0.1 / CLASSES + (k == b % CLASSES ? 0.9 : 0));
}

/* ---- the golden text --------------------------------------------------------------------------------------------- */

static char *lines;

/* *state: the path. */
static inline int read_lines(void **state)
{
    unsigned char *bytes = NULL;
    size_t count = 0;
    if (sv_file_read_all(*state, 1 << 20, SV_DATA, &bytes, &count, NULL)) return -1;
    lines = (char *)bytes;
    return 0;
}

static inline int free_lines(void **state)
{
    (void)state;
    sv_free(lines);
    return 0;
}

/* The numbers of "CASE/NAME"; fails where there are not `count` of them. */
static inline void golden_numbers(const char *one_case, const char *name, double *out, size_t count)
{
    char key[128];
    const char *at = lines;
    size_t length = (size_t)snprintf(key, sizeof key, "%s/%s ", one_case, name);
    while (at && strncmp(at, key, length) != 0) at = (at = strchr(at, '\n')) ? at + 1 : NULL;
    if (!at) fail_msg("the golden file has no '%s'", key);
    at += length - 1;
    for (size_t i = 0; i < count; i++) {
        char *end = NULL;
        assert_int_equal(*at, ' ');
        out[i] = strtod(at, &end);
        at = end;
    }
    assert_int_equal(*at, '\n');
}

static inline void hold_scalar(const char *one_case, worst *w, const char *name, const sv_tape *tape, const sv_tensor *tensor)
{
    double want = 0;
    golden_numbers(one_case, name, &want, 1);
    hold(w, name, (double)sv_tape_data(tape, tensor, 0)[0], want, fmax(1, fabs(want)));
}

static inline void hold_logits(const char *one_case, worst *w, const char *name, const sv_tape *tape, const sv_tensor *logits)
{
    double want[IMAGES * CLASSES];
    golden_numbers(one_case, name, want, SV_COUNT(want));
    for (size_t k = 0; k < SV_COUNT(want); k++) hold(w, name, (double)sv_tape_data(tape, logits, k / CLASSES)[k % CLASSES], want[k], 1);
}

/* Each gradient's norm, and its product with hashed numbers: every entry counts. */
static inline void hold_all_gradients(const char *one_case, const sv_parameters *set, worst *gradients)
{
    for (size_t i = 0; i < set->count; i++) {
        const sv_parameter *p = set->items[i];
        char name[128];
        if (p->fixed) continue;
        double want[2], squares = 0, along = 0;
        snprintf(name, sizeof name, "grad/%s", p->name);
        golden_numbers(one_case, name, want, 2);
        for (size_t k = 0; k < p->count; k++) {
            squares += (double)p->gradient[k] * (double)p->gradient[k];
            along += (double)p->gradient[k] * both("along/", p->name, k);
        }
        hold(gradients, name, sqrt(squares), want[0], want[0]);
        hold(gradients, name, along, want[1], want[0]);
    }
}

#endif
