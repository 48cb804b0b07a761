/* What the units compute from their sums. Each operation rounds to fp32, in this order. */

#include "activations.h"
#include "pe.h"

static const float *scaled(const Blob *blob) {
    const float *parameters = part(blob, blob->at_parameters);
    if (!(blob->flags & SCALE)) return parameters;
    float *sums = part(blob, blob->at_accumulators);
    uint32_t count = blob->units * blob->accumulators_per_unit;
    for (uint32_t i = 0; i < count; i++) sums[i] = sums[i] * parameters[i];
    return parameters + count;
}

static void egru(const Blob *blob) {
    uint32_t n = blob->units;
    const float *bias = scaled(blob), *threshold = bias + 4 * n;
    const float *sums = part(blob, blob->at_accumulators);
    float *h = part(blob, blob->at_state), *y = part(blob, blob->at_outputs), p = blob->zoneout;
    for (uint32_t j = 0; j < n; j++) {
        float z = sigmoid(sums[n + j] + bias[n + j]);
        float r = sigmoid(sums[2 * n + j] + bias[2 * n + j]);
        float recurrent = sums[3 * n + j] + bias[3 * n + j];
        float g = tanh_single((sums[j] + bias[j]) + r * recurrent);
        float c = z * h[j] + (1.0f - z) * g;
        if (p > 0.0f) c = p * h[j] + (1.0f - p) * c;
        int fires = c > threshold[j];
        y[j] = fires ? c : 0.0f;
        h[j] = fires ? c - threshold[j] : c;
    }
}

static void dense(const Blob *blob) {
    const float *bias = scaled(blob), *sums = part(blob, blob->at_accumulators);
    float *y = part(blob, blob->at_outputs);
    for (uint32_t j = 0; j < blob->units; j++) {
        float value = sums[j] + bias[j];
        if ((blob->flags & RELU) && !(value > 0.0f)) value = 0.0f;
        y[j] = value;
    }
}

static void dense_int8(const Blob *blob) {
    const float rounder = 12582912.0f; /* 1.5 * 2^23: adding it rounds half to even */
    uint32_t n = blob->units;
    const int32_t *bias = part(blob, blob->at_parameters);
    const float *multiplier = (const float *)(bias + n);
    const int32_t *sums = (const int32_t *)part(blob, blob->at_accumulators) + n;
    union { float f; int32_t i; } *out = part(blob, blob->at_outputs);
    float lowest = blob->flags & RELU ? 0.0f : -127.0f;
    for (uint32_t j = 0; j < n; j++) {
        float y = (float)(int32_t)((uint32_t)sums[j] + (uint32_t)bias[j]) * multiplier[j];
        if (blob->flags & QUANTISE) {
            if (y < lowest) y = lowest;
            if (y > 127.0f) y = 127.0f;
            out[j].i = (int32_t)((y + rounder) - rounder);
        } else {
            out[j].f = (blob->flags & RELU) && !(y > 0.0f) ? 0.0f : y;
        }
    }
}

static void spiking(const Blob *blob) {
    uint32_t n = blob->units, kind = blob->kind;
    const float *values = scaled(blob), *sums = part(blob, blob->at_accumulators);
    const float *offset = values + (kind == IF ? 0 : kind == LIF ? n : 4 * n);
    const float *threshold = offset + n, *reset = threshold + n;
    float *current = part(blob, blob->at_state), *y = part(blob, blob->at_outputs);
    float *v = kind == CUBA_LIF ? current + n : current;
    for (uint32_t j = 0; j < n; j++) {
        if (kind == IF) {
            v[j] = (v[j] + offset[j]) + sums[j];
        } else if (kind == LIF) {
            v[j] = (values[j] * v[j] + offset[j]) + sums[j];
        } else {
            current[j] = values[n + j] * current[j] + (sums[j] + values[j]);
            v[j] = (values[2 * n + j] * v[j] + offset[j]) + values[3 * n + j] * current[j];
        }
        int fires = v[j] >= threshold[j];
        if (fires) v[j] = blob->flags & RESET_SUBTRACT ? v[j] - threshold[j] : reset[j];
        y[j] = fires ? 1.0f : 0.0f;
    }
}

void compute_units(const Blob *blob) {
    if (blob->arithmetic == INT8) dense_int8(blob);
    else if (blob->kind == EGRU) egru(blob);
    else if (blob->kind == DENSE_UNITS) dense(blob);
    else spiking(blob);
}
