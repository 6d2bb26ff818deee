/* Every checkpoint file of the shared collection comes out as its verdict says, and the real DeiT reads whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/weights.h"

static const char *data_folder(void)
{
    const char *set = getenv("SIEVE_DATA");
    return set ? set : "../shared/data";
}

static void path_in(char room[512], const char *name) { snprintf(room, 512, "%s/%s", data_folder(), name); }

/* Reads every tensor; a file is read only if all of it can be. */
static sv_status read_all(sv_weights *weights, sv_error *err)
{
    for (size_t i = 0; i < sv_weights_count(weights); i++) {
        sv_weights_digest digest;
        sv_status status = sv_weights_digest_read(weights, sv_weights_at(weights, i), &digest, err);
        if (status) return status;
    }
    return SV_OK;
}

static bool same(double got, double expected, double scale) { return got == expected || fabs(got - expected) <= 1e-12 * scale; }

/* NULL, or what differs. */
static const char *compare(sv_weights *weights, const char *name, const json_t *expected)
{
    static char what[256];
    sv_error err = { 0 };
    sv_weights_digest digest;
    const json_t *shape = json_object_get(expected, "shape"), *first = json_object_get(expected, "first");
    const sv_weights_entry *entry = sv_weights_find(weights, name);
    if (!entry) return "a tensor is missing";
    if (strcmp(entry->dtype, json_string_value(json_object_get(expected, "dtype"))) != 0) return "dtype";
    if (entry->rank != json_array_size(shape)) return "rank";
    for (size_t d = 0; d < entry->rank; d++)
        if (entry->shape[d] != (size_t)json_integer_value(json_array_get(shape, d))) return "shape";
    if (sv_weights_digest_read(weights, entry, &digest, &err)) return strcpy(what, err.text);
    double sum = json_number_value(json_object_get(expected, "sum"));
    /* The peer adds pairwise: the bound is that of count additions of values about one. */
    if (!same(digest.sum, sum, fabs(sum) + (double)entry->count)) return "sum";
    if (digest.first_count != json_array_size(first)) return "count of first values";
    for (size_t i = 0; i < digest.first_count; i++)
        if (digest.first[i] != json_number_value(json_array_get(first, i))) return "first values";
    return NULL;
}

static const char *verdict_differs(const json_t *row, const char *path)
{
    static char text[1400];
    const char *verdict = json_string_value(json_object_get(row, "verdict"));
    const json_t *tensors = json_object_get(row, "tensors");
    sv_weights *weights = NULL;
    sv_error err = { 0 };
    sv_status status = sv_weights_open(&weights, path, &err);
    if (!status) status = read_all(weights, &err);
    const char *problem = NULL;
    if (status) {
        if (getenv("SIEVE_TEST_VERBOSE")) print_message("%-8s %s\n", verdict, err.text);
        if (strcmp(verdict, "load") == 0)
            snprintf(text, sizeof text, "refused: %s", err.text), problem = text;
        else if (status != SV_MODEL_FILE)
            problem = "refused with another code than 4";
        else if (!strstr(err.text, path))
            problem = "the sentence does not name the file";
    } else if (strcmp(verdict, "refuse") == 0)
        problem = "was read";
    else {
        const char *name;
        json_t *expected;
        json_object_foreach((json_t *)tensors, name, expected) if (!problem) problem = compare(weights, name, expected);
        if (!problem && strcmp(verdict, "load") == 0 && sv_weights_count(weights) != json_object_size(tensors))
            problem = "more tensors than expected";
        if (getenv("SIEVE_TEST_VERBOSE") && strcmp(verdict, "skip") == 0) {
            print_message("%-8s read: %s", verdict, path);
            for (size_t i = 0; i < sv_weights_skipped_count(weights); i++) print_message(" [%s]", sv_weights_skipped(weights, i));
            print_message("\n");
        }
    }
    sv_weights_close(weights);
    return problem;
}

/* jansson takes no zero byte in a key; the one file with such a name is refused, so any other character will do. */
static json_t *expected_load(const char *path)
{
    unsigned char *text = NULL;
    size_t count = 0;
    sv_error err = { 0 };
    json_error_t where = { 0 };
    if (sv_file_read_all(path, 1 << 24, SV_DATA, &text, &count, &err)) return NULL;
    for (char *at = (char *)text; (at = strstr(at, "\\u0000")); at += 6) at[5] = '1';
    json_t *rows = json_loads((char *)text, JSON_REJECT_DUPLICATES, &where);
    if (!rows) print_error("%s:%d: %s\n", path, where.line, where.text);
    assert_non_null(rows);
    sv_free(text);
    return rows;
}

static void every_file_gets_its_verdict(void **state)
{
    char path[512];
    (void)state;
    path_in(path, "formats/expected.json");
    json_t *rows = expected_load(path);
    if (!rows) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    size_t before = sv_memory_now().live, wrong = 0, index;
    json_t *row;
    json_array_foreach(rows, index, row)
    {
        char name[600];
        const char *file = json_string_value(json_object_get(row, "file"));
        snprintf(name, sizeof name, "formats/%s", file);
        path_in(path, name);
        const char *problem = verdict_differs(row, path);
        if (problem) print_error("%s: %s (%s)\n", file, problem, json_string_value(json_object_get(row, "why"))), wrong++;
    }
    assert_int_equal(json_array_size(rows), 271);
    assert_int_equal(wrong, 0);
    assert_int_equal(sv_memory_now().live, before);
    json_decref(rows);
}

static void real_deit_reads_whole(void **state)
{
    char path[512];
    sv_weights *weights = NULL;
    sv_error err = { 0 };
    size_t elements = 0;
    (void)state;
    path_in(path, "weights/deit_tiny_patch16_224.pth");
    if (!sv_path_exists(path)) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    if (sv_weights_open(&weights, path, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < sv_weights_count(weights); i++) {
        const sv_weights_entry *entry = sv_weights_at(weights, i);
        sv_real *values = malloc(entry->count * sizeof *values);
        assert_non_null(values);
        if (sv_weights_read(weights, entry, values, &err)) fail_msg("%s", err.text);
        for (size_t k = 0; k < entry->count; k++) assert_true(isfinite(values[k]));
        elements += entry->count;
        free(values);
    }
    assert_int_equal(sv_weights_count(weights), 152);
    assert_int_equal(elements, 5717416);
    assert_non_null(sv_weights_find(weights, "blocks.11.attn.qkv.weight"));
    sv_weights_close(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_file_gets_its_verdict), cmocka_unit_test(real_deit_reads_whole) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
