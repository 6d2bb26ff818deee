/* Which table of a file a model goes by. */
#include "latency/measure_model.h"
#include "latency/table.h"

#include <stdio.h>
#include <string.h>

enum { TOLD_MOST = 6 };

static bool has_batch(const sv_latency_table *table, size_t batch)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->rows[i].batch == batch) return true;
    return false;
}

/* How well a table that fits model and method answers: the batch first, without which there is no answer, then the precision, then that it tells whose
 * selectors it timed. */
static int worth(const sv_latency_table *table, const sv_latency_about *model, const sv_pruning_plan *plan, size_t batch)
{
    const char *precision = table->about.precision;
    const int same = strcmp(precision, model->precision) == 0 ? 2 : !precision[0];
    return 1 + 6 * has_batch(table, batch) + 2 * same + (plan->stages && table->about.selector[0]);
}

/* "deit_t (image 224, ...), deit_s (...)" */
static sv_status none_fits(const sv_latency_file *file, const char *name, const sv_latency_about *model, const sv_pruning_plan *plan, sv_error *err)
{
    sv_text wanted = { 0 }, held = { 0 };
    sv_latency_about asked = *model;
    snprintf(asked.selector, sizeof asked.selector, "%s", plan->stages ? sv_method_name(plan->method) : "");
    sv_latency_tell_subject(&wanted, &asked);
    for (size_t i = 0; i < file->count && i < TOLD_MOST; i++) {
        if (i) sv_text_add(&held, ", ");
        sv_latency_tell_subject(&held, &file->parts[i].table.about);
    }
    if (file->count > TOLD_MOST) sv_text_add(&held, " and %zu more", file->count - TOLD_MOST);
    sv_status status = sv_text_check(&wanted, err);
    if (!status) status = sv_text_check(&held, err);
    if (!status)
        status = sv_fail(err, SV_MODEL_FILE, "%s: holds no table of %s; it holds those of %s. Add one with `latency measure --config FILE --out %s --add`", name, wanted.data, held.data, name);
    sv_text_clear(&wanted);
    sv_text_clear(&held);
    return status;
}

sv_status sv_latency_file_choose(size_t *out, const sv_latency_file *file, const char *name, const sv_latency_about *model, const sv_pruning_plan *plan, size_t batch, sv_error *err)
{
    int best = 0;
    *out = 0;
    if (file->count > 1) {
        for (size_t i = 0; i < file->count; i++) {
            const sv_latency_table *table = &file->parts[i].table;
            sv_error why;
            if (sv_latency_fits_model(table, model, name, &why) || sv_latency_fits_method(table, plan, name, &why)) {
                if (why.code != SV_MODEL_FILE) return sv_fail(err, why.code, "%s", why.text);
                continue;
            }
            const int value = worth(table, model, plan, batch);
            if (value > best) best = value, *out = i;
        }
        return best ? SV_OK : none_fits(file, name, model, plan, err);
    }
    sv_status status = sv_latency_fits_model(&file->parts[0].table, model, name, err);
    return status ? status : sv_latency_fits_method(&file->parts[0].table, plan, name, err);
}

sv_status sv_latency_table_take(sv_latency_table *out, const char *path, const sv_latency_about *model, const sv_pruning_plan *plan, size_t batch, sv_error *err)
{
    sv_latency_file file = { 0 };
    size_t chosen = 0;
    sv_status status = sv_latency_file_read(&file, path, err);
    if (!status) status = sv_latency_file_choose(&chosen, &file, path, model, plan, batch, err);
    if (!status) {
        sv_latency_table_clear(out);
        *out = file.parts[chosen].table;
        file.parts[chosen].table = (sv_latency_table){ 0 };
    }
    sv_latency_file_clear(&file);
    return status;
}
