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

/* Adds the sources of one range to one accumulator. */
static float add_row(const Blob *blob, const Projection *p, const Range *range, uint32_t row,
                     float sum) {
    const float *vector = (const float *)part(blob, blob->at_vector) + p->vector_start;
    const void *weights = part(blob, p->at_weights);
    uint32_t first = range->first_unit, end = first + range->count;
    if (p->kind == DENSE) {
        for (uint32_t source = first; source < end; source++) {
            float product = weight_at(weights, p->weight_format, row * p->sources + source);
            sum = sum + product * vector[source];
        }
        return sum;
    }
    const void *indices = part(blob, p->at_indices), *pointers = part(blob, p->at_pointers);
    uint32_t stop = number_at(pointers, p->pointer_bytes, row + 1);
    for (uint32_t at = number_at(pointers, p->pointer_bytes, row); at < stop; at++) {
        uint32_t source = number_at(indices, p->index_bytes, at);
        if (source < first || source >= end) continue;
        sum = sum + weight_at(weights, p->weight_format, at) * vector[source];
    }
    return sum;
}

void add_vector(const Blob *blob) {
    float *sums = part(blob, blob->at_accumulators);
    const Projection *projections = part(blob, blob->at_projections);
    const Range *ranges = part(blob, blob->at_ranges);
    for (uint32_t i = 0; i < blob->ranges; i++) {
        const Projection *p = projections + ranges[i].projection;
        for (uint32_t row = 0; row < p->rows; row++) {
            uint32_t at = p->first_accumulator + row;
            sums[at] = add_row(blob, p, &ranges[i], row, sums[at]);
        }
    }
}
