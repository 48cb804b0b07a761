/* Reset and faults: turn on the FPU, clear .bss, paint the stack, call main. */

#include <stdint.h>
#include "semihosting.h"

extern uint32_t stack_top[], stack_size[], data_start[], bss_start[];
int main(void);

void reset(void);
static void fault(void) { leave(99); }

__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = {
    (void (*)(void))stack_top, reset, fault, fault, fault, fault, fault,
};

#define STACK_PAINT 0xa5a5a5a5u

__attribute__((naked)) void reset(void) {
    __asm__ volatile(
        "ldr r0, =0xe000ed88\n" /* CPACR: full access to coprocessors 10 and 11 */
        "ldr r1, [r0]\n"
        "orr r1, r1, #0xf00000\n"
        "str r1, [r0]\n"
        "dsb\n"
        "isb\n"
        "bl begin\n");
}

__attribute__((used, noinline)) static void begin(void) {
    for (uint32_t *word = bss_start; word < data_start; word++) *word = 0;
    uint32_t *here = (uint32_t *)__builtin_frame_address(0) - 16;
    uint32_t *word = (uint32_t *)((uint32_t)stack_top - (uint32_t)stack_size);
    while (word < here) *word++ = STACK_PAINT;
    leave(main());
}

/* Bytes of the stack that were ever used. */
uint32_t stack_used(void) {
    uint32_t *word = (uint32_t *)((uint32_t)stack_top - (uint32_t)stack_size);
    while (word < stack_top && *word == STACK_PAINT) word++;
    return (uint32_t)stack_top - (uint32_t)word;
}
