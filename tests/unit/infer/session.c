/* infer/session.c: the answers are those of the removal form to the bit, whatever the batch, the threads and who runs beside. */
#include "tests/unit/infer/test_infer.h"

#include <fenv.h>
#include <pthread.h>

enum { PICTURES = 5, ROOM = 3 * SIDE * (SIDE + 5) };

/* What the engine itself says, by its own headers. */
typedef struct truth {
    float logits[PICTURES][CLASSES];
    size_t kept[PICTURES][2];
    int32_t patches[PICTURES][2][PATCHES];
} truth;

static void ask_engine(const char *name, const float *numbers, truth *out)
{
    sv_deployed deployed;
    sv_removal_tape removal;
    sv_error err = { 0 };
    assert_ok(sv_deployed_load(&deployed, in_folder(name), &err), err);
    assert_ok(sv_removal_record(&removal, deployed.pruning, &deployed.plan, PICTURES, &err), err);
    for (size_t i = 0; i < PICTURES * NUMBERS; i++)
        sv_tape_data(removal.tape, removal.picture, i / NUMBERS)[i % NUMBERS] = (sv_real)numbers[i];
    assert_ok(sv_tape_forward(removal.tape, &(sv_step){ .images = PICTURES }, &err), err);
    for (size_t i = 0; i < PICTURES; i++) {
        for (size_t k = 0; k < CLASSES; k++) out->logits[i][k] = (float)sv_tape_data(removal.tape, removal.logits, i)[k];
        for (size_t t = 0; t < removal.stages; t++) {
            const int32_t *origin = (const int32_t *)(const void *)sv_tape_data(removal.tape, removal.after[t], i);
            out->kept[i][t] = 0;
            for (size_t r = 0; r < sv_tape_rows(removal.tape, removal.after[t], i); r++)
                if (origin[r] >= 0) out->patches[i][t][out->kept[i][t]++] = origin[r];
        }
    }
    sv_removal_clear(&removal);
    sv_deployed_clear(&deployed);
}

static void assert_answers(const sieve_session *session, size_t picture, const truth *expected, size_t number, size_t stages)
{
    const uint32_t *patches;
    double packaged;
    assert_memory_equal(sieve_logits(session, picture), expected->logits[number], sizeof expected->logits[number]);
    for (size_t t = 0; t < stages; t++) {
        assert_int_equal(sieve_kept(session, picture, t, &patches), expected->kept[number][t]);
        assert_memory_equal(patches, expected->patches[number][t], expected->kept[number][t] * sizeof *patches);
        const float *score = sieve_scores(session, picture, t, &packaged);
        assert_true(packaged >= 0 && packaged <= 1); /* the plan of these tests packs */
        for (size_t i = 0; i < expected->kept[number][t]; i++) assert_true(score[patches[i]] > 0 && score[patches[i]] < 1);
    }
    assert_int_equal(sieve_kept(session, picture, stages, &patches), 0);
    assert_null(patches);
    assert_null(sieve_scores(session, picture, stages, &packaged));
    assert_true(isnan(packaged));
}

static void logits_and_tokens_are_those_of_the_removal_form(void **state)
{
    (void)state;
    static float numbers[PICTURES * NUMBERS];
    static const sv_decision_rule rules[] = { SV_RULE_TOPK, SV_RULE_THRESHOLD };
    sieve_error error;
    fill_numbers(numbers, PICTURES, 1);
    for (size_t r = 0; r < SV_COUNT(rules); r++) {
        truth expected;
        sv_pruning_plan plan = plan_of(rules[r], 0.7, 0.4);
        plan.threshold[0] = 0.45, plan.threshold[1] = 0.5;
        put_model("m", 3, &plan, NULL);
        ask_engine("m", numbers, &expected);
        sieve_model *model = load("m");
        for (size_t threads = 1; threads <= 3; threads++) {
            sieve_session *all = session_of(model, PICTURES, threads), *one = session_of(model, 1, threads);
            assert_done(sieve_run_floats(all, numbers, PICTURES, &error), &error);
            for (size_t i = 0; i < PICTURES; i++) {
                assert_answers(all, i, &expected, i, 2);
                assert_done(sieve_run_floats(one, numbers + i * NUMBERS, 1, &error), &error);
                assert_answers(one, 0, &expected, i, 2);
            }
            sieve_session_free(all);
            sieve_session_free(one);
        }
        sieve_model_free(model);
    }
}

static void a_dense_model_keeps_all_and_has_no_stages(void **state)
{
    (void)state;
    static float numbers[PICTURES * NUMBERS];
    truth expected;
    sieve_error error;
    fill_numbers(numbers, PICTURES, 2);
    put_model("m", 3, NULL, NULL);
    ask_engine("m", numbers, &expected);
    sieve_model *model = load("m");
    sieve_session *session = session_of(model, PICTURES, 0);
    sieve_model_free(model); /* the session goes on */
    assert_done(sieve_run_floats(session, numbers, PICTURES, &error), &error);
    for (size_t i = 0; i < PICTURES; i++) assert_answers(session, i, &expected, i, 0);
    sieve_session_free(session);
    sieve_session_free(NULL);
}

static void bytes_go_through_the_models_own_transform(void **state)
{
    (void)state;
    static uint8_t rooms[PICTURES][ROOM];
    sieve_rgb pictures[PICTURES];
    sieve_error error;
    sv_error err = { 0 };
    static sv_real expected[NUMBERS];
    sv_transform *transform = NULL;
    sv_transform_options options = sv_transform_defaults();
    options.size = IMAGE, options.crop_ratio = 0.7, options.interpolation = SV_BILINEAR;
    options.mean[1] = 0.25f, options.deviation[2] = 0.5f;
    put_model(
        "m", 3, NULL,
        "[data]\ninterpolation = bilinear\ncrop_ratio = 0.7\nmean = 0.485,0.25,0.406\ndeviation = 0.229,0.224,0.5\ntrain = \"a # b\"\n");
    assert_ok(sv_transform_create(&transform, &options, &err), err);
    sieve_model *model = load("m");
    sieve_session *session = session_of(model, PICTURES, 2), *again = session_of(model, 1, 1);
    for (unsigned i = 0; i < PICTURES; i++) pictures[i] = picture_of(i, rooms[i]);
    assert_done(sieve_run_rgb(session, pictures, PICTURES, &error), &error);
    for (size_t i = 0; i < PICTURES; i++) {
        sv_picture picture = { .rgb = rooms[i], .width = pictures[i].width, .height = pictures[i].height };
        assert_ok(sv_transform_evaluation(transform, &picture, expected, &err), err);
        for (size_t k = 0; k < NUMBERS; k++) assert_true(sieve_seen(session, i)[k] == (float)expected[k]);
        assert_done(sieve_run_floats(again, sieve_seen(session, i), 1, &error), &error);
        assert_memory_equal(sieve_logits(again, 0), sieve_logits(session, i), CLASSES * sizeof(float));
    }
    sv_transform_destroy(transform);
    sieve_session_free(session);
    sieve_session_free(again);
    sieve_model_free(model);
}

static void the_likeliest_come_first_and_shares_add_up(void **state)
{
    (void)state;
    static float numbers[NUMBERS];
    sieve_answer all[CLASSES + 2];
    sieve_error error;
    double sum = 0;
    fill_numbers(numbers, 1, 3);
    put_pruned("m", 3);
    sieve_model *model = load("m");
    sieve_session *session = session_of(model, 1, 1);
    assert_int_equal(sieve_top(session, 0, all, 5), 0); /* nothing has run */
    assert_done(sieve_run_floats(session, numbers, 1, &error), &error);
    assert_int_equal(sieve_top(session, 0, all, 3), 3);
    assert_int_equal(sieve_top(session, 0, all, CLASSES + 2), CLASSES);
    assert_int_equal(sieve_top(session, 1, all, 5), 0);
    for (size_t i = 0; i < CLASSES; i++) {
        sum += all[i].probability;
        if (i) assert_true(sieve_logits(session, 0)[all[i - 1].class_index] >= sieve_logits(session, 0)[all[i].class_index]);
    }
    assert_true(sum > 1 - 1e-12 && sum < 1 + 1e-12);
    sieve_session_free(session);
    sieve_model_free(model);
}

static void assert_refused(sieve_session *session, sieve_code code, sieve_code wanted, const sieve_error *error, const char *sentence)
{
    if (code != wanted || !strstr(error->text, sentence)) fail_msg("code %d, '%s'; expected '%s' in it", (int)code, error->text, sentence);
    assert_null(sieve_logits(session, 0)); /* no results of a run before */
    assert_null(sieve_seen(session, 0));
    assert_int_equal(sieve_kept(session, 0, 0, NULL), 0);
}

static void a_run_that_cannot_be_is_refused_and_the_next_one_is_right(void **state)
{
    (void)state;
    static uint8_t room[ROOM];
    static float numbers[3 * NUMBERS];
    sieve_error error;
    put_pruned("m", 3);
    sieve_model *model = load("m");
    sieve_session *session = session_of(model, 2, 1), *none = NULL;
    sieve_rgb good = picture_of(1, room), pictures[2] = { good, { NULL, 4, 4 } };
    static const sieve_rgb wrong[] = { { NULL, 8, 8 },
                                       { (const uint8_t *)"", 0, 8 },
                                       { (const uint8_t *)"", 8, 0 },
                                       { (const uint8_t *)"", SIZE_MAX, 2 },
                                       { (const uint8_t *)"", 100000, 100000 } };
    for (size_t i = 0; i < SV_COUNT(wrong); i++) {
        assert_done(sieve_run_rgb(session, &good, 1, &error), &error);
        assert_refused(session, sieve_run_rgb(session, &wrong[i], 1, &error), SIEVE_PICTURE, &error, "picture 0");
    }
    assert_refused(session, sieve_run_rgb(session, pictures, 2, &error), SIEVE_PICTURE, &error, "picture 1");
    assert_refused(session, sieve_run_rgb(session, pictures, 0, &error), SIEVE_USAGE, &error,
                   "a run of 0 pictures; this session holds 1 to 2");
    assert_refused(session, sieve_run_rgb(session, pictures, 3, &error), SIEVE_USAGE, &error, "a run of 3 pictures");
    assert_refused(session, sieve_run_rgb(session, NULL, 1, &error), SIEVE_USAGE, &error, "NULL");
    assert_refused(session, sieve_run_floats(session, numbers, 3, &error), SIEVE_USAGE, &error, "a run of 3 pictures");
    assert_refused(session, sieve_run_floats(session, NULL, 1, &error), SIEVE_USAGE, &error, "NULL");
    assert_done(sieve_run_rgb(session, &good, 1, &error), &error);
    assert_non_null(sieve_logits(session, 0));
    assert_int_equal(sieve_session_create(&none, model, &(sieve_session_options){ .batch = SIZE_MAX }, &error), SIEVE_USAGE);
    assert_int_equal(sieve_session_create(&none, model, &(sieve_session_options){ .threads = SIZE_MAX }, &error), SIEVE_USAGE);
    assert_null(none);
    sieve_session_free(session);
    sieve_model_free(model);
}

static void runs_of_a_prepared_session_allocate_nothing(void **state)
{
    (void)state;
    static uint8_t room[ROOM];
    sieve_rgb pictures[3];
    sieve_error error;
    put_pruned("m", 3);
    sieve_model *model = load("m");
    sieve_session *session = session_of(model, 3, 2);
    for (size_t i = 0; i < 3; i++) pictures[i] = picture_of(4, room);
    assert_done(sieve_run_rgb(session, pictures, 1, &error), &error); /* the first picture of a size */
    sv_memory before = sv_memory_now();
    for (size_t count = 1; count <= 3; count++) assert_done(sieve_run_rgb(session, pictures, count, &error), &error);
    assert_int_equal(sv_memory_now().allocations, before.allocations);
    sieve_session_free(session);
    sieve_model_free(model);
}

/* The caller may compute with other rules; neither side feels the other's. */
static void floating_point_rules_of_the_caller_neither_matter_nor_change(void **state)
{
    (void)state;
    static uint8_t room[ROOM];
    float expected[CLASSES];
    sieve_error error;
    volatile double tiny = 1e-310;
    sieve_rgb picture = picture_of(2, room);
    put_pruned("m", 3);
    fesetenv(FE_DFL_ENV); /* the engine itself flushes denormals where it is called */
    sieve_model *model = load("m");
    sieve_session *session = session_of(model, 1, 1);
    assert_done(sieve_run_rgb(session, &picture, 1, &error), &error);
    memcpy(expected, sieve_logits(session, 0), sizeof expected);
    assert_true(tiny / 2 > 0); /* denormals live on here */
    fesetround(FE_UPWARD);
    sieve_code code = sieve_run_rgb(session, &picture, 1, &error);
    int rounding = fegetround();
    fesetround(FE_TONEAREST);
    assert_done(code, &error);
    assert_int_equal(rounding, FE_UPWARD);
    assert_memory_equal(sieve_logits(session, 0), expected, sizeof expected);
    sieve_session_free(session);
    sieve_model_free(model);
}

/* ---- several at once ---- */

enum { CALLERS = 4, ROUNDS = 12, MEETINGS = 15 };

typedef struct caller {
    pthread_t thread;
    sieve_model *model; /* NULL: loads its own */
    const char *path;
    size_t batch, threads;
    const float *numbers;
    const truth *expected;
    pthread_barrier_t *together; /* met before the session is made; NULL: nobody waits */
    char failure[1100];
} caller;

/* assert functions of cmocka belong to the main thread: what is wrong is written down. */
static void check_round(caller *c, sieve_session *session, size_t first)
{
    sieve_error error;
    if (sieve_run_floats(session, c->numbers + first * NUMBERS, c->batch, &error))
        snprintf(c->failure, sizeof c->failure, "%s", error.text);
    for (size_t i = 0; !c->failure[0] && i < c->batch; i++) {
        const size_t number = first + i;
        const uint32_t *patches;
        bool same = !memcmp(sieve_logits(session, i), c->expected->logits[number], sizeof c->expected->logits[number]);
        for (size_t t = 0; t < 2; t++)
            same = same && sieve_kept(session, i, t, &patches) == c->expected->kept[number][t]
                   && !memcmp(patches, c->expected->patches[number][t], c->expected->kept[number][t] * sizeof *patches);
        if (!same) snprintf(c->failure, sizeof c->failure, "picture %zu has other results", number);
    }
}

static void *call_often(void *context)
{
    caller *c = context;
    sieve_model *model = c->model;
    sieve_session *session = NULL;
    sieve_error error;
    sieve_code code = model ? SIEVE_OK : sieve_model_load(&model, c->path, NULL, &error);
    if (c->together) pthread_barrier_wait(c->together);
    if (!code) code = sieve_session_create(&session, model, &(sieve_session_options){ .batch = c->batch, .threads = c->threads }, &error);
    if (code) snprintf(c->failure, sizeof c->failure, "%s", error.text);
    for (size_t round = 0; !code && round < ROUNDS; round++) check_round(c, session, round % (PICTURES - c->batch + 1));
    sieve_session_free(session);
    if (!c->model) sieve_model_free(model);
    return NULL;
}

static void call_at_once(caller *callers, size_t count)
{
    for (size_t i = 0; i < count; i++) assert_int_equal(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
    for (size_t i = 0; i < count; i++) pthread_join(callers[i].thread, NULL);
    for (size_t i = 0; i < count; i++)
        if (callers[i].failure[0]) fail_msg("caller %zu: %s", i, callers[i].failure);
}

static void threads_with_models_of_their_own_do_not_disturb_each_other(void **state)
{
    (void)state;
    static float numbers[PICTURES * NUMBERS];
    char paths[2][512];
    truth expected[2];
    caller callers[CALLERS] = { 0 };
    fill_numbers(numbers, PICTURES, 4);
    for (size_t m = 0; m < 2; m++) {
        put_pruned(m ? "b" : "a", 3 + m);
        ask_engine(m ? "b" : "a", numbers, &expected[m]);
        snprintf(paths[m], sizeof paths[m], "%s", in_folder(m ? "b" : "a"));
    }
    assert_true(memcmp(expected[0].logits, expected[1].logits, sizeof expected[0].logits) != 0);
    for (size_t i = 0; i < CALLERS; i++)
        callers[i] = (caller){
            .path = paths[i % 2], .batch = i < 2 ? 1 : 3, .threads = 1 + i % 3, .numbers = numbers, .expected = &expected[i % 2]
        };
    call_at_once(callers, CALLERS);
}

static void sessions_of_one_model_run_at_the_same_time(void **state)
{
    (void)state;
    static float numbers[PICTURES * NUMBERS];
    truth expected;
    caller callers[CALLERS] = { 0 };
    fill_numbers(numbers, PICTURES, 5);
    put_pruned("m", 3);
    ask_engine("m", numbers, &expected);
    sv_memory before = sv_memory_now();
    for (size_t meeting = 0; meeting < MEETINGS; meeting++) { /* all are prepared at once: one of them packs the weights */
        pthread_barrier_t together;
        sieve_model *model = load("m");
        assert_int_equal(pthread_barrier_init(&together, NULL, CALLERS), 0);
        for (size_t i = 0; i < CALLERS; i++)
            callers[i] = (caller){
                .model = model, .batch = 1 + i % 2, .threads = 1 + i / 2, .numbers = numbers, .expected = &expected, .together = &together
            };
        call_at_once(callers, CALLERS);
        pthread_barrier_destroy(&together);
        sieve_model_free(model);
        assert_int_equal(sv_memory_now().live, before.live); /* nobody packed twice */
    }
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(logits_and_tokens_are_those_of_the_removal_form),
        WITH_FOLDER(a_dense_model_keeps_all_and_has_no_stages),
        WITH_FOLDER(bytes_go_through_the_models_own_transform),
        WITH_FOLDER(the_likeliest_come_first_and_shares_add_up),
        WITH_FOLDER(a_run_that_cannot_be_is_refused_and_the_next_one_is_right),
        WITH_FOLDER(runs_of_a_prepared_session_allocate_nothing),
        WITH_FOLDER(floating_point_rules_of_the_caller_neither_matter_nor_change),
        WITH_FOLDER(threads_with_models_of_their_own_do_not_disturb_each_other),
        WITH_FOLDER(sessions_of_one_model_run_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
