/* Kernels that are no products, timed. */
#include "kernels/speed.h"

#include <stdio.h>

/* A kernel at work on thread t's own part of the sv_speed_room; tokens: of an image of DeiT-T. */
typedef struct task {
    const char *name;
    void (*run)(sv_speed_room *r, size_t t, size_t tokens);
    double (*flops)(double tokens);
    size_t width;
} task;
enum { HEADS = 3, HEAD = 64, DIM = 192, STRIPE = 197 * 768 };

static sv_attention attention_of(sv_speed_room *r, size_t t, size_t tokens)
{
    sv_real *out = r->z + t * STRIPE, *log_sum = out + 197 * DIM;
    return (sv_attention){ .rows = tokens,
                           .live = tokens,
                           .heads = HEADS,
                           .width = HEAD,
                           .qkv = r->x + t * STRIPE,
                           .qkv_stride = 3 * DIM,
                           .out = out,
                           .out_stride = DIM,
                           .log_sum = log_sum,
                           .top = log_sum + HEADS * 197,
                           .scratch = r->scratch[t],
                           .parts = r->parts };
}
static void do_attention(sv_speed_room *r, size_t t, size_t tokens)
{
    const sv_attention a = attention_of(r, t, tokens);
    sv_attention_forward(&a, 0, tokens);
}
static void do_attention_backward(sv_speed_room *r, size_t t, size_t tokens)
{
    const sv_attention a = attention_of(r, t, tokens);
    sv_attention_backward(&a, r->w, DIM, r->y + t * STRIPE, 3 * DIM, NULL, 80, NULL);
}
static void do_pruned_backward(sv_speed_room *r, size_t t, size_t tokens)
{
    sv_attention a = attention_of(r, t, 197);
    a.live = tokens;
    sv_attention_backward(&a, r->w, DIM, r->y + t * STRIPE, 3 * DIM, r->sums[t], 80, NULL);
}
static void do_norm(sv_speed_room *r, size_t t, size_t tokens)
{
    sv_layer_norm(r->y + t * STRIPE, DIM, r->sums[t], r->x + t * STRIPE, DIM, r->w, r->w + DIM, tokens, DIM, 1e-6);
}
static void do_norm_backward(sv_speed_room *r, size_t t, size_t tokens)
{
    sv_layer_norm_backward(r->y + t * STRIPE, DIM, r->sums[t] + 2048, r->sums[t] + 3072, r->z + t * STRIPE, DIM, r->x + t * STRIPE, DIM,
                           r->w, r->w + 2048, tokens, DIM, true, true);
}
static void do_gelu(sv_speed_room *r, size_t t, size_t tokens) { sv_gelu(r->y + t * STRIPE, r->x + t * STRIPE, tokens * 4 * DIM); }
static void do_gelu_backward(sv_speed_room *r, size_t t, size_t tokens)
{
    sv_gelu_backward(r->y + t * STRIPE, r->z + t * STRIPE, r->x + t * STRIPE, tokens * 4 * DIM, false);
}
static void do_softmax(sv_speed_room *r, size_t t, size_t tokens)
{
    sv_softmax(r->y + t * STRIPE, tokens, r->x + t * STRIPE, tokens, tokens, tokens, false);
}
static void do_column_sums(sv_speed_room *r, size_t t, size_t tokens)
{
    sv_column_sums(r->sums[t], r->x + t * STRIPE, 4 * DIM, tokens, 4 * DIM, true);
}
static void do_scale(sv_speed_room *r, size_t t, size_t tokens)
{
    sv_scale(r->y + t * STRIPE, r->x + t * STRIPE, (sv_real)1e-3, tokens * DIM, true);
}
static void do_dot(sv_speed_room *r, size_t t, size_t tokens) { r->sums[t][0] = sv_dot(r->y + t * STRIPE, r->x + t * STRIPE, tokens * DIM); }
static void do_adamw(sv_speed_room *r, size_t t, size_t tokens)
{
    static const sv_adamw step = { .lr = 1e-4, .decay = 0.05, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .t = 10, .gradient_scale = 1 };
    const size_t count = tokens * DIM;
    sv_adamw_step(r->y + t * STRIPE, r->y + t * STRIPE + count, r->sums[t], r->x + t * STRIPE, count, &step);
}

static void do_sgd(sv_speed_room *r, size_t t, size_t tokens)
{
    static const sv_sgd step = { .lr = 1e-4, .decay = 1e-4, .momentum = 0.9, .gradient_scale = 1 };
    const size_t count = tokens * DIM;
    sv_sgd_step(r->y + t * STRIPE, r->y + t * STRIPE + count, r->x + t * STRIPE, count, &step);
}
static void do_pack(sv_speed_room *r, size_t t, size_t tokens)
{
    (void)tokens;
    sv_pack_forward(r->y + t * STRIPE, r->w, 4 * DIM, DIM);
}
static double forward_flops(double tokens) { return 4.0 * tokens * tokens * DIM; }
static double backward_flops(double tokens) { return 10.0 * tokens * tokens * DIM; }
static double pruned_flops(double tokens) { return backward_flops(tokens) + 4.0 * tokens * (197 - tokens) * DIM; }

static const task tasks[] = {
    { "attention forward", do_attention, forward_flops, 0 },
    { "attention backward", do_attention_backward, backward_flops, 0 },
    { "attention backward, dead keys' policy", do_pruned_backward, pruned_flops, 0 },
    { "layer norm", do_norm, NULL, DIM },
    { "layer norm backward", do_norm_backward, NULL, DIM },
    { "gelu", do_gelu, NULL, 4 * DIM },
    { "gelu backward", do_gelu_backward, NULL, 4 * DIM },
    { "softmax", do_softmax, NULL, 0 },
    { "column sums", do_column_sums, NULL, 4 * DIM },
    { "scale", do_scale, NULL, DIM },
    { "dot", do_dot, NULL, DIM },
    { "adamw", do_adamw, NULL, DIM },
    { "sgd", do_sgd, NULL, DIM },
    { "pack 192x768", do_pack, NULL, 0 },
};

typedef struct chore {
    const sv_kernel_speed *s;
    const task *task;
    sv_speed_room *room;
    size_t tokens;
} chore;
static void chore_of_thread(void *context, size_t thread)
{
    const chore *c = context;
    c->task->run(c->room, thread, c->tokens);
}
static void once_of_thread(void *context, size_t item, size_t thread)
{
    (void)thread;
    chore_of_thread(context, item);
}

sv_status sv_speed_kernels(const sv_kernel_speed *s, sv_error *err)
{
    static const size_t counts[] = { 197, 139, 99, 71 };
    sv_speed_room r;
    sv_status status = sv_speed_room_make(&r, s, err);
    if (status) return status;
    for (size_t i = 0; i < SV_COUNT(tasks); i++)
        for (size_t c = 0; c < (tasks[i].flops ? SV_COUNT(counts) : 1); c++) {
            chore work = { s, &tasks[i], &r, counts[c] };
            const double all = (double)s->threads;
            sv_kernel_time result = { .flops = tasks[i].flops ? tasks[i].flops((double)counts[c]) * all : 0 };
            if (!tasks[i].flops) result.numbers = all * (double)(tasks[i].width ? tasks[i].width * counts[c] : tasks[i].run == do_pack ? 4 * DIM * DIM : counts[c] * counts[c]);
            snprintf(result.name, sizeof result.name, "%s, %zu tokens", tasks[i].name, counts[c]);
            if (tasks[i].flops)
                sv_for_items(s->threads, once_of_thread, &(chore){ s, &tasks[0], &r, counts[c] }); /* backward reads what forward left */
            sv_speed_row(&result, chore_of_thread, &work, s);
            s->tell(s->context, &result);
        }
    sv_speed_room_clear(&r);
    return SV_OK;
}
