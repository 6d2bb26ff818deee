/* Two queues a line: UP holds what came from it until its first bit is at the way to its receiver, DOWN what goes to it until the last bit is
 * there. Both are in order of time, since a way carries one frame after another and the delay is the same for all. Times are those of the line, not
 * of the caller: who asks late gets frames late, and the next ones are not later for it. */
#include "tools/delay_switch.h"

typedef struct queue {
    sv_delay_frame *first, *last;
} queue;

typedef enum way { UP, DOWN, WAYS } way;
typedef struct sides {
    queue on[WAYS];
    uint64_t free_ns[WAYS]; /* when each way has sent what it was given */
    bool cut;
    sv_delay_count count;
} sides;

struct sv_delay_switch {
    sv_delay_options options;
    size_t count, held;
    sides lines[];
};

sv_status sv_delay_open(sv_delay_switch **out, size_t lines, const sv_delay_options *options, sv_error *err)
{
    if (!lines || lines > SV_DELAY_LINES_MOST) return sv_fail(err, SV_USAGE, "%zu lines; expected 1 to %d", lines, SV_DELAY_LINES_MOST);
    sv_status status = sv_alloc_zero(out, sizeof **out + lines * sizeof *(*out)->lines, "switch", err);
    if (status) return status;
    (*out)->options = *options;
    (*out)->count = lines;
    return SV_OK;
}

static void push(queue *q, sv_delay_frame *frame)
{
    frame->next = NULL;
    if (q->last)
        q->last->next = frame;
    else
        q->first = frame;
    q->last = frame;
}

static sv_delay_frame *pop(queue *q)
{
    sv_delay_frame *frame = q->first;
    q->first = frame->next;
    if (!q->first) q->last = NULL;
    return frame;
}

static void empty(queue *q)
{
    while (q->first) sv_free(pop(q));
}

void sv_delay_close(sv_delay_switch *sw)
{
    for (size_t i = 0; sw && i < sw->count; i++) empty(&sw->lines[i].on[UP]), empty(&sw->lines[i].on[DOWN]);
    sv_free(sw);
}

sv_status sv_delay_frame_new(sv_delay_frame **out, size_t bytes, sv_error *err)
{
    size_t all = 0;
    if (sv_add_size(&all, bytes, sizeof **out)) return sv_fail(err, SV_FAULT, "a frame of %zu bytes does not fit the address space", bytes);
    sv_status status = sv_alloc(out, all, "frames", err);
    if (!status) **out = (sv_delay_frame){ .bytes = bytes, .on_wire = bytes };
    return status;
}

static uint64_t busy_ns(const sv_delay_switch *sw, const sv_delay_frame *frame)
{
    return sw->options.rate > 0 ? (uint64_t)(8e9 * (double)frame->on_wire / sw->options.rate) : 0;
}

static void lose(sv_delay_switch *sw, sv_delay_frame *frame, uint64_t *counter)
{
    ++*counter;
    sw->held -= frame->bytes;
    sv_free(frame);
}

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

void sv_delay_take(sv_delay_switch *sw, size_t from, size_t to, sv_delay_frame *frame, uint64_t now_ns)
{
    sides *l = &sw->lines[from];
    const uint64_t begin = later(now_ns, l->free_ns[UP]);
    l->count.in_frames++;
    l->count.in_bytes += frame->on_wire;
    sw->held += frame->bytes;
    frame->to = to;
    if (l->cut) {
        lose(sw, frame, &l->count.swallowed);
    } else if (begin - now_ns > sw->options.patience_ns || sw->held > sw->options.held_most) {
        lose(sw, frame, &l->count.dropped);
    } else {
        l->free_ns[UP] = begin + busy_ns(sw, frame);
        frame->at_ns = begin + sw->options.delay_ns;
        push(&l->on[UP], frame);
    }
}

/* When the first frame on any line's way is due, and on which line; UINT64_MAX: there is none. */
static uint64_t earliest(const sv_delay_switch *sw, way w, size_t *at)
{
    uint64_t at_ns = UINT64_MAX;
    for (size_t i = 0; i < sw->count; i++) {
        const sv_delay_frame *first = sw->lines[i].on[w].first;
        if (first && first->at_ns < at_ns) at_ns = first->at_ns, *at = i;
    }
    return at_ns;
}

/* From the way to the switch to the way from it. */
static void pass(sv_delay_switch *sw, sv_delay_frame *frame)
{
    sides *l = &sw->lines[frame->to];
    const uint64_t begin = later(frame->at_ns, l->free_ns[DOWN]);
    if (begin - frame->at_ns > sw->options.patience_ns) {
        lose(sw, frame, &l->count.dropped);
        return;
    }
    frame->at_ns = l->free_ns[DOWN] = begin + busy_ns(sw, frame);
    push(&l->on[DOWN], frame);
}

sv_delay_frame *sv_delay_due(sv_delay_switch *sw, uint64_t now_ns)
{
    size_t i = 0;
    while (earliest(sw, UP, &i) <= now_ns) pass(sw, pop(&sw->lines[i].on[UP]));
    while (earliest(sw, DOWN, &i) <= now_ns) {
        sides *l = &sw->lines[i];
        sv_delay_frame *frame = pop(&l->on[DOWN]);
        if (l->cut) {
            lose(sw, frame, &l->count.swallowed);
            continue;
        }
        sw->held -= frame->bytes;
        l->count.out_frames++;
        l->count.out_bytes += frame->on_wire;
        return frame;
    }
    return NULL;
}

uint64_t sv_delay_next(const sv_delay_switch *sw)
{
    size_t i = 0;
    const uint64_t up = earliest(sw, UP, &i), down = earliest(sw, DOWN, &i);
    return up < down ? up : down;
}

void sv_delay_cut(sv_delay_switch *sw, size_t line, bool cut) { sw->lines[line].cut = cut; }
sv_delay_count sv_delay_counts(const sv_delay_switch *sw, size_t line) { return sw->lines[line].count; }
