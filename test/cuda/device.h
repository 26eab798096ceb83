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

#define __align__(bytes) __attribute__((aligned(bytes)))

// mma.m16n8 as the PTX ISA says which thread holds what: 32 threads lay their operands down, meet, and each sums what is its own. Of k
// elements of a row four lie in the words of four threads, `packed` in each, and so on in the next word.
template <int depth, int packed, class Multiply>
static inline void emulator_mma_by(Multiply multiply, float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4], const unsigned (&b)[2]) {
  static unsigned left[32][32][4], right[32][32][2];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  std::memcpy(left[warp][lane], a, sizeof a);
  std::memcpy(right[warp][lane], b, sizeof b);
  emulator_meet();
  float* sums[4] = {&c0, &c1, &c2, &c3};
  for (int own = 0; own < 4; own++) {
    const int row = lane / 4 + 8 * (own >> 1), column = 2 * (lane % 4) + (own & 1);
    float total = *sums[own];
    for (int k = 0; k < depth; k++) {
      const int holder = k / packed % 4, word = k / (4 * packed);
      total += multiply(left[warp][row % 8 * 4 + holder][row / 8 + 2 * word], right[warp][column * 4 + holder][word], k % packed);
    }
    *sums[own] = total;
  }
  emulator_meet();
}
// mma.m16n8k16 of half precisions: two in each word.
template <class Convert>
static inline void emulator_mma(Convert value, float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4], const unsigned (&b)[2]) {
  emulator_mma_by<16, 2>(
      [&](unsigned x, unsigned y, int at) { return value((unsigned short)(x >> 16 * at)) * value((unsigned short)(y >> 16 * at)); },
      c0, c1, c2, c3, a, b);
}
// mma.m16n8k8 of .tf32: an element in each word, of which the last 13 bits would be passed over, so they have to be 0.
static inline void emulator_mma_tf32(float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4], const unsigned (&b)[2]) {
  emulator_mma_by<8, 1>(
      [](unsigned x, unsigned y, int) {
        if (((x | y) & 0x1fff) && x != 0x7fffffff && y != 0x7fffffff) __builtin_trap();
        return __uint_as_float(x) * __uint_as_float(y);
      },
      c0, c1, c2, c3, a, b);
}
// What the thread of the warp has whose number differs in these bits: all lay theirs down, meet, and take.
template <class Number>
static inline Number __shfl_xor_sync(unsigned, Number own, int bits) {
  static unsigned laid[1024];
  std::memcpy(&laid[threadIdx.x], &own, sizeof own);
  emulator_meet();
  Number other;
  std::memcpy(&other, &laid[threadIdx.x ^ bits], sizeof other);
  emulator_meet();
  return other;
}
// Asynchronous copies: on their way until they are waited for, so that whoever reads too early finds what was there before.
#include <vector>
struct Underway { void* to; unsigned char bytes[16]; };
// Those of each group, the oldest first; the last is not closed yet.
static std::vector<std::vector<Underway>> emulator_underway[1024];
static inline void emulator_fetch(void* to, const void* from, bool wanted) {
  Underway copy{to, {}};
  if (((uintptr_t)to | (uintptr_t)from) & 15) __builtin_trap();
  if (wanted) std::memcpy(copy.bytes, from, 16);
  auto& groups = emulator_underway[threadIdx.x];
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back(copy);
}
// Threads whose copies are there but not yet shown to instructions that read workgroup memory by themselves.
static bool emulator_hidden[1024];
static inline void emulator_fetched(int leaves) {
  auto& groups = emulator_underway[threadIdx.x];
  if (groups.empty()) groups.emplace_back();
  for (; (int)groups.size() > leaves; groups.erase(groups.begin()))
    for (const Underway& copy : groups.front()) {
      std::memcpy(copy.to, copy.bytes, 16);
      emulator_hidden[threadIdx.x] = true;
    }
  groups.emplace_back();
}
static inline void emulator_show() { emulator_hidden[threadIdx.x] = false; }
// Workgroup memory has addresses of 18 bits; what was asked for is found again by them.
#include <map>
static std::map<unsigned, const char*> emulator_shared;
static inline uint64_t __cvta_generic_to_shared(const void* at) {
  const unsigned address = (unsigned)(uintptr_t)at & 0x3ffff;
  emulator_shared[address] = (const char*)at;
  return address;
}
// Element (line, k) of a matrix that a descriptor describes: the canonical layouts of the PTX ISA, "Asynchronous Warpgroup Level Matrix
// Shared Memory Layout". Rows are as wide as the swizzle says, eight of them an atom; "leading" and "stride" lie between atoms. A chunk of
// 16 bytes has so many elements.
template <class Element>
static inline Element emulator_element(uint64_t descriptor, bool turned, int line, int k) {
  const int size = sizeof(Element), each = 16 / size;
  const unsigned start = (unsigned)(descriptor & 0x3fff) << 4;
  const uintptr_t leading = (descriptor >> 16 & 0x3fff) << 4, stride = (descriptor >> 32 & 0x3fff) << 4;
  if (descriptor >> 49 & 7) __builtin_trap();
  const int mode = (int)(descriptor >> 62), bits = mode == 0 ? 0 : 4 - mode, width = 16 << bits;
  uintptr_t at;
  if (!turned) at = line % 8 * width + line / 8 * stride + k / each * (mode == 0 ? leading : 16) + k % each * size;
  else if (size != 2) __builtin_trap();
  else if (mode == 0) at = line / 8 * stride + line % 8 * 2 + k % 8 * 16 + k / 8 * leading;
  else at = line % (width / 2) * 2 + line / (width / 2) * leading + k % 8 * width + k / 8 * stride;
  const uintptr_t address = (uintptr_t)emulator_shared.at(start) + at;
  return *(const Element*)(address ^ (address >> 7 & ((1u << bits) - 1)) << 4);
}
// wgmma.m64nN of two matrices in workgroup memory, 32 bytes of each line: subgroup w of the four has rows 16w to 16w + 15, as mma lays
// them out.
template <class Element, class Multiply>
static inline void emulator_wgmma_by(Multiply multiply, float* const* sums, int columns, uint64_t left, uint64_t right, bool left_turned, bool right_turned) {
  emulator_meet();
  for (bool hidden : emulator_hidden) if (hidden) __builtin_trap();
  const int lane = threadIdx.x & 31, first = (threadIdx.x >> 5 & 3) * 16 + lane / 4;
  for (int own = 0; own < columns / 2; own++) {
    const int row = first + 8 * (own >> 1 & 1), column = own / 4 * 8 + lane % 4 * 2 + (own & 1);
    float total = *sums[own];
    for (int k = 0; k < 32 / (int)sizeof(Element); k++)
      total += multiply(emulator_element<Element>(left, left_turned, row, k), emulator_element<Element>(right, right_turned, column, k));
    *sums[own] = total;
  }
  emulator_meet();
}
// wgmma.m64nNk16 of half precisions.
template <class Convert>
static inline void emulator_wgmma(Convert value, float* const* sums, int columns, uint64_t left, uint64_t right, bool left_turned, bool right_turned) {
  emulator_wgmma_by<unsigned short>(
      [&](unsigned short x, unsigned short y) { return value(x) * value(y); }, sums, columns, left, right, left_turned, right_turned);
}
// wgmma.m64nNk8 of .tf32, of which none lies turned. The last 13 bits are passed over.
static inline void emulator_wgmma_tf32(float* const* sums, int columns, uint64_t left, uint64_t right) {
  const auto cut = [](unsigned bits) { return __uint_as_float(bits & 0xffffe000); };
  emulator_wgmma_by<unsigned>(
      [&](unsigned x, unsigned y) { return cut(x) * cut(y); }, sums, columns, left, right, false, false);
}
// cvt.rna.tf32.f32: to nearest, ties away from 0; what is no number becomes the one NaN.
static inline unsigned emulator_tf32(float x) {
  return x != x ? 0x7fffffffu : (__float_as_uint(x) + 0x1000u) & 0xffffe000u;
}
static inline float emulator_bf16(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }
static inline float emulator_f16(unsigned short bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 0x3ff;
  const float size = exponent == 31 ? (fraction ? NAN : INFINITY) : exponent ? std::ldexp(1024.0f + fraction, exponent - 25) : std::ldexp((float)fraction, -24);
  return bits & 0x8000 ? -size : size;
}
