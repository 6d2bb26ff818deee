/* The family of LV-ViT (spec backbones 4). */
#ifndef SIEVE_LAYERS_LVVIT_H
#define SIEVE_LAYERS_LVVIT_H

#include "layers/layers.h"

/* What stands in a row (its `form`) beside sv_model_options. */
typedef struct sv_lvvit_form {
    size_t stem;     /* channels of the convolutions in front of the patches */
    double skip_lam; /* each branch is divided by it */
} sv_lvvit_form;

extern const sv_family sv_family_lvvit;

#endif
