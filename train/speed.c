/* Timing of steps and inferences. Selectors start at the target ratios, so that what is dropped is what is meant. */
#include "train/speed.h"
#include "latency/measure.h"
#include "pruning/pruning.h"
#include "train/optimizer.h"

static const double ratios[] = { 0.7, 0.49, 0.343 };

typedef struct subject {
    sv_model *student, *teacher;
    sv_pruning *pruning;
    sv_training_tape training;
    sv_removal_tape removal;
    sv_optimizer *optimizer;
    sv_pruning_options options;
} subject;

static void fill(sv_tape *tape, const sv_tensor *tensor, size_t images)
{
    for (size_t b = 0; b < images; b++) {
        sv_random random = sv_random_at(3, SV_FOR_TEST, 0, b, 0);
        sv_real *data = sv_tape_data(tape, tensor, b);
        for (size_t i = 0; i < sv_tensor_width(tensor); i++) data[i] = (sv_real)(2 * sv_random_uniform(&random) - 1);
    }
}

static sv_status open_model(subject *s, const sv_speed_request *request, bool selectors, bool gradients, sv_error *err)
{
    s->options = (sv_pruning_options){ .mask_clamp = 30, .tau = 1, .keep_bias = true, .ratio_weight = 2, .kl_weight = 0.5, .token_weight = 0.5,
                                       .plan = { .rule = SV_RULE_TOPK, .min_keep = 1, .stages = selectors ? SV_COUNT(ratios) : 0 } };
    const sv_model_options sizes = { .image = request->image };
    sv_status status = sv_model_create(&s->student, request->backbone, &sizes, err);
    if (!status) s->student->options.precision = request->precision, s->student->options.recompute = request->recompute;
    for (size_t t = 0; !status && t < s->options.plan.stages; t++) s->options.plan.at[t] = (t + 1) * sv_model_depth(s->student) / 4; /* 3, 6, 9 of 12 */
    if (!status) sv_plan_fit(&s->options.plan, s->student), sv_plan_set_keep(&s->options.plan, ratios);
    if (!status) status = sv_pruning_create(&s->pruning, s->student, &s->options, err);
    if (!status) status = sv_model_allocate(s->student, gradients, err);
    if (status) return status;
    sv_model_initialise(s->student, 1);
    sv_pruning_initialise(s->pruning, 1);
    return SV_OK;
}

static sv_status open_training(subject *s, const sv_speed_request *request, bool selectors, sv_error *err)
{
    const size_t batch = request->batch;
    const sv_model_options sizes = { .image = request->image };
    sv_training_choice choice = { .images = batch };
    sv_optimizer_options options = { .decay = 0.05, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .all_new = true };
    sv_status status = open_model(s, request, selectors, true, err);
    if (!status && selectors) status = sv_model_create(&s->teacher, request->backbone, &sizes, err);
    if (!status && selectors) status = sv_model_allocate(s->teacher, false, err);
    if (!status && selectors) sv_model_initialise(s->teacher, 2);
    if (!status) status = sv_optimizer_create(&s->optimizer, s->student->parameters, &options, NULL, err);
    if (!status) status = sv_training_record(&s->training, s->pruning, s->teacher, &choice, err);
    if (status) return status;
    fill(s->training.tape, s->training.picture, batch);
    for (size_t b = 0; b < batch; b++) sv_tape_data(s->training.tape, s->training.target, b)[b % s->student->options.classes] = 1;
    sv_training_set_goals(&s->training, &s->options, ratios, NULL, 0);
    return SV_OK;
}

static sv_status train_once(subject *s, const sv_step *step, sv_error *err)
{
    double rates[SV_GROUP_COUNT] = { 1e-4, 1e-4, 0, 1e-4 };
    sv_parameters_zero_gradients(s->student->parameters);
    sv_status status = sv_tape_forward(s->training.tape, step, err);
    if (status) return status;
    sv_tape_backward(s->training.tape, 1);
    sv_optimizer_step(s->optimizer, rates, 1);
    return SV_OK;
}

/* The timed part: the first runs touch all memory, and are not counted. */
static sv_status time_runs(subject *s, const sv_speed_request *request, bool training, double *times, sv_error *err)
{
    const size_t warm_up = training ? 2 : 5;
    sv_tape *tape = training ? s->training.tape : s->removal.tape;
    sv_step step = { .images = request->batch, .seed = 1 };
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < warm_up + request->runs; i++) {
        if (i == warm_up && request->profile) status = sv_tape_profile(tape, true, err);
        const double begin = sv_now_seconds();
        step.epoch = (uint32_t)i;
        if (!status) status = training ? train_once(s, &step, err) : sv_tape_forward(tape, &step, err);
        if (i >= warm_up) times[i - warm_up] = 1e3 * (sv_now_seconds() - begin);
    }
    return status;
}

static sv_status show_profile(const sv_tape *tape, const double *times, size_t runs, sv_text *text, sv_error *err)
{
    sv_profile profile;
    double all = 0;
    for (size_t i = 0; i < runs; i++) all += times[i] * 1e-3;
    const sv_status status = sv_tape_profile_read(tape, &profile, err);
    if (!status) sv_profile_print(text, &profile, "(optimizer)", all - profile.wall_seconds);
    sv_free(profile.rows);
    return status;
}

sv_status sv_speed_measure(const sv_speed_request *request, sv_speed *out, sv_error *err)
{
    subject s = { 0 };
    const bool training = request->kind == SV_SPEED_DENSE_TRAIN || request->kind == SV_SPEED_SPVIT_TRAIN;
    const bool selectors = request->kind == SV_SPEED_SPVIT_TRAIN || request->kind == SV_SPEED_INFER_PRUNED;
    double *times = NULL;
    sv_status status = sv_alloc(&times, request->runs * sizeof *times, "bench", err);
    if (!status && training) status = open_training(&s, request, selectors, err);
    if (!status && !training) status = open_model(&s, request, selectors, false, err);
    if (!status && !training) status = sv_removal_record(&s.removal, s.pruning, &s.options.plan, request->batch, err);
    if (!status && !training) fill(s.removal.tape, s.removal.picture, request->batch);
    if (!status) status = time_runs(&s, request, training, times, err);
    if (!status && request->profile) status = show_profile(training ? s.training.tape : s.removal.tape, times, request->runs, request->profile, err);
    if (!status) {
        sv_measured measured = sv_measured_from(times, request->runs);
        double macs = training ? (double)request->batch * (double)sv_training_macs(s.student, &s.options.plan, s.options.plan.count, s.teacher)
                               : (double)sv_tape_macs(s.removal.tape);
        *out = (sv_speed){ measured.median_ms * 1e-3, measured.least_ms * 1e-3, macs };
    }
    sv_free(times);
    sv_training_clear(&s.training);
    sv_removal_clear(&s.removal);
    sv_optimizer_destroy(s.optimizer);
    sv_pruning_destroy(s.pruning);
    sv_model_destroy(s.student);
    sv_model_destroy(s.teacher);
    return status;
}
