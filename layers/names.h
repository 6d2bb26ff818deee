/* Names of parameters in other people's files (spec backbones 3.9, 8; SPViT F1). */
#ifndef SIEVE_LAYERS_NAMES_H
#define SIEVE_LAYERS_NAMES_H

#include "formats/weights.h"
#include "layers/layers.h"

enum { SV_NAME_ROOM = 256 };

/* How a file names things; found once a file. */
typedef struct sv_naming {
    const char *outer; /* what training wrappers put before every name: "module." */
    const char *inner; /* what Hugging Face puts before all but the heads: "vit.", "deit." */
    bool hugging_face;
    bool (*official)(const char *own, char *out, size_t room); /* the authors' names instead of timm's; NULL: timm's */
} sv_naming;
sv_naming sv_naming_of(const sv_weights *file, const sv_family *family);

/* The name or names (parts, in order along the first dimension) under which the file holds parameter `name`; returns their
 * count, 1 or 3. A name that the file does not have comes back in the form it should have. */
size_t sv_names_in_file(const sv_weights *file, const sv_naming *naming, const char *name, char parts[3][SV_NAME_ROOM]);
/* The reference of SPViT writes the one set of weights of its selector once a head. Makes the name of copy `head` from that of
 * copy 0; false where `name` is none of these. */
bool sv_name_of_copy(char out[SV_NAME_ROOM], const char *name, size_t head);
/* Selectors, ours or the reference's. */
bool sv_name_is_selector(const sv_naming *naming, const char *name);
/* Tensors that are no parameters of any model and are passed over in silence. */
bool sv_name_ignored(const sv_naming *naming, const char *name);
/* The name without the file's prefixes. */
const char *sv_name_bare(const sv_naming *naming, const char *name);

#endif
