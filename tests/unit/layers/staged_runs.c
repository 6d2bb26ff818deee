/* Models of the other families at small sizes: the same bits on any number of threads, one picture split by rows as in a batch, insides
 * kept or made again, and whether rows on their way into windows are bf16 or f32 in memory, in every precision. */
#include "tests/unit/base/test_base.h"

#include "autograd/ops.h"
#include "kernels/kernels.h"
#include "layers/layers.h"

enum { IMAGES = 3, CLASSES = 7 };

typedef struct subject {
    sv_model *model;
    sv_tape *tape;
    sv_tensor *picture, *logits;
    size_t numbers;
} subject;

static subject subject_of(const char *backbone, sv_mode mode, sv_precision precision, bool recompute)
{
    const sv_model_options sizes = { .classes = CLASSES };
    const sv_tape_options options = { .mode = mode, .images_most = IMAGES, .lanes = 2, .precision = precision, .recompute = recompute };
    subject s = { 0 };
    sv_error err = { 0 };
    sv_tensor *loss = NULL;
    assert_ok(sv_model_create(&s.model, backbone, &sizes, &err), err);
    assert_ok(sv_model_allocate(s.model, mode == SV_TRAINING, &err), err);
    sv_model_initialise(s.model, 7);
    assert_ok(sv_tape_create(&s.tape, &options, &err), err);
    s.numbers = 3 * s.model->options.image * s.model->options.image;
    s.picture = sv_tape_input(s.tape, "picture", SV_REAL, 1, s.numbers, false);
    s.logits = sv_model_record_dense(s.tape, s.model, s.picture);
    sv_tape_keep(s.tape, s.logits);
    if (mode == SV_TRAINING) {
        sv_tensor *target = sv_tape_input(s.tape, "target", SV_REAL, 1, CLASSES, false);
        loss = sv_tape_batch_mean(s.tape, sv_tape_cross_entropy(s.tape, s.logits, target));
        assert_ok(sv_tape_finish(s.tape, loss, &err), err);
        for (size_t b = 0; b < IMAGES; b++) sv_tape_data(s.tape, target, b)[b] = 1;
    } else
        assert_ok(sv_tape_finish(s.tape, NULL, &err), err);
    return s;
}

/* Pictures first .. first + count - 1 of the three. */
static void run(subject *s, size_t first, size_t count, size_t threads)
{
    sv_error err = { 0 };
    sv_threads_set(threads);
    for (size_t b = 0; b < count; b++) {
        sv_random random = sv_random_at(3, SV_FOR_TEST, (uint32_t)(first + b), 0, 0);
        for (size_t i = 0; i < s->numbers; i++) sv_tape_data(s->tape, s->picture, b)[i] = (sv_real)sv_random_normal(&random);
    }
    assert_ok(sv_tape_forward(s->tape, &(sv_step){ .images = count }, &err), err);
}

static void destroy(subject *s)
{
    sv_tape_destroy(s->tape);
    sv_model_destroy(s->model);
}

static void split_by_rows_equals_a_batch(const char *backbone, sv_precision precision)
{
    subject together = subject_of(backbone, SV_INFERENCE, precision, false), alone = subject_of(backbone, SV_INFERENCE, precision, false);
    run(&together, 0, IMAGES, 1);
    for (size_t threads = 1; threads <= 3; threads++)
        for (size_t b = 0; b < IMAGES; b++) {
            run(&alone, b, 1, threads);
            assert_memory_equal(sv_tape_data(alone.tape, alone.logits, 0), sv_tape_data(together.tape, together.logits, b),
                                CLASSES * sizeof(sv_real));
        }
    destroy(&alone);
    destroy(&together);
}

/* In training what attention gives is f32 in memory, in inference it may be bf16. */
static void training_equals_inference_and_itself(const char *backbone, sv_precision precision)
{
    subject first = subject_of(backbone, SV_TRAINING, precision, false), again = subject_of(backbone, SV_TRAINING, precision, true);
    subject inference = subject_of(backbone, SV_INFERENCE, precision, false);
    const size_t bytes = CLASSES * sizeof(sv_real);
    run(&first, 0, IMAGES, 1);
    sv_tape_backward(first.tape, 1);
    run(&again, 0, IMAGES, 3);
    sv_tape_backward(again.tape, 1);
    run(&inference, 0, IMAGES, 2);
    for (size_t b = 0; b < IMAGES; b++) {
        assert_memory_equal(sv_tape_data(first.tape, first.logits, b), sv_tape_data(again.tape, again.logits, b), bytes);
        assert_memory_equal(sv_tape_data(first.tape, first.logits, b), sv_tape_data(inference.tape, inference.logits, b), bytes);
    }
    const sv_parameters *one = first.model->parameters, *other = again.model->parameters;
    assert_memory_equal(one->gradients, other->gradients, one->total * sizeof(sv_real));
    destroy(&inference);
    destroy(&again);
    destroy(&first);
}

static void the_same_bits_however_it_runs(void **state)
{
    static const char *const backbones[] = { "swin_test", "swin_nano", "convnext_test", "convnext_nano", "pit_test", "lvvit_test" };
    (void)state;
    for (size_t i = 0; i < SV_COUNT(backbones); i++)
        for (sv_precision precision = 0; precision < SV_PRECISION_COUNT; precision++) {
            split_by_rows_equals_a_batch(backbones[i], precision);
            training_equals_inference_and_itself(backbones[i], precision);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_same_bits_however_it_runs) };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
