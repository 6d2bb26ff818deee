/* train/ranks.c: a rank whose weights, moments, averages or state slipped by one bit is named by all. (What ranks do in a run: tests/cli/ranks.sh.) */
#include "tests/unit/base/test_base.h"

#include "train/ranks.h"

typedef struct state_of {
    sv_model model;
    sv_session session;
} state_of;

static void open_state(state_of *s)
{
    sv_error err = { 0 };
    sv_parameter *weight;
    const sv_optimizer_options options = { .kind = SV_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 };
    memset(s, 0, sizeof *s);
    assert_ok(sv_parameters_create(&s->model.parameters, &err), err);
    assert_ok(sv_parameters_add(s->model.parameters, &weight, "weight", 2, (size_t[]){ 30, 50 }, &err), err);
    assert_ok(sv_parameters_allocate(s->model.parameters, true, &err), err);
    assert_ok(sv_optimizer_create(&s->session.optimizer, s->model.parameters, &options, NULL, &err), err);
    assert_ok(sv_alloc_zero(&s->session.ema, s->model.parameters->total * sizeof(sv_real), "test", &err), err);
    s->session.model = &s->model;
    s->session.state.step = 7;
}

static void close_state(state_of *s)
{
    sv_free(s->session.ema);
    sv_optimizer_destroy(s->session.optimizer);
    sv_parameters_destroy(s->model.parameters);
}

/* Rank 2 slips in `what`; then every rank must say so. 4: nothing slips. */
static sv_status slip(state_of *s, int what, sv_error *err)
{
    char expected[] = "after step 7 the weights of rank 2 are no longer those of rank 0";
    unsigned char *blocks[] = { (unsigned char *)(s->model.parameters->values + 1499),
                                (unsigned char *)s->session.optimizer->first,
                                (unsigned char *)(s->session.optimizer->second + 700),
                                (unsigned char *)(s->session.ema + 3),
                                NULL,
                                NULL };
    sv_status status = sv_ranks_check(&s->session, err);
    if (status) return status;
    if (what == 5 && sv_comm_rank(s->session.comm) == 2) s->session.state.skipped_steps++;
    if (blocks[what] && sv_comm_rank(s->session.comm) == 2) *blocks[what] ^= 1;
    status = sv_ranks_check(&s->session, err);
    if (what == 4) return status;
    if (status != SV_FAULT || !strstr(err->text, expected))
        return sv_fail(err, SV_USAGE, "rank %zu did not see the slip %d", sv_comm_rank(s->session.comm), what);
    return sv_comm_barrier(s->session.comm, err);
}

static void one_bit_that_slipped_is_found_and_its_rank_named(void **state)
{
    (void)state;
    for (int what = 0; what <= 5; what++) {
        state_of s;
        sv_error err = { 0 };
        open_state(&s);
        assert_ok(sv_comm_fork(&s.session.comm, 4, 20, &err), err);
        sv_status status = slip(&s, what, &err);
        const bool child = sv_comm_rank(s.session.comm) > 0;
        if (status) sv_comm_give_up(s.session.comm, &err);
        sv_comm_close(s.session.comm);
        if (child) _exit(status);
        close_state(&s);
        assert_ok(status, err);
    }
}

static void one_process_has_nobody_to_differ_from(void **state)
{
    (void)state;
    state_of s;
    sv_error err = { 0 };
    bool stop = true, save = false;
    open_state(&s);
    assert_ok(sv_ranks_check(&s.session, &err), err);
    assert_ok(sv_ranks_meet(&s.session, &stop, &save, &err), err);
    assert_ok(sv_ranks_share(&s.session, &err), err);
    assert_true(stop);
    close_state(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_bit_that_slipped_is_found_and_its_rank_named),
        cmocka_unit_test(one_process_has_nobody_to_differ_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
