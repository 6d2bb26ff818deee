/* A file of any bytes that claims to be ONNX is refused with code 4 and one sentence that fits its room, or read, in bounded memory (4 times the
 * file and 64 MiB) and with nothing left behind. What was read can be walked: every number of a value is one. */
#include "formats/onnx.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/sieve-fuzz-XXXXXX", path[sizeof folder + 8];

static void remove_all(void)
{
    unlink(path);
    rmdir(folder);
}

static void prepare(void)
{
    if (path[0]) return;
    if (!mkdtemp(folder)) abort();
    snprintf(path, sizeof path, "%s/a", folder);
    atexit(remove_all);
}

static void walk(const sv_onnx_model *model)
{
    unsigned sum = 0;
    for (size_t i = 0; i < model->initializer_count; i++) {
        const sv_onnx_read_tensor *t = &model->initializers[i];
        for (size_t k = 0; k < t->count * sv_onnx_type_bytes(t->type); k++) sum += t->data[k];
    }
    for (size_t i = 0; i < model->node_count; i++)
        for (size_t k = 0; k < model->nodes[i].in_count; k++)
            assert(model->nodes[i].in[k] == UINT32_MAX
                   || sv_onnx_find(model, model->names[model->nodes[i].in[k]]) == model->nodes[i].in[k]);
    assert(sum + 1 != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv_onnx_model model = { 0 };
    sv_error err = { 0 };
    if (size > 4 << 20) return 0;
    prepare();
    FILE *file = fopen(path, "wb");
    if (!file || (size && fwrite(data, 1, size, file) != size) || fclose(file)) abort();
    const size_t live = sv_memory_now().live, held = sv_memory_now().bytes_now;
    sv_status status = sv_onnx_read(&model, path, NULL, &err);
    assert(sv_memory_now().bytes_peak <= held + 4 * (4 << 20) + (64 << 20));
    if (status)
        assert(status == SV_MODEL_FILE && err.code == status && strstr(err.text, path) && memchr(err.text, 0, sizeof err.text));
    else
        walk(&model);
    sv_onnx_clear(&model);
    assert(sv_memory_now().live == live);
    return 0;
}
