/* Weights in 16 and 8 bits. Numbers that float16 cannot hold are refused, not made infinite. */
#include "eval/narrow.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

const char *sv_narrow_words(sv_onnx_type kind)
{
    switch (kind) {
    case SV_ONNX_FLOAT16:
        return "float16, computed in float32";
    case SV_ONNX_BFLOAT16:
        return "bfloat16, computed in float32";
    case SV_ONNX_INT8:
        return "int8 with a scale for each output channel, computed in float32";
    default:
        return "float32";
    }
}

/* Biases and norms are half a percent of the bytes, selectors less, and what these say decides which patches stay: they stay floats. */
sv_onnx_type sv_narrow_of(sv_onnx_type kind, const sv_parameter *p)
{
    const size_t length = strlen(p->name), ending = strlen(".weight");
    const bool layer = length > ending && strcmp(p->name + length - ending, ".weight") == 0;
    return p->dims > 1 && !sv_name_selects(p->name) && (kind != SV_ONNX_INT8 || layer) ? kind : SV_ONNX_FLOAT;
}

/* ---- 16 bits ------------------------------------------------------------------------------------------------------- */

static uint16_t to_float16(float value)
{
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    const double size = fabs((double)value);
    int exponent = 0;
    if (!(size <= 65504)) return (uint16_t)(sign | (size > 65504 && size < 65520 ? 0x7BFF : size >= 65520 ? 0x7C00 : 0x7E00));
    if (size <= 0) return sign;
    frexp(size, &exponent);
    if (exponent < -13) exponent = -13;                   /* subnormal: steps of 2^-24 */
    const long steps = lrint(ldexp(size, 11 - exponent)); /* 1024..2048 of them, fewer where subnormal */
    return (uint16_t)(sign + ((exponent + 13) << 10) + steps);
}

static float from_float16(uint16_t half)
{
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                                      : ldexpf((float)(exponent ? fraction + 1024 : fraction), (exponent ? exponent : 1) - 25);
    return half & 0x8000 ? -size : size;
}

uint16_t sv_narrow_half(sv_onnx_type kind, float value)
{
    uint16_t bits = 0;
    if (kind == SV_ONNX_FLOAT16) return to_float16(value);
    sv_to_bf16(&bits, &value, 1);
    return bits;
}

float sv_narrow_from_half(sv_onnx_type kind, uint16_t bits)
{
    float value = 0;
    if (kind == SV_ONNX_FLOAT16) return from_float16(bits);
    sv_from_bf16(&value, &bits, 1);
    return value;
}

/* ---- 8 bits -------------------------------------------------------------------------------------------------------- */

float sv_int8_scale(const sv_real *row, size_t count)
{
    double most = 0;
    int exponent = 0;
    for (size_t i = 0; i < count; i++) { /* fmax here makes gcc 12 for aarch64 fail inside */
        const double size = fabs((double)row[i]);
        if (size > most) most = size;
    }
    if (most < 0x1p-100) return 1; /* all become 0 */
    const double share = frexp(most / 127, &exponent);
    return (float)ldexp(ceil(ldexp(share, 16)), exponent - 16);
}

int8_t sv_int8_of(sv_real value, float scale)
{
    const double steps = rint((double)value / (double)scale);
    return (int8_t)(steps > 127 ? 127 : steps < -127 ? -127 : steps);
}

/* ---- a model ------------------------------------------------------------------------------------------------------- */

static sv_status round_row(const sv_parameter *p, size_t row, size_t columns, sv_onnx_type kind, sv_error *err)
{
    sv_real *values = p->value + row * columns;
    for (size_t k = 0; k < columns; k++)
        if (!isfinite(values[k]))
            return sv_fail(err, SV_MODEL_FILE, "%s holds a number that is not finite (number %zu): it is not exported", p->name,
                           row * columns + k);
    const float scale = kind == SV_ONNX_INT8 ? sv_int8_scale(values, columns) : 1;
    for (size_t k = 0; k < columns; k++) {
        const float value = (float)values[k], stored = kind == SV_ONNX_FLOAT  ? value
                                                       : kind == SV_ONNX_INT8 ? (float)sv_int8_of(values[k], scale) * scale
                                                                              : sv_narrow_from_half(kind, sv_narrow_half(kind, value));
        if (!isfinite(stored))
            return sv_fail(err, SV_MODEL_FILE, "%s holds %g, beyond float16's 65504; export it with --weights bf16 or f32", p->name,
                           (double)value);
        values[k] = (sv_real)stored;
    }
    return SV_OK;
}

sv_status sv_narrow_round(sv_deployed *d, sv_onnx_type kind, sv_error *err)
{
    for (size_t i = 0; i < d->model->parameters->count; i++) {
        const sv_parameter *p = d->model->parameters->items[i];
        for (size_t row = 0; row < p->shape[0]; row++) {
            sv_status status = round_row(p, row, p->count / p->shape[0], sv_narrow_of(kind, p), err);
            if (status) return status;
        }
    }
    sv_parameters_changed(d->model->parameters);
    return SV_OK;
}
