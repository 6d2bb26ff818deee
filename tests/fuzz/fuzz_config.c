/* A config file of any bytes: it is read or refused with one sentence that fits its room; what was read prints to text that
 * reads back and prints the same; nothing leaks. An include of a device, a folder or itself must not hang. */
#include "base/config.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const sv_config_row rows[] = {
    { "train.batch", SV_CONFIG_INT, "128", 1, 65536, NULL, "" },
    { "train.lr", SV_CONFIG_REAL, "5e-4", 0, INFINITY, NULL, "" },
    { "train.ema", SV_CONFIG_BOOL, "no", 0, 0, NULL, "" },
    { "data.train", SV_CONFIG_TEXT, "", 0, 0, NULL, "" },
    { "pruning.at", SV_CONFIG_INTS, "3,6,9", 0, 64, NULL, "" },
    { "pruning.keep", SV_CONFIG_REALS, "0.7", 0, 1, NULL, "" },
    { "model.arch", SV_CONFIG_CHOICE, "deit_t", 0, 0, "deit_t|deit_s|deit_b", "" },
};
static const sv_config_group group = SV_CONFIG_GROUP(rows);
static char folder[] = "/tmp/sieve-fuzz-XXXXXX", path[sizeof folder + 8];

static void remove_folder(void)
{
    unlink(path);
    rmdir(folder);
}

static void write_file(const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) abort();
}

static char *print(const sv_config *config, sv_text *text)
{
    sv_error err;
    if (sv_config_print(config, text, &err)) abort();
    return text->data;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv_error err = { 0 };
    sv_config *config = NULL, *again = NULL;
    sv_text first = { 0 }, second = { 0 };
    if (!path[0]) {
        if (!mkdtemp(folder)) abort();
        snprintf(path, sizeof path, "%s/a.ini", folder);
        atexit(remove_folder);
    }
    size_t live = sv_memory_now().live;
    write_file(data, size);
    if (sv_config_create(&config, &group, 1, &err) || sv_config_create(&again, &group, 1, &err)) abort();
    sv_status status = sv_config_read(config, path, &err);
    if (status) assert(err.code == status && err.text[0] && memchr(err.text, 0, sizeof err.text) && !strchr(err.text, '\n'));
    print(config, &first); /* a refused file may have set some keys: they too are whole */
    write_file(first.data, first.length);
    if (sv_config_read(again, path, &err)) abort();
    assert(strcmp(first.data, print(again, &second)) == 0);
    sv_text_clear(&first);
    sv_text_clear(&second);
    sv_config_destroy(config);
    sv_config_destroy(again);
    assert(sv_memory_now().live == live);
    return 0;
}
