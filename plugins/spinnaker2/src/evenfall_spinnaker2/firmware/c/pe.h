/* The program of one processing element.

   pe_clear   once, before the first tick
   pe_receive for each packet that arrives
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
void add_events(Blob *blob);
void add_gathered(Blob *blob);
void compute_units(Blob *blob);

#endif
