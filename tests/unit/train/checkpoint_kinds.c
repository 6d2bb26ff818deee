/* Checkpoints hold what their optimizer has, and are refused by the other optimizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/weights.h"
#include "kernels/kernels.h"
#include "train/checkpoint.h"

static char folder[] = "/tmp/sieve_checkpoint_XXXXXX", path[64];

static const sv_optimizer_options adamw = { .kind = SV_ADAMW, .decay = 0.05, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 };
static const sv_optimizer_options sgd = { .kind = SV_SGD, .decay = 1e-4, .momentum = 0.9 };

typedef struct run { sv_parameters *set; sv_optimizer *optimizer; sv_run_state state; } run;

static run begin(const sv_optimizer_options *options)
{
    run r = { .state = { .best = -1 } };
    sv_parameter *p = NULL;
    assert_int_equal(sv_parameters_create(&r.set, NULL), SV_OK);
    assert_int_equal(sv_parameters_add(r.set, &p, "blocks.0.mlp.fc1.weight", 2, (size_t[]){ 5, 7 }, NULL), SV_OK);
    assert_int_equal(sv_parameters_add(r.set, &p, "head.bias", 1, (size_t[]){ 5 }, NULL), SV_OK);
    assert_int_equal(sv_parameters_allocate(r.set, true, NULL), SV_OK);
    for (size_t i = 0; i < r.set->total; i++) r.set->values[i] = (sv_real)i, r.set->gradients[i] = (sv_real)(1 + i % 3);
    assert_int_equal(sv_optimizer_create(&r.optimizer, r.set, options, NULL, NULL), SV_OK);
    return r;
}

static void end(run *r)
{
    sv_optimizer_destroy(r->optimizer);
    sv_parameters_destroy(r->set);
}

static sv_status save(run *r)
{
    const sv_checkpoint checkpoint = { .set = r->set, .optimizer = r->optimizer, .state = &r->state };
    return sv_checkpoint_write(&checkpoint, path, NULL);
}

static sv_status load(run *r, sv_error *err)
{
    sv_checkpoint checkpoint = { .set = r->set, .optimizer = r->optimizer, .state = &r->state };
    return sv_checkpoint_read(&checkpoint, path, err);
}

static const double rates[SV_GROUP_COUNT] = { 1e-2, 1e-2, 0, 1e-3 };

/* A step, a checkpoint, another step; then that step again from the checkpoint. */
static void goes_on_to_the_same_bytes(const sv_optimizer_options *options)
{
    run one = begin(options), other = begin(options);
    sv_optimizer_step(one.optimizer, rates, 1);
    assert_int_equal(save(&one), SV_OK);
    sv_optimizer_step(one.optimizer, rates, 1);
    assert_int_equal(load(&other, NULL), SV_OK);
    sv_optimizer_step(other.optimizer, rates, 1);
    assert_memory_equal(one.set->values, other.set->values, one.set->total * sizeof(sv_real));
    end(&one);
    end(&other);
}

static void adamw_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    goes_on_to_the_same_bytes(&adamw);
}

static void sgd_goes_on_to_the_same_bytes_without_a_second_moment(void **state)
{
    sv_weights *file = NULL;
    (void)state;
    goes_on_to_the_same_bytes(&sgd);
    assert_int_equal(sv_weights_open(&file, path, NULL), SV_OK);
    assert_non_null(sv_weights_find(file, "optim.first.head.bias"));
    assert_null(sv_weights_find(file, "optim.second.head.bias"));
    sv_weights_close(file);
}

static void refused(const sv_optimizer_options *written, const sv_optimizer_options *wanted, const char *text)
{
    run one = begin(written), other = begin(wanted);
    sv_error err;
    one.state.step = 7;
    assert_int_equal(save(&one), SV_OK);
    assert_int_equal(load(&other, &err), SV_MODEL_FILE);
    assert_non_null(strstr(err.text, text));
    assert_int_equal(other.state.step, 0);
    end(&one);
    end(&other);
}

static void a_checkpoint_of_the_other_optimizer_is_refused(void **state)
{
    (void)state;
    refused(&sgd, &adamw, "set train.optimizer = sgd to go on");
    refused(&adamw, &sgd, "set train.optimizer = adamw to go on");
}

/* Whoever skips moments counts the backbone's steps apart; a resumed run goes on counting. */
static void skipped_steps_of_the_backbone_are_kept(void **state)
{
    sv_optimizer_options options = adamw;
    const double frozen[SV_GROUP_COUNT] = { 1e-2, 1e-2, 0, 0 };
    (void)state;
    options.skip_frozen = true;
    run one = begin(&options), other = begin(&options);
    sv_optimizer_step(one.optimizer, frozen, 1);
    sv_optimizer_step(one.optimizer, rates, 1);
    assert_int_equal(save(&one), SV_OK);
    assert_int_equal(load(&other, NULL), SV_OK);
    assert_int_equal(other.optimizer->t, 2);
    assert_int_equal(other.optimizer->t_backbone, 1);
    end(&one);
    end(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_goes_on_to_the_same_bytes),
        cmocka_unit_test(sgd_goes_on_to_the_same_bytes_without_a_second_moment),
        cmocka_unit_test(a_checkpoint_of_the_other_optimizer_is_refused),
        cmocka_unit_test(skipped_steps_of_the_backbone_are_kept),
    };
    sv_kernels_init();
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/last.safetensors", folder);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    rmdir(folder);
    return failed;
}
