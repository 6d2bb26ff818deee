/* Latency: tables of measured times, prediction of a plan's time, the solver from budget to keep ratios, the curve for the
 * latency term of the loss, the [latency] keys of a run. A table is a text file (docs of the format: latency/table_read.c);
 * it comes from this machine (latency/measure.h), from a device (import) or from a publication (latency/devices/).
 * Nothing here knows of training loops, tapes or weights.
 * Letters: E tokens that are never dropped (class, distillation), N0 patches of the picture, S selectors, K_t patches kept by selector t, p_t package
 * tokens behind it. A model is a sum of terms, each an op at a token count that is fixed or grows with one K_t. Of a flat model, whose blocks are all
 * alike, with stage t the blocks behind selector t-1 (stage 0: before the first):
 *     n_0 = E + N0,   n_{t+1} = E + K_t + p_{t+1}
 *     total = embed(n_0) + sum over blocks of block(n_t) + sum over selectors of selector(n_t - E) + gather(n_t - E) + head(n_S).
 * Of backbones whose grid changes from stage to stage each op is of one grid g = 1, 2 ..., and K_t has no say behind the step to the next grid. */
#ifndef SIEVE_LATENCY_LATENCY_H
#define SIEVE_LATENCY_LATENCY_H

#include "base/base.h"
#include "base/config.h"

/* ---- tables ------------------------------------------------------------------------------------------------------ */

typedef enum sv_latency_op {
    SV_LATENCY_BLOCK,       /* one transformer block; tokens = n */
    SV_LATENCY_SELECTOR,    /* one selector with all that follows from its decision, unless there are gather rows; tokens = scored rows, n - E */
    SV_LATENCY_GATHER,      /* package token and removal, where timed apart; tokens = rows before removal, n - E */
    SV_LATENCY_EMBED,       /* patch embedding, class token, positions; tokens = n */
    SV_LATENCY_HEAD,        /* last norm and classifier; tokens = n before it */
    SV_LATENCY_MLP,         /* the second half of a block in which a stage stands; tokens = n behind it (the first half is timed with the selector) */
    SV_LATENCY_LIVING,      /* a block over the rows of its grid that live, the others wait in it; tokens = n */
    SV_LATENCY_PATHS,       /* a block whose rows take two paths, both of them; tokens = rows on the slow one */
    SV_LATENCY_STEP,        /* from one grid to the next: pooling, merging, down-sampling; tokens = rows behind it */
    SV_LATENCY_MODEL,       /* a whole model, from publications or end-to-end runs; tokens = n_0, 0 where not told */
    SV_LATENCY_OPS
} sv_latency_op;
const char *sv_latency_op_name(sv_latency_op op);
enum { SV_LATENCY_NAME_ROOM = 24 };
/* "block", "living.2": as files have it; into room[SV_LATENCY_NAME_ROOM]. */
const char *sv_latency_name(char *room, sv_latency_op op, size_t grid);
bool sv_latency_is_block(sv_latency_op op);     /* a whole block, whatever rows it works on */
bool sv_latency_has_grids(sv_latency_op op);    /* there is one a grid */

typedef struct sv_latency_row {
    sv_latency_op op;
    size_t grid;                /* stage of the backbone from 1; 0: of a flat model, or an op that is there once (embed, head, model) */
    size_t batch, tokens;
    double median_ms, p95_ms;   /* of one run over the whole batch; p95_ms NAN where not told (op model alone) */
    size_t line;                /* in the file it was read from; 0: measured here */
} sv_latency_row;

/* The header. Texts are printable UTF-8; "" and 0 mean not told. */
typedef struct sv_latency_about {
    char device[128], cpu[128], precision[16], isa[24], affinity[64], date[32], tool[64];
    size_t threads;
    char arch[64];              /* the model's signature: arch .. heads */
    size_t image, patch, depth, width, heads;
    char depths[48], widths[48];    /* by grid, "2,6,4"; "": a flat model, which depth and width tell */
    char selector[48];          /* what was timed as selector: "spvit wavg append" ... */
    char statistic[64];         /* what ms_median is where it is no median: "mean of 10 runs" */
    char citation[512], note[512];
} sv_latency_about;

/* All zero is an empty table. Rows are in order of (op, grid, batch, tokens), without duplicates. */
typedef struct sv_latency_table { sv_latency_about about; sv_latency_row *rows; size_t count, capacity; } sv_latency_table;

enum { SV_LATENCY_FILE_MOST = 1 << 20, SV_LATENCY_ROWS_MOST = 16384, SV_LATENCY_TOKENS_MOST = 1 << 20, SV_LATENCY_BATCH_MOST = 1 << 16 };

void sv_latency_table_clear(sv_latency_table *table);
/* Adds a row in its place; one with the same (op, grid, batch, tokens) is replaced. */
sv_status sv_latency_table_add(sv_latency_table *table, const sv_latency_row *row, sv_error *err) SV_MUST_CHECK;
/* Reads a file of one table; on failure (SV_MODEL_FILE with "file:line: sentence"; SV_FAULT: memory) *out is as before. Refused: cut off or
 * changed since it was written, an unknown key or op, numbers that are negative or not finite, a row twice, times that fall
 * with rising tokens by more than sv_latency_noise. */
sv_status sv_latency_table_read(sv_latency_table *out, const char *path, sv_error *err) SV_MUST_CHECK;
/* The same from memory; `name` stands where the path would. */
sv_status sv_latency_table_parse(sv_latency_table *out, const char *bytes, size_t count, const char *name, sv_error *err) SV_MUST_CHECK;
/* The file's text: the same table gives the same bytes. */
sv_status sv_latency_table_print(const sv_latency_table *table, sv_text *text, sv_error *err) SV_MUST_CHECK;
/* Whole or not at all. Refuses what its reader would refuse, naming the row. */
sv_status sv_latency_table_write(const sv_latency_table *table, const char *path, sv_error *err) SV_MUST_CHECK;

/* Tables of several models in one file, one behind another (their form: latency/table_file.c). All zero is empty. */
typedef struct sv_latency_part_of_file {
    sv_latency_table table;
    size_t begin, end, before;  /* its bytes of the file; lines that stand before it */
} sv_latency_part_of_file;
typedef struct sv_latency_file { sv_latency_part_of_file *parts; size_t count, capacity; } sv_latency_file;
enum { SV_LATENCY_TABLES_MOST = 64 };
void sv_latency_file_clear(sv_latency_file *file);
/* At least one table; errors as sv_latency_table_read, and two tables of the same subject. On failure *out is as before. */
sv_status sv_latency_file_parse(sv_latency_file *out, const char *bytes, size_t count, const char *name, sv_error *err) SV_MUST_CHECK;
sv_status sv_latency_file_read(sv_latency_file *out, const char *path, sv_error *err) SV_MUST_CHECK;
/* The table in the place of that with the same subject (*replaced), else behind all; the others keep their bytes. Whole or not at all; a new file where
 * there is none. SV_MODEL_FILE where the file that is there cannot be read: it stays. */
sv_status sv_latency_file_put(const sv_latency_table *table, const char *path, bool *replaced, sv_error *err) SV_MUST_CHECK;
/* Both could answer the same question: the same model (arch .. heads), precision and method, and a batch that both have. */
bool sv_latency_same_subject(const sv_latency_table *a, const sv_latency_table *b);
/* "deit_t (image 224, patch 16, ..., selectors of spvit, fp32)" */
void sv_latency_tell_subject(sv_text *text, const sv_latency_about *about);

/* True where `ms` at more tokens is so far below `before_ms` at fewer that noise does not explain it. */
bool sv_latency_below_noise(double before_ms, double ms);
/* SV_OK where the table is for this model: arch, image, patch, depth, width, heads, depths, widths of `model` (others are not looked at); otherwise
 * SV_MODEL_FILE naming each field that differs. `name` is the table's file in the message. */
sv_status sv_latency_fits_model(const sv_latency_table *table, const sv_latency_about *model, const char *name, sv_error *err) SV_MUST_CHECK;
/* What of device, cpu, threads, precision, isa, tool differs between the table and `here`, as a clause for a message; "" where nothing does.
 * Fields that the table does not tell differ not. */
const char *sv_latency_differs(char *room, size_t room_bytes, const sv_latency_table *table, const sv_latency_about *here);

/* ---- prediction -------------------------------------------------------------------------------------------------- */

enum { SV_LATENCY_MOST_STAGES = 6 };

/* `count` ops alike: `tokens` of them, and what selector `selector` keeps (from 1; 0: no one's). behind: selectors in front of it. */
typedef struct sv_latency_term { sv_latency_op op; size_t grid, behind, selector, tokens, count; } sv_latency_term;
enum { SV_LATENCY_MOST_TERMS = 40 };

/* What of a model its time depends on beside the kept counts; latency/shape.h makes one of a model and a plan. */
typedef struct sv_latency_shape {
    size_t extra, patches;                          /* E, N0 */
    size_t selectors;                               /* S; 0: dense */
    size_t on[SV_LATENCY_MOST_STAGES], of[SV_LATENCY_MOST_STAGES];  /* selector t: its grid (0: flat), and that grid's patches */
    size_t least;                                   /* patches that always stay */
    sv_latency_term terms[SV_LATENCY_MOST_TERMS], dense[SV_LATENCY_MOST_TERMS];    /* in the order of the model; dense: without selectors */
    size_t term_count, dense_count;
    size_t merging;                                 /* so many blocks that all merge: K_0 tokens behind the last, counts as sv_merge_count, no terms (ToMe); 0: else */
} sv_latency_shape;

/* K_t = floor(N0 keep_t + 1e-9): the one rounding from ratio to count. */
size_t sv_latency_count(size_t patches, double keep);

/* How a token count between two measured ones is read. Both over the running maximum from few tokens to many. Fewer tokens than the
 * fewest measured cost what those cost. A little more than the most (a tenth, or SV_LATENCY_MOST_STAGES) goes on along the last slope. */
typedef enum sv_latency_rule { SV_LATENCY_LINEAR /* between them */, SV_LATENCY_CEILING /* the one at or above: for promises */ } sv_latency_rule;

/* The ms of one op (grid as in a row). SV_MODEL_FILE where the table has no row of the op at this batch, or stops short of `tokens`. */
sv_status sv_latency_at(const sv_latency_table *table, sv_latency_op op, size_t grid, size_t batch, double tokens, sv_latency_rule rule, double *ms, sv_error *err) SV_MUST_CHECK;

typedef struct sv_latency_prediction {
    double total_ms, embed_ms, head_ms;
    double blocks_ms[SV_LATENCY_MOST_STAGES + 1];   /* all blocks behind so many selectors, with steps between grids */
    double selectors_ms[SV_LATENCY_MOST_STAGES];    /* with gather */
    double fixed_ms, kept_ms[SV_LATENCY_MOST_STAGES];   /* the same total, by what it depends on: nothing; K_t */
    size_t tokens[SV_LATENCY_MOST_STAGES + 1];      /* n_t: of the embedding, of the first block behind selector t-1 */
    unsigned missing;                               /* bit op: the table has no such rows; counted as nothing */
} sv_latency_prediction;
/* kept: K_t of each selector. Block rows are needed; embed, head and selector rows that the table lacks count as nothing and are told in
 * `missing` (a missing gather is none: it is inside the selector). */
sv_status sv_latency_predict(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, const size_t *kept, sv_latency_rule rule,
                             sv_latency_prediction *out, sv_error *err) SV_MUST_CHECK;
/* The same model without selectors. */
sv_status sv_latency_predict_dense(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, sv_latency_rule rule,
                                   sv_latency_prediction *out, sv_error *err) SV_MUST_CHECK;
/* "embed, head" into room: the ops of `missing`. */
const char *sv_latency_missing(char *room, size_t room_bytes, unsigned missing);

/* The input of sv_tape_latency_loss with N patches, the most of any selector's grid: curve[3 + S (N + 1)] = fixed ms, budget ms, 0 (the place of a
 * multiplier), then for each selector t and k = 0..N the ms of what depends on K_t = k of[t] / N: of a flat model the blocks of stage t+1, the next
 * selector, after the last one the head. By linear interpolation; fixed + the curves at K_t is the prediction. S >= 1. */
size_t sv_latency_curve_patches(const sv_latency_shape *shape);
size_t sv_latency_curve_count(const sv_latency_shape *shape);
sv_status sv_latency_curve(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, double budget_ms, sv_real *curve, sv_error *err) SV_MUST_CHECK;
/* d total / d K_t in ms a token, at kept patches that need not be whole numbers; slope[S]. */
sv_status sv_latency_slope(const sv_latency_table *table, size_t batch, const sv_latency_shape *shape, const double *kept, double *slope, sv_error *err) SV_MUST_CHECK;

/* ---- budget and solver ------------------------------------------------------------------------------------------- */

typedef enum sv_budget_kind { SV_NO_BUDGET, SV_BUDGET_MS, SV_BUDGET_SHARE /* of the dense model */ } sv_budget_kind;
typedef struct sv_budget { sv_budget_kind kind; double value; } sv_budget; /* ms, or a share 0..1 */
/* "" (none), "12.5ms", "70%". SV_USAGE; `where` ("deit.ini:12") opens the message. */
sv_status sv_budget_parse(sv_budget *out, const char *text, const char *where, sv_error *err) SV_MUST_CHECK;
double sv_budget_ms(sv_budget budget, double dense_ms); /* INFINITY where there is none */

typedef struct sv_latency_question {
    const sv_latency_table *table;
    size_t batch;
    const sv_latency_shape *shape;      /* at least one selector */
    sv_latency_rule rule;
    double budget_ms;
    double keep_least;                  /* the smallest r of the family, the smallest ratio of the free form; 0: 0.1 */
    const double *like;                 /* [selectors] falling ratios above 0 whose relation the family keeps: like[t]^x; NULL: r, r^2, r^3 ... */
} sv_latency_question;

typedef struct sv_latency_answer {
    size_t selectors;
    double keep[SV_LATENCY_MOST_STAGES];
    size_t kept[SV_LATENCY_MOST_STAGES];
    sv_latency_prediction predicted;
    double dense_ms, budget_ms, cost;   /* cost: of the free form */
} sv_latency_answer;

/* Keep ratios r, r^2, r^3 ... (or like question->like, r the ratio of the first that drops anything) with the largest r that meets the budget: one more kept token anywhere in the family is above it. r is
 * given in as few decimals as name the same counts. SV_BUDGET where even keep_least is above the budget: the sentence gives the least ms. */
sv_status sv_latency_solve_family(const sv_latency_question *question, sv_latency_answer *out, sv_error *err) SV_MUST_CHECK;
/* Explicit ratios, 0 <= keep <= 1, none above the one before on its grid (SV_USAGE). Fills out; SV_BUDGET where their prediction is above the budget,
 * and then the sentence gives ratios of the family that are not; *out is filled then too. */
sv_status sv_latency_check_keep(const sv_latency_question *question, const double *keep, sv_latency_answer *out, sv_error *err) SV_MUST_CHECK;

/* What keeping less costs in quality, by selector: cost[t * steps + i] at keep[i] (falling, keep[0] = 1), such as the rise of validation
 * loss when that stage alone is reduced. */
enum { SV_LATENCY_MOST_STEPS = 24 };
typedef struct sv_latency_costs { size_t steps; const double *keep, *cost; } sv_latency_costs;
/* The ratios out of costs->keep, none above the one before on its grid, of least summed cost within the budget; of equal cost the faster. Exact: every
 * combination that could be the best is looked at. Errors as solve_family. */
sv_status sv_latency_solve_free(const sv_latency_question *question, const sv_latency_costs *costs, sv_latency_answer *out, sv_error *err) SV_MUST_CHECK;

/* ---- configuration ----------------------------------------------------------------------------------------------- */

extern const sv_config_group sv_latency_config;     /* the [latency] keys */

#endif
