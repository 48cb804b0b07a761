/* The program of one processing element.

   pe_clear   once, before the first tick
   pe_receive for each packet that arrives; a spike has the payload of 1.0
   pe_compute the first phase of a tick: adds the events of the queue, in ascending order of keys,
              and computes the units
   pe_send    the second phase: calls `send` with key and payload for each unit that fires */

#ifndef EVENFALL_PE_H
#define EVENFALL_PE_H

#include "blob.h"

void pe_clear(Blob *blob);
void pe_receive(Blob *blob, uint32_t key, uint32_t payload);
void pe_compute(Blob *blob);
void pe_send(const Blob *blob, void (*send)(uint32_t key, uint32_t payload));

/* parts of pe_compute, in the other files */
void add_events(const Blob *blob, const Event *events, uint32_t count);
void close_segment(const Blob *blob);
void fill_vector(const Blob *blob, const Event *events, uint32_t count);
void add_vector(const Blob *blob);
void compute_units(const Blob *blob);

#endif
