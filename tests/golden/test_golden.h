/* What the golden tests share: real data where it is, numbers compared by kind. */
#ifndef SIEVE_TESTS_GOLDEN_TEST_GOLDEN_H
#define SIEVE_TESTS_GOLDEN_TEST_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "formats/pictures.h"
#include "formats/weights.h"
#include "kernels/kernels.h"
#include "pruning/pruning.h"

static inline const char *data_path(char room[512], const char *name)
{
    const char *base = getenv("SIEVE_DATA");
    snprintf(room, 512, "%s/%s", base ? base : "../shared/data", name);
    return room;
}

static inline bool have_data(void)
{
    char room[512];
    return sv_path_is_file(data_path(room, "weights/deit_tiny_patch16_224.pth")) && sv_path_is_file(data_path(room, "golden/spvit_wavg.npz"));
}

static inline double *golden(sv_weights *file, const char *name, size_t *count)
{
    const sv_weights_entry *entry = sv_weights_find(file, name);
    double *values = NULL;
    if (!entry) fail_msg("the golden file has no '%s'", name);
    assert_int_equal(sv_alloc(&values, entry->count * sizeof *values, "test", NULL), SV_OK);
    assert_int_equal(sv_weights_read_doubles(file, entry, values, NULL), SV_OK);
    *count = entry->count;
    return values;
}

/* The largest |got - want| over the largest |want| of the kind (at least 1e-3). */
typedef struct worst { const char *kind; double off; char where[96]; } worst;
static inline void hold(worst *w, const char *where, double got, double want, double size)
{
    double off = fabs(got - want) / fmax(size, 1e-3);
    if (!(off <= w->off)) {
        w->off = off;
        snprintf(w->where, sizeof w->where, "%s", where);
    }
}

static inline void photo(const char *path, sv_real *chw)
{
    sv_transform_options options = sv_transform_defaults();
    sv_transform *transform = NULL;
    sv_picture picture = { 0 };
    sv_error err = { 0 };
    if (sv_picture_read(&picture, path, &err) || sv_transform_create(&transform, &options, &err) || sv_transform_evaluation(transform, &picture, chw, &err)) fail_msg("%s", err.text);
    sv_transform_destroy(transform);
    sv_picture_clear(&picture);
}

/* Norm, sum and eight entries of each gradient. */
static inline void hold_gradients(worst *w, sv_weights *file, const sv_parameters *set, const char *prefix)
{
    for (size_t i = 0; i < set->count; i++) {
        const sv_parameter *p = set->items[i];
        char name[160];
        size_t count = 0;
        double norm = 0, sum = 0;
        snprintf(name, sizeof name, "%s%s", prefix, p->name);
        double *want = golden(file, name, &count);
        assert_int_equal(count, 10);
        for (size_t k = 0; k < p->count; k++) {
            norm += (double)p->gradient[k] * (double)p->gradient[k];
            sum += (double)p->gradient[k];
        }
        hold(w, name, sqrt(norm), want[0], want[0]);
        hold(w, name, sum, want[1], fmax(want[0], fabs(want[1])));
        for (size_t k = 0; k < 8; k++) {
            size_t at = (size_t)((double)(p->count - 1) * (double)k / 7);
            hold(w, name, (double)p->gradient[at], want[2 + k], want[0]);
        }
        sv_free(want);
    }
}

#endif
