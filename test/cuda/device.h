// What CUDA C++ has that C++ has not, for kernels that are run on the processor in tests.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

struct Index { int x, y, z; };
extern "C" thread_local Index blockIdx, threadIdx;
extern "C" void emulator_meet();

#define __global__
#define __device__ static inline
#define __shared__ static
#define __launch_bounds__(threads)
#define __syncthreads() emulator_meet()

static inline float __uint_as_float(unsigned bits) { float x; std::memcpy(&x, &bits, 4); return x; }
static inline float __int_as_float(int bits) { return __uint_as_float((unsigned)bits); }
static inline unsigned __float_as_uint(float x) { unsigned bits; std::memcpy(&bits, &x, 4); return bits; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
