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

/* Calls a loop with its format, and its width of indices, as constants: each becomes a tight loop. */
#define INLINE static inline __attribute__((always_inline))

#define BY_FORMAT(format, loop, ...)                                     \
    do {                                                                 \
        if ((format) == BF16_WEIGHTS) loop(BF16_WEIGHTS, __VA_ARGS__);   \
        else if ((format) == INT8_WEIGHTS) loop(INT8_WEIGHTS, __VA_ARGS__); \
        else loop(FP32_WEIGHTS, __VA_ARGS__);                            \
    } while (0)

#define BY_FORMAT_AND_INDEX(format, bytes, loop, ...)                    \
    do {                                                                 \
        if ((bytes) == 1) BY_FORMAT(format, loop, 1, __VA_ARGS__);       \
        else if ((bytes) == 2) BY_FORMAT(format, loop, 2, __VA_ARGS__);  \
        else BY_FORMAT(format, loop, 4, __VA_ARGS__);                    \
    } while (0)

#endif
