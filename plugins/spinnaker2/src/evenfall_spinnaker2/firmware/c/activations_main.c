/* Test program: reads float32 from "input.bin"; writes sigmoid and tanh of each to "output.bin". */

#include "activations.h"
#include "semihosting.h"

#define CHUNK 8192
__attribute__((section(".host"))) static float x[CHUNK];
__attribute__((section(".host"))) static float y[2 * CHUNK];

int main(void) {
    int input = file_open("input.bin", 0), output = file_open("output.bin", 1);
    if (input < 0 || output < 0) return 1;
    uint32_t bytes;
    while ((bytes = file_read(input, x, sizeof x)) != 0) {
        uint32_t count = bytes / 4;
        for (uint32_t i = 0; i < count; i++) {
            y[2 * i] = sigmoid(x[i]);
            y[2 * i + 1] = tanh_single(x[i]);
        }
        if (!file_write(output, y, 8 * count)) return 2;
    }
    file_close(output);
    return 0;
}
