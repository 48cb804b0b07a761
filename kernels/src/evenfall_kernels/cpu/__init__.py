"""What Numba kernels share: compilation, threads, SIMD lanes, tiles, stored dtypes, scalar math.

Plugins may build on these modules; this package imports none of them:

    compiled.compiled                      numba.njit whose machine code is kept on disk
    threads.run_split                      share out a loop to PyTorch's threads
    stored_dtypes.as_stored, widen         bfloat16, float16 and int8 inside a loop
    simd.load, store, spread, where_less   sixteen float32 as one value, `Lanes`
    simd_math.exp2, sigmoid, softplus      functions of Lanes
    simd_memory.load_at, store_at          Lanes at any place of flat memory
    tiles.signal, load_tile, store_tile    (batch, channels, time) as rows of sixteen channels
    scalar_math.exp                        an exponential that LLVM vectorises
"""
