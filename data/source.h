/* Where labelled pictures come from: a count, class names, and for sample i its file and label. A source is read-only after it is
 * opened and may be read from any thread. No picture is opened before it is asked for. */
#ifndef SIEVE_DATA_SOURCE_H
#define SIEVE_DATA_SOURCE_H

#include "formats/pictures.h"

/* The most classes there may be. */
enum { SV_CLASSES_MAX = 1000000 };

/* ---- class lists -------------------------------------------------------------------------------------------------- */

/* A file of `folder<TAB>name` lines; the line number, from 0, is the class index. A line without a TAB names the class as its folder.
 * Also what an opened source without such a file makes of its sorted folders. All zero is empty. */
typedef struct sv_classes { char *text; size_t count; const char **folders, **names; uint32_t *sorted; } sv_classes;
/* SV_DATA with file:line for a duplicate, an empty line, a line of more than 1000 bytes, a zero byte; for no line or more than
 * 1,000,000 of them. Blank lines at the very end are fine, and so are line ends of Windows. */
sv_status sv_classes_read(sv_classes *classes, const char *path, sv_error *err) SV_MUST_CHECK;
void sv_classes_clear(sv_classes *classes);
/* Index of the class of that folder name, or -1. */
int64_t sv_classes_find(const sv_classes *classes, const char *folder);
/* The `count` classes of these folder names, which are sorted by bytes and stand in one block, each with its zero byte; the block is taken
 * over (also on failure). */
sv_status sv_classes_of_folders(sv_classes *classes, sv_text *names, size_t count, sv_error *err) SV_MUST_CHECK;
/* Classes that have numbers for names: "0", "1", ... */
sv_status sv_classes_of_numbers(sv_classes *classes, size_t count, sv_error *err) SV_MUST_CHECK;

/* ---- sources ------------------------------------------------------------------------------------------------------ */

typedef struct sv_source sv_source;

/* The raw bytes of a picture's file. All zero is empty; `capacity` bytes are held behind data, so that a room that is filled again needs no
 * new memory once it is large enough. Owned by the caller, freed by sv_bytes_clear (accepts all zero). */
typedef struct sv_bytes { unsigned char *data; size_t count, capacity; } sv_bytes;
void sv_bytes_clear(sv_bytes *bytes);

/* What becomes of pictures of a class that the class file does not name. */
typedef enum sv_unlisted { SV_UNLISTED_ERROR, SV_UNLISTED_SKIP } sv_unlisted;

/* How a source is opened. All zero is a good default. Texts are borrowed for the call; NULL is as "". */
typedef struct sv_source_options {
    const char *format;         /* "folder", "flat", "shards"; "" or "auto": told by what lies there */
    const char *class_file;     /* fixes the class indices; "": none */
    const char *list_file;      /* flat: the list of labels; "": list_name in the folder, else beside it */
    const char *list_name;      /* "": val.txt */
    sv_unlisted unlisted;
    size_t shuffle_buffer;      /* shards: samples the order of training is shuffled over; 0: 1000 */
} sv_source_options;

/* Opens pictures of any kind:
 *   folder   DIR/class/picture, as sv_source_open_folder
 *   flat     DIR/picture and a list of lines `NAME LABEL`: the label is a class folder of class_file, or a number. Samples are in the order of
 *            the list. Lines that are empty or begin with # are passed over; a name with spaces may stand before a TAB. Without class_file
 *            classes are numbered.
 *   shards   DIR/NAME.tar ... as WebDataset: a sample is the members that share the name up to the first dot behind the last slash; one picture
 *            (jpg, jpeg, png in any case) and one label (cls, a whole number). Class names come from DIR/classes.txt, else class_file, else
 *            classes are numbered. Samples are in order of shard name, then of place. docs/data.md says more.
 * "auto" takes shards where there is a *.tar, folder where there are class folders, else flat; a given list_file means flat.
 * SV_DATA, naming file and line or shard and member: absent or unusable; SV_USAGE: another format. */
sv_status sv_source_open(sv_source **out, const char *path, const sv_source_options *options, sv_error *err) SV_MUST_CHECK;
/* A tree DIR/class/picture, as torchvision's ImageFolder: class folders sorted by bytes are classes 0, 1, ...; with `class_file` (NULL or
 * "": none) the index is the line of the folder in it, whichever folders are present. Samples are in order of class folder, then of name by
 * bytes; pictures in folders below a class folder belong to it. Any file whose name does not begin with a dot counts, whatever its
 * extension. SV_DATA: no such folder, no class folder, a class folder without a file, a folder that class_file does not name. */
sv_status sv_source_open_folder(sv_source **out, const char *folder, const char *class_file, sv_error *err) SV_MUST_CHECK;
/* Accepts NULL. */
void sv_source_close(sv_source *source);

/* The pictures held out of training, or those that are left: `held_out` of them, drawn by the seed. Takes `whole` over; on failure it stays the caller's.
 * Training over a slice of shards shuffles single samples. SV_USAGE where there are not more than so many. */
typedef enum sv_slice_part { SV_SLICE_TRAINING, SV_SLICE_HELD_OUT } sv_slice_part;
sv_status sv_source_slice(sv_source **out, sv_source *whole, sv_slice_part part, size_t held_out, uint64_t seed, sv_error *err) SV_MUST_CHECK;

size_t sv_source_count(const sv_source *source);
const sv_classes *sv_source_classes(const sv_source *source);
/* Its classes have no names but their numbers. */
bool sv_source_numbered(const sv_source *source);
uint32_t sv_source_label(const sv_source *source, size_t sample);
/* The file of a sample, owned by the caller; a picture inside a shard is "SHARD.tar: MEMBER". */
sv_status sv_source_path(const sv_source *source, size_t sample, char **path, sv_error *err) SV_MUST_CHECK;
/* The file's bytes as they are, room->count of them. SV_DATA naming the file: absent, unreadable, more than SV_PICTURE_FILE_MAX bytes;
 * SV_FAULT: memory. After a failure room->count is 0 and its memory stays. Safe from any thread, each with a room of its own. */
sv_status sv_source_bytes(const sv_source *source, size_t sample, sv_bytes *room, sv_error *err) SV_MUST_CHECK;
/* The same, decoded; the path stands before what sv_picture_decode says. */
sv_status sv_source_read(const sv_source *source, size_t sample, sv_picture *out, sv_error *err) SV_MUST_CHECK;
/* The same where only a part is looked at (formats/pictures.h; NULL: all), with room that is used again. */
sv_status sv_source_read_part(const sv_source *source, size_t sample, sv_part_rule *part, void *context, sv_bytes *room, sv_picture *out, sv_error *err) SV_MUST_CHECK;
/* The order in which training takes the samples, into order[sv_source_count]: each sample once, a function of the source and the draws
 * alone. Single files: sv_random_permutation. Shards: shards in random order, each read from front to end through a buffer of
 * options.shuffle_buffer samples, of which a random one is taken and replaced by the next: reading is nearly sequential. */
void sv_source_order(const sv_source *source, sv_random *random, uint64_t *order);
/* The folder or file the source was opened with, for messages. */
const char *sv_source_name(const sv_source *source);
/* Training (`one`) and validation (`other`) must mean the same by a class index: SV_DATA naming the first class that differs. Where one of
 * them numbers its classes only, its labels must be classes of the other. */
sv_status sv_source_check_same(const sv_source *one, const sv_source *other, sv_error *err) SV_MUST_CHECK;

#endif
