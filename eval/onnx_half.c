/* Weights in 16 bits: float16 and bfloat16, rounded to nearest, ties to even. Numbers that float16 cannot hold are refused, not made infinite. */
#include "eval/onnx_inside.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

/* Biases and norms are half a percent of the bytes, selectors less, and what these say decides which patches stay: they stay floats. */
bool sv_onnx_is_half(const sv_onnx_options *options, const sv_parameter *p)
{
    return options->weights != SV_ONNX_FLOAT && p->dims > 1 && !sv_name_selects(p->name);
}

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

uint16_t sv_onnx_to_half(sv_onnx_type type, float value)
{
    uint16_t bits = 0;
    if (type == SV_ONNX_FLOAT16) return to_float16(value);
    sv_to_bf16(&bits, &value, 1);
    return bits;
}

float sv_onnx_from_half(sv_onnx_type type, uint16_t bits)
{
    float value = 0;
    if (type == SV_ONNX_FLOAT16) return from_float16(bits);
    sv_from_bf16(&value, &bits, 1);
    return value;
}

sv_status sv_onnx_round(sv_deployed *d, const sv_onnx_options *options, sv_error *err)
{
    for (size_t i = 0; i < d->model->parameters->count; i++) {
        sv_parameter *p = d->model->parameters->items[i];
        for (size_t k = 0; k < p->count; k++) {
            const float value = (float)p->value[k],
                        stored = sv_onnx_is_half(options, p) ? sv_onnx_from_half(options->weights, sv_onnx_to_half(options->weights, value))
                                                             : value;
            if (!isfinite(value))
                return sv_fail(err, SV_MODEL_FILE, "%s holds a number that is not finite (number %zu): it is not exported", p->name, k);
            if (!isfinite(stored))
                return sv_fail(err, SV_MODEL_FILE, "%s holds %g, beyond float16's 65504; export it with --weights bf16 or f32", p->name,
                               (double)value);
            p->value[k] = (sv_real)stored;
        }
    }
    sv_parameters_changed(d->model->parameters);
    return SV_OK;
}
