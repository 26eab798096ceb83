/** Regions of every kind, at sizes that do not fit vectors, on machines of 16, 8, 4 and 1 lanes. */
import { describe, expect, test } from 'vitest';
import { parseLoop } from '../../compiler/loop/parse.ts';
import { expectScheduled, scheduled } from './support.ts';

const sizes = [1, 3, 17, 33, 64];

describe('elementwise', () => {
  test.each(sizes)('contiguous, %i × 5', (size) => {
    expectScheduled(`program p {
      buffer %x: f32[5, ${size}] batch
      buffer %b: f32[${size}] param
      buffer %y: f32[5, ${size}] result
      kernel k0 {
        region for i in 5, j in ${size} {
          store { %y[i, j] = max((%x[i, j] * 2) + %b[j], 0) }
        }
      }
    }`);
  });

  test.each(sizes)('transposed and reversed, %i', (size) => {
    expectScheduled(`program p {
      buffer %x: f32[${size}, 7] batch
      buffer %y: f32[7, ${size}] result
      kernel k0 {
        region for i in 7, j in ${size} {
          store { %y[i, j] = %x[j, -i + 6] + f32(@(3*j + i)) }
        }
      }
    }`);
  });

  test('padding, strided adjoints and gathers', () => {
    expectScheduled(`program p {
      buffer %x: f32[4, 9] batch
      buffer %ids: i32[6] batch
      buffer %y: f32[4, 21] result
      buffer %z: f32[6, 9] result
      kernel k0 {
        region for i in 4, j in 21 { store { %y[i, j] = %x[i, (j - 2) / 2]? } }
        region for i in 6, j in 9 { store { %z[i, j] = %x[{%ids[i]}, j]! } }
      }
    }`);
  });

  test('an index out of range raises the flag', () => {
    expectScheduled(
      `program p {
      buffer %x: f32[4, 9] batch
      buffer %ids: i32[60] batch
      buffer %z: f32[60] result
      kernel k0 { region for i in 60 { store { %z[i] = %x[{%ids[i]}, 3]! } } }
    }`,
      { integers: { ids: 6 } },
    );
  });

  test('where loads only from the chosen side', () => {
    expectScheduled(`program p {
      buffer %a: f32[3, 5] batch
      buffer %b: f32[3, 14] batch
      buffer %y: f32[3, 19] result
      kernel k0 { region for i in 3, j in 19 { store { %y[i, j] = where(@(j) < 5:i32, %a[i, j], %b[i, j - 5]) } } }
    }`);
  });

  test('stores of one point see what was there before', () => {
    expectScheduled(`program p {
      buffer %m: f32[37] state
      buffer %p: f32[37] param
      buffer %g: f32[37] batch
      kernel k0 {
        region for i in 37 {
          store {
            %m[i] = (%m[i] * 0.9) + %g[i]
            %p[i] = %p[i] - (((%m[i] * 0.9) + %g[i]) * 0.1)
          }
        }
      }
    }`);
  });
});

describe('reductions', () => {
  test.each([1, 3, 17, 33, 130])('rows of %i: softmax', (size) => {
    expectScheduled(`program p {
      buffer %x: f32[5, ${size}] batch
      buffer %y: f32[5, ${size}] result
      kernel k0 {
        region for i in 5 {
          reduce for k in ${size} { m: f32 = max %x[i, k] }
          reduce for k in ${size} { s: f32 = sum exp(%x[i, k] - m) }
          store for j in ${size} { %y[i, j] = exp(%x[i, j] - m) / s }
        }
      }
    }`);
  });

  test.each(sizes)('columns of %i rows', (size) => {
    expectScheduled(
      `program p {
      buffer %x: f32[${size}, 35] batch
      buffer %s: f32[35] result
      buffer %a: i32[35] result
      kernel k0 {
        region for j in 35 {
          reduce for i in ${size} { s: f32 = sum %x[i, j]  a: i32 = argmax %x[i, j] }
          store { %s[j] = s  %a[j] = a }
        }
      }
    }`
        .replace('sum %x[i, j]  a', 'sum %x[i, j]\n a')
        .replace('%s[j] = s  %a', '%s[j] = s\n %a'),
    );
  });

  test.each(sizes)('positions along rows of %i, ties included', (size) => {
    expectScheduled(`program p {
      buffer %x: i32[6, ${size}] batch
      buffer %a: i32[6] result
      buffer %b: i32[6] result
      kernel k0 {
        region for i in 6 {
          reduce for k in ${size} {
            a: i32 = argmax f32(%x[i, k])
            b: i32 = argmin %x[i, k]
          }
          store {
            %a[i] = a
            %b[i] = b
          }
        }
      }
    }`);
  });

  test.each([40000, 100003])('everything: %i elements are cut in parts', (size) => {
    const text = `program p {
      buffer %x: f32[${size}] batch
      buffer %s: f32[] result
      buffer %m: f32[] result
      kernel k0 {
        region {
          reduce for k in ${size} {
            s: f32 = sum (%x[k] * %x[k]) * exp(%x[k])
            m: f32 = min %x[k]
          }
          store {
            %s[] = sqrt(s)
            %m[] = m
          }
        }
      }
    }`;
    expect(scheduled(parseLoop(text), 16).steps.length).toBe(size > 99999 ? 2 : 1);
    expectScheduled(text, { lanes: [16, 1], tolerance: 1e-3 });
  });

  test('two inner axes, one of them strided', () => {
    expectScheduled(`program p {
      buffer %x: f32[3, 8, 19] batch
      buffer %y: f32[3] result
      kernel k0 {
        region for i in 3 {
          reduce for a in 4, b in 19 { s: f32 = prod %x[i, 2*a + 1, b] + 1 }
          store { %y[i] = s }
        }
      }
    }`);
  });
});

describe('cumulate', () => {
  test.each([
    ['', 1],
    [' reverse', 1],
    ['', 19],
    [' reverse', 19],
  ])('along an axis%s, %i columns', (reverse, columns) => {
    expectScheduled(`program p {
      buffer %x: f32[11, ${columns}] batch
      buffer %y: f32[11, ${columns}] result
      kernel k0 {
        region for j in ${columns} {
          cumulate for i in 11${reverse} {
            c: f32 = sum %x[i, j]
            %y[i, j] = c * 2
          }
        }
      }
    }`);
  });
});

describe('scatter', () => {
  test.each([
    [1, 1],
    [7, 1],
    [1, 19],
    [3, 33],
  ])('adds rows in order, batch %i, %i columns', (batch, columns) => {
    expectScheduled(`program p {
      buffer %ids: i32[${batch}, 9] batch
      buffer %u: f32[${batch}, 9, ${columns}] batch
      buffer %t: f32[${batch}, 4, ${columns}] result
      kernel k0 {
        scatter %t{${batch}, 4, ${columns}} batch b in ${batch} walk w in 9 rest r in ${columns} {
          id = %ids[b, w]
          value = %u[b, w, r] * 2
        }
      }
    }`);
  });

  test('an id out of range raises the flag', () => {
    expectScheduled(
      `program p {
      buffer %ids: i32[9] batch
      buffer %t: f32[4] result
      kernel k0 { scatter %t{4} walk w in 9 {
          id = %ids[w]
          value = 1
        } }
    }`,
      { integers: { ids: 9 } },
    );
  });
});

test('repeats: kernels get the axis as an argument', () => {
  expectScheduled(`program p {
    buffer %x: f32[6, 21] batch
    buffer %h: f32[21] result
    repeat t in 6 reverse {
      kernel k0 { region for j in 21 { store { %h[j] = (%h[j] * 0.5) + %x[t, j] } } }
    }
  }`);
});

test('nothing to do, and sums of nothing', () => {
  expectScheduled(`program p {
    buffer %x: f32[0, 5] batch
    buffer %y: f32[0, 5] result
    buffer %s: f32[5] result
    buffer %c: f32[5, 5] result
    buffer %d: f32[0, 0] result
    kernel k0 { region for i in 0, j in 5 { store { %y[i, j] = %x[i, j] } } }
    kernel k1 { region for j in 5 {
      reduce for i in 0 { s: f32 = sum %x[i, j] }
      store { %s[j] = s }
    } }
    kernel k2 { contraction for i in 5, j in 5 sum k in 0 {
      s: f32 = %x[k, i] . %x[k, j]
      %c[i, j] = s
    } }
    kernel k3 { contraction for i in 0, j in 0 sum k in 5 {
      s: f32 = %x[i, k] . %x[j, k]
      %d[i, j] = s
    } }
  }`);
});
