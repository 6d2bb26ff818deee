/* The family of pooling-based vision transformers (spec backbones 5). */
#ifndef SIEVE_LAYERS_PIT_H
#define SIEVE_LAYERS_PIT_H

#include "layers/stages.h"

extern const sv_family sv_family_pit;

#endif
