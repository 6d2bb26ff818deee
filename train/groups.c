/* The rows a training config may hold. */
#include "data/data.h"
#include "latency/latency.h"
#include "layers/layers.h"
#include "pruning/pruning.h"
#include "train/search.h"
#include "train/teacher.h"
#include "train/train.h"

#include <string.h>

enum { GROUPS = 8 };

size_t sv_train_config_groups(sv_config_group *groups)
{
    groups[0] = sv_run_config;
    groups[1] = sv_model_config;
    groups[2] = (sv_config_group){ sv_data_rows, sv_data_row_count };
    groups[3] = sv_pruning_config;
    groups[4] = sv_latency_config;
    groups[5] = sv_train_config;
    groups[6] = sv_teacher_config;
    groups[7] = sv_search_config;
    return GROUPS;
}
