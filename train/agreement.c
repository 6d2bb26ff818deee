/* What all ranks must have alike before the first step: each says what it has, all compare, and all differences of a rank are named. */
#include "train/ranks.h"

#include <stdio.h>
#include <string.h>

/* What must be alike before the first step. Texts are shown where they differ. */
typedef struct creed {
    char version[32], numbers[8], isa[24];
    uint64_t config, train, val, weights, plan;
} creed;

static sv_status hash_source(const sv_source *source, uint64_t *hash, sv_error *err)
{
    const sv_classes *classes = sv_source_classes(source);
    const size_t count = sv_source_count(source), skip = strlen(sv_source_name(source));
    sv_status status = SV_OK;
    *hash = sv_hash(count, NULL, 0);
    for (size_t i = 0; i < classes->count; i++) *hash = sv_hash(*hash, classes->names[i], strlen(classes->names[i]));
    for (size_t i = 0; !status && i < count; i++) {
        char *path = NULL;
        status = sv_source_path(source, i, &path, err);
        if (status) break;
        const size_t length = strlen(path), from = skip < length ? skip : 0; /* the same pictures may lie elsewhere */
        *hash = sv_hash(*hash + sv_source_label(source, i), path + from, length - from);
        sv_free(path);
    }
    return status;
}

uint64_t sv_ranks_hash_state(const sv_session *s)
{
    const size_t bytes = s->model->parameters->total * sizeof(sv_real);
    uint64_t hash = sv_hash(s->optimizer->t, s->model->parameters->values, bytes);
    hash = sv_hash(hash + s->optimizer->t_backbone, s->optimizer->first, bytes);
    if (s->optimizer->second) hash = sv_hash(hash, s->optimizer->second, bytes);
    if (s->ema) hash = sv_hash(hash, s->ema, bytes);
    return sv_hash(hash, &s->state, sizeof s->state);
}

static uint64_t hash_plan(const sv_session *s)
{
    const double numbers[] = { s->budget_ms, s->predicted_ms, s->dense_ms };
    uint64_t hash = sv_hash(0, numbers, sizeof numbers);
    return sv_hash(hash, s->state.keep, sizeof s->state.keep);
}

static sv_status fill_creed(const sv_session *s, creed *own, sv_error *err)
{
    memset(own, 0, sizeof *own);
    snprintf(own->version, sizeof own->version, "%s", SV_VERSION);
    snprintf(own->numbers, sizeof own->numbers, "%s", SV_REAL_NAME);
    snprintf(own->isa, sizeof own->isa, "%s", sv_isa_name(sv_isa_now()));
    own->config = sv_hash(0, s->recipe_text, strlen(s->recipe_text));
    own->weights = sv_ranks_hash_state(s);
    own->plan = hash_plan(s);
    sv_status status = hash_source(s->train_source, &own->train, err);
    return status ? status : hash_source(s->val_source, &own->val, err);
}

static sv_status compare_creeds(const creed *lead, const creed *other, size_t rank, sv_error *err)
{
    static const struct {
        const char *what;
        size_t at, bytes;
        bool text;
    } rows[] = {
        { "its version of Sieve", offsetof(creed, version), sizeof lead->version, true },
        { "the numbers it was built for", offsetof(creed, numbers), sizeof lead->numbers, true },
        { "its instruction set (set SIEVE_ISA alike on all)", offsetof(creed, isa), sizeof lead->isa, true },
        { "its config", offsetof(creed, config), sizeof lead->config, false },
        { "its list of training pictures", offsetof(creed, train), sizeof lead->train, false },
        { "its list of validation pictures", offsetof(creed, val), sizeof lead->val, false },
        { "its weights at the start (model.weights)", offsetof(creed, weights), sizeof lead->weights, false },
        { "its latency table or keep ratios", offsetof(creed, plan), sizeof lead->plan, false },
    };
    char all[400] = "";
    for (size_t i = 0, used = 0; i < SV_COUNT(rows) && used < sizeof all; i++) {
        const char *one = (const char *)lead + rows[i].at, *two = (const char *)other + rows[i].at;
        if (memcmp(one, two, rows[i].bytes) == 0) continue;
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", used ? ", " : "", rows[i].what);
        if (rows[i].text && used < sizeof all)
            used += (size_t)snprintf(all + used, sizeof all - used, ": %.*s, rank 0 %.*s", (int)rows[i].bytes - 1, two, (int)rows[i].bytes - 1, one);
    }
    return all[0] ? sv_fail(err, SV_USAGE, "rank %zu differs from rank 0 in %s; all ranks must have the same", rank, all) : SV_OK;
}

sv_status sv_ranks_agree(sv_session *s, sv_error *err)
{
    creed creeds[SV_RANKS_MOST];
    size_t first[SV_RANKS_MOST + 1], ranks = sv_comm_ranks(s->comm);
    sv_status status = fill_creed(s, &creeds[sv_comm_rank(s->comm)], err);
    for (size_t r = 0; r <= ranks; r++) first[r] = r;
    if (!status) status = sv_comm_gather(s->comm, creeds, sizeof *creeds, sizeof *creeds, first, true, err);
    for (size_t r = 1; !status && r < ranks; r++) status = compare_creeds(&creeds[0], &creeds[r], r, err);
    return status;
}
