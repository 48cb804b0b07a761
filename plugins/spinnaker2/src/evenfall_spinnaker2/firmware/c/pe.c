/* Queue, tick and sending of one processing element. */

#include "pe.h"

void pe_clear(Blob *blob) {
    uint32_t *word = part(blob, blob->at_state), *end = part(blob, blob->end);
    while (word < end) *word++ = 0;
}

void pe_receive(Blob *blob, uint32_t key, uint32_t payload) {
    Queue *queue = part(blob, blob->at_queue);
    if (blob->queue_depth == 0) {
        Event event = { key, payload };
        if (blob->mode == GATHER) fill_vector(blob, &event, 1);
        else add_events(blob, &event, 1);
        return;
    }
    if (queue->waiting == blob->queue_depth) {
        queue->lost++;
        return;
    }
    queue->events[queue->waiting++] = (Event){ key, payload };
}

/* Moves event `root` down the heap of `count` events. */
static void sift_down(Event *events, uint32_t root, uint32_t count) {
    Event moved = events[root];
    for (;;) {
        uint32_t child = 2 * root + 1;
        if (child >= count) break;
        if (child + 1 < count && events[child + 1].key > events[child].key) child++;
        if (events[child].key <= moved.key) break;
        events[root] = events[child];
        root = child;
    }
    events[root] = moved;
}

/* Sorts the queue by key, in place, unless it is sorted already. */
static void sort_queue(Queue *queue) {
    Event *events = queue->events;
    uint32_t count = queue->waiting, sorted = 1;
    while (sorted < count && events[sorted].key >= events[sorted - 1].key) sorted++;
    if (sorted >= count) return;
    for (uint32_t root = count / 2; root-- > 0;) sift_down(events, root, count);
    for (uint32_t last = count - 1; last > 0; last--) {
        Event largest = events[0];
        events[0] = events[last];
        events[last] = largest;
        sift_down(events, 0, last);
    }
}

void pe_compute(Blob *blob) {
    Queue *queue = part(blob, blob->at_queue);
    sort_queue(queue);
    if (blob->mode == GATHER) {
        fill_vector(blob, queue->events, queue->waiting);
        add_vector(blob);
    } else {
        add_events(blob, queue->events, queue->waiting);
        if (blob->arithmetic == INT8) close_segment(blob);
    }
    queue->waiting = 0;
    compute_units(blob);
    uint32_t *word = part(blob, blob->at_accumulators), *end = part(blob, blob->at_outputs);
    while (word < end) *word++ = 0; /* accumulators and the vector */
}

void pe_send(const Blob *blob, void (*send)(uint32_t key, uint32_t payload)) {
    const uint32_t *outputs = part(blob, blob->at_outputs);
    for (uint32_t unit = 0; unit < blob->units; unit++) {
        if (outputs[unit] << 1) send(blob->first_key + unit, outputs[unit]); /* neither 0 nor -0 */
    }
}
