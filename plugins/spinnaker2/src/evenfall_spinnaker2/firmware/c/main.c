/* Runs one processing element on the emulated board.

   blob.bin    the blob; it is loaded to its load address
   events.bin  for each tick: u32 number of events, then key and payload of each
   result.bin  for each tick: u32 number of events, then key and payload of each; after the last
               tick: u32 stack bytes used, u32 events lost, then the state
   cycles.bin  u32 for each tick: instructions of pe_compute and pe_send, in units of the timer

   The timer counts emulated time. Under `-icount shift=0` an instruction takes one nanosecond. */

#include "pe.h"
#include "semihosting.h"

#define SYSTICK ((volatile uint32_t *)0xe000e010) /* control, reload, value */
#define LARGEST 65536

__attribute__((section(".host"))) static Event inbox[LARGEST], outbox[LARGEST];
__attribute__((section(".host"))) static uint32_t sent;

extern uint32_t stack_top[], stack_size[];
uint32_t stack_used(void);

static void send(uint32_t key, uint32_t payload) { outbox[sent++] = (Event){ key, payload }; }

static int load(Blob **blob) {
    Blob header;
    int file = file_open("blob.bin", 0);
    if (file < 0 || file_read(file, &header, sizeof header) != sizeof header) return 0;
    uint32_t limit = (uint32_t)stack_top - (uint32_t)stack_size;
    if (header.load_address < 0x8000 || header.load_address > limit) return 0;
    if (header.end > limit - header.load_address) return 0;
    *blob = (Blob *)header.load_address;
    const uint32_t *from = (const uint32_t *)&header;
    for (uint32_t i = 0; i < sizeof header / 4; i++) ((uint32_t *)*blob)[i] = from[i];
    uint32_t rest = header.bytes - sizeof header;
    return file_read(file, *blob + 1, rest) == rest;
}

int main(void) {
    Blob *blob;
    uint32_t count;
    int events = file_open("events.bin", 0), result = file_open("result.bin", 1);
    int cycles = file_open("cycles.bin", 1);
    if (events < 0 || result < 0 || cycles < 0) return 1;
    if (!load(&blob)) return 2;
    pe_clear(blob);
    SYSTICK[1] = 0xffffff;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5; /* on, processor clock, no interrupt */
    while (file_read(events, &count, 4) == 4) {
        if (count > LARGEST || file_read(events, inbox, 8 * count) != 8 * count) return 3;
        for (uint32_t i = 0; i < count; i++) pe_receive(blob, inbox[i].key, inbox[i].payload);
        sent = 0;
        uint32_t before = SYSTICK[2];
        pe_compute(blob);
        pe_send(blob, send);
        uint32_t passed = (before - SYSTICK[2]) & 0xffffff;
        if (!file_write(result, &sent, 4) || !file_write(result, outbox, 8 * sent)) return 4;
        if (!file_write(cycles, &passed, 4)) return 4;
    }
    const Queue *queue = part(blob, blob->at_queue);
    uint32_t last[2] = { stack_used(), queue->lost };
    uint32_t state = blob->at_accumulators - blob->at_state;
    if (!file_write(result, last, sizeof last)) return 4;
    if (state && !file_write(result, part(blob, blob->at_state), state)) return 4;
    file_close(result);
    file_close(cycles);
    return 0;
}
