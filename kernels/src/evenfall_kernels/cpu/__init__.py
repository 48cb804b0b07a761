"""Building blocks of Numba kernels: compilation, threads, SIMD, tiles, stored dtypes, scalar math.

Plugins may use these modules. Importing the package imports none of them:

    compiled.compiled                         numba.njit with its machine code cached on disk
    threads.run_split                         split a loop over PyTorch's threads
    stored_dtypes.as_stored, widen            bfloat16, float16 and int8 inside a loop
    simd.load, store, broadcast, where_less   sixteen float32 as one value, `Lanes`
    simd_math.exp2, sigmoid, softplus         functions of Lanes
    simd_memory.load_at, store_at             Lanes at any position of flat memory
    products.add_product                      products of small matrices in the cache
    tiles.signal, load_tile, store_tile       (batch, channels, time) as rows of sixteen channels
    scalar_math.exp                           an exponential that LLVM vectorises
    checksum.checksum                         notices changed weights
"""
