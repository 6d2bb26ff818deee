/* PiT, ConvNeXt, Swin and LV-ViT at small sizes against PyTorch in double: logits, loss, all gradients, the names and number of parameters.
 * Needs data/backbones.txt alone; it is made by data/make_backbones.py. */
#include "test_hashed.h"

typedef struct backbone_case {
    const char *name, *backbone;
    size_t image;
    bool distilled;
} backbone_case;
static const backbone_case cases[] = {
    { "pit_test", "pit_test", 16, false },           { "pit_test_distilled", "pit_test", 16, true },
    { "convnext_test", "convnext_test", 32, false }, { "swin_test", "swin_test", 32, false },
    { "lvvit_test", "lvvit_test", 32, false },
};

static void fill_batch(const sv_tape *tape, const sv_tensor *picture, const sv_tensor *target, size_t numbers)
{
    char name[16];
    for (size_t b = 0; b < IMAGES; b++) {
        snprintf(name, sizeof name, "picture%zu", b);
        for (size_t k = 0; k < numbers; k++) sv_tape_data(tape, picture, b)[k] = (sv_real)both("", name, k);
        for (size_t k = 0; k < CLASSES; k++) sv_tape_data(tape, target, b)[k] = (sv_real)(0.1 / CLASSES + (k == b % CLASSES ? 0.9 : 0));
    }
}

static void hold_parameters(const backbone_case *c, const sv_model *model)
{
    double want[2];
    size_t trained = 0;
    for (size_t i = 0; i < model->parameters->count; i++) trained += !model->parameters->items[i]->fixed;
    golden_numbers(c->name, "parameters", want, 2);
    assert_int_equal(trained, (size_t)want[0]);
    assert_int_equal(sv_model_parameter_count(model), (size_t)want[1]);
}

static void step_equals(const backbone_case *c)
{
    const sv_model_options sizes = { .image = c->image, .classes = CLASSES, .distilled = c->distilled };
    const sv_tape_options options = { .mode = SV_TRAINING, .images_most = IMAGES, .lanes = 2 };
    const size_t numbers = 3 * c->image * c->image;
    worst forward = { .kind = "forward" }, gradients = { .kind = "gradients" };
    sv_model *model = NULL;
    sv_tape *tape = NULL;
    sv_step step = { .images = IMAGES };
    sv_error err = { 0 };
    if (sv_model_create(&model, c->backbone, &sizes, &err) || sv_model_allocate(model, true, &err) || sv_tape_create(&tape, &options, &err))
        fail_msg("%s: %s", c->name, err.text);
    hold_parameters(c, model);
    fill_weights(model, "");
    sv_tensor *picture = sv_tape_input(tape, "picture", SV_REAL, 1, numbers, false),
              *target = sv_tape_input(tape, "target", SV_REAL, 1, CLASSES, false);
    sv_tensor *logits = sv_model_record_dense(tape, model, picture);
    sv_tensor *loss = sv_tape_batch_mean(tape, sv_tape_cross_entropy(tape, logits, target));
    sv_tape_keep(tape, logits);
    sv_tape_keep(tape, loss);
    if (sv_tape_finish(tape, loss, &err)) fail_msg("%s: %s", c->name, err.text);
    fill_batch(tape, picture, target, numbers);
    if (sv_tape_forward(tape, &step, &err)) fail_msg("%s: %s", c->name, err.text);
    sv_tape_backward(tape, 1);
    assert_int_equal(sv_tape_macs(tape), IMAGES * sv_model_macs(model)); /* what ops count is what the family's formula says */
    hold_logits(c->name, &forward, "logits", tape, logits);
    hold_scalar(c->name, &forward, "loss", tape, loss);
    hold_all_gradients(c->name, model->parameters, &gradients);
    print_message("%s: forward %.1e (%s), gradients %.1e (%s)\n", c->name, forward.off, forward.where, gradients.off, gradients.where);
    assert_true(forward.off <= bound);
    assert_true(gradients.off <= gradient_bound);
    sv_tape_destroy(tape);
    sv_model_destroy(model);
}

static void steps_equal_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < SV_COUNT(cases); i++) step_equals(&cases[i]);
}

static int name_lines(void **state)
{
    *state = (void *)(uintptr_t)"tests/golden/data/backbones.txt";
    return read_lines(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(steps_equal_pytorch) };
    sv_kernels_init();
    return cmocka_run_group_tests(tests, name_lines, free_lines);
}
