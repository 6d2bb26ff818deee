/* The family of ConvNeXt (spec backbones 7). */
#ifndef SIEVE_LAYERS_CONVNEXT_H
#define SIEVE_LAYERS_CONVNEXT_H

#include "layers/stages.h"

extern const sv_family sv_family_convnext;

#endif
