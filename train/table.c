/* The table a run goes by: given, found in its folder, or measured. */
#include "train/table.h"
#include "latency/measure_model.h"

static sv_status measure_here(sv_latency_table *table, const sv_config *config, const sv_pruning *pruning, const char *path, sv_error *err)
{
    sv_latency_quality quality = { 0 };
    char busy[160], taken[32];
    double begin = sv_now_seconds();
    sv_model_measure measure = { .batch = (size_t)sv_config_int(config, "latency.batch"), .tolerance = sv_config_real(config, "latency.tolerance") };
    measure.options = sv_measure_defaults();
    measure.options.warm_up = (size_t)sv_config_int(config, "latency.warm_up");
    measure.options.runs = (size_t)sv_config_int(config, "latency.runs");
    measure.options.seconds_most = sv_config_real(config, "latency.seconds");
    sv_log(SV_INFO, "measuring how long the parts of %s take on this machine (kept in %s)", sv_pruning_model(pruning)->backbone->name, path);
    sv_status status = sv_latency_measure_model(table, pruning, &measure, &quality, err);
    if (!status) status = sv_latency_table_write(table, path, err);
    if (status) return status;
    /* The file has fewer digits: a run that goes on, and other ranks, read it, and must find the numbers this process trains by. */
    sv_latency_table_clear(table);
    status = sv_latency_table_read(table, path, err);
    if (status) return status;
    sv_log(SV_INFO, "measured %zu points in %s", table->count, sv_duration(taken, sv_now_seconds() - begin));
    sv_machine_busy(busy, sizeof busy, quality.machine);
    if (busy[0]) sv_log(SV_WARNING, "while measuring, %s: the times may be too long", busy);
    if (quality.unsteady) sv_log(SV_WARNING, "%zu of %zu points did not repeat within %.0f %%", quality.unsteady, table->count, 100 * measure.tolerance);
    return SV_OK;
}

sv_status sv_table_take(sv_latency_table *table, bool *foreign, const sv_config *config, const sv_pruning *pruning, const char *folder, sv_error *err)
{
    const char *given = sv_config_text(config, "latency.table");
    sv_latency_about here = { 0 };
    const sv_pruning_plan *plan = &sv_pruning_options_of(pruning)->plan;
    const size_t batch = (size_t)sv_config_int(config, "latency.batch");
    char *path = NULL, differs[256];
    sv_latency_about_model(&here, sv_pruning_model(pruning));
    *foreign = false;
    if (given[0]) {
        sv_status status = sv_latency_table_take(table, given, &here, plan, batch, err);
        if (!status && sv_latency_differs(differs, sizeof differs, table, &here)[0]) {
            *foreign = true;
            sv_log(SV_WARNING, "%s is of another machine or setting (%s): times are predicted for it and not measured here", given, differs);
        }
        return status;
    }
    sv_status status = sv_path_join(&path, folder, "latency.csv", err);
    if (!status && sv_path_exists(path)) {
        status = sv_latency_table_take(table, path, &here, plan, batch, err);
        if (!status && sv_latency_differs(differs, sizeof differs, table, &here)[0])
            sv_log(SV_WARNING, "%s was measured with another setting (%s); remove it to measure anew", path, differs);
    } else if (!status) {
        status = measure_here(table, config, pruning, path, err);
    }
    sv_free(path);
    return status;
}
