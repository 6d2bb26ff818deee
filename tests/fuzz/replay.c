/* Main of a fuzz target without a fuzzer: feeds it the empty input, every file of the folders and files it is given, and
 * then each file again cut at several lengths and with single bytes changed, so that a stored input also stands for its
 * neighbours. Prints "ok NAME: N inputs"; a property that does not hold ends the process. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CUTS = 16, CHANGES = 32, LARGEST_CHANGED = 1 << 16 /* larger inputs are fed as they are: the check shall stay short */ };
static size_t inputs;

/* In a block of exactly its size, so that the sanitizer sees a read beyond. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) abort();
    if (size) memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    inputs++;
}

static void feed_neighbours(uint8_t *data, size_t size)
{
    static const uint8_t changes[] = { 0x00, 0xff, 0x80, 0x7f, 0x01, '"', '[', '\n' };
    if (size == 0 || size > LARGEST_CHANGED) return;
    for (size_t i = 0; i < CUTS; i++) feed(data, size * i / CUTS);
    uint32_t place = 2463534242u;
    for (size_t i = 0; i < CHANGES; i++) {
        place ^= place << 13, place ^= place >> 17, place ^= place << 5;
        uint8_t *byte = &data[place % size], kept = *byte;
        *byte = changes[i % sizeof changes];
        feed(data, size);
        *byte = kept;
    }
}

static void feed_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat about;
    if (!file || stat(path, &about)) {
        perror(path);
        exit(1);
    }
    size_t size = (size_t)about.st_size;
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, file) != size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    feed(data, size);
    feed_neighbours(data, size);
    free(data);
}

static void feed_path(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) {
        feed_file(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        char inside[4096];
        if (entry->d_name[0] == '.') continue;
        snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        feed_path(inside);
    }
    closedir(folder);
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    feed(NULL, 0);
    for (int i = 1; i < argc; i++) feed_path(argv[i]);
    printf("ok %s: %zu inputs\n", slash ? slash + 1 : argv[0], inputs);
    return 0;
}
