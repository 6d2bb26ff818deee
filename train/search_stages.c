/* From ratios by block to stages. */
#include "train/search.h"

#include <math.h>
#include <string.h>

typedef struct stage { size_t first, blocks; double sum; } stage;

static double mean_of(const stage *s) { return s->sum / (double)s->blocks; }

/* stages[i] and the one in front of it, stages[i + 1]: the list runs from the last to the first. */
static void join(stage *stages, size_t *count, size_t i)
{
    stages[i] = (stage){ stages[i + 1].first, stages[i].blocks + stages[i + 1].blocks, stages[i].sum + stages[i + 1].sum };
    memmove(stages + i + 1, stages + i + 2, (*count - i - 2) * sizeof *stages);
    --*count;
}

size_t sv_search_stages(const double *ratios, size_t blocks, double tolerance, size_t *at, double *keep)
{
    stage stages[SV_SEARCH_BLOCKS_MOST];
    size_t count = 0;
    for (size_t b = blocks; b-- > 0;) {
        if (ratios[b] >= 1) continue;
        stages[count++] = (stage){ b, 1, ratios[b] };
        if (count > 1 && fabs(ratios[b] - mean_of(&stages[count - 2])) < tolerance) join(stages, &count, count - 2);
    }
    while (count > SV_MOST_STAGES) {
        size_t nearest = 0;
        for (size_t i = 1; i + 1 < count; i++)
            if (mean_of(&stages[i + 1]) - mean_of(&stages[i]) < mean_of(&stages[nearest + 1]) - mean_of(&stages[nearest])) nearest = i;
        join(stages, &count, nearest);
    }
    for (size_t t = 0; t < count; t++) {
        at[t] = stages[count - 1 - t].first;
        keep[t] = round(1e4 * mean_of(&stages[count - 1 - t])) / 1e4;
    }
    return count;
}
