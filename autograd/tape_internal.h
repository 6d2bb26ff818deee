/* What the files of the engine share: recording (tape.c), planning (plan.c), running (execute.c). Nobody else includes this.
 *
 * Time as the planner sees it. Segments 0..S-1 run forward at times 0..S-1 and backward at times S..2S-1 (segment s at 2S-1-s).
 * What must live from one segment to another, or from forward to backward, is in the arena: one row block an image, places given
 * by lifetime. Everything else is in the scratch of the thread that runs the image, places given by lifetime inside the segment. */
#ifndef SIEVE_AUTOGRAD_TAPE_INTERNAL_H
#define SIEVE_AUTOGRAD_TAPE_INTERNAL_H

#include "autograd/op.h"

typedef enum sv_storage { SV_NOWHERE, SV_IN_ARENA, SV_IN_SCRATCH, SV_IN_BATCH, SV_IN_TEAM, SV_IN_PARAMETER, SV_IN_ZEROS } sv_storage;
typedef struct sv_where { sv_storage place; size_t offset, stride; } sv_where; /* bytes; stride from image to image */

typedef struct sv_tensor_plan {
    bool kept, wanted;              /* sv_tape_keep; an input whose gradient is wanted */
    bool reached;                   /* on a path to the loss, and needs a gradient */
    bool crosses;                   /* read in another segment than it is made in */
    bool backward_reads;            /* some backward (or rebuild) reads its data */
    bool backward_reads_dead;       /* also rows that are not live */
    bool rebuilt;                   /* made again in backward instead of kept */
    bool private_rows;              /* with one image split by rows: each thread reads only rows it made itself */
    sv_where data, team, again, gradient;   /* forward; forward split by rows; rebuilt in backward; gradient */
    uint32_t gradient_group;        /* tensors that share one gradient memory: index of the first */
    uint32_t parameter_slot;        /* place among the distinct parameters of the tape */
} sv_tensor_plan;

/* One step of a segment's way back. */
typedef enum sv_way_kind { SV_WAY_BACK, SV_WAY_REBUILD, SV_WAY_REDO /* its forward once more */ } sv_way_kind;
typedef struct sv_way { uint32_t node; sv_way_kind kind; uint32_t accumulate; /* bits: inputs added to */ } sv_way;

typedef struct sv_lane_item { sv_parameter *parameter; size_t offset; /* numbers, in a lane */ } sv_lane_item;

typedef struct sv_segment {
    uint32_t first, end;            /* nodes */
    bool batch;                     /* one batch op, run once */
    sv_way *way; size_t way_count;
    uint32_t first_packed;          /* its first node that reads a packed weight in forward; UINT32_MAX: none */
    sv_lane_item *lane_items; size_t lane_item_count, lane_numbers;
} sv_segment;

struct sv_tape {
    sv_tape_options options;
    sv_error error;
    bool failed, finished, can_split;
    sv_tensor **tensors; sv_tensor_plan *plans; size_t tensor_count, tensor_capacity, plan_capacity;
    sv_node **nodes; size_t node_count, node_capacity;
    bool cut_next;
    uint32_t segment_count; sv_segment *segments; size_t segment_capacity;
    sv_tensor *loss;
    size_t count_sources;
    uint32_t *counts;               /* [count_sources][images_most] */
    uint8_t *barriers;              /* [nodes]: split by rows, the team meets before this node */
    sv_where *saved;                /* [nodes] */
    uint32_t *next_packed;          /* [nodes]: the next node that reads a packed weight in forward, the first one behind the last; UINT32_MAX: none */
    uint8_t *redone;                /* [nodes]: run forward once more in backward (options.recompute) */
    unsigned char *arena, *batch_arena, *team_arena;
    size_t arena_bytes, batch_bytes, team_bytes, scratch_bytes, op_scratch_bytes;
    sv_real *zeros;
    unsigned char **scratch; size_t scratch_threads;
    sv_real *lanes; size_t lane_stride;
    bool *lane_empty;               /* [lanes]: of the running step; lanes_bf16 alone */
    sv_step step; uint64_t *samples;
    bool has_run;
    sv_tape_peers peers;            /* ranks 0: this process is alone */
    size_t *peer_first;             /* [ranks + 1]: images, lanes or items of each rank, filled anew for each use */
    struct sv_exchange *exchange;   /* NULL: alone */
    sv_error peers_error;           /* of the last backward; code SV_OK: all is well */
    double *segment_seconds;        /* sv_tape_watch */
    struct sv_clocks *clocks;       /* NULL: no profile is wanted */
};

enum { SV_ALIGN = 64 };

/* peers.c: nothing to do, and SV_OK, without peers */
size_t sv_peers_lane(const sv_tape *tape, size_t rank);             /* the first lane of a rank */
size_t sv_peers_image(const sv_tape *tape, size_t rank);            /* its first image of the running step */
sv_status sv_peers_gather_inputs(sv_tape *tape, const sv_node *node, sv_error *err);
sv_status sv_peers_gather_kept(sv_tape *tape, sv_error *err);
/* exchange.c: gradients of a segment, while backward goes on; failures go to peers_error */
typedef struct sv_exchange sv_exchange;
sv_status sv_exchange_create(sv_tape *tape, sv_error *err);         /* peers are set, and are more than one */
void sv_exchange_destroy(sv_tape *tape);
sv_real *sv_exchange_lanes(sv_tape *tape);                          /* room for the lanes of the next segment; alone: the tape's */
void sv_exchange_post(sv_tape *tape, const sv_segment *segment);    /* own lanes stand in that room */
void sv_exchange_wait(sv_tape *tape);                               /* all gradients are there, or peers_error says why not */
/* rounded.c: to bf16; sum (+)= of it; gradient += bf16(bf16(lane 0) + bf16(lane 1) + ...) for `count` numbers of a lane. */
void sv_lanes_to_half(uint16_t *out, const sv_real *in, size_t count);
void sv_lanes_add_half(sv_real *sum, const uint16_t *in, size_t count, bool accumulate);
void sv_lanes_add_rounded(sv_real *gradient, const sv_real *lanes, size_t stride, size_t lane_count, const bool *empty, size_t count);
size_t sv_lane_begin(const sv_tape *tape, size_t lane);             /* execute.c: its first image of the running step */

bool sv_node_active(const sv_tape *tape, const sv_node *node);      /* takes part in backward */
size_t sv_tensor_bytes(const sv_tensor *tensor);                    /* of one image's block (or of the batch), rounded to SV_ALIGN */
sv_status sv_tape_plan(sv_tape *tape, sv_error *err);               /* plan.c */
sv_status sv_plan_team(sv_tape *tape, sv_error *err);               /* plan_team.c */

/* Fills what an op is handed for one image (execute.c). */
typedef enum sv_phase { SV_FORWARD, SV_SPLIT, SV_BACKWARD } sv_phase;
void sv_call_of(const sv_tape *tape, sv_call *call, const sv_node *node, size_t image, size_t thread, sv_phase phase);

/* Clocks of a profile (profile.c); all do nothing where none is wanted. begin: what sv_clock_begin gave. */
typedef enum sv_own_work { SV_CLOCK_PACK, SV_CLOCK_LANES, SV_CLOCK_OWN_COUNT } sv_own_work;
double sv_clock_begin(const sv_tape *tape);
bool sv_clock_ready(sv_tape *tape, size_t threads);                 /* before a run: room for so many threads; false: no memory */
void sv_clock_node(const sv_tape *tape, const sv_node *node, size_t thread, bool backward, double begin);
void sv_clock_own(const sv_tape *tape, sv_own_work work, size_t thread, double begin);
void sv_clock_run(sv_tape *tape, bool forward, double begin);
void sv_clocks_destroy(sv_tape *tape);

/* Places items of given size and lifetime (first..last, inclusive) so that none that live together overlap; returns the total. */
typedef struct sv_life { size_t bytes, offset; uint32_t first, last; } sv_life;
sv_status sv_place_lives(sv_life *lives, size_t count, size_t *total, sv_error *err); /* lives.c */

#endif
