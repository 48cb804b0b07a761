/* Files and the exit status of the emulated board, by Arm semihosting: no C library is needed. */

#ifndef EVENFALL_SEMIHOSTING_H
#define EVENFALL_SEMIHOSTING_H

#include <stdint.h>

static inline int semihost(int operation, const void *arguments) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static inline uint32_t name_length(const char *name) {
    uint32_t length = 0;
    while (name[length]) length++;
    return length;
}

/* Opens a file; write is 0 or 1. Returns a handle, or -1. */
static inline int file_open(const char *name, int write) {
    uint32_t arguments[3] = { (uint32_t)name, write ? 5 : 1, name_length(name) };
    return semihost(0x01, arguments);
}

/* Reads up to `size` bytes and returns how many came. */
static inline uint32_t file_read(int file, void *to, uint32_t size) {
    uint32_t arguments[3] = { (uint32_t)file, (uint32_t)to, size };
    return size - (uint32_t)semihost(0x06, arguments);
}

/* Writes `size` bytes and returns whether all were written. */
static inline int file_write(int file, const void *from, uint32_t size) {
    uint32_t arguments[3] = { (uint32_t)file, (uint32_t)from, size };
    return semihost(0x05, arguments) == 0;
}

static inline void file_close(int file) {
    uint32_t arguments[1] = { (uint32_t)file };
    semihost(0x02, arguments);
}

/* Ends the emulation with this exit status. */
static inline void leave(int status) {
    uint32_t arguments[2] = { 0x20026, (uint32_t)status }; /* ADP_Stopped_ApplicationExit */
    semihost(0x20, arguments);                             /* SYS_EXIT_EXTENDED */
    for (;;) { }
}

#endif
