/* Gather mode: events are written into a vector, then each accumulator adds all its inputs. */

#include "pe.h"
#include "weights.h"

/* Writes the payloads of events with ascending keys to the places of their sources. */
void fill_vector(const Blob *blob, const Event *events, uint32_t count) {
    const Range *range = part(blob, blob->at_ranges), *last = range + blob->ranges;
    const Projection *projections = part(blob, blob->at_projections);
    uint32_t *vector = part(blob, blob->at_vector);
    for (uint32_t i = 0; i < count; i++) {
        Event event = events[i];
        while (range < last && event.key >= range->first_key &&
               event.key - range->first_key >= range->count) range++;
        if (range == last) break;
        if (event.key < range->first_key) continue;
        const Projection *p = projections + range->projection;
        uint32_t source = range->first_unit + (event.key - range->first_key);
        vector[p->vector_start + source] = event.payload;
    }
}

/* Adds weights from `at` on times the sources from `source` to `end` to one accumulator. */
INLINE void add_dense(uint32_t format, float *sum, const void *weights, uint32_t at,
                      const float *source, const float *end) {
    float total = *sum;
    for (; source < end; source++, at++) {
        float product = weight_at(weights, format, at) * *source;
        total = total + product;
    }
    *sum = total;
}

/* Adds the nonzeros from `at` to `stop` whose source lies in [first, end). */
INLINE void add_sparse(uint32_t format, uint32_t bytes, float *sum, const void *weights,
                       const void *indices, uint32_t at, uint32_t stop, const float *vector,
                       uint32_t first, uint32_t end) {
    float total = *sum;
    for (; at < stop; at++) {
        uint32_t source = number_at(indices, bytes, at);
        if (source < first || source >= end) continue;
        float product = weight_at(weights, format, at) * vector[source];
        total = total + product;
    }
    *sum = total;
}

/* Adds the sources of one range to one accumulator. */
static void add_row(const Blob *blob, const Projection *p, const Range *range, uint32_t row,
                    float *sum) {
    const float *vector = (const float *)part(blob, blob->at_vector) + p->vector_start;
    const void *weights = part(blob, p->at_weights);
    uint32_t first = range->first_unit, end = first + range->count;
    if (p->kind == DENSE) {
        BY_FORMAT(p->weight_format, add_dense, sum, weights, row * p->sources + first,
                  vector + first, vector + end);
        return;
    }
    const void *indices = part(blob, p->at_indices), *pointers = part(blob, p->at_pointers);
    uint32_t at = number_at(pointers, p->pointer_bytes, row);
    uint32_t stop = number_at(pointers, p->pointer_bytes, row + 1);
    BY_FORMAT_AND_INDEX(p->weight_format, p->index_bytes, add_sparse, sum, weights, indices, at,
                        stop, vector, first, end);
}

void add_vector(const Blob *blob) {
    float *sums = part(blob, blob->at_accumulators);
    const Projection *projections = part(blob, blob->at_projections);
    const Range *ranges = part(blob, blob->at_ranges);
    for (uint32_t i = 0; i < blob->ranges; i++) {
        const Projection *p = projections + ranges[i].projection;
        for (uint32_t row = 0; row < p->rows; row++) {
            add_row(blob, p, &ranges[i], row, &sums[p->first_accumulator + row]);
        }
    }
}
