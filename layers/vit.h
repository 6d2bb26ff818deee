/* The family of plain vision transformers: DeiT, distilled DeiT, ViT (spec backbones 3). */
#ifndef SIEVE_LAYERS_VIT_H
#define SIEVE_LAYERS_VIT_H

#include "layers/layers.h"

extern const sv_family sv_family_vit;

#endif
