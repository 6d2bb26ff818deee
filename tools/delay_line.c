/* delay_line: lines of a chosen delay and rate between network namespaces, in user space, for kernels without netem. */
#include "base/program.h"
#include "tools/delay_switch.h"
#include "tools/namespace.h"
#include "tools/tap.h"

#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static const char usage[] =
    "Usage: delay_line [options] NAMESPACE NAMESPACE ...\n"
    "\n"
    "Makes a device in each network namespace (`ip netns add`) and a switch between them that hands every frame on some time later:\n"
    "a network of a chosen delay and rate on one machine. It prints `ready` when the devices are there; addresses are given with `ip`.\n"
    "It runs until SIGINT or SIGTERM, takes its devices away and tells what it carried, lost, and by how much it was late. Needs root\n"
    "and /dev/net/tun.\n"
    "\n"
    "Example\n"
    "  ip netns add a; ip netns add b; delay_line --delay 1ms --rate 1gbit a b &\n"
    "  ip -n a address add 10.9.0.1/24 dev eth0; ip -n a link set eth0 up      # and b with 10.9.0.2\n"
    "\n"
    "Options\n"
    "  --delay TIME       from one namespace to the other: us, ms or s (1ms); a round trip takes two of it\n"
    "  --rate RATE        of each line, each way: kbit, mbit or gbit a second (0: as fast as this program copies)\n"
    "  --wait TIME        a frame that would wait longer for its line is dropped (100ms)\n"
    "  --device NAME      of the devices (eth0)\n"
    "  --swallow NAME     SIGUSR1 cuts the line of this namespace without a word to anybody; SIGUSR1 again mends it\n"
    "  --quiet, --help, --version\n"
    "\n"
    "Exit codes: 0 ended by a signal, 1 no device, 2 usage or no such namespace.\n";

enum { READS = 32 }; /* frames of one line in a row, so that none waits long for the others */
static const size_t held_most = (size_t)256 << 20;

static const char *delay, *rate, *wait_most, *device, *swallow;
static const sv_flag flags[] = {
    { "--delay", NULL, &delay },   { "--rate", NULL, &rate },       { "--wait", NULL, &wait_most },
    { "--device", NULL, &device }, { "--swallow", NULL, &swallow },
};

static atomic_int cuts; /* how often SIGUSR1 came */
static void on_cut(int number) { (void)number, atomic_fetch_add(&cuts, 1); }

typedef struct network {
    sv_delay_switch *sw;
    size_t lines;
    sv_tap taps[SV_DELAY_LINES_MOST];
    const char *const *names;
    sv_delay_frame *room;                         /* for the next frame that comes */
    size_t swallows;                              /* the line that SIGUSR1 cuts; `lines`: none */
    uint64_t handed, refused, late_ns, latest_ns; /* frames written, that a device did not take; lateness: sum, most */
} network;

/* ---- what was asked for ------------------------------------------------------------------------------------------- */

typedef struct unit {
    const char *name;
    double value;
} unit;
static const unit times[] = { { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 } };
static const unit rates[] = { { "kbit", 1e3 }, { "mbit", 1e6 }, { "gbit", 1e9 } };

static bool measure_read(const char *text, const unit *units, size_t count, double *out)
{
    char number[32];
    for (size_t i = 0; i < count; i++) {
        const size_t length = strlen(text), end = strlen(units[i].name);
        if (length <= end || length - end >= sizeof number || strcmp(text + length - end, units[i].name)) continue;
        snprintf(number, sizeof number, "%.*s", (int)(length - end), text);
        if (!sv_parse_real(number, out) || *out < 0) continue; /* "1m" of "1ms" */
        *out *= units[i].value;
        return *out <= 1e12;
    }
    return !strcmp(text, "0") ? *out = 0, true : false;
}

static sv_status options_read(sv_delay_options *options, sv_error *err)
{
    double delay_ns = 1e6, wait_ns = 1e8, bits = 0;
    if (delay && !measure_read(delay, times, SV_COUNT(times), &delay_ns))
        return sv_fail(err, SV_USAGE, "--delay %s: a time such as 1ms, 100us or 0 was expected", delay);
    if (wait_most && !measure_read(wait_most, times, SV_COUNT(times), &wait_ns))
        return sv_fail(err, SV_USAGE, "--wait %s: a time such as 100ms was expected", wait_most);
    if (rate && !measure_read(rate, rates, SV_COUNT(rates), &bits))
        return sv_fail(err, SV_USAGE, "--rate %s: a rate such as 1gbit, 100mbit or 0 was expected", rate);
    *options = (sv_delay_options){ (uint64_t)delay_ns, bits, (uint64_t)wait_ns, held_most };
    return SV_OK;
}

static sv_status network_open(network *net, const sv_program_call *call, sv_error *err)
{
    sv_delay_options options;
    sv_status status = options_read(&options, err);
    if (!status && call->word_count < 2) status = sv_fail(err, SV_USAGE, "a network needs two namespaces or more, see `delay_line --help`");
    if (!status) status = sv_delay_open(&net->sw, call->word_count, &options, err);
    if (!status) status = sv_delay_frame_new(&net->room, SV_TAP_MOST, err);
    if (status) return status;
    net->names = call->words;
    net->swallows = call->word_count;
    for (; !status && net->lines < call->word_count; net->lines++) {
        if (swallow && !strcmp(swallow, call->words[net->lines])) net->swallows = net->lines;
        status = sv_tap_open(&net->taps[net->lines], call->words[net->lines], device ? device : "eth0", err);
    }
    if (!status && swallow && net->swallows == net->lines)
        status = sv_fail(err, SV_USAGE, "--swallow %s: it is none of the namespaces that were named", swallow);
    return status;
}

static void network_close(network *net)
{
    for (size_t i = 0; i < net->lines; i++) sv_tap_close(&net->taps[i]);
    sv_free(net->room);
    sv_delay_close(net->sw);
}

/* ---- frames ------------------------------------------------------------------------------------------------------- */

static sv_status send_copy(network *net, size_t from, size_t to, const sv_delay_frame *frame, uint64_t now_ns, sv_error *err)
{
    sv_delay_frame *copy = NULL;
    sv_status status = sv_delay_frame_new(&copy, frame->bytes, err);
    if (status) return status;
    memcpy(copy->data, frame->data, frame->bytes);
    copy->on_wire = frame->on_wire;
    sv_delay_take(net->sw, from, to, copy, now_ns);
    return SV_OK;
}

/* The frame in `room`, to whose address it bears, or to all others. Small ones are copied, so that what waits takes no more memory than it is long. */
static sv_status send_on(network *net, size_t from, uint64_t now_ns, sv_error *err)
{
    sv_delay_frame *frame = net->room;
    size_t to = 0;
    while (to < net->lines && memcmp(net->taps[to].address, frame->data + SV_TAP_HEAD, SV_TAP_ADDRESS)) to++;
    sv_status status = SV_OK;
    for (size_t i = 0; to == net->lines && !status && i < net->lines; i++)
        if (i != from) status = send_copy(net, from, i, frame, now_ns, err);
    if (status || to >= net->lines) return status;
    if (frame->bytes < SV_TAP_MOST / 2) return send_copy(net, from, to, frame, now_ns, err);
    status = sv_delay_frame_new(&net->room, SV_TAP_MOST, err);
    if (status) net->room = NULL; /* the frame goes its way all the same */
    sv_delay_take(net->sw, from, to, frame, now_ns);
    return status;
}

static sv_status read_line(network *net, size_t from, sv_error *err)
{
    sv_status status = SV_OK;
    for (size_t i = 0; !status && i < READS; i++) {
        const ssize_t got = read(net->taps[from].descriptor, net->room->data, SV_TAP_MOST);
        if (got < SV_TAP_HEAD + 14) break;
        net->room->bytes = (size_t)got;
        net->room->on_wire = sv_tap_on_wire(net->room->data, (size_t)got);
        status = send_on(net, from, sv_now_ns(), err);
    }
    return status;
}

static void hand_on(network *net)
{
    for (sv_delay_frame *frame; (frame = sv_delay_due(net->sw, sv_now_ns())); sv_free(frame)) {
        const ssize_t put = write(net->taps[frame->to].descriptor, frame->data, frame->bytes);
        const uint64_t now_ns = sv_now_ns(), late_ns = now_ns - frame->at_ns;
        net->handed++;
        net->refused += put != (ssize_t)frame->bytes;
        net->late_ns += late_ns;
        if (late_ns > net->latest_ns) net->latest_ns = late_ns;
    }
}

static void cut_as_asked(network *net)
{
    if (net->swallows < net->lines) sv_delay_cut(net->sw, net->swallows, atomic_load(&cuts) % 2);
}

/* Signals come only while it waits, so that none is overlooked before a long wait. */
static sv_status carry(network *net, sv_error *err)
{
    struct pollfd look[SV_DELAY_LINES_MOST];
    sigset_t held, open;
    sv_status status = SV_OK;
    sigemptyset(&held);
    sigaddset(&held, SIGINT), sigaddset(&held, SIGTERM), sigaddset(&held, SIGUSR1);
    sigprocmask(SIG_BLOCK, &held, &open);
    for (size_t i = 0; i < net->lines; i++) look[i] = (struct pollfd){ net->taps[i].descriptor, POLLIN, 0 };
    while (!status && !sv_interrupted()) {
        hand_on(net);
        const uint64_t now_ns = sv_now_ns(), next_ns = sv_delay_next(net->sw), left_ns = next_ns > now_ns ? next_ns - now_ns : 0;
        const struct timespec left = { (time_t)(left_ns / 1000000000u), (long)(left_ns % 1000000000u) };
        if (ppoll(look, net->lines, next_ns == UINT64_MAX ? NULL : &left, &open) < 0) {
            cut_as_asked(net);
            continue;
        }
        for (size_t i = 0; !status && i < net->lines; i++) {
            if (look[i].revents & POLLIN)
                status = read_line(net, i, err);
            else if (look[i].revents)
                look[i].fd = -1; /* the device is gone */
        }
    }
    return status;
}

/* ---- the program -------------------------------------------------------------------------------------------------- */

static void tell(const network *net)
{
    struct rusage used = { 0 };
    getrusage(RUSAGE_SELF, &used);
    for (size_t i = 0; i < net->lines; i++) {
        const sv_delay_count c = sv_delay_counts(net->sw, i);
        printf("%s: from it %llu frames, %.2f MB; to it %llu frames, %.2f MB; dropped %llu, swallowed %llu\n", net->names[i],
               (unsigned long long)c.in_frames, 1e-6 * (double)c.in_bytes, (unsigned long long)c.out_frames, 1e-6 * (double)c.out_bytes,
               (unsigned long long)c.dropped, (unsigned long long)c.swallowed);
    }
    printf("handed on %.1f us late (worst %.1f us), %llu refused by a device; %.2f s of a core\n",
           net->handed ? 1e-3 * (double)net->late_ns / (double)net->handed : 0, 1e-3 * (double)net->latest_ns,
           (unsigned long long)net->refused,
           (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec));
}

/* A frame is due to the microsecond: other programs' slices of time would show as delay. Memory that is given back and taken again for every large
 * frame costs a tenth of the core that this takes. */
static bool be_prompt(void)
{
    const struct sched_param first = { .sched_priority = 1 };
    mallopt(M_TRIM_THRESHOLD, (int)held_most);
    mallopt(M_TOP_PAD, 32 << 20);
    prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);
    return !sched_setscheduler(0, SCHED_FIFO, &first);
}

static sv_status run(const sv_program_call *call, sv_error *err)
{
    network net = { 0 };
    struct sigaction action = { .sa_handler = on_cut };
    sigaction(SIGUSR1, &action, NULL);
    sv_status status = network_open(&net, call, err);
    if (!status) {
        const bool prompt = be_prompt();
        printf("ready%s\n", prompt ? "" : "; real-time priority was refused, so frames may be late when cores are busy");
        fflush(stdout);
        status = carry(&net, err);
        tell(&net);
    }
    network_close(&net);
    return status;
}

int main(int argc, char **argv)
{
    const sv_program program = {
        .name = "delay_line", .usage = usage, .flags = flags, .flag_count = SV_COUNT(flags), .needs_arguments = true, .run = run
    };
    return sv_program_main(&program, argc, argv);
}
