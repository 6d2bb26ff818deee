/* Where labelled pictures come from: a count, class names, and for sample i its file and label. A source is read-only after it is
 * opened and may be read from any thread. No picture is opened before it is asked for. */
#ifndef SIEVE_DATA_SOURCE_H
#define SIEVE_DATA_SOURCE_H

#include "formats/pictures.h"

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

/* ---- sources ------------------------------------------------------------------------------------------------------ */

typedef struct sv_source sv_source;

/* A tree DIR/class/picture, as torchvision's ImageFolder: class folders sorted by bytes are classes 0, 1, ...; with `class_file` (NULL or
 * "": none) the index is the line of the folder in it, whichever folders are present. Samples are in order of class folder, then of name by
 * bytes; pictures in folders below a class folder belong to it. Any file whose name does not begin with a dot counts, whatever its
 * extension. SV_DATA: no such folder, no class folder, a class folder without a file, a folder that class_file does not name. */
sv_status sv_source_open_folder(sv_source **out, const char *folder, const char *class_file, sv_error *err) SV_MUST_CHECK;
/* Accepts NULL. */
void sv_source_close(sv_source *source);

size_t sv_source_count(const sv_source *source);
const sv_classes *sv_source_classes(const sv_source *source);
uint32_t sv_source_label(const sv_source *source, size_t sample);
/* The file of a sample, owned by the caller. */
sv_status sv_source_path(const sv_source *source, size_t sample, char **path, sv_error *err) SV_MUST_CHECK;
sv_status sv_source_read(const sv_source *source, size_t sample, sv_picture *out, sv_error *err) SV_MUST_CHECK;
/* The folder or file the source was opened with, for messages. */
const char *sv_source_name(const sv_source *source);
/* Training and validation must mean the same by a class index: SV_DATA naming the first class that differs. */
sv_status sv_source_check_same(const sv_source *one, const sv_source *other, sv_error *err) SV_MUST_CHECK;

#endif
