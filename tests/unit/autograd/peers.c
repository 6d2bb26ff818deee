/* autograd/peers.c: a batch shared out to ranks gives, on each of them, the bytes of one process: loss, numbers of the batch, kept tensors, gradients
 * of two batches added up; for uneven lanes, and with losses over the whole batch. */
#include "tests/unit/base/test_base.h"

#include "autograd/ops.h"
#include "comm/comm.h"
#include "kernels/kernels.h"

#include <math.h>

enum { IMAGES = 11, LANES = 5, ROWS = 3, WIDTH = 17, CLASSES = 6 };

typedef struct small {
    sv_parameters *set;
    sv_tape *tape;
    sv_tensor *x, *target, *goal, *hidden, *share, *loss;
} small;

static void record(small *s, size_t images, bool bf16)
{
    sv_error err = { 0 };
    sv_parameter *w1, *w2, *bias, *head;
    assert_ok(sv_parameters_create(&s->set, &err), err);
    assert_ok(sv_parameters_add(s->set, &w1, "w1", 2, (size_t[]){ 33, WIDTH }, &err), err);
    assert_ok(sv_parameters_add(s->set, &bias, "bias", 1, (size_t[]){ 33 }, &err), err);
    assert_ok(sv_parameters_add(s->set, &w2, "w2", 2, (size_t[]){ CLASSES, 33 }, &err), err);
    assert_ok(sv_parameters_add(s->set, &head, "head", 2, (size_t[]){ 1, 33 }, &err), err);
    assert_ok(sv_parameters_allocate(s->set, true, &err), err);
    sv_random random = sv_random_at(1, SV_FOR_TEST, 0, 0, 0);
    for (size_t i = 0; i < s->set->total; i++) s->set->values[i] = (sv_real)(0.3 * sv_random_normal(&random));
    sv_parameters_changed(s->set);
    assert_ok(sv_tape_create(&s->tape, &(sv_tape_options){ .mode = SV_TRAINING, .images_most = images, .lanes = LANES, .lanes_bf16 = bf16 }, &err), err);
    s->x = sv_tape_input(s->tape, "x", SV_REAL, ROWS, WIDTH, false);
    s->target = sv_tape_input(s->tape, "target", SV_REAL, 1, CLASSES, false);
    s->goal = sv_tape_batch_input(s->tape, "goal", 3);
    s->hidden = sv_tape_linear_gelu(s->tape, s->x, sv_tape_parameter(s->tape, w1), sv_tape_parameter(s->tape, bias));
    sv_tape_cut(s->tape);
    sv_tensor *first = sv_tape_slice_rows(s->tape, s->hidden, 0, 1), *second = sv_tape_slice_rows(s->tape, s->hidden, 1, 1);
    sv_tensor *ce = sv_tape_cross_entropy(s->tape, sv_tape_linear(s->tape, first, sv_tape_parameter(s->tape, w2), NULL), s->target);
    s->share = sv_tape_sigmoid(s->tape, sv_tape_linear(s->tape, second, sv_tape_parameter(s->tape, head), NULL));
    sv_tape_keep(s->tape, s->share);
    sv_tape_keep(s->tape, s->hidden);
    sv_tensor *terms[] = { sv_tape_batch_mean(s->tape, ce), sv_tape_ratio_loss(s->tape, s->share, s->goal, false) };
    s->loss = sv_tape_weighted_sum(s->tape, terms, 2, (double[]){ 1, 0.7 });
    assert_ok(sv_tape_finish(s->tape, s->loss, &err), err);
}

static void fill(const small *s, size_t first, size_t end, uint64_t batch)
{
    const sv_real goal[] = { (sv_real)0.4, (sv_real)0.1, 2 };
    memcpy(sv_tape_data(s->tape, s->goal, 0), goal, sizeof goal);
    for (size_t b = first; b < end; b++) {
        sv_random random = sv_random_at(2, SV_FOR_TEST, (uint32_t)batch, b, 0);
        for (size_t i = 0; i < ROWS * WIDTH; i++) sv_tape_data(s->tape, s->x, b)[i] = (sv_real)sv_random_normal(&random);
        for (size_t k = 0; k < CLASSES; k++) sv_tape_data(s->tape, s->target, b)[k] = k == b % CLASSES;
    }
}

/* Everything a run leaves behind, as one hash. */
static sv_status run(const small *s, size_t first, size_t end, uint64_t *hash, sv_error *err)
{
    sv_parameters_zero_gradients(s->set);
    for (uint64_t batch = 0; batch < 2; batch++) {
        fill(s, first, end, batch);
        sv_status status = sv_tape_forward(s->tape, &(sv_step){ .images = IMAGES }, err);
        if (status) return status;
        sv_tape_backward(s->tape, 0.5);
        status = sv_tape_peers_check(s->tape, err);
        if (status) return status;
        *hash = sv_hash(*hash, sv_tape_data(s->tape, s->loss, 0), sizeof(sv_real));
        for (size_t b = 0; b < IMAGES; b++) {
            *hash = sv_hash(*hash, sv_tape_data(s->tape, s->share, b), sizeof(sv_real));
            *hash = sv_hash(*hash, sv_tape_data(s->tape, s->hidden, b), ROWS * 33 * sizeof(sv_real));
        }
    }
    *hash = sv_hash(*hash, s->set->gradients, s->set->total * sizeof(sv_real));
    return SV_OK;
}

static void clear(small *s)
{
    sv_tape_destroy(s->tape);
    sv_parameters_destroy(s->set);
}

static sv_status gather(void *context, void *base, size_t stride, size_t bytes, const size_t *first, bool to_all, sv_error *err)
{
    return sv_comm_gather(context, base, stride, bytes, first, to_all, err);
}
static sv_status trade(void *context, const sv_peer_items *out, const sv_peer_items *in, sv_error *err)
{
    sv_comm_items gives[LANES], gets[LANES];
    for (size_t r = 0; r < sv_comm_ranks(context); r++) {
        gives[r] = (sv_comm_items){ out[r].base, out[r].stride, out[r].bytes, out[r].count };
        gets[r] = (sv_comm_items){ in[r].base, in[r].stride, in[r].bytes, in[r].count };
    }
    return sv_comm_trade(context, gives, gets, err);
}

static sv_status run_as_rank(sv_comm *comm, bool bf16, uint64_t expected, sv_error *err)
{
    small s;
    uint64_t hash = 0;
    const size_t rank = sv_comm_rank(comm), ranks = sv_comm_ranks(comm);
    record(&s, IMAGES, bf16);
    sv_status status = sv_comm_mesh(comm, err);
    if (!status) status = sv_tape_set_peers(s.tape, &(sv_tape_peers){ rank, ranks, comm, gather, trade }, err);
    if (!status)
        status = run(&s, sv_tape_rank_first(IMAGES, LANES, ranks, rank), sv_tape_rank_first(IMAGES, LANES, ranks, rank + 1), &hash, err);
    if (!status && hash != expected) status = sv_fail(err, SV_FAULT, "rank %zu of %zu has other bytes than one process", rank, ranks);
    clear(&s);
    return status ? status : sv_comm_barrier(comm, err);
}

static uint64_t bytes_of_one_process(bool bf16)
{
    small alone;
    sv_error err = { 0 };
    uint64_t hash = 0;
    record(&alone, IMAGES, bf16);
    assert_ok(run(&alone, 0, IMAGES, &hash, &err), err);
    clear(&alone);
    return hash;
}

static void as_many_ranks(bool bf16)
{
    const uint64_t expected = bytes_of_one_process(bf16);
    for (size_t ranks = 1; ranks <= LANES; ranks++) {
        sv_comm *comm = NULL;
        sv_error err = { 0 };
        assert_ok(sv_comm_fork(&comm, ranks, 20, &err), err);
        sv_status status = run_as_rank(comm, bf16, expected, &err);
        const bool child = sv_comm_rank(comm) > 0;
        if (status) sv_comm_give_up(comm, &err);
        sv_comm_close(comm);
        if (child) _exit(status);
        assert_ok(status, err);
    }
}

static void every_rank_has_the_bytes_of_one_process(void **state)
{
    (void)state;
    as_many_ranks(false);
}

static void rounded_sums_do_not_depend_on_ranks_either(void **state)
{
    (void)state;
    assert_true(bytes_of_one_process(true) != bytes_of_one_process(false));
    as_many_ranks(true);
}

/* Each lane's sum is off by 2^-9 of itself at most, their sum by another 2^-9. */
static void rounded_sums_are_off_by_two_roundings_at_most(void **state)
{
    (void)state;
    small exact, rounded;
    sv_error err = { 0 };
    record(&exact, IMAGES, false);
    record(&rounded, IMAGES, true);
    const small *both[] = { &exact, &rounded };
    for (int i = 0; i < 2; i++) {
        sv_parameters_zero_gradients(both[i]->set);
        fill(both[i], 0, IMAGES, 0);
        assert_ok(sv_tape_forward(both[i]->tape, &(sv_step){ .images = IMAGES }, &err), err);
        sv_tape_backward(both[i]->tape, 1);
    }
    double off = 0, all = 0;
    for (size_t i = 0; i < exact.set->total; i++) {
        off += fabs((double)rounded.set->gradients[i] - (double)exact.set->gradients[i]);
        all += fabs((double)exact.set->gradients[i]);
    }
    assert_true(off > 0 && off / all < 4.0 / 512); /* lanes may cancel, which makes their errors weigh more: 2 x 2^-9 without */
    clear(&exact);
    clear(&rounded);
}

static void a_rank_without_a_lane_or_picture_is_refused(void **state)
{
    (void)state;
    small s;
    sv_error err = { 0 };
    record(&s, IMAGES, false);
    assert_int_equal(sv_tape_set_peers(s.tape, &(sv_tape_peers){ 0, LANES + 1, NULL, gather, trade }, &err), SV_USAGE);
    clear(&s);
    record(&s, 2, false);
    assert_int_equal(sv_tape_set_peers(s.tape, &(sv_tape_peers){ 0, 3, NULL, gather, trade }, &err), SV_USAGE);
    clear(&s);
}

static sv_status refuse(void *context, void *base, size_t stride, size_t bytes, const size_t *first, bool to_all, sv_error *err)
{
    size_t *left = context;
    (void)base, (void)stride, (void)bytes, (void)first, (void)to_all;
    return (*left)-- ? SV_OK : sv_fail(err, SV_INTERRUPTED, "gone");
}

static sv_status keep_still(void *context, const sv_peer_items *out, const sv_peer_items *in, sv_error *err)
{
    (void)out, (void)in;
    return refuse(context, NULL, 0, 0, NULL, false, err);
}

/* Whichever exchange fails, forward or the check behind backward says so. */
static void peers_that_are_gone_are_said_wherever_it_happens(void **state)
{
    (void)state;
    bool survived = false;
    for (size_t at = 0; at < 40 && !survived; at++) {
        small s;
        size_t left = at;
        sv_error err = { 0 };
        record(&s, IMAGES, false);
        assert_ok(sv_tape_set_peers(s.tape, &(sv_tape_peers){ 0, 2, &left, refuse, keep_still }, &err), err);
        sv_status status = sv_tape_forward(s.tape, &(sv_step){ .images = IMAGES }, &err);
        if (!status) {
            sv_tape_backward(s.tape, 1);
            status = sv_tape_peers_check(s.tape, &err);
        }
        survived = status == SV_OK;
        if (!survived) assert_int_equal(status, SV_INTERRUPTED);
        clear(&s);
    }
    assert_true(survived);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_has_the_bytes_of_one_process),
        cmocka_unit_test(rounded_sums_do_not_depend_on_ranks_either),
        cmocka_unit_test(rounded_sums_are_off_by_two_roundings_at_most),
        cmocka_unit_test(a_rank_without_a_lane_or_picture_is_refused),
        cmocka_unit_test(peers_that_are_gone_are_said_wherever_it_happens),
    };
    sv_kernels_init();
    sv_threads_set(1); /* forks must come before threads */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
