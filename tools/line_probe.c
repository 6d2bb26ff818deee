/* line_probe: what a line between two network namespaces really does: the time of a small packet there and back, and how fast one TCP stream goes.
 * One process in each namespace; the one in TO answers. */
#include "base/program.h"
#include "tools/namespace.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
    "Usage: line_probe FROM TO ADDRESS [options]\n"
    "\n"
    "Measures the line from network namespace FROM to namespace TO, which has the IPv4 address ADDRESS: round trips of a packet of\n"
    "64 bytes, one after another, then one TCP stream. Needs root.\n"
    "\n"
    "Example\n"
    "  line_probe a b 10.9.0.2\n"
    "\n"
    "Options\n"
    "  --rounds N         round trips (100)\n"
    "  --megabytes N      of the stream (64); 0: none\n"
    "  --json, --quiet, --help, --version\n"
    "\n"
    "Exit codes: 0 measured, 1 nothing comes back, 2 usage or no such namespace.\n";

enum { PORT = 7171, PACKET = 64, ROUNDS_MOST = 100000, PIECE = 1 << 20, PATIENCE_MS = 2000 };

static const char *rounds_text, *megabytes_text;
static const sv_flag flags[] = { { "--rounds", NULL, &rounds_text }, { "--megabytes", NULL, &megabytes_text } };

typedef struct probe {
    const char *from, *to;
    struct sockaddr_in at;
    int64_t rounds, megabytes, answered;
    double *trips; /* ns, those that were answered */
    double stream_seconds;
    unsigned char *piece; /* [PIECE] */
} probe;

static sv_status system_said(sv_error *err, const char *what) { return sv_fail(err, SV_FAULT, "%s: %s", what, strerror(errno)); }

/* ---- who answers -------------------------------------------------------------------------------------------------- */

static void answer_stream(const probe *p, int listener)
{
    const int stream = accept(listener, NULL, NULL);
    int64_t left = p->megabytes * PIECE;
    for (ssize_t got = 1; left > 0 && got > 0; left -= got) got = recv(stream, p->piece, PIECE, 0);
    if (left <= 0) (void)!send(stream, "", 1, MSG_NOSIGNAL);
    close(stream);
}

/* The child: ends with the process that asked, which it tells over `tell` that it listens. */
static sv_status answer(const probe *p, int tell, sv_error *err)
{
    unsigned char packet[PACKET];
    struct sockaddr_in who;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sv_status status = sv_namespace_enter(p->to, err);
    if (status) return status;
    const int trips = socket(AF_INET, SOCK_DGRAM, 0), listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(trips, (const struct sockaddr *)&p->at, sizeof p->at) || bind(listener, (const struct sockaddr *)&p->at, sizeof p->at)
        || listen(listener, 1))
        return system_said(err, "the address cannot be listened at; is it that of a device of the second namespace?");
    if (write(tell, "", 1) != 1) return system_said(err, "pipe");
    for (;;) {
        struct pollfd look[2] = { { trips, POLLIN, 0 }, { listener, POLLIN, 0 } };
        socklen_t length = sizeof who;
        poll(look, 2, -1);
        if (look[1].revents) answer_stream(p, listener);
        const ssize_t got = look[0].revents ? recvfrom(trips, packet, sizeof packet, 0, (struct sockaddr *)&who, &length) : 0;
        if (got > 0) (void)!sendto(trips, packet, (size_t)got, 0, (const struct sockaddr *)&who, length);
    }
}

/* ---- who asks ----------------------------------------------------------------------------------------------------- */

/* One round trip; answers of earlier ones are passed over. False: no answer in time. */
static bool trip(int socket, uint64_t number, double *ns)
{
    unsigned char packet[PACKET] = { 0 };
    struct pollfd look = { socket, POLLIN, 0 };
    uint64_t back = 0;
    const uint64_t begin = sv_now_ns();
    memcpy(packet, &number, sizeof number);
    if (send(socket, packet, sizeof packet, 0) != sizeof packet) return false;
    while (poll(&look, 1, PATIENCE_MS) > 0 && recv(socket, packet, sizeof packet, 0) == sizeof packet) {
        memcpy(&back, packet, sizeof back);
        *ns = (double)(sv_now_ns() - begin);
        if (back == number) return true;
    }
    return false;
}

static int upwards(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static sv_status measure_trips(probe *p, sv_error *err)
{
    const int ask = socket(AF_INET, SOCK_DGRAM, 0);
    double first = 0;
    if (connect(ask, (const struct sockaddr *)&p->at, sizeof p->at)) return close(ask), system_said(err, "no way to the address");
    if (!trip(ask, 0, &first))
        return close(ask),
               sv_fail(err, SV_FAULT, "no packet comes back within %d s", PATIENCE_MS / 1000); /* it asked for the address, too */
    for (int64_t i = 1; i <= p->rounds; i++)
        if (trip(ask, (uint64_t)i, &p->trips[p->answered])) p->answered++;
    close(ask);
    qsort(p->trips, (size_t)p->answered, sizeof *p->trips, upwards);
    return p->answered ? SV_OK : sv_fail(err, SV_FAULT, "no packet comes back");
}

/* From the first byte sent until the other side has said that it has all. */
static sv_status measure_stream(probe *p, sv_error *err)
{
    const int stream = socket(AF_INET, SOCK_STREAM, 0);
    char done = 0;
    if (connect(stream, (const struct sockaddr *)&p->at, sizeof p->at)) return close(stream), system_said(err, "no stream to the address");
    const uint64_t begin = sv_now_ns();
    ssize_t put = 1;
    for (int64_t left = p->megabytes * PIECE; left > 0 && put > 0; left -= put)
        put = send(stream, p->piece, left < PIECE ? (size_t)left : PIECE, MSG_NOSIGNAL);
    const bool all = put > 0 && recv(stream, &done, 1, 0) == 1;
    p->stream_seconds = 1e-9 * (double)(sv_now_ns() - begin);
    close(stream);
    return all ? SV_OK : sv_fail(err, SV_FAULT, "the stream broke off");
}

static sv_status ask(probe *p, sv_error *err)
{
    sv_status status = sv_namespace_enter(p->from, err);
    if (!status) status = measure_trips(p, err);
    if (!status && p->megabytes) status = measure_stream(p, err);
    return status;
}

/* So that a name that is not there is said once, by who asks. */
static sv_status look_at(const char *name, sv_error *err)
{
    int here = -1;
    sv_status status = sv_namespace_here(&here, err);
    if (status) return status;
    sv_status entered = sv_namespace_enter(name, err);
    status = sv_namespace_back(here, entered ? NULL : err);
    return entered ? entered : status;
}

static sv_status measure(probe *p, sv_error *err)
{
    int heard[2];
    char ready = 0;
    sv_status found = look_at(p->to, err);
    if (found) return found;
    if (pipe(heard)) return system_said(err, "pipe");
    const pid_t child = fork();
    if (!child) {
        if (answer(p, heard[1], err)) fprintf(stderr, "line_probe: %s\n", err->text);
        _exit(1);
    }
    close(heard[1]);
    sv_status status =
        child > 0 && read(heard[0], &ready, 1) == 1 ? SV_OK : sv_fail(err, SV_FAULT, "nobody answers in namespace '%s'", p->to);
    if (!status) status = ask(p, err);
    close(heard[0]);
    if (child > 0) kill(child, SIGKILL), waitpid(child, NULL, 0);
    return status;
}

/* ---- the program -------------------------------------------------------------------------------------------------- */

static void tell(const probe *p, bool json)
{
    const double median = 1e-6 * p->trips[p->answered / 2], tenth = 1e-6 * p->trips[p->answered - 1 - p->answered / 10],
                 least = 1e-6 * p->trips[0];
    const double gbit = p->megabytes ? 8e-9 * (double)(p->megabytes * PIECE) / p->stream_seconds : 0;
    if (json) {
        printf("{\"round_trip_ms\": %.4f, \"least_ms\": %.4f, \"of_ten_nine_within_ms\": %.4f, \"answered\": %lld, \"asked\": %lld, "
               "\"gbit\": %.3f}\n",
               median, least, tenth, (long long)p->answered, (long long)p->rounds, gbit);
        return;
    }
    printf("round trip %.3f ms (least %.3f, nine of ten within %.3f; %lld of %lld came back)", median, least, tenth, (long long)p->answered,
           (long long)p->rounds);
    if (p->megabytes) printf("; %.2f Gbit/s", gbit);
    printf("\n");
}

static bool number_read(const char *text, int64_t least, int64_t most, int64_t *out)
{
    return !text || (sv_parse_int(text, out) && *out >= least && *out <= most);
}

static sv_status run(const sv_program_call *call, sv_error *err)
{
    probe p = { .at = { .sin_family = AF_INET, .sin_port = htons(PORT) }, .rounds = 100, .megabytes = 64 };
    if (call->word_count != 3) return sv_fail(err, SV_USAGE, "expected FROM TO ADDRESS, see `line_probe --help`");
    p.from = call->words[0], p.to = call->words[1];
    if (inet_pton(AF_INET, call->words[2], &p.at.sin_addr) != 1) return sv_fail(err, SV_USAGE, "'%s' is no IPv4 address", call->words[2]);
    if (!number_read(rounds_text, 1, ROUNDS_MOST, &p.rounds))
        return sv_fail(err, SV_USAGE, "--rounds %s: expected 1 to %d", rounds_text, ROUNDS_MOST);
    if (!number_read(megabytes_text, 0, 1 << 20, &p.megabytes))
        return sv_fail(err, SV_USAGE, "--megabytes %s: expected 0 to %d", megabytes_text, 1 << 20);
    sv_status status = sv_alloc(&p.trips, (size_t)p.rounds * sizeof *p.trips, "round trips", err);
    if (!status) status = sv_alloc_zero(&p.piece, PIECE, "stream", err);
    if (!status) status = measure(&p, err);
    if (!status) tell(&p, call->json);
    sv_free(p.trips);
    sv_free(p.piece);
    return status;
}

int main(int argc, char **argv)
{
    const sv_program program = {
        .name = "line_probe", .usage = usage, .flags = flags, .flag_count = SV_COUNT(flags), .needs_arguments = true, .run = run
    };
    return sv_program_main(&program, argc, argv);
}
