/* The family of Swin (spec backbones 6). */
#ifndef SIEVE_LAYERS_SWIN_H
#define SIEVE_LAYERS_SWIN_H

#include "layers/stages.h"

extern const sv_family sv_family_swin;

#endif
