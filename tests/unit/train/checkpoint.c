/* train/checkpoint.c: what is read is to the bit what was written, and nothing that is not whole or not ours is taken for a checkpoint. */
#include "tests/unit/base/test_base.h"

#include "formats/weights.h"
#include "train/checkpoint.h"

#include <math.h>

static sv_parameters *make_set(size_t width, uint64_t seed)
{
    sv_parameters *set = NULL;
    sv_parameter *p = NULL;
    sv_error err = { 0 };
    assert_ok(sv_parameters_create(&set, &err), err);
    assert_ok(sv_parameters_add(set, &p, "head.weight", 2, (size_t[]){ 3, width }, &err), err);
    assert_ok(sv_parameters_add(set, &p, "head.bias", 1, (size_t[]){ 3 }, &err), err);
    assert_ok(sv_parameters_add(set, &p, "selectors.0.fc_in.weight", 2, (size_t[]){ 2, 5 }, &err), err);
    assert_ok(sv_parameters_allocate(set, true, &err), err);
    for (size_t i = 0; i < set->count; i++) {
        sv_random random = sv_random_at(seed, SV_FOR_TEST, 0, i, 0);
        for (size_t k = 0; k < set->items[i]->count; k++) set->items[i]->value[k] = (sv_real)sv_random_normal(&random);
    }
    return set;
}

static sv_optimizer *make_optimizer(sv_parameters *set)
{
    sv_optimizer *optimizer = NULL;
    sv_error err = { 0 };
    sv_optimizer_options options = { .decay = 0.05, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 };
    assert_ok(sv_optimizer_create(&optimizer, set, &options, NULL, &err), err);
    return optimizer;
}

/* Numbers that have no short form in any base, and the odd ones. */
static sv_run_state odd_state(void)
{
    sv_run_state state = { 7, UINT64_C(1) << 60, UINT64_MAX, 3, 2, 1, 6, 5, 0.1 + 0.2, { 0 }, { 0 }, { 0 }, 41, 4, 0, 1, 77, { 1.0 / 3, -0.0, 1e300, 5e-324 }, 0.7, 12.5 };
    sv_random random = sv_random_at(9, SV_FOR_TEST, 0, 0, 0);
    for (size_t i = 0; i < SV_STATE_STAGES; i++)
        state.keep[i] = sv_random_uniform(&random), state.multiplier[i] = sv_random_normal(&random) * 1e-300;
    for (size_t i = 0; i < SV_STATE_SUMS; i++) state.sums[i] = sv_random_normal(&random) * pow(10, (double)i * 20 - 200);
    state.sums[0] = -0.0, state.sums[1] = INFINITY, state.sums[2] = 5e-324;
    return state;
}

/* ---- state as text ---- */

static void the_state_comes_back_from_its_text_to_the_bit(void **state)
{
    (void)state;
    sv_run_state written = odd_state(), empty = { .best = -1 };
    const sv_run_state *cases[] = { &written, &empty };
    for (size_t i = 0; i < 2; i++) {
        sv_run_state read;
        sv_text text = { 0 }, again = { 0 };
        sv_error err = { 0 };
        memset(&read, 0x5a, sizeof read);
        sv_run_state_print(cases[i], &text);
        assert_ok(sv_text_check(&text, &err), err);
        assert_ok(sv_run_state_parse(&read, text.data, "c", &err), err);
        assert_memory_equal(&read, cases[i], sizeof read);
        sv_run_state_print(&read, &again);
        assert_string_equal(text.data, again.data);
        sv_text_clear(&text);
        sv_text_clear(&again);
    }
}

/* Files of the first versions have no lines of patience and guard. */
static void a_state_of_the_first_versions_is_read(void **state)
{
    (void)state;
    sv_run_state written = odd_state(), read;
    sv_text text = { 0 };
    sv_error err = { 0 };
    sv_run_state_print(&written, &text);
    assert_ok(sv_run_state_parse(&read, strstr(text.data, "\nepoch ") + 1, "c", &err), err);
    written.better_epoch = written.best_epoch;
    written.rolled_back = written.guard_count = 0;
    memset(written.guard, 0, sizeof written.guard);
    assert_memory_equal(&read, &written, sizeof read);
    sv_text_clear(&text);
}

static void assert_state_refused(const char *text, const char *sentence)
{
    sv_run_state state = { .epoch = 99 };
    sv_error err = { 0 };
    sv_status status = sv_run_state_parse(&state, text, "file", &err);
    if (status != SV_MODEL_FILE || !strstr(err.text, sentence))
        fail_msg("status %d, '%s'; expected '%s' in it", status, status ? err.text : "", sentence);
    assert_int_equal(state.epoch, 99);
}

/* The printed state with its line `name` replaced. */
static void with_line(char *room, size_t bytes, const char *name, const char *line)
{
    sv_run_state written = odd_state();
    sv_text text = { 0 };
    char begin[64];
    sv_run_state_print(&written, &text);
    snprintf(begin, sizeof begin, "\n%s ", name);
    const char *at = strcmp(name, "better_epoch") ? strstr(text.data, begin) + 1 : text.data; /* the first line */
    snprintf(room, bytes, "%.*s%s%s", (int)(at - text.data), text.data, line, strchr(at, '\n') + (*line ? 0 : 1));
    sv_text_clear(&text);
}

static void a_state_that_is_damaged_or_of_a_newer_version_is_refused(void **state)
{
    (void)state;
    char text[8192];
    static const struct {
        const char *name, *line, *sentence;
    } cases[] = {
        { "step", "", "is not complete" },
        { "sum_count", "", "is not complete" },
        { "guard", "", "is not complete" },
        { "better_epoch", "", "is not complete" },
        { "step", "steps 5", "holds 'steps', which this version does not know" },
        { "step", "ste 5", "holds 'ste'" },
        { "step", "step", "'step' in the run's state is not readable" },
        { "step", "step ", "'step' in" },
        { "step", "step x", "'step' in" },
        { "step", "step 5 6", "'step' in" },
        { "step", "step 5x", "'step' in" },
        { "step", "step 5.5", "'step' in" },
        { "best", "best", "'best' in" },
        { "keep", "keep 1 1 1 1 1 1 1", "'keep' in" },
        { "keep", "keep 1 1 1 1 1 1 1 1 1", "'keep' in" },
        { "stages", "stages 9", "is not complete" },
    };
    for (size_t i = 0; i < SV_COUNT(cases); i++) {
        with_line(text, sizeof text, cases[i].name, cases[i].line);
        assert_state_refused(text, cases[i].sentence);
    }
    assert_state_refused("", "is not complete");
    memset(text, 'x', 4000);
    text[4000] = 0;
    assert_state_refused(text, "a line of 4000 bytes");
}

static void a_state_of_a_version_without_a_row_has_zero_there(void **state)
{
    (void)state;
    char text[8192];
    sv_run_state read;
    sv_error err = { 0 };
    with_line(text, sizeof text, "latency_multiplier", "");
    assert_ok(sv_run_state_parse(&read, text, "c", &err), err);
    assert_true(read.latency_multiplier == 0 && read.goal_ms == 12.5 && read.sum_count == 41);
}

static void a_counter_that_is_no_counter_is_refused(void **state)
{
    (void)state;
    char text[8192];
    static const char *const lines[] = {
        "step -1", "step +1", "step  1", "step \t1", "step 18446744073709551616", "step 99999999999999999999999"
    };
    for (size_t i = 0; i < SV_COUNT(lines); i++) {
        with_line(text, sizeof text, "step", lines[i]);
        assert_state_refused(text, "'step' in the run's state is not readable");
    }
}

static void every_truncation_of_a_state_is_refused(void **state)
{
    (void)state;
    sv_run_state written = odd_state();
    sv_text text = { 0 };
    sv_run_state_print(&written, &text);
    size_t last = (size_t)(strstr(text.data, "\nsum_count ") + 1 - text.data);
    for (size_t length = 0; length <= last + 10; length++) { /* behind that a number is cut, which no text can tell: the file has its CRC */
        char cut[8192];
        snprintf(cut, sizeof cut, "%.*s", (int)length, text.data);
        assert_state_refused(cut, "file: ");
    }
    sv_text_clear(&text);
}

/* ---- files ---- */

typedef struct run {
    sv_parameters *set;
    sv_optimizer *optimizer;
    sv_real *ema;
    sv_run_state state;
} run;

static run make_run(uint64_t seed)
{
    run r = { .set = make_set(4, seed), .state = odd_state() };
    sv_error err = { 0 };
    sv_random random = sv_random_at(seed, SV_FOR_TEST, 1, 0, 0);
    r.optimizer = make_optimizer(r.set);
    assert_ok(sv_alloc_zero(&r.ema, r.set->total * sizeof *r.ema, "test", &err), err);
    for (size_t i = 0; i < r.set->count; i++)
        for (size_t k = 0, at = r.set->items[i]->offset; k < r.set->items[i]->count; k++, at++) {
            r.optimizer->first[at] = (sv_real)sv_random_normal(&random);
            r.optimizer->second[at] = (sv_real)sv_random_uniform(&random);
            r.ema[at] = (sv_real)sv_random_normal(&random);
        }
    r.optimizer->t = 1000 + seed;
    r.state.epoch = seed;
    return r;
}

static sv_checkpoint all_of(run *r)
{
    return (sv_checkpoint){ .set = r->set,
                            .optimizer = r->optimizer,
                            .ema = r->ema,
                            .state = &r->state,
                            .model = "m",
                            .plan = "p",
                            .config = "c",
                            .classes = "k" };
}

static void run_clear(run *r)
{
    sv_optimizer_destroy(r->optimizer);
    sv_parameters_destroy(r->set);
    sv_free(r->ema);
}

static void a_run_comes_back_to_the_bit(void **state)
{
    (void)state;
    run one = make_run(1), two = make_run(2);
    sv_checkpoint from = all_of(&one), to = all_of(&two);
    sv_error err = { 0 };
    size_t bytes = one.set->total * sizeof(sv_real);
    uint64_t version = two.set->version;
    assert_ok(sv_checkpoint_write(&from, in_folder("c"), &err), err);
    assert_ok(sv_checkpoint_read(&to, in_folder("c"), &err), err);
    assert_memory_equal(one.set->values, two.set->values, bytes);
    assert_memory_equal(one.optimizer->first, two.optimizer->first, bytes);
    assert_memory_equal(one.optimizer->second, two.optimizer->second, bytes);
    assert_memory_equal(one.ema, two.ema, bytes);
    assert_memory_equal(&one.state, &two.state, sizeof one.state);
    assert_int_equal(two.optimizer->t, 1001);
    assert_true(two.set->version != version); /* packed products are made anew */
    run_clear(&one);
    run_clear(&two);
}

static void the_same_run_is_the_same_bytes(void **state)
{
    (void)state;
    unsigned char *bytes[2] = { NULL };
    size_t counts[2];
    for (size_t i = 0; i < 2; i++) {
        run r = make_run(5);
        sv_checkpoint from = all_of(&r);
        sv_error err = { 0 };
        assert_ok(sv_checkpoint_write(&from, in_folder(i ? "a" : "another name"), &err), err);
        assert_ok(sv_file_read_all(in_folder(i ? "a" : "another name"), 1 << 20, SV_DATA, &bytes[i], &counts[i], &err), err);
        run_clear(&r);
    }
    assert_int_equal(counts[0], counts[1]);
    assert_memory_equal(bytes[0], bytes[1], counts[0]);
    sv_free(bytes[0]);
    sv_free(bytes[1]);
}

static void the_file_holds_what_its_header_says(void **state)
{
    (void)state;
    run r = make_run(1);
    sv_checkpoint from = all_of(&r);
    sv_weights *file = NULL;
    sv_error err = { 0 };
    from.classes = NULL;
    from.values = r.ema; /* the averaged weights as the model */
    assert_ok(sv_checkpoint_write(&from, in_folder("c"), &err), err);
    assert_ok(sv_weights_open(&file, in_folder("c"), &err), err);
    assert_string_equal(sv_weights_metadata(file, "sieve.model"), "m");
    assert_string_equal(sv_weights_metadata(file, "sieve.plan"), "p");
    assert_string_equal(sv_weights_metadata(file, "sieve.config"), "c");
    assert_string_equal(sv_weights_metadata(file, "sieve.optimizer_steps"), "1001");
    assert_null(sv_weights_metadata(file, "sieve.classes"));
    static const char *const prefixes[] = { "", "optim.first.", "optim.second.", "ema." };
    const sv_real *blocks[] = { r.ema, r.optimizer->first, r.optimizer->second, r.ema };
    for (size_t b = 0; b < SV_COUNT(prefixes); b++)
        for (size_t i = 0; i < r.set->count; i++) {
            char name[96];
            sv_real read[16];
            snprintf(name, sizeof name, "%s%s", prefixes[b], r.set->items[i]->name);
            const sv_weights_entry *entry = sv_weights_find(file, name);
            assert_non_null(entry);
            assert_ok(sv_weights_read(file, entry, read, &err), err);
            assert_memory_equal(read, blocks[b] + r.set->items[i]->offset, r.set->items[i]->count * sizeof *read);
        }
    sv_weights_close(file);
    run_clear(&r);
}

static void weights_alone_are_read_alone_and_are_no_run(void **state)
{
    (void)state;
    run one = make_run(1), two = make_run(2);
    sv_checkpoint from = { .set = one.set, .model = "m" }, to = { .set = two.set }, whole = all_of(&two);
    sv_error err = { 0 };
    sv_run_state before = two.state;
    assert_ok(sv_checkpoint_write(&from, in_folder("c"), &err), err);
    assert_int_equal(sv_checkpoint_read(&whole, in_folder("c"), &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "holds weights but not the state of a run; give it as model.weights"));
    assert_memory_equal(&two.state, &before, sizeof before);
    assert_int_equal(two.optimizer->t, 1002);
    assert_ok(sv_checkpoint_read(&to, in_folder("c"), &err), err);
    assert_memory_equal(one.set->values, two.set->values, one.set->total * sizeof(sv_real));
    whole = all_of(&two), whole.state = NULL;
    assert_int_equal(sv_checkpoint_read(&whole, in_folder("c"), &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "step count is missing"));
    whole.optimizer = NULL;
    assert_int_equal(sv_checkpoint_read(&whole, in_folder("c"), &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, "tensor 'ema.head.weight' is missing"));
    run_clear(&one);
    run_clear(&two);
}

static void a_checkpoint_of_another_model_is_refused(void **state)
{
    (void)state;
    run one = make_run(1);
    sv_parameters *wider = make_set(5, 1);
    sv_checkpoint from = all_of(&one), to = { .set = wider };
    sv_error err = { 0 };
    assert_ok(sv_checkpoint_write(&from, in_folder("c"), &err), err);
    assert_int_equal(sv_checkpoint_read(&to, in_folder("c"), &err), SV_MODEL_FILE);
    assert_non_null(
        strstr(err.text, "tensor 'head.weight' has another shape than the run's model; this checkpoint is of another model or config"));
    assert_int_equal(sv_checkpoint_read(&to, in_folder("absent"), &err), SV_MODEL_FILE);
    sv_parameters_destroy(wider);
    run_clear(&one);
}

static void no_changed_byte_goes_unseen(void **state)
{
    (void)state;
    run one = make_run(1), two = make_run(2);
    sv_checkpoint from = all_of(&one), to = all_of(&two);
    sv_error err = { 0 };
    unsigned char *bytes = NULL;
    size_t count;
    assert_ok(sv_checkpoint_write(&from, in_folder("c"), &err), err);
    assert_ok(sv_file_read_all(in_folder("c"), 1 << 20, SV_DATA, &bytes, &count, &err), err);
    size_t header = 8 + ((size_t)bytes[0] | (size_t)bytes[1] << 8);
    assert_true(header < count);
    for (size_t at = header; at < count; at += 3) { /* tensors have their sums; the texts are checked by whoever reads them */
        bytes[at] ^= 1;
        assert_ok(sv_file_write_atomic(in_folder("d"), bytes, count, &err), err);
        if (sv_checkpoint_read(&to, in_folder("d"), &err) != SV_MODEL_FILE) fail_msg("byte %zu of %zu was changed unseen", at, count);
        bytes[at] ^= 1;
    }
    for (size_t length = 0; length < count; length += 1 + count / 50) {
        assert_ok(sv_file_write_atomic(in_folder("d"), bytes, length, &err), err);
        assert_int_equal(sv_checkpoint_read(&to, in_folder("d"), &err), SV_MODEL_FILE);
    }
    sv_free(bytes);
    run_clear(&one);
    run_clear(&two);
}

static void a_write_that_fails_leaves_the_old_file(void **state)
{
    (void)state;
    static const sv_fault_kind kinds[] = { SV_FAULT_ALLOC, SV_FAULT_OPEN, SV_FAULT_WRITE, SV_FAULT_RENAME };
    run r = make_run(1);
    sv_checkpoint from = all_of(&r);
    sv_memory memory = sv_memory_now();
    for (size_t k = 0; k < SV_COUNT(kinds); k++) {
        bool survived = false;
        for (uint64_t at = 1; at < 500 && !survived; at++) {
            sv_error err = { 0 };
            write_text(in_folder("c"), "old");
            sv_fault_set(kinds[k], at, false);
            sv_status status = sv_checkpoint_write(&from, in_folder("c"), &err);
            sv_fault_set(kinds[k], 0, false);
            survived = status == SV_OK;
            if (!survived) {
                assert_int_equal(status, SV_FAULT);
                assert_holds(in_folder("c"), "old");
            }
            assert_int_equal(entries_in(test_folder), 1);
            assert_int_equal(sv_memory_now().live, memory.live);
        }
        assert_true(survived);
    }
    run_clear(&r);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_state_comes_back_from_its_text_to_the_bit),
        cmocka_unit_test(a_state_of_the_first_versions_is_read),
        cmocka_unit_test(a_state_that_is_damaged_or_of_a_newer_version_is_refused),
        cmocka_unit_test(a_state_of_a_version_without_a_row_has_zero_there),
        cmocka_unit_test(a_counter_that_is_no_counter_is_refused),
        cmocka_unit_test(every_truncation_of_a_state_is_refused),
        WITH_FOLDER(a_run_comes_back_to_the_bit),
        WITH_FOLDER(the_same_run_is_the_same_bytes),
        WITH_FOLDER(the_file_holds_what_its_header_says),
        WITH_FOLDER(weights_alone_are_read_alone_and_are_no_run),
        WITH_FOLDER(a_checkpoint_of_another_model_is_refused),
        WITH_FOLDER(no_changed_byte_goes_unseen),
        WITH_FOLDER(a_write_that_fails_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
