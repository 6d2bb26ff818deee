/* What this machine is and offers. The instruction sets stand in one table, in rising order for each architecture; a form is
 * offered where CPU and operating system both say yes (the compiler's run-time support asks xgetbv). */
#include "base/base.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#endif

#if defined(__x86_64__) || defined(__i386__)
enum { HERE_X86 = 1, HERE_ARM = 0 };
#elif defined(__aarch64__)
enum { HERE_X86 = 0, HERE_ARM = 1 };
#else
enum { HERE_X86 = 0, HERE_ARM = 0 };
#endif

typedef struct isa_row { const char *name; sv_isa isa; bool here; } isa_row;
static const isa_row isa_rows[] = {
    { "c", SV_ISA_C, true },
    { "avx2", SV_ISA_AVX2, HERE_X86 },
    { "avx512", SV_ISA_AVX512, HERE_X86 },
    { "avx512_bf16", SV_ISA_AVX512_BF16, HERE_X86 },
    { "amx", SV_ISA_AMX, HERE_X86 },
    { "neon", SV_ISA_NEON, HERE_ARM },
};

#if defined(__x86_64__)
/* Tile registers: the CPU must have them with bf16, and Linux gives them to processes that ask. */
static bool have_tiles(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, BF16 = 1 << 22, TILES = 1 << 24 };
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & BF16) && (d & TILES) && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#elif defined(__i386__)
static bool have_tiles(void) { return false; }
#endif

static sv_isa best_isa(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return SV_ISA_C;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq")
        || !__builtin_cpu_supports("avx512vl"))
        return SV_ISA_AVX2;
    if (!__builtin_cpu_supports("avx512bf16")) return SV_ISA_AVX512;
    return have_tiles() ? SV_ISA_AMX : SV_ISA_AVX512_BF16;
#elif defined(__aarch64__)
    return SV_ISA_NEON;
#else
    return SV_ISA_C;
#endif
}

sv_isa sv_isa_now(void)
{
    const char *cap = getenv("SIEVE_ISA");
    const isa_row *row = cap && *cap ? SV_KIND_FIND(isa_rows, cap) : NULL;
    sv_isa best = best_isa();
    return row && row->here && row->isa < best ? row->isa : best;
}

sv_status sv_isa_check(sv_error *err)
{
    const char *cap = getenv("SIEVE_ISA");
    const isa_row *row = cap && *cap ? SV_KIND_FIND(isa_rows, cap) : NULL;
    if (!cap || !*cap || (row && row->here)) return SV_OK;
    char room[64], names[64] = "";
    for (size_t i = 0; i < SV_COUNT(isa_rows); i++)
        if (isa_rows[i].here) {
            if (i) strcat(names, ", ");
            strcat(names, isa_rows[i].name);
        }
    return sv_fail(err, SV_USAGE, "environment: SIEVE_ISA = '%s' is not an instruction set of this kind of machine; expected one of %s",
                   sv_text_safe(room, sizeof room, cap), names);
}

const char *sv_isa_name(sv_isa isa)
{
    for (size_t i = 0; i < SV_COUNT(isa_rows); i++)
        if (isa_rows[i].isa == isa) return isa_rows[i].name;
    return "unknown";
}

/* The start of a small system file, with a zero byte behind it; empty where there is none. */
static void read_start(char *room, size_t room_bytes, const char *path)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = descriptor < 0 ? 0 : read(descriptor, room, room_bytes - 1);
    room[got > 0 ? got : 0] = 0;
    if (descriptor >= 0) close(descriptor);
}

/* CPUs a container grants: quota over period, rounded up; 0 where there is no quota. Version 2 keeps
 * both in one file ("max" for no quota), version 1 in two (-1 for none). */
static size_t cores_of_quota(void)
{
    char room[64];
    double quota = 0, period = 0;
    read_start(room, sizeof room, "/sys/fs/cgroup/cpu.max");
    if (sscanf(room, "%lf %lf", &quota, &period) != 2) {
        read_start(room, sizeof room, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
        if (sscanf(room, "%lf", &quota) != 1) return 0;
        read_start(room, sizeof room, "/sys/fs/cgroup/cpu/cpu.cfs_period_us");
        if (sscanf(room, "%lf", &period) != 1) return 0;
    }
    return quota > 0 && period > 0 && quota / period < 1e6 ? (size_t)(quota / period + 0.999) : 0;
}

static size_t count_cores(void)
{
    cpu_set_t allowed;
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* more than 1024 CPUs do not fit a cpu_set_t */
    size_t cores = online > 0 ? (size_t)online : 1, quota = cores_of_quota();
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 0) cores = (size_t)CPU_COUNT(&allowed);
    return quota && quota < cores ? quota : cores;
}

/* Counted once: a region asks each time. */
size_t sv_cores(void)
{
    static atomic_size_t counted;
    size_t cores = atomic_load_explicit(&counted, memory_order_relaxed);
    if (!cores) atomic_store_explicit(&counted, cores = count_cores(), memory_order_relaxed);
    return cores;
}

const char *sv_machine_name(char *room, size_t room_bytes)
{
    char start[4096], model[128] = "";
    read_start(start, sizeof start, "/proc/cpuinfo");
    char *line = strstr(start, "model name"), *colon = line ? strchr(line, ':') : NULL;
    if (colon) snprintf(model, sizeof model, "%.*s", (int)strcspn(colon + 1, "\n"), colon + 1);
    if (!model[0]) read_start(model, sizeof model, "/proc/device-tree/model");
    if (!model[0]) snprintf(model, sizeof model, "%s", HERE_X86 ? "x86 CPU" : HERE_ARM ? "ARM CPU" : "CPU");
    char safe[128];
    sv_text_safe(safe, sizeof safe, model + strspn(model, " \t"));
    size_t cores = sv_cores();
    snprintf(room, room_bytes, "%s, %zu core%s", safe, cores, cores == 1 ? "" : "s");
    return room;
}

double sv_machine_load(void)
{
    double load;
    return getloadavg(&load, 1) == 1 ? load : -1;
}
