/* eval/evaluate.c: what is counted is what the logits say, picture by picture, and a model that computes nonsense is right about nothing. */
#include "tests/unit/eval/test_eval.h"

enum { FOLDERS = 6, EACH = 3, PICTURES = FOLDERS * EACH };

/* All that the sink is called with. */
typedef struct seen {
    size_t count, fail_at;
    uint64_t samples[64];
    uint32_t labels[64];
    double logits[64][CLASSES];
} seen;

static sv_status keep_logits(void *context, uint64_t sample, uint32_t label, const sv_real *logits, size_t classes, sv_error *err)
{
    seen *s = context;
    if (s->count + 1 == s->fail_at) return sv_fail(err, SV_FAULT, "no room for picture %zu", s->count);
    assert_true(s->count < 64 && classes == CLASSES);
    s->samples[s->count] = sample;
    s->labels[s->count] = label;
    for (size_t k = 0; k < classes; k++) s->logits[s->count][k] = (double)logits[k];
    s->count++;
    return SV_OK;
}

/* Counted once more, in another way: by the place of the label among the sorted classes. */
static void counts_are_those_of_the_logits(void **state)
{
    (void)state;
    bench b;
    seen s = { 0 };
    uint64_t confusion[CLASSES * CLASSES] = { [5] = 1000 }, expected[CLASSES * CLASSES] = { [5] = 1000 };
    sv_evaluate_options options = { .sink = keep_logits, .sink_context = &s, .confusion = confusion };
    size_t top1 = 0, top5 = 0, among = 0;
    double loss = 0;
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, NULL, CLASSES, "p");
    sv_parameter *head = sv_parameters_find(b.model->parameters, "head.weight");
    for (size_t i = 0; i < head->count; i++) head->value[i] *= 40; /* answers that differ from picture to picture */
    sv_parameters_changed(b.model->parameters);
    sv_evaluation e = evaluate(&b, &options);
    assert_int_equal(s.count, PICTURES);
    for (size_t i = 0; i < s.count; i++) {
        assert_int_equal(s.samples[i], i);
        assert_int_equal(s.labels[i], i / EACH);
        size_t order[CLASSES], place = 0, place_among = 0;
        double sum = 0;
        for (size_t k = 0; k < CLASSES; k++) order[k] = k;
        for (size_t k = 1; k < CLASSES; k++) /* stable: equal ones stay in their order */
            for (size_t j = k; j > 0 && s.logits[i][order[j]] > s.logits[i][order[j - 1]]; j--) {
                size_t other = order[j];
                order[j] = order[j - 1], order[j - 1] = other;
            }
        for (size_t k = 0; order[k] != s.labels[i]; k++) place++, place_among += order[k] < FOLDERS;
        for (size_t k = 0; k < CLASSES; k++) sum += exp(s.logits[i][k]);
        top1 += place < 1, top5 += place < 5, among += place_among < 1;
        loss += log(sum) - s.logits[i][s.labels[i]];
        expected[s.labels[i] * CLASSES + order[0]]++;
    }
    assert_int_equal(e.images, PICTURES);
    assert_int_equal(e.top1, top1);
    assert_int_equal(e.top5, top5);
    assert_int_equal(e.top1_among, among);
    assert_int_equal(e.bad_pictures, 0);
    assert_true(fabs(e.loss - loss / PICTURES) < 1e-5);
    assert_memory_equal(confusion, expected, sizeof confusion); /* added to what was there */
    bench_close(&b);
}

static void ties_go_to_the_lower_index(void **state)
{
    (void)state;
    bench b;
    uint64_t confusion[CLASSES * CLASSES] = { 0 };
    static const double same[CLASSES] = { 0 };
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, NULL, CLASSES, "p");
    answer_always(&b, same);
    sv_evaluation e = evaluate(&b, &(sv_evaluate_options){ .confusion = confusion });
    assert_int_equal(e.top1, EACH);
    assert_int_equal(e.top5, 5 * EACH);
    assert_int_equal(e.top1_among, EACH);
    assert_true(fabs(e.loss - log(CLASSES)) < 1e-6);
    for (size_t truth = 0; truth < CLASSES; truth++)
        for (size_t answer = 0; answer < CLASSES; answer++)
            assert_int_equal(confusion[truth * CLASSES + answer], truth < FOLDERS && answer == 0 ? EACH : 0);
    bench_close(&b);
}

static void among_the_classes_that_are_there_absent_ones_cannot_be_answered(void **state)
{
    (void)state;
    bench b;
    static const double absent_first[CLASSES] = { 0, 5, 1, 2, 3, 4, 9 }; /* class 6 has no pictures */
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, NULL, CLASSES, "p");
    answer_always(&b, absent_first);
    sv_evaluation e = evaluate(&b, NULL);
    assert_int_equal(e.top1, 0);
    assert_int_equal(e.top1_among, EACH);
    assert_int_equal(e.top5, 4 * EACH); /* 6, 1, 5, 4, 3: four of them have pictures */
    bench_close(&b);
}

static void the_loss_of_large_logits_does_not_overflow(void **state)
{
    (void)state;
    bench b;
    static const double large[CLASSES] = { 1e4, -1e4, -1e4, -1e4, -1e4, -1e4, -1e4 };
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, NULL, CLASSES, "p");
    answer_always(&b, large);
    sv_evaluation e = evaluate(&b, NULL);
    assert_true(fabs(e.loss - 2e4 * 5 / 6) < 1);
    assert_int_equal(e.top1, EACH);
    bench_close(&b);
}

/* A diverged run must not end as the best one. */
static void logits_that_are_not_finite_are_right_about_nothing(void **state)
{
    (void)state;
    bench b;
    static const double all[CLASSES] = { NAN, NAN, NAN, NAN, NAN, NAN, NAN }, one[CLASSES] = { 0, 0, 0, 0, 0, 0, NAN };
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, NULL, CLASSES, "p");
    answer_always(&b, all);
    sv_evaluation e = evaluate(&b, NULL);
    assert_int_equal(e.images, PICTURES);
    assert_int_equal(e.top1, 0);
    assert_int_equal(e.top5, 0);
    assert_int_equal(e.top1_among, 0);
    assert_true(isnan(e.loss));
    answer_always(&b, one);
    e = evaluate(&b, NULL);
    assert_int_equal(e.top1, 0); /* nothing is above what is no number */
    assert_true(isnan(e.loss));
    bench_close(&b);
}

static void batch_size_and_threads_change_no_count(void **state)
{
    (void)state;
    bench b;
    sv_evaluation first = { 0 };
    sv_pruning_plan plan = plan_of(SV_RULE_TOPK, 0.7, 0.4);
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, &plan, CLASSES, "p");
    for (size_t batch = BATCH; batch >= 1; batch--) {
        close_loader(&b);
        open_loader(&b, "p", batch);
        sv_threads_set(batch);
        for (int again = 0; again < 2; again++) { /* the loader begins anew */
            sv_evaluation e = evaluate(&b, NULL);
            e.seconds = 0;
            if (first.images == 0) first = e;
            assert_int_equal(e.images, PICTURES);
            assert_int_equal(e.top1, first.top1);
            assert_int_equal(e.top5, first.top5);
            assert_true(e.loss == first.loss && e.kept[0] == first.kept[0] && e.kept[1] == first.kept[1] && e.macs == first.macs);
        }
    }
    sv_threads_set(0);
    bench_close(&b);
}

static void kept_patches_are_told_with_their_mean_least_and_most(void **state)
{
    (void)state;
    bench b;
    sv_pruning_plan plan = plan_of(SV_RULE_TOPK, 0.7, 0.4);
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, &plan, CLASSES, "p");
    sv_evaluation e = evaluate(&b, NULL);
    assert_true(e.kept[0] == 11 && e.kept_least[0] == 11 && e.kept_most[0] == 11); /* floor(.7 * 16) of every picture */
    assert_true(e.kept[1] == 6 && e.kept_least[1] == 6 && e.kept_most[1] == 6);
    assert_true(e.macs == (double)sv_pruned_macs(b.model, &b.plan, (size_t[]){ 11, 6 }));
    bench_close(&b);
    plan = plan_of(SV_RULE_THRESHOLD, 0.7, 0.4);
    bench_open(&b, &plan, CLASSES, "p");
    b.plan.threshold[0] = 0.5, b.plan.threshold[1] = 0;
    sv_removal_set_plan(&b.removal, &b.plan);
    e = evaluate(&b, NULL);
    assert_true(e.kept_least[0] < e.kept_most[0] && (double)e.kept_least[0] <= e.kept[0] && e.kept[0] <= (double)e.kept_most[0]);
    assert_true(fabs(e.kept[0] * PICTURES - round(e.kept[0] * PICTURES)) < 1e-9);
    assert_true(e.kept[1] == e.kept[0] && e.kept_least[1] == e.kept_least[0]
                && e.kept_most[1] == e.kept_most[0]); /* a threshold of 0 drops nothing */
    bench_close(&b);
}

static void the_work_of_a_dense_model_is_that_of_one_picture(void **state)
{
    (void)state;
    bench b;
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, NULL, CLASSES, "p");
    sv_evaluation e = evaluate(&b, NULL);
    assert_true(e.macs == (double)sv_model_macs(b.model));
    assert_true(e.seconds > 0);
    bench_close(&b);
}

static void it_stops_after_as_many_pictures_as_asked(void **state)
{
    (void)state;
    bench b;
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, NULL, CLASSES, "p");
    assert_int_equal(evaluate(&b, &(sv_evaluate_options){ .pictures_most = 2 * BATCH }).images, 2 * BATCH);
    for (size_t most = 1; most <= PICTURES; most++) { /* not one more, whatever the batch */
        seen s = { 0 };
        sv_evaluation e = evaluate(&b, &(sv_evaluate_options){ .pictures_most = most, .sink = keep_logits, .sink_context = &s });
        assert_int_equal(e.images, most);
        assert_int_equal(s.count, most);
        assert_true(e.macs == (double)sv_model_macs(b.model));
    }
    assert_int_equal(evaluate(&b, &(sv_evaluate_options){ .pictures_most = 1000 }).images, PICTURES);
    assert_int_equal(evaluate(&b, &(sv_evaluate_options){ .pictures_most = 0 }).images, PICTURES);
    bench_close(&b);
}

static void unreadable_pictures_are_left_out_and_told(void **state)
{
    (void)state;
    bench b;
    seen s = { 0 };
    put_tree("p", FOLDERS, EACH);
    write_text(in_folder("p/classA/01.jpg"), "no picture");
    sv_log_set(log_keep, NULL, SV_WARNING);
    bench_open(&b, NULL, CLASSES, "p");
    sv_evaluation e = evaluate(&b, &(sv_evaluate_options){ .sink = keep_logits, .sink_context = &s });
    sv_log_set(NULL, NULL, SV_INFO);
    assert_int_equal(e.images, PICTURES - 1);
    assert_int_equal(e.bad_pictures, 1);
    for (size_t i = 0; i < s.count; i++) assert_int_equal(s.samples[i], i < 1 ? i : i + 1);
    bench_close(&b);
}

static void a_source_without_one_readable_picture_divides_by_nothing(void **state)
{
    (void)state;
    bench b;
    sv_error err = { 0 };
    sv_pruning_plan plan = plan_of(SV_RULE_TOPK, 0.7, 0.4);
    assert_ok(sv_folder_create(in_folder("p/classA"), &err), err);
    write_text(in_folder("p/classA/0.jpg"), "no picture");
    sv_log_set(log_keep, NULL, SV_WARNING);
    bench_open(&b, &plan, CLASSES, "p");
    sv_evaluation e = evaluate(&b, NULL);
    sv_log_set(NULL, NULL, SV_INFO);
    assert_true(e.images == 0 && e.bad_pictures == 1 && e.top1 == 0 && e.loss == 0 && e.macs == 0);
    assert_true(e.kept[0] == 0 && e.kept_least[0] == 0 && e.kept_most[0] == 0);
    bench_close(&b);
}

static void a_class_the_model_does_not_know_is_said_and_the_result_left_alone(void **state)
{
    (void)state;
    bench b;
    sv_error err = { 0 };
    sv_evaluation out = { .images = 99 };
    sv_memory memory = sv_memory_now();
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, NULL, 4, "p");
    assert_int_equal(sv_evaluate(&b.removal, b.loader, b.source, &(sv_evaluate_options){ 0 }, &out, &err), SV_DATA);
    assert_non_null(strstr(err.text, "a picture has class 4, but the model knows 4 classes"));
    assert_int_equal(out.images, 99);
    bench_close(&b);
    assert_int_equal(sv_memory_now().live, memory.live);
}

static void a_sink_that_fails_ends_it(void **state)
{
    (void)state;
    bench b;
    sv_error err = { 0 };
    seen s = { .fail_at = 6 };
    sv_evaluation out = { .images = 99 };
    put_tree("p", FOLDERS, EACH);
    bench_open(&b, NULL, CLASSES, "p");
    assert_int_equal(
        sv_evaluate(&b.removal, b.loader, b.source, &(sv_evaluate_options){ .sink = keep_logits, .sink_context = &s }, &out, &err),
        SV_FAULT);
    assert_string_equal(err.text, "no room for picture 5");
    assert_int_equal(s.count, 5);
    assert_int_equal(out.images, 99);
    sv_fault_set(SV_FAULT_ALLOC, 1, false);
    assert_int_equal(sv_evaluate(&b.removal, b.loader, b.source, &(sv_evaluate_options){ 0 }, &out, &err), SV_FAULT);
    bench_close(&b);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(counts_are_those_of_the_logits),
        WITH_FOLDER(ties_go_to_the_lower_index),
        WITH_FOLDER(among_the_classes_that_are_there_absent_ones_cannot_be_answered),
        WITH_FOLDER(the_loss_of_large_logits_does_not_overflow),
        WITH_FOLDER(logits_that_are_not_finite_are_right_about_nothing),
        WITH_FOLDER(batch_size_and_threads_change_no_count),
        WITH_FOLDER(kept_patches_are_told_with_their_mean_least_and_most),
        WITH_FOLDER(the_work_of_a_dense_model_is_that_of_one_picture),
        WITH_FOLDER(it_stops_after_as_many_pictures_as_asked),
        WITH_FOLDER(unreadable_pictures_are_left_out_and_told),
        WITH_FOLDER(a_source_without_one_readable_picture_divides_by_nothing),
        WITH_FOLDER(a_class_the_model_does_not_know_is_said_and_the_result_left_alone),
        WITH_FOLDER(a_sink_that_fails_ends_it),
    };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
