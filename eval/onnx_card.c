/* The model card in the metadata of an ONNX export, a key each. */
#include "eval/card.h"
#include "eval/narrow.h"
#include "eval/onnx_inside.h"

static void put(void *context, const char *key, const char *value)
{
    const sv_onnx_mapping *m = context;
    sv_onnx_metadata(m->graph, key, value);
}

sv_status sv_onnx_card(sv_onnx_mapping *m, const char *source, double ms, sv_error *err)
{
    char accuracy[256] = "", latency[512];
    sv_status status = source ? sv_card_accuracy(source, accuracy, err) : SV_OK;
    if (status) return status;
    sv_card_latency(ms, latency);
    sv_card_tell(&(sv_card){ .model = m->d->model,
                             .plan = m->plan,
                             .config = m->d->config,
                             .weights = sv_narrow_words(m->options.weights),
                             .accuracy = accuracy,
                             .latency = latency,
                             .licence = m->options.licence },
                 put, m);
    if (m->note) sv_onnx_metadata(m->graph, "graph", m->note);
    if (m->d->classes) sv_onnx_metadata(m->graph, "classes", m->d->classes);
    return SV_OK;
}
