/* The kinds of numbers tensor files hold: one row a kind, with its word in each form of file and its way to a double.
 * Bytes come little-endian and at any alignment. */
#include "base/utf8.h"
#include "formats/weights_inside.h"

#include <math.h>
#include <string.h>

#define WIDEN(function, type)                                                                                                              \
    static void function(double *out, const unsigned char *bytes, size_t count)                                                            \
    {                                                                                                                                      \
        for (size_t i = 0; i < count; i++) {                                                                                               \
            type value;                                                                                                                    \
            memcpy(&value, bytes + i * sizeof value, sizeof value);                                                                        \
            out[i] = (double)value;                                                                                                        \
        }                                                                                                                                  \
    }
WIDEN(widen_f64, double)
WIDEN(widen_f32, float)
WIDEN(widen_i64, int64_t)
WIDEN(widen_i32, int32_t)
WIDEN(widen_i16, int16_t)
WIDEN(widen_i8, int8_t)
WIDEN(widen_u64, uint64_t)
WIDEN(widen_u32, uint32_t)
WIDEN(widen_u16, uint16_t)
WIDEN(widen_u8, uint8_t)
#undef WIDEN

static void widen_bool(double *out, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) out[i] = bytes[i] != 0;
}

static void widen_bf16(double *out, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)bytes[2 * i] << 16 | (uint32_t)bytes[2 * i + 1] << 24;
        float value;
        memcpy(&value, &bits, sizeof value);
        out[i] = (double)value;
    }
}

/* A small float: sign, exponent and mantissa as in IEEE 754; `top` is the exponent of infinities and NaN, or beyond reach. */
static double widen_small(unsigned bits, int exponent_bits, int mantissa_bits, int top)
{
    int exponent = (int)(bits >> mantissa_bits & ((1U << exponent_bits) - 1)), bias = (1 << (exponent_bits - 1)) - 1;
    unsigned mantissa = bits & ((1U << mantissa_bits) - 1);
    double value;
    if (exponent == top)
        value = mantissa ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        value = ldexp((double)mantissa, 1 - bias - mantissa_bits);
    else
        value = ldexp((double)(mantissa | 1U << mantissa_bits), exponent - bias - mantissa_bits);
    return bits >> (exponent_bits + mantissa_bits) ? -value : value;
}

static void widen_f16(double *out, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) out[i] = widen_small((unsigned)bytes[2 * i] | (unsigned)bytes[2 * i + 1] << 8, 5, 10, 31);
}

/* The "fn" of e4m3fn: no infinities, and NaN is all ones alone (OCP 8-bit floating point, 2023). */
static void widen_e4m3(double *out, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) out[i] = (bytes[i] & 0x7F) == 0x7F ? (double)NAN : widen_small(bytes[i], 4, 3, 16);
}

static void widen_e5m2(double *out, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) out[i] = widen_small(bytes[i], 5, 2, 31);
}

/* clang-format off */
static const sv_number dtypes[] = {
    { "float32", "F32", "FloatStorage", "f4", 32, widen_f32 },
    { "float64", "F64", "DoubleStorage", "f8", 64, widen_f64 },
    { "float16", "F16", "HalfStorage", "f2", 16, widen_f16 },
    { "bfloat16", "BF16", "BFloat16Storage", NULL, 16, widen_bf16 },
    { "int64", "I64", "LongStorage", "i8", 64, widen_i64 },
    { "int32", "I32", "IntStorage", "i4", 32, widen_i32 },
    { "int16", "I16", "ShortStorage", "i2", 16, widen_i16 },
    { "int8", "I8", "CharStorage", "i1", 8, widen_i8 },
    { "uint8", "U8", "ByteStorage", "u1", 8, widen_u8 },
    { "bool", "BOOL", "BoolStorage", "b1", 8, widen_bool },
    { "uint64", "U64", NULL, "u8", 64, widen_u64 },
    { "uint32", "U32", NULL, "u4", 32, widen_u32 },
    { "uint16", "U16", NULL, "u2", 16, widen_u16 },
    { "float8_e4m3fn", "F8_E4M3", NULL, NULL, 8, widen_e4m3 },
    { "float8_e5m2", "F8_E5M2", NULL, NULL, 8, widen_e5m2 },
    { "complex64", "C64", "ComplexFloatStorage", NULL, 64, NULL },
    { "complex128", NULL, "ComplexDoubleStorage", NULL, 128, NULL },
    { "float8_e8m0fnu", "F8_E8M0", NULL, NULL, 8, NULL },
    { "float8_e4m3fnuz", NULL, NULL, NULL, 8, NULL },
    { "float8_e5m2fnuz", NULL, NULL, NULL, 8, NULL },
    { "float4_e2m1fn", "F4", NULL, NULL, 4, NULL },
    { "float6_e2m3fn", "F6_E2M3", NULL, NULL, 6, NULL },
    { "float6_e3m2fn", "F6_E3M2", NULL, NULL, 6, NULL },
    { "qint8", NULL, "QInt8Storage", NULL, 8, NULL },
    { "quint8", NULL, "QUInt8Storage", NULL, 8, NULL },
    { "qint32", NULL, "QInt32Storage", NULL, 32, NULL },
    { "quint4x2", NULL, "QUInt4x2Storage", NULL, 8, NULL },
    { "quint2x4", NULL, "QUInt2x4Storage", NULL, 8, NULL },
};
/* clang-format on */

static const char *word_of(const sv_number *row, sv_number_word kind)
{
    const char *words[] = { row->name, row->letters, row->storage, row->numpy };
    return words[kind];
}

const sv_number *sv_number_find(sv_number_word kind, const char *word)
{
    for (size_t i = 0; i < SV_COUNT(dtypes); i++) {
        const char *own = word_of(&dtypes[i], kind);
        if (own && strcmp(own, word) == 0) return &dtypes[i];
    }
    return NULL;
}

size_t sv_dtype_bytes(const char *dtype)
{
    const sv_number *row = sv_number_find(SV_BY_NAME, dtype);
    return row && row->widen ? row->bits / 8 : 0;
}

bool sv_name_valid(const char *name, size_t length)
{
    while (length > 0) {
        size_t taken = sv_utf8_length(name, length);
        if (taken == 0 || *name == 0) return false;
        name += taken;
        length -= taken;
    }
    return true;
}
