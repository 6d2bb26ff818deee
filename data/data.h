/* Data: labelled pictures from folders, decoded, cropped, normalised and handed out in batches. This header gathers the folder and turns the
 * keys [data] of a run's config into the options of its parts. Nothing here knows of models. */
#ifndef SIEVE_DATA_DATA_H
#define SIEVE_DATA_DATA_H

#include "base/config.h"
#include "data/loader.h"
#include "data/mix.h"
#include "data/source.h"
#include "data/transform.h"

extern const sv_config_row sv_data_rows[];
extern const size_t sv_data_row_count;

/* What the keys say. Texts are borrowed from the config. */
typedef struct sv_data_options {
    const char *train, *val, *val_list, *classes, *format; /* "" where not given */
    sv_unlisted unlisted;
    size_t shuffle_buffer;
    sv_transform_options transform;
    sv_mix_options mix;
    size_t repeats, repeat_ranks, workers, queue, cache_bytes;
    double max_bad;
    size_t hold_out; uint64_t hold_out_seed;    /* pictures of train that are kept from training and stand for val; 0: none */
} sv_data_options;

/* SV_USAGE, naming the key and where it was set, for values that do not go together. */
sv_status sv_data_options_read(const sv_config *config, sv_data_options *options, sv_error *err) SV_MUST_CHECK;
/* Opens options->train or options->val in the format of data.format. SV_DATA, naming the key, where it is "" or unusable. */
sv_status sv_data_open_train(const sv_data_options *options, sv_source **out, sv_error *err) SV_MUST_CHECK;
sv_status sv_data_open_val(const sv_data_options *options, sv_source **out, sv_error *err) SV_MUST_CHECK;
/* The loader's options for a use; slice and seed are the run's. */
sv_loader_options sv_data_loader_options(const sv_data_options *options, sv_loader_use use, size_t batch, uint64_t seed);

#endif
