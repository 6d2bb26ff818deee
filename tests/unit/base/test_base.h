/* What the tests of base/ share: cmocka with what it needs before it, and a temporary folder that is gone afterwards. */
#ifndef SIEVE_TESTS_BASE_H
#define SIEVE_TESTS_BASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/fault.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char test_folder[64];

static inline int make_folder(void **state)
{
    (void)state;
    strcpy(test_folder, "/tmp/sieve test XXXXXX");
    return mkdtemp(test_folder) ? 0 : -1;
}

static inline int remove_entry(const char *path, const struct stat *about, int type, struct FTW *place)
{
    (void)about, (void)type, (void)place;
    return remove(path);
}

static inline int remove_folder(void **state)
{
    (void)state;
    for (int kind = 0; kind < SV_FAULT_KINDS; kind++) sv_fault_set((sv_fault_kind)kind, 0, false);
    return nftw(test_folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* "folder/name" in a static room of its own for each of four calls in a row. */
static inline const char *in_folder(const char *name)
{
    static char rooms[4][512];
    static unsigned next;
    char *room = rooms[next++ % 4];
    snprintf(room, sizeof rooms[0], "%s/%s", test_folder, name);
    return room;
}

static inline void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static inline void assert_holds(const char *path, const char *text)
{
    unsigned char *bytes;
    size_t count;
    sv_error err = { 0 };
    if (sv_file_read_all(path, 1 << 20, SV_DATA, &bytes, &count, &err)) fail_msg("%s", err.text);
    assert_string_equal((char *)bytes, text);
    sv_free(bytes);
}

static inline size_t open_descriptors(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder)) count++;
    if (folder) closedir(folder);
    return count;
}

static inline size_t entries_in(const char *path)
{
    size_t count = 0;
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    if (folder) closedir(folder);
    return count;
}

#define assert_ok(call, err)                                                                                                               \
    do                                                                                                                                     \
        if (call) fail_msg("%s", (err).text);                                                                                              \
    while (0)

#endif
