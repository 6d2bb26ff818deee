/* What happens to the rows of an image at a selector, the same for the masked form and for removal: one mechanism, two uses. Rows are in the order
 * prefix, patches, package tokens (oldest first); in the masked form dropped rows follow behind all of them (spec exact savings 5). */
#include "pruning/inside.h"

sv_cut sv_stream_scored(sv_tape *tape, const sv_pruning *pruning, const sv_stream *stream)
{
    const size_t prefix = sv_model_prefix(pruning->model);
    sv_cut cut = { .u = sv_tape_slice_rows(tape, stream->x, prefix, 0) };
    cut.before = stream->policy ? sv_tape_slice_rows(tape, stream->policy, prefix, 0) : sv_tape_fill(tape, cut.u, 0, 1);
    cut.origin = stream->origin ? sv_tape_slice_rows(tape, stream->origin, prefix, 0) : sv_tape_count_up(tape, cut.u, 0);
    cut.watched = stream->watched ? sv_tape_slice_rows(tape, stream->watched, prefix, 0) : NULL;
    return cut;
}

static const sv_package_form forms[] = { [SV_CHOICE_WAVG] = SV_PACKAGE_WAVG, [SV_CHOICE_SUM] = SV_PACKAGE_SUM, [SV_CHOICE_MEAN] = SV_PACKAGE_MEAN };

sv_stream sv_stream_cut(sv_tape *tape, const sv_pruning *pruning, sv_stream stream, sv_cut *cut, sv_package_choice form, sv_package_empty empty, sv_cut_form how)
{
    size_t prefix = sv_model_prefix(pruning->model);
    sv_tensor *policy = sv_tape_concat_rows(tape, sv_tape_fill(tape, cut->u, prefix, 1), cut->keep);
    sv_tensor *origin = sv_tape_concat_rows(tape, sv_tape_fill_index(tape, cut->u, prefix, -1), cut->origin);
    sv_tensor *x = stream.x;
    if (form != SV_CHOICE_NONE) {
        cut->package = sv_tape_package(tape, cut->u, cut->before, cut->keep, cut->score, forms[form], empty, &cut->package_policy);
        x = sv_tape_concat_rows(tape, x, cut->package);
        policy = sv_tape_concat_rows(tape, policy, cut->package_policy);
        origin = sv_tape_concat_rows(tape, origin, sv_tape_fill_index(tape, cut->u, 1, -2));
    }
    if (how == SV_CUT_IN_PLACE) return (sv_stream){ .x = x, .policy = policy, .origin = origin };
    sv_tensor *order = sv_tape_live_order(tape, policy);
    if (how == SV_CUT_REMOVED) return (sv_stream){ .x = sv_tape_gather_rows(tape, x, order, SV_TAKE_LIVE), .origin = sv_tape_gather_rows(tape, origin, order, SV_TAKE_LIVE) };
    return (sv_stream){ .x = sv_tape_gather_rows(tape, x, order, SV_TAKE_ALL), .policy = sv_tape_gather_rows(tape, policy, order, SV_TAKE_ALL_LIVE),
                        .origin = sv_tape_gather_rows(tape, origin, order, SV_TAKE_ALL) };
}
