/* Events mode: each event adds its row of weights to the accumulators. */

#include "pe.h"
#include "weights.h"

#define NO_ROW 0xffffffffu

/* Where the row of an event is and what it is added to. */
typedef struct {
    const Blob *blob;
    const Projection *projection;
    const void *weights;
    float *sums;       /* fp32 */
    int32_t *sums_24;  /* int8 arithmetic */
} Target;

static inline int32_t wrap_24(int32_t value) { return (int32_t)((uint32_t)value << 8) >> 8; }

/* The row of weights of a source unit, after pooling. */
static uint32_t row_of(const Projection *p, uint32_t source) {
    if (p->pool_y == 1 && p->pool_x == 1) return source;
    uint32_t x = source % p->width, line = source / p->width;
    uint32_t y = line % p->height, channel = line / p->height;
    uint32_t height = p->height / p->pool_y, width = p->width / p->pool_x;
    y /= p->pool_y;
    x /= p->pool_x;
    if (y >= height || x >= width) return NO_ROW;
    return (channel * height + y) * width + x;
}

INLINE void add_dense(uint32_t format, float *sums, const void *weights, uint32_t at, uint32_t rows,
                      float value) {
    for (uint32_t i = 0; i < rows; i++) {
        float product = weight_at(weights, format, at + i) * value;
        sums[i] = sums[i] + product;
    }
}

INLINE void add_sparse(uint32_t format, uint32_t bytes, float *sums, const void *weights,
                       const void *indices, uint32_t at, uint32_t end, float value) {
    for (; at < end; at++) {
        float product = weight_at(weights, format, at) * value;
        float *sum = sums + number_at(indices, bytes, at);
        *sum = *sum + product;
    }
}

static void add_dense_24(int32_t *sums, const int8_t *weights, uint32_t rows, int32_t value) {
    for (uint32_t i = 0; i < rows; i++) sums[i] = wrap_24(sums[i] + weights[i] * value);
}

static void add_sparse_24(int32_t *sums, const int8_t *weights, const void *indices, uint32_t bytes,
                          uint32_t at, uint32_t end, int32_t value) {
    for (; at < end; at++) {
        int32_t *sum = sums + number_at(indices, bytes, at);
        *sum = wrap_24(*sum + weights[at] * value);
    }
}

static void add_convolution(const Target *to, uint32_t row, float value, int32_t integer) {
    const Projection *p = to->projection;
    int32_t height = (int32_t)(p->height / p->pool_y), width = (int32_t)(p->width / p->pool_x);
    int32_t x = (int32_t)row % width, line = (int32_t)row / width;
    int32_t y = line % height, channel = line / height;
    for (int32_t kernel_y = 0; kernel_y < p->kernel_y; kernel_y++) {
        int32_t up = y + p->padding_y - kernel_y;
        int32_t out_y = up / p->stride_y - (int32_t)p->first_row;
        if (up < 0 || up % p->stride_y || out_y < 0 || out_y >= (int32_t)p->out_rows) continue;
        for (int32_t kernel_x = 0; kernel_x < p->kernel_x; kernel_x++) {
            int32_t left = x + p->padding_x - kernel_x, out_x = left / p->stride_x;
            if (left < 0 || left % p->stride_x || out_x >= p->out_width) continue;
            uint32_t tap = (uint32_t)((channel * p->kernel_y + kernel_y) * p->kernel_x + kernel_x);
            uint32_t unit = (uint32_t)out_y * p->out_width + (uint32_t)out_x;
            uint32_t area = p->out_rows * p->out_width, at = tap * p->channels;
            for (uint32_t out = 0; out < p->channels; out++, unit += area, at++) {
                if (to->blob->arithmetic == INT8) {
                    int32_t product = ((const int8_t *)to->weights)[at] * integer;
                    to->sums_24[unit] = wrap_24(to->sums_24[unit] + product);
                } else {
                    float product = weight_at(to->weights, p->weight_format, at) * value;
                    to->sums[unit] = to->sums[unit] + product;
                }
            }
        }
    }
}

static void add_event(const Target *to, uint32_t source, float value, int32_t integer) {
    const Projection *p = to->projection;
    uint32_t row = row_of(p, source);
    if (row == NO_ROW) return;
    if (p->kind == CONV) {
        add_convolution(to, row, value, integer);
        return;
    }
    int is_int8 = to->blob->arithmetic == INT8;
    float *sums = to->sums + p->first_accumulator;
    int32_t *sums_24 = to->sums_24 + p->first_accumulator;
    if (p->kind == SPARSE) {
        const void *indices = part(to->blob, p->at_indices);
        const void *pointers = part(to->blob, p->at_pointers);
        uint32_t at = number_at(pointers, p->pointer_bytes, row);
        uint32_t end = number_at(pointers, p->pointer_bytes, row + 1), bytes = p->index_bytes;
        if (is_int8) add_sparse_24(sums_24, to->weights, indices, bytes, at, end, integer);
        else BY_FORMAT_AND_INDEX(p->weight_format, bytes, add_sparse, sums, to->weights, indices,
                                 at, end, value);
    } else if (is_int8) {
        add_dense_24(sums_24, (const int8_t *)to->weights + row * p->rows, p->rows, integer);
    } else {
        BY_FORMAT(p->weight_format, add_dense, sums, to->weights, row * p->rows, p->rows, value);
    }
}

/* Adds the 24-bit accumulators to the 32-bit ones and clears them. */
void close_segment(const Blob *blob) {
    int32_t *sums_24 = part(blob, blob->at_accumulators), *sums_32 = sums_24 + blob->units;
    for (uint32_t unit = 0; unit < blob->units; unit++) {
        sums_32[unit] = (int32_t)((uint32_t)sums_32[unit] + (uint32_t)sums_24[unit]);
        sums_24[unit] = 0;
    }
}

/* Adds events with ascending keys; without a queue, one event. */
void add_events(const Blob *blob, const Event *events, uint32_t count) {
    const Range *range = part(blob, blob->at_ranges), *last = range + blob->ranges;
    const Projection *projections = part(blob, blob->at_projections), *before = 0;
    uint32_t segment = 0;
    for (uint32_t i = 0; i < count; i++) {
        Event event = events[i];
        while (range < last && event.key >= range->first_key &&
               event.key - range->first_key >= range->count) range++;
        if (range == last) break;
        if (event.key < range->first_key) continue;
        const Projection *p = projections + range->projection;
        uint32_t source = range->first_unit + (event.key - range->first_key);
        if (blob->arithmetic == INT8 && blob->queue_depth) {
            if (before && p != before) close_segment(blob);
            if (p != before) segment = 0;
            const uint32_t *segments = part(blob, p->at_segments);
            uint32_t reached = segment;
            while (reached < p->segments && source >= segments[reached]) reached++;
            if (reached > segment) close_segment(blob);
            segment = reached;
            before = p;
        }
        Target to = { blob, p, part(blob, p->at_weights), part(blob, blob->at_accumulators),
                      part(blob, blob->at_accumulators) };
        add_event(&to, source, bits_to_float(event.payload), (int32_t)event.payload);
    }
}
