"""What the Numba kernels share: compilation, threads, SIMD vectors, tiles, stored dtypes."""
