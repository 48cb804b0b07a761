/* exp, sigmoid and tanh in float32, one IEEE operation after the other.

   emulator/activations.py repeats these operations in the same order, so the emulator and the PE
   program give the same bits. Compile with -ffp-contract=off: a fused multiply-add rounds once
   where these functions round twice. */

#ifndef EVENFALL_ACTIVATIONS_H
#define EVENFALL_ACTIVATIONS_H

#include <stdint.h>

static inline float bits_to_float(uint32_t bits) {
    union { uint32_t u; float f; } both = { .u = bits };
    return both.f;
}

static inline uint32_t float_to_bits(float value) {
    union { float f; uint32_t u; } both = { .f = value };
    return both.u;
}

static inline float magnitude(float x) { return bits_to_float(float_to_bits(x) & 0x7fffffffu); }

/* e^x for x <= 0; every x below -80 gives e^-80, so that no result is subnormal.
   x = n ln 2 + f with |f| <= ln 2 / 2; e^f = 1 + f + f^2 q(f), q a minimax polynomial. */
static inline float exp_negative(float x) {
    const float rounder = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    if (x < -80.0f) x = -80.0f;
    float shifted = x * 1.44269504f + rounder;
    float n = shifted - rounder;
    float f = x - n * 0.693359375f;
    f = f - n * -2.12194440e-4f;
    float q = f * 1.393373322e-3f + 8.363235385e-3f;
    q = q * f + 4.166646417e-2f;
    q = q * f + 1.666657664e-1f;
    q = q * f + 5.000000014e-1f;
    float series = q * f;
    series = series * f + f;
    series = series + 1.0f;
    uint32_t power = (float_to_bits(shifted) - 0x4b400000u + 127u) << 23;
    return series * bits_to_float(power);
}

/* 1 / (1 + e^-x) */
static inline float sigmoid(float x) {
    float e = exp_negative(-magnitude(x));
    float numerator = x < 0.0f ? e : 1.0f;
    return numerator / (1.0f + e);
}

/* x + x^3 p(x^2) below 0.625, else (1 - e^-2x) / (1 + e^-2x) */
static inline float tanh_single(float x) {
    float a = magnitude(x);
    if (a < 0.625f) {
        float z = x * x;
        float p = z * 2.29585649e-3f + -8.346996852e-3f;
        p = p * z + 2.176996731e-2f;
        p = p * z + -5.3959407e-2f;
        p = p * z + 1.333330429e-1f;
        p = p * z + -3.333333318e-1f;
        return (p * z) * x + x;
    }
    float e = exp_negative(-2.0f * a);
    float t = (1.0f - e) / (1.0f + e);
    return x < 0.0f ? -t : t;
}

#endif
