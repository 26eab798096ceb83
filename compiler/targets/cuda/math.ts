/**
 * Helper functions of CUDA translation units. CUDA's own functions are as exact as the CPU's (2 units in the last place or better,
 * without --use_fast_math); here is what they leave out or do otherwise. Nothing is included, so that NVRTC needs no headers.
 */

interface Helper {
  readonly text: string;
  readonly uses?: readonly HelperName[];
}

/** The 16 × 8 sums of 32 threads and the products of 16 × 32 bytes and 32 bytes × 8, by a tensor core. */
const multiply = (dtype: 'bf16' | 'f16' | 'tf32'): string =>
  `__device__ void multiply_${dtype}(float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k${dtype === 'tf32' ? 8 : 16}.row.col.f32.${dtype}.${dtype}.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
    : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}`;

const helpers = {
  /** NaN if either is. */
  maximum: { text: '__device__ float maximum(float a, float b) { return a > b || a != a ? a : b; }' },
  minimum: { text: '__device__ float minimum(float a, float b) { return a < b || a != a ? a : b; }' },
  sign_of: { text: '__device__ float sign_of(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }' },
  /** As Math.pow: NaN where C has 1. */
  power: {
    text: `__device__ float power(float x, float y) {
  if (y == 0.0f) return 1.0f;
  if (x != x || y != y || (fabsf(x) == 1.0f && fabsf(y) > 3.4028234e38f)) return __int_as_float(0x7fc00000);
  return powf(x, y);
}`,
  },
  divide_int: {
    text: '__device__ int divide_int(int a, int b) { return b == 0 ? 0 : b == -1 ? (int)(0u - (unsigned)a) : a / b; }',
  },
  remainder_int: { text: '__device__ int remainder_int(int a, int b) { return b == 0 || b == -1 ? 0 : a % b; }' },
  divide_unsigned: {
    text: '__device__ unsigned divide_unsigned(unsigned a, unsigned b) { return b == 0u ? 0u : a / b; }',
  },
  remainder_unsigned: {
    text: '__device__ unsigned remainder_unsigned(unsigned a, unsigned b) { return b == 0u ? 0u : a % b; }',
  },
  /** Toward zero; what is beyond the range becomes its end, NaN becomes 0. */
  whole_int: {
    text: `__device__ int whole_int(float x) {
  return x != x ? 0 : x >= 2147483648.0f ? 2147483647 : x <= -2147483648.0f ? -2147483647 - 1 : (int)x;
}`,
  },
  whole_unsigned: {
    text: `__device__ unsigned whole_unsigned(float x) {
  return x != x || x <= 0.0f ? 0u : x >= 4294967296.0f ? 4294967295u : (unsigned)x;
}`,
  },
  /** f16 by integer arithmetic: to nearest, ties to even; overflow to infinity, subnormal numbers kept. */
  f16_bits: {
    text: `__device__ unsigned short f16_bits(float x) {
  unsigned bits = __float_as_uint(x), size = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
  if (size > 0x7f800000u) return sign | 0x7e00u;
  if (size >= 0x47800000u) return sign | 0x7c00u;
  if (size < 0x38800000u) return sign | (__float_as_uint(__uint_as_float(size) + 0.5f) - 0x3f000000u);
  return sign | ((size + ((size >> 13) & 1u) + 0xfffu - (112u << 23)) >> 13);
}`,
  },
  from_f16: {
    text: `__device__ float from_f16(unsigned short bits) {
  unsigned size = bits & 0x7fffu, sign = (unsigned)(bits & 0x8000u) << 16;
  if (size < 0x400u) return __uint_as_float(sign | __float_as_uint((float)size * 5.9604644775390625e-8f));
  return __uint_as_float(sign | ((size << 13) + (size >= 0x7c00u ? 224u << 23 : 112u << 23)));
}`,
  },
  bf16_bits: {
    text: `__device__ unsigned short bf16_bits(float x) {
  unsigned bits = __float_as_uint(x);
  return (bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}`,
  },
  from_bf16: {
    text: '__device__ float from_bf16(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }',
  },
  round_f16: {
    uses: ['f16_bits', 'from_f16'],
    text: '__device__ float round_f16(float x) { return from_f16(f16_bits(x)); }',
  },
  round_bf16: {
    uses: ['bf16_bits', 'from_bf16'],
    text: '__device__ float round_bf16(float x) { return from_bf16(bf16_bits(x)); }',
  },
  /** To nearest, ties away from 0; a float still, of which the last 13 bits are 0. */
  tf32_bits: {
    text: `__device__ unsigned tf32_bits(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}`,
  },
  round_tf32: {
    uses: ['tf32_bits'],
    text: '__device__ float round_tf32(float x) { return __uint_as_float(tf32_bits(x)); }',
  },
  /**
   * The operands of a matrix instruction, as its threads hold them (PTX ISA, mma.m16n8k16): thread l has of the left lines l/4 and
   * l/4 + 8, of the right line l/4, and of each the elements 2·(l mod 4), the next, and those 8 further on, two in a word.
   */
  left_matrix: {
    text: `__device__ void left_matrix(unsigned (&a)[4], const unsigned short* at, int pitch) {
  const int lane = threadIdx.x & 31;
  const unsigned short* line = at + (lane >> 2) * pitch + (lane & 3) * 2;
  a[0] = *(const unsigned*)line;
  a[1] = *(const unsigned*)(line + 8 * pitch);
  a[2] = *(const unsigned*)(line + 8);
  a[3] = *(const unsigned*)(line + 8 * pitch + 8);
}`,
  },
  right_matrix: {
    text: `__device__ void right_matrix(unsigned (&b)[2], const unsigned short* at, int pitch) {
  const int lane = threadIdx.x & 31;
  const unsigned short* line = at + (lane >> 2) * pitch + (lane & 3) * 2;
  b[0] = *(const unsigned*)line;
  b[1] = *(const unsigned*)(line + 8);
}`,
  },
  /** The same of operands that lie turned: a line's elements are a pitch apart. */
  left_turned: {
    text: `__device__ void left_turned(unsigned (&a)[4], const unsigned short* at, int pitch) {
  const int lane = threadIdx.x & 31;
  const unsigned short* pair = at + (lane & 3) * 2 * pitch + (lane >> 2);
  a[0] = pair[0] | (unsigned)pair[pitch] << 16;
  a[1] = pair[8] | (unsigned)pair[pitch + 8] << 16;
  a[2] = pair[8 * pitch] | (unsigned)pair[9 * pitch] << 16;
  a[3] = pair[8 * pitch + 8] | (unsigned)pair[9 * pitch + 8] << 16;
}`,
  },
  right_turned: {
    text: `__device__ void right_turned(unsigned (&b)[2], const unsigned short* at, int pitch) {
  const int lane = threadIdx.x & 31;
  const unsigned short* pair = at + (lane & 3) * 2 * pitch + (lane >> 2);
  b[0] = pair[0] | (unsigned)pair[pitch] << 16;
  b[1] = pair[8 * pitch] | (unsigned)pair[9 * pitch] << 16;
}`,
  },
  /**
   * Of f32, as they are or turned (mma.m16n8k8 of .tf32): thread l has of the left lines l/4 and l/4 + 8, of the right line l/4, and
   * of each the elements l mod 4 and that four further on, rounded.
   */
  left_tf32: {
    uses: ['tf32_bits'],
    text: `__device__ void left_tf32(unsigned (&a)[4], const float* at, int line, int step) {
  const int lane = threadIdx.x & 31;
  const float* own = at + (lane >> 2) * line + (lane & 3) * step;
  a[0] = tf32_bits(own[0]);
  a[1] = tf32_bits(own[8 * line]);
  a[2] = tf32_bits(own[4 * step]);
  a[3] = tf32_bits(own[8 * line + 4 * step]);
}`,
  },
  right_tf32: {
    uses: ['tf32_bits'],
    text: `__device__ void right_tf32(unsigned (&b)[2], const float* at, int line, int step) {
  const int lane = threadIdx.x & 31;
  const float* own = at + (lane >> 2) * line + (lane & 3) * step;
  b[0] = tf32_bits(own[0]);
  b[1] = tf32_bits(own[4 * step]);
}`,
  },
  /** Asks for 16 bytes of workgroup memory (sm_80 and newer), and waits for what this thread asked for but since the newest meetings. */
  fetch: {
    text: `__device__ void fetch(void* to, const void* from, bool wanted) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from), "r"(wanted ? 16 : 0) : "memory");
}`,
  },
  fetched: {
    text: `template <int leaves> __device__ void fetched() {
  asm volatile("cp.async.commit_group; cp.async.wait_group %0;" :: "n"(leaves) : "memory");
}`,
  },
  /** What was written to workgroup memory is seen by instructions that read it by themselves (sm_90). */
  show: { text: '__device__ void show() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }' },
  /**
   * A matrix in workgroup memory, for wgmma (PTX ISA, matrix descriptors): the address, `apart` from panel to panel where it lies turned,
   * `rows` from eight rows to the next, all in units of 16 bytes, and panels of 64 bytes in which chunks are swapped.
   */
  describe: {
    text: `__device__ unsigned long long describe(const void* at, int apart, int rows) {
  const unsigned long long address = (unsigned)__cvta_generic_to_shared(at) & 0x3ffffu;
  return address >> 4 | (unsigned long long)(apart >> 4) << 16 | (unsigned long long)(rows >> 4) << 32 | 2ull << 62;
}`,
  },
  multiply_bf16: { text: multiply('bf16') },
  multiply_f16: { text: multiply('f16') },
  multiply_tf32: { text: multiply('tf32') },
  /** Philox4x32-10 (Salmon et al., 2011): word 0 of the block for counter (index, stream, step, 0) and a two-word key. */
  philox: {
    text: `__device__ unsigned philox(unsigned x0, unsigned x1, unsigned x2, unsigned key0, unsigned key1) {
  unsigned x3 = 0u;
  for (int round = 0; round < 10; round++) {
    unsigned low0 = x0 * 0xd2511f53u, high0 = __umulhi(x0, 0xd2511f53u);
    unsigned low1 = x2 * 0xcd9e8d57u, high1 = __umulhi(x2, 0xcd9e8d57u);
    x0 = high1 ^ x1 ^ key0;
    x1 = low1;
    x2 = high0 ^ x3 ^ key1;
    x3 = low0;
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  return x0;
}`,
  },
} as const satisfies Record<string, { readonly text: string; readonly uses?: readonly string[] }>;

export type HelperName = keyof typeof helpers;

/** The text of these helpers and of those they use, each once, used ones first. */
export function helperText(names: Iterable<HelperName>): string[] {
  const texts: string[] = [];
  const seen = new Set<HelperName>();
  const add = (name: HelperName): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const { text, uses = [] }: Helper = helpers[name];
    uses.forEach(add);
    texts.push(text);
  };
  for (const name of names) add(name);
  return texts;
}
