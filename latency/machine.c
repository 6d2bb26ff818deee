/* How busy the machine is: CPU time of all processes on the CPUs this one may use, against its own. A virtual machine also
 * tells what its host took away (steal). */
#include "latency/measure.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Below these a measurement is not visibly disturbed: kernel threads and timers alone come to about 2 %. */
static const double OTHERS_QUIET = 0.05, STOLEN_QUIET = 0.01, PACE_QUIET = 0.06;
enum { STAT_MOST = 1 << 16, PACE_STEPS = 100000, PACE_TRIES = 9 };

/* "cpu3 user nice system idle iowait irq softirq steal guest guest_nice" in ticks; guest time is inside user time. */
static bool add_line(sv_machine_times *sum, const char *line)
{
    uint64_t ticks[8] = { 0 };
    int found = sscanf(line, "%*s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, ticks, ticks + 1,
                       ticks + 2, ticks + 3, ticks + 4, ticks + 5, ticks + 6, ticks + 7);
    if (found < 4) return false;
    for (size_t i = 0; i < 8; i++) sum->total += (double)ticks[i];
    sum->busy += (double)ticks[0] + (double)ticks[1] + (double)ticks[2] + (double)ticks[5] + (double)ticks[6];
    sum->stolen += (double)ticks[7];
    return true;
}

bool sv_machine_times_parse(sv_machine_times *out, const char *text, bool (*counts)(void *context, size_t cpu), void *context)
{
    sv_machine_times sum = { 0 };
    bool any = false;
    for (const char *line = text; line && strncmp(line, "cpu", 3) == 0; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        size_t cpu;
        if (sscanf(line, "cpu%zu ", &cpu) != 1 || !counts(context, cpu)) continue;
        if (!add_line(&sum, line)) return false;
        any = true;
    }
    if (any) *out = sum;
    return any;
}

static bool in_set(void *context, size_t cpu)
{
    return cpu < CPU_SETSIZE && CPU_ISSET(cpu, (const cpu_set_t *)context);
}

/* /proc files have no size: read to the end, not by sv_file_read_all. */
static bool read_stat(char *room, size_t room_bytes)
{
    FILE *file = fopen("/proc/stat", "re");
    if (!file) return false;
    size_t got = fread(room, 1, room_bytes - 1, file);
    room[got] = 0;
    fclose(file);
    return got > 0;
}

/* A chain of multiplications takes the same number of cycles each time: its least time tells the clock's frequency, whatever files say of it. */
static double pace_now(void)
{
    double least = 0;
    for (int i = 0; i < PACE_TRIES; i++) {
        volatile uint64_t end;
        uint64_t x = (uint64_t)i + 3;
        const double begin = sv_now_seconds();
        for (int k = 0; k < PACE_STEPS; k++) x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        end = x;
        (void)end;
        const double took = sv_now_seconds() - begin;
        if (i == 0 || took < least) least = took;
    }
    return least;
}

sv_machine_times sv_machine_times_now(void)
{
    static const double MICRO = 1e-6;
    char text[STAT_MOST];
    cpu_set_t set;
    struct rusage usage;
    sv_machine_times now = { 0 };
    long ticks = sysconf(_SC_CLK_TCK);
    if (sched_getaffinity(0, sizeof set, &set) != 0 || getrusage(RUSAGE_SELF, &usage) != 0) return now;
    if (!read_stat(text, sizeof text) || !sv_machine_times_parse(&now, text, in_set, &set)) return (sv_machine_times){ 0 };
    double seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + MICRO * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    now.own = seconds * (double)ticks;
    now.pace = pace_now();
    return now;
}

sv_machine_state sv_machine_between(sv_machine_times before, sv_machine_times after)
{
    double total = after.total - before.total;
    if (!(total > 0) || before.total <= 0) return (sv_machine_state){ 0 };
    double others = (after.busy - before.busy) - (after.own - before.own), stolen = after.stolen - before.stolen;
    return (sv_machine_state){ .others_share = others > 0 ? others / total : 0,
                               .stolen_share = stolen > 0 ? stolen / total : 0,
                               .slower = before.pace > 0 && after.pace > 0 ? after.pace / before.pace - 1 : 0 };
}

const char *sv_machine_busy(char *room, size_t room_bytes, sv_machine_state state)
{
    char parts[3][64];
    size_t count = 0, used = 0;
    if (state.others_share > OTHERS_QUIET) snprintf(parts[count++], sizeof parts[0], "others used %.0f %% of its cores", 100 * state.others_share);
    if (state.stolen_share > STOLEN_QUIET) snprintf(parts[count++], sizeof parts[0], "%.0f %% of its time was stolen", 100 * state.stolen_share);
    if (state.slower > PACE_QUIET || state.slower < -PACE_QUIET)
        snprintf(parts[count++], sizeof parts[0], "its clock became %.0f %% %s", 100 * (state.slower > 0 ? state.slower : -state.slower), state.slower > 0 ? "slower" : "faster");
    if (room_bytes) room[0] = 0;
    for (size_t i = 0; i < count && used < room_bytes; i++)
        used += (size_t)snprintf(room + used, room_bytes - used, "%s%s", !i ? "" : i + 1 == count ? " and " : ", ", parts[i]);
    return room;
}

/* "0-3,8": the CPUs this process may run on. */
static void print_affinity(char *room, size_t room_bytes)
{
    cpu_set_t set;
    size_t used = 0;
    room[0] = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return;
    for (int cpu = 0; cpu < CPU_SETSIZE && used < room_bytes; cpu++) {
        if (!CPU_ISSET(cpu, &set)) continue;
        int last = cpu;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set)) last++;
        int more = last > cpu ? snprintf(room + used, room_bytes - used, "%s%d-%d", used ? "," : "", cpu, last)
                              : snprintf(room + used, room_bytes - used, "%s%d", used ? "," : "", cpu);
        used += more > 0 ? (size_t)more : 0;
        cpu = last;
    }
}

void sv_latency_about_here(sv_latency_about *about, const char *precision)
{
    char name[sizeof about->cpu];
    struct tm utc;
    time_t now = (time_t)sv_wall_seconds();
    sv_text_safe(about->cpu, sizeof about->cpu, sv_machine_name(name, sizeof name));
    if (gethostname(name, sizeof name) != 0) snprintf(name, sizeof name, "this machine");
    name[sizeof name - 1] = 0;
    sv_text_safe(about->device, sizeof about->device, *name ? name : "this machine");
    about->threads = sv_threads();
    snprintf(about->precision, sizeof about->precision, "%s", precision);
    snprintf(about->isa, sizeof about->isa, "%s", sv_isa_name(sv_isa_now()));
    print_affinity(about->affinity, sizeof about->affinity);
    if (gmtime_r(&now, &utc)) strftime(about->date, sizeof about->date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    snprintf(about->tool, sizeof about->tool, "sieve %s %s", SV_VERSION, SV_REAL_NAME);
}
