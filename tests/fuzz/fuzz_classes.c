/* Class lists: any bytes are read or refused with SV_DATA and a sentence; what is read finds each of its folders at its own index. */
#include "data/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "fuzz_classes: %s\n", what);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[64];
    sv_classes classes = { 0 };
    sv_error err = { 0 };
    if (!path[0]) snprintf(path, sizeof path, "/tmp/sieve_fuzz_classes_%d", (int)getpid());
    FILE *file = fopen(path, "wb");
    must(file && fwrite(data, 1, size, file) == size && !fclose(file), "cannot write the input");
    size_t live = sv_memory_now().live;
    sv_status status = sv_classes_read(&classes, path, &err);
    must(!status || (status == SV_DATA && err.text[0] && !strchr(err.text, '\n')), "refused with another code or without a sentence");
    if (status) must(!classes.count && !classes.text, "a refusal changes the list");
    for (size_t i = 0; i < classes.count; i++) {
        must(sv_classes_find(&classes, classes.folders[i]) == (int64_t)i, "a folder is not found at its index");
        must(classes.names[i][0] != 0, "a name is empty");
    }
    sv_classes_clear(&classes);
    must(sv_memory_now().live == live, "memory stays behind");
    remove(path);
    return 0;
}
