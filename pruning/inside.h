/* What the files of pruning share. */
#ifndef SIEVE_PRUNING_INSIDE_H
#define SIEVE_PRUNING_INSIDE_H

#include "pruning/pruning.h"

typedef struct sv_selector_slots {
    sv_parameter *norm, *norm_bias, *fc_in, *fc_in_bias, *fc1, *fc1_bias, *fc2, *fc2_bias, *fc_out, *fc_out_bias, *head1, *head1_bias, *head2, *head2_bias;
} sv_selector_slots;

struct sv_pruning {
    sv_model *model;            /* borrowed */
    sv_pruning_options options;
    sv_selector_slots slots[SV_MOST_STAGES];
};

/* Tokens on their way through the blocks. */
typedef struct sv_stream {
    sv_tensor *x;               /* [rows, D] */
    sv_tensor *policy;          /* [rows, 1]; NULL before the first selector and in the deployed form */
    sv_tensor *origin;          /* SV_INDEX [rows, 1]: patch number, -1 prefix, -2.. package tokens; NULL before the first selector */
} sv_stream;

/* Behind a decision: appends the package token, and puts live rows first (masked form) or leaves them alone (removal). u, keep, score, origin: rows
 * without prefix. */
typedef struct sv_cut { sv_tensor *u, *before, *keep, *score, *origin, *package, *package_policy; } sv_cut;
typedef enum sv_cut_form { SV_CUT_MASKED, SV_CUT_IN_PLACE /* plain masked attention: rows keep their order */, SV_CUT_REMOVED } sv_cut_form;
sv_stream sv_stream_cut(sv_tape *tape, const sv_pruning *pruning, sv_stream stream, sv_cut *cut, sv_package_choice form, sv_package_empty empty, sv_cut_form how);
/* Rows without prefix, with their policy and origin (made where the stream has none yet). */
void sv_stream_scored(sv_tape *tape, const sv_pruning *pruning, const sv_stream *stream, sv_tensor **u, sv_tensor **policy, sv_tensor **origin);

#endif
