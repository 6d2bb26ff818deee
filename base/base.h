/* Sieve base: what every folder stands on. Errors, memory, checked arithmetic, text, files, messages, threads, random
 * numbers, the machine. It knows nothing of tensors. Nothing here prints or exits: messages go to the sink a program sets.
 * Narrow headers beside this one: base/config.h (INI and the schema of a run's keys), base/json.h (JSON result lines),
 * base/fault.h (fault counters for the checks). */
#ifndef SIEVE_BASE_BASE_H
#define SIEVE_BASE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SV_VERSION "0.1.0"

/* The number of the engine: float, or double in the `make f64` build, where gradients are checked to 1e-7. */
#ifdef SIEVE_F64
typedef double sv_real;
#define SV_REAL_NAME "f64"
#else
typedef float sv_real;
#define SV_REAL_NAME "f32"
#endif

#define SV_MUST_CHECK __attribute__((warn_unused_result))
#define SV_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define SV_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- errors ---------------------------------------------------------------------------------------------------- */

/* Codes are the exit codes of the programs, one to one (docs/exit-codes.md). */
typedef enum sv_status {
    SV_OK = 0,
    SV_FAULT = 1,       /* internal fault, or the system said no: memory, disk full, permission to write */
    SV_USAGE = 2,       /* command line or config */
    SV_DATA = 3,        /* pictures, folders, class lists: absent or unusable */
    SV_MODEL_FILE = 4,  /* weights, checkpoint, latency table: absent, broken, or for another model */
    SV_NOT_FINITE = 5,  /* loss or gradient not finite beyond recovery */
    SV_BUDGET = 6,      /* the measured latency is above the budget */
    SV_INTERRUPTED = 75 /* stopped by a signal, saved, resume to go on */
} sv_status;

/* One sentence: what, where, what was expected, what to do. Fixed size, owned by the caller: it works when memory is gone. */
typedef struct sv_error {
    sv_status code;
    char text[1024];
} sv_error;

/* Writes the sentence into err (NULL: nothing is written) and returns code, so that `return sv_fail(...)` reads well.
 * A sentence that is too long is cut at the end. */
sv_status sv_fail(sv_error *err, sv_status code, const char *format, ...) SV_PRINTF(3, 4);
/* Puts "context: " before the sentence already in err; returns its code. */
sv_status sv_fail_within(sv_error *err, const char *format, ...) SV_PRINTF(2, 3);

/* ---- checked arithmetic ------------------------------------------------------------------------------------------ */

/* Each returns true where the result does not fit (then *out is untouched): `if (sv_mul_size(&bytes, n, 4) || ...)`. */
bool sv_add_size(size_t *out, size_t a, size_t b) SV_MUST_CHECK;
bool sv_mul_size(size_t *out, size_t a, size_t b) SV_MUST_CHECK;
bool sv_mul_size3(size_t *out, size_t a, size_t b, size_t c) SV_MUST_CHECK;
/* Rounds up to a multiple of `unit` (not 0). */
bool sv_align_up(size_t *out, size_t value, size_t unit) SV_MUST_CHECK;

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Every allocation of Sieve goes through these: 64-byte aligned, counted by label, able to fail on demand (base/fault.h).
 * `pointer` is the address of a pointer variable of any type; it is set on success alone. Zero bytes give a valid pointer.
 * `label` says what for ("activations"); it is kept, so it must be a literal. */
sv_status sv_alloc(void *pointer, size_t bytes, const char *label, sv_error *err) SV_MUST_CHECK;
sv_status sv_alloc_zero(void *pointer, size_t bytes, const char *label, sv_error *err) SV_MUST_CHECK;
/* Makes room for at least `need` items of `item_bytes` in *pointer, which holds *capacity of them: at least doubles.
 * On failure *pointer and *capacity are as before. */
sv_status sv_grow(void *pointer, size_t *capacity, size_t need, size_t item_bytes, const char *label, sv_error *err) SV_MUST_CHECK;
/* Accepts NULL. */
void sv_free(void *pointer);
/* Bytes now held, the most ever held, and how many allocations have been made: the checks count that steps make none. */
typedef struct sv_memory { size_t bytes_now, bytes_peak, allocations, live; } sv_memory;
sv_memory sv_memory_now(void);
/* The same by label, in the order of first use, into the first `room` rows; returns how many labels there are. */
typedef struct sv_memory_label { const char *label; size_t bytes_now, bytes_peak; } sv_memory_label;
size_t sv_memory_labels(sv_memory_label *rows, size_t room);

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* Text that grows. All zero is empty. After a failed addition `failed` stays true and later additions do nothing, so that
 * a page of additions needs one check at its end. */
typedef struct sv_text { char *data; size_t length, capacity; bool failed; } sv_text;
void sv_text_add(sv_text *text, const char *format, ...) SV_PRINTF(2, 3);
void sv_text_add_bytes(sv_text *text, const void *bytes, size_t count);
/* SV_OK, or the failure of an addition before. text->data is never NULL after SV_OK and ends in a zero byte. */
sv_status sv_text_check(sv_text *text, sv_error *err) SV_MUST_CHECK;
void sv_text_clear(sv_text *text);
/* A copy of `string` owned by the caller. */
sv_status sv_text_copy(char **out, const char *string, sv_error *err) SV_MUST_CHECK;
/* Whole-string numbers in the C locale: false where anything is left over, out of range, or not finite. */
bool sv_parse_int(const char *string, int64_t *out) SV_MUST_CHECK;
bool sv_parse_real(const char *string, double *out) SV_MUST_CHECK;
/* Names from files may hold anything: copies at most room-1 bytes, control characters and broken UTF-8 shown as '?'. */
const char *sv_text_safe(char *room, size_t room_bytes, const char *string);

/* ---- tables of kinds --------------------------------------------------------------------------------------------- */

/* The one idiom for things that exist in kinds (ops, backbones, formats, keys): an array of const rows whose first member
 * is `const char *name`. */
const void *sv_kind_find(const void *rows, size_t row_count, size_t row_bytes, const char *name);
#define SV_KIND_FIND(rows, name) sv_kind_find((rows), SV_COUNT(rows), sizeof((rows)[0]), (name))
/* The row name most like `name` (fewest edits), or NULL where none is near: for "did you mean". */
const char *sv_kind_nearest(const void *rows, size_t row_count, size_t row_bytes, const char *name);
/* "deit_t, deit_s, deit_b" into text. */
void sv_kind_list(const void *rows, size_t row_count, size_t row_bytes, sv_text *text);

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* A file open for reading at any place. `code` is what failures of this file are reported as (SV_DATA, SV_MODEL_FILE ...). */
typedef struct sv_file { int descriptor; uint64_t size; sv_status code; char *path; } sv_file;
sv_status sv_file_open(sv_file *file, const char *path, sv_status code, sv_error *err) SV_MUST_CHECK; /* refuses folders, devices */
/* Exactly `bytes` bytes from `offset`; a short file is an error that says so. Safe from any thread. */
sv_status sv_file_read_at(const sv_file *file, uint64_t offset, void *out, size_t bytes, sv_error *err) SV_MUST_CHECK;
void sv_file_close(sv_file *file); /* accepts an all-zero struct */
/* The whole file, at most max_bytes of it allowed, with a zero byte behind it (not counted). *bytes is owned by the caller. */
sv_status sv_file_read_all(const char *path, size_t max_bytes, sv_status code, unsigned char **bytes, size_t *count, sv_error *err) SV_MUST_CHECK;

/* A file that appears whole or not at all: written beside `path` under a temporary name, flushed, synced, renamed, its folder
 * synced. Until _commit has returned SV_OK the old file stays (but where only the folder's sync failed: then the new one stands,
 * whole, and the error says so). A second writer of the same path waits up to 2 s, then fails. _abandon removes the temporary
 * file; accepts committed and zero. */
typedef struct sv_atomic_file { int descriptor; char *path, *temporary; unsigned char *buffer; size_t buffered; uint64_t written; } sv_atomic_file;
sv_status sv_atomic_open(sv_atomic_file *file, const char *path, sv_error *err) SV_MUST_CHECK;
sv_status sv_atomic_write(sv_atomic_file *file, const void *bytes, size_t count, sv_error *err) SV_MUST_CHECK;
/* What was written so far can now be read under file->temporary, to be checked before it takes its name. */
sv_status sv_atomic_flush(sv_atomic_file *file, sv_error *err) SV_MUST_CHECK;
sv_status sv_atomic_commit(sv_atomic_file *file, sv_error *err) SV_MUST_CHECK;
void sv_atomic_abandon(sv_atomic_file *file);
/* The three in one. */
sv_status sv_file_write_atomic(const char *path, const void *bytes, size_t count, sv_error *err) SV_MUST_CHECK;
/* Appends and syncs; for logs and metrics, where the last line may be cut by a crash but no earlier one. */
sv_status sv_file_append(const char *path, const void *bytes, size_t count, sv_error *err) SV_MUST_CHECK;

/* Room on the disk that holds `path` (the file, or the folder it is to stand in). False where the system does not say. */
typedef struct sv_disk { uint64_t free, total; } sv_disk;
bool sv_disk_about(const char *path, sv_disk *out) SV_MUST_CHECK;
/* SV_FAULT where the disk has less than `bytes` and a little more: said before a write begins, in one sentence. Where the system does not say,
 * SV_OK: the write itself tells. */
sv_status sv_disk_check(const char *path, uint64_t bytes, sv_error *err) SV_MUST_CHECK;

sv_status sv_folder_create(const char *path, sv_error *err) SV_MUST_CHECK; /* with its parents; existing is fine */
typedef struct sv_names { char **items; size_t count; } sv_names;
/* Names (not paths) of the entries of a folder, sorted by bytes, without "." and ".."; hidden ones left out. */
sv_status sv_folder_list(const char *path, sv_status code, sv_names *out, sv_error *err) SV_MUST_CHECK;
void sv_names_clear(sv_names *names);
bool sv_path_exists(const char *path);
bool sv_path_is_folder(const char *path);   /* follows links */
bool sv_path_is_file(const char *path);     /* a regular file, follows links */
/* "folder/name", owned by the caller; name alone where it is absolute or folder is empty. */
sv_status sv_path_join(char **out, const char *folder, const char *name, sv_error *err) SV_MUST_CHECK;
/* Path of the running program's folder (no slash at the end), owned by the caller. */
sv_status sv_path_of_program(char **out, sv_error *err) SV_MUST_CHECK;

/* ---- messages ---------------------------------------------------------------------------------------------------- */

typedef enum sv_level { SV_QUIET, SV_WARNING, SV_INFO, SV_VERBOSE } sv_level;
/* One finished line without its end. The default sink writes warnings and info to standard error. */
typedef void sv_log_sink(void *context, sv_level level, const char *line);
void sv_log_set(sv_log_sink *sink, void *context, sv_level most); /* NULL: the default sink */
void sv_log_set_terminal(sv_level most);    /* after sv_log_set: of a sink that takes more than it shows */
sv_level sv_log_level(void);                /* what the terminal shows: of the last of both calls; progress lines go by it */
/* Lines of the calling thread up to SV_INFO go to this sink instead, which may log in turn; NULL: no more. For libraries, whose callers own the
 * terminal. */
void sv_log_set_here(sv_log_sink *sink, void *context);
sv_log_sink sv_log_to_terminal;             /* the default sink, for sinks that hand lines on; context is not read */
void sv_log(sv_level level, const char *format, ...) SV_PRINTF(2, 3);
/* A line that is rewritten in place on a terminal (standard error) and, in a pipe, printed as a plain line at most every 10 s.
 * Nothing below SV_INFO. _end leaves the last state standing (terminal) and gives the line back to ordinary messages. */
void sv_progress(const char *format, ...) SV_PRINTF(1, 2);
void sv_progress_end(void);
/* "1 h 03 min", "4 min 10 s", "12.3 s": for time left and time taken. */
const char *sv_duration(char room[32], double seconds);

/* ---- time and signals -------------------------------------------------------------------------------------------- */

double sv_now_seconds(void);                /* monotonic: what durations are measured with; the clock of the wall may jump */
double sv_wall_seconds(void);               /* since 1970, for people and file names alone */
void sv_interrupt_install(void);            /* SIGINT and SIGTERM set a flag; the second one ends the process */
bool sv_interrupted(void);
/* "8h", "90min", "45s", "1.5 h", a bare number: minutes. False where it is none of these, negative, or beyond 1e9 seconds. */
bool sv_parse_duration(const char *string, double *seconds) SV_MUST_CHECK;

/* ---- threads ----------------------------------------------------------------------------------------------------- */

/* Number of compute threads for what follows (0: all cores this process may use). Not inside a region. */
void sv_threads_set(size_t count);
/* The same for regions that the calling thread opens, whatever others choose; 0: as chosen for all. Threads may open regions at the same time:
 * OpenMP has a pool of workers for each of them. */
void sv_threads_set_here(size_t count);
size_t sv_threads(void);
/* Calls work(context, item, thread) once for each item 0..count-1, items shared out as threads become free; `thread` is
 * 0..sv_threads()-1 and names scratch, never sums. Runs inline for one item or one thread. No nesting. Denormals are flushed
 * to zero in every worker, the same in every ISA form. */
typedef void sv_item_work(void *context, size_t item, size_t thread);
void sv_for_items(size_t count, sv_item_work *work, void *context);
/* Runs work once on each thread of a team; they meet at sv_team_barrier, which spins, then yields, then sleeps. */
typedef struct sv_team sv_team;
typedef void sv_team_work(void *context, sv_team *team, size_t thread, size_t thread_count);
void sv_team_run(sv_team_work *work, void *context);
void sv_team_barrier(sv_team *team);

/* ---- random numbers ---------------------------------------------------------------------------------------------- */

/* Philox 4x32-10 (Salmon et al., SC'11): 4 words that are a pure function of counter and key. */
void sv_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* What a draw is for: two purposes never share a number. New ones at the end: numbers are part of what a resumed run must keep. */
typedef enum sv_purpose {
    SV_FOR_SHUFFLE, SV_FOR_CROP, SV_FOR_FLIP, SV_FOR_DECISION, SV_FOR_DROPOUT, SV_FOR_DROP_PATH, SV_FOR_INIT, SV_FOR_SHAPES,
    SV_FOR_MIX, SV_FOR_AUGMENT, SV_FOR_ERASE, SV_FOR_TEST, SV_FOR_HOLD_OUT
} sv_purpose;

/* A stream of draws that is a function of (seed, purpose, epoch, sample, position): 64-bit seed; epoch < 2^24; any sample;
 * position < 2^24 (a stage, a layer). Copy it to repeat it. */
typedef struct sv_random { uint32_t key[2], counter[4], words[4]; unsigned left; } sv_random;
sv_random sv_random_at(uint64_t seed, sv_purpose purpose, uint32_t epoch, uint64_t sample, uint32_t position);
uint32_t sv_random_word(sv_random *random);
double sv_random_uniform(sv_random *random);                      /* (0, 1), 53 bits, never 0 or 1 */
uint64_t sv_random_below(sv_random *random, uint64_t bound);      /* 0..bound-1, exactly uniform; bound > 0 */
double sv_random_normal(sv_random *random);
double sv_random_logistic(sv_random *random);                     /* difference of two Gumbel draws */
/* A permutation of 0..count-1 into `order`. */
void sv_random_permutation(sv_random *random, uint64_t *order, size_t count);

/* ---- the machine ------------------------------------------------------------------------------------------------- */

typedef enum sv_isa { SV_ISA_C, SV_ISA_AVX2, SV_ISA_AVX512, SV_ISA_AVX512_BF16, SV_ISA_AMX, SV_ISA_NEON } sv_isa;
/* The best this CPU and operating system offer, lowered by the environment variable SIEVE_ISA (c, avx2, avx512, avx512_bf16,
 * amx, neon); an unknown value there is an error of programs at start (sv_isa_check). */
sv_isa sv_isa_now(void);
sv_status sv_isa_check(sv_error *err) SV_MUST_CHECK;
const char *sv_isa_name(sv_isa isa);
size_t sv_cores(void);                      /* CPUs this process may use (affinity, quota of its container), at least 1 */
/* "Intel(R) Xeon(R) ..., 2 cores" into room. */
const char *sv_machine_name(char *room, size_t room_bytes);
double sv_machine_load(void);               /* runnable processes over the last minute; -1 where unknown */

#endif
