/* Names of parameters in other people's files (spec backbones 3.9, 8). */
#ifndef SIEVE_LAYERS_NAMES_H
#define SIEVE_LAYERS_NAMES_H

#include "formats/weights.h"

typedef enum sv_naming { SV_NAMES_TIMM, SV_NAMES_HUGGING_FACE } sv_naming;
sv_naming sv_naming_of(const sv_weights *file);
/* The name or names (parts, in order along the first dimension) under which the file holds parameter `name`; returns their count, 1..3. */
size_t sv_names_in_file(const sv_weights *file, sv_naming naming, const char *name, char parts[3][256]);
/* Tensors that are no parameters of any model and are passed over in silence. */
bool sv_name_ignored(const char *name);

#endif
