/* The model that another one is compared with: a file of any kind, or what a run itself learned from. */
#ifndef SIEVE_EVAL_BESIDE_H
#define SIEVE_EVAL_BESIDE_H

#include "eval/eval.h"

/* The word of `--beside` for what the run of a checkpoint learned from. */
#define SV_BESIDE_TEACHER "teacher"

/* A value of the config stored with a model, as it stands there: section "train", key "teacher". *out "" where there is no config or no such line; the
 * caller's. */
sv_status sv_deployed_setting(const sv_deployed *deployed, const char *section, const char *key, char **out, sv_error *err) SV_MUST_CHECK;

/* A checkpoint or export of ours as it is (its own plan); any other weight file as a dense model of `arch` for pictures of `image` pixels a side and so
 * many classes (0: the row's). */
sv_status sv_deployed_open(sv_deployed *out, const char *path, const char *arch, size_t image, size_t classes, sv_error *err) SV_MUST_CHECK;

/* The dense teacher of the run that made `deployed`: train.teacher of its config, else the model.weights it started from, without selectors.
 * SV_USAGE where its config names neither; SV_MODEL_FILE where the file is no longer there. */
sv_status sv_deployed_open_teacher(sv_deployed *out, const sv_deployed *deployed, sv_error *err) SV_MUST_CHECK;

#endif
