/* The blob of a processing element (PE), as docs/spinnaker2-image.md states it. */

#ifndef EVENFALL_BLOB_H
#define EVENFALL_BLOB_H

#include <stdint.h>

enum { EGRU = 1, DENSE_UNITS = 2, IF = 3, LIF = 4, CUBA_LIF = 5 };
enum { EVENTS = 1, GATHER = 2 };
enum { FLOAT32 = 1, INT8 = 2 };
enum { RELU = 1, QUANTISE = 2, RESET_SUBTRACT = 4, SCALE = 8, RECORD_VALUES = 16 };
enum { DENSE = 1, SPARSE = 2, CONV = 3 };
enum { FP32_WEIGHTS = 1, BF16_WEIGHTS = 2, INT8_WEIGHTS = 3 };

typedef struct {
    char magic[4];
    uint16_t major, minor;
    uint32_t bytes, checksum;
    uint16_t kind, mode, arithmetic, flags;
    uint32_t units, first_key, accumulators_per_unit, projections, ranges;
    uint32_t at_projections, at_ranges, at_parameters;
    uint32_t queue_depth, vector_units, recorded_steps;
    float zoneout;
    uint32_t at_state, at_accumulators, at_vector, at_outputs, at_queue, at_recording;
    uint32_t end, load_address, unused[6];
} Blob;

typedef struct {
    uint32_t first_key, count, projection, first_unit;
} Range;

typedef struct {
    uint16_t kind, weight_format, index_bytes, pointer_bytes;
    uint32_t sources, rows, first_accumulator, vector_start;
    uint32_t channels_in, height, width;
    uint16_t pool_y, pool_x, kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x;
    uint16_t out_height, out_width;
    uint32_t first_channel, channels, first_row, out_rows;
    uint32_t stored, at_weights, at_indices, at_pointers, segments, at_segments;
} Projection;

typedef struct {
    uint32_t key, payload; /* the bits of a float, or an int32 in int8 arithmetic */
} Event;

typedef struct {
    uint32_t waiting, lost, unused[2];
    Event events[];
} Queue;

_Static_assert(sizeof(Blob) == 128, "header");
_Static_assert(sizeof(Range) == 16, "range");
_Static_assert(sizeof(Projection) == 96, "projection");

static inline void *part(const Blob *blob, uint32_t offset) {
    return (void *)((uintptr_t)blob + offset);
}

#endif
