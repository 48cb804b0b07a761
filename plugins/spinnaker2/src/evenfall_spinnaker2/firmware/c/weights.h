/* Stored weights, indices and pointers as numbers. */

#ifndef EVENFALL_WEIGHTS_H
#define EVENFALL_WEIGHTS_H

#include "activations.h"
#include "blob.h"

static inline float weight_at(const void *weights, uint32_t format, uint32_t at) {
    if (format == BF16_WEIGHTS) {
        return bits_to_float((uint32_t)((const uint16_t *)weights)[at] << 16);
    }
    if (format == INT8_WEIGHTS) return (float)((const int8_t *)weights)[at];
    return ((const float *)weights)[at];
}

/* An unsigned number of 1, 2 or 4 bytes. */
static inline uint32_t number_at(const void *numbers, uint32_t bytes, uint32_t at) {
    if (bytes == 1) return ((const uint8_t *)numbers)[at];
    if (bytes == 2) return ((const uint16_t *)numbers)[at];
    return ((const uint32_t *)numbers)[at];
}

#endif
