/** Contractions in every layout, at sizes that do not fit tiles, on machines of 16, 8, 4 and 1 lanes. */
import { describe, expect, test } from 'vitest';
import { parseLoop } from '../../compiler/loop/parse.ts';
import { interpretTile } from '../../compiler/tile/interpret.ts';
import { parseTile } from '../../compiler/tile/parse.ts';
import { printTile } from '../../compiler/tile/text.ts';
import { verifyTile } from '../../compiler/tile/verify.ts';
import { contentsOf, expectScheduled, scheduled } from './support.ts';

/** out[i, j] = Σ l·r in the layout asked for, with an epilogue. */
function matmul(
  m: number,
  n: number,
  k: number,
  layout: 'AB' | 'ABt' | 'AtB',
  left = '',
  right = '',
  epilogue = 's',
): string {
  const [leftShape, leftIndex] = layout === 'AtB' ? [`${k}, ${m}`, 'k, i'] : [`${m}, ${k}`, 'i, k'];
  const [rightShape, rightIndex] = layout === 'ABt' ? [`${n}, ${k}`, 'j, k'] : [`${k}, ${n}`, 'k, j'];
  return `program p {
    buffer %l: f32[${leftShape}] batch
    buffer %r: f32[${rightShape}] param
    buffer %b: f32[${n}] param
    buffer %y: f32[${m}, ${n}] result
    kernel k0 {
      contraction for i in ${m}, j in ${n} sum k in ${k} {
        s: f32 = ${left}(%l[${leftIndex}]) . ${right}(%r[${rightIndex}])
        %y[i, j] = ${epilogue}
      }
    }
  }`;
}

describe('matrix products', () => {
  const shapes: [number, number, number][] = [
    [1, 1, 4],
    [3, 17, 5],
    [33, 33, 33],
    [1, 64, 20],
    [64, 1, 20],
    [27, 49, 7],
    [13, 10, 64],
  ];
  test.each(shapes)('%i × %i over %i', (m, n, k) => {
    for (const layout of ['AB', 'ABt', 'AtB'] as const) expectScheduled(matmul(m, n, k, layout));
  });

  test('long sums are cut in runs, large results in blocks', () => {
    for (const layout of ['AB', 'ABt', 'AtB'] as const)
      expectScheduled(matmul(15, 21, 1100, layout), { lanes: [8], tolerance: 1e-3 });
    expectScheduled(matmul(150, 210, 33, 'AB'), { lanes: [16] });
  });

  test('few results of a long sum are computed in parts', () => {
    const text = matmul(8, 17, 9000, 'ABt');
    expect(scheduled(parseLoop(text), 16).steps.length).toBe(2);
    expectScheduled(text, { lanes: [16, 1], tolerance: 1e-3 });
  });

  test('prologues and epilogues', () => {
    expectScheduled(matmul(40, 50, 30, 'AB', 'exp', 'tanh', 'max(s + %b[j], 0)'));
    expectScheduled(matmul(40, 50, 30, 'ABt', 'exp', 'tanh', 'exp(tanh(s + %b[j])) * erf(s)'), { tolerance: 1e-3 });
  });

  test('equal shapes give equal kernels', () => {
    const program = parseLoop(`program p {
      buffer %x: f32[64, 64] batch
      buffer %w: f32[2, 64, 64] param
      buffer %h: f32[64, 64] temporary
      buffer %y: f32[64, 64] result
      kernel k0 { contraction for i in 64, j in 64 sum k in 64 {
        s: f32 = %x[i, k] . %w[0, k, j]
        %h[i, j] = s
      } }
      kernel k1 { contraction for a in 64, b in 64 sum c in 64 {
        t: f32 = %h[a, c] . %w[0, c, b]
        %y[a, b] = t
      } }
    }`);
    const bodies = scheduled(program, 16).steps.map((step) =>
      step.kind === 'launch' ? JSON.stringify(step.kernel.body) : '',
    );
    expect(bodies[0]).toBe(bodies[1]);
  });
});

describe('batches', () => {
  test.each([
    [2, 3, 17, 8],
    [1, 2, 33, 16],
  ])('attention scores and values: %i × %i heads, %i positions of %i', (batch, heads, length, size) => {
    const width = heads * size;
    expectScheduled(`program p {
      buffer %qkv: f32[${batch}, ${length}, 3, ${heads}, ${size}] batch
      buffer %s: f32[${batch}, ${heads}, ${length}, ${length}] result
      buffer %y: f32[${batch}, ${length}, ${width}] result
      kernel k0 { contraction for b in ${batch}, h in ${heads}, i in ${length}, j in ${length} sum k in ${size} {
        s: f32 = %qkv[b, i, 0, h, k] . %qkv[b, j, 1, h, k]
        %s[b, h, i, j] = where(@(i - j) < 0:i32, -100, s * 0.25)
      } }
      kernel k1 { contraction for b in ${batch}, h in ${heads}, i in ${length}, d in ${size} sum j in ${length} {
        s: f32 = %s[b, h, i, j] . %qkv[b, j, 2, h, d]
        %y{${batch}, ${length}, ${heads}, ${size}}[b, i, h, d] = s
      } }
    }`);
  });

  test('depthwise and outer products fall back to regions', () => {
    expectScheduled(`program p {
      buffer %x: f32[3, 9, 20] batch
      buffer %w: f32[3, 20] param
      buffer %y: f32[9, 20] result
      buffer %z: f32[9, 9] result
      kernel k0 { contraction for i in 9, c in 20 sum k in 3 {
        s: f32 = %x[k, i, c] . %w[k, c]
        %y[i, c] = s
      } }
      kernel k1 { contraction for i in 9, j in 9 {
        s: f32 = %x[0, i, 0] . %x[1, j, 0]
        %z[i, j] = s
      } }
    }`);
  });
});

describe('convolutions', () => {
  test.each([
    [1, 1, 7, 9],
    [2, 3, 12, 17],
    [3, 16, 8, 8],
  ])('forward and both adjoints: %i → %i channels, %i × %i', (cin, cout, height, width) => {
    expectScheduled(
      `program p {
      buffer %x: f32[2, ${cin}, ${height}, ${width}] batch
      buffer %w: f32[${cout}, ${cin}, 3, 3] param
      buffer %y: f32[2, ${cout}, ${height}, ${width}] result
      buffer %dw: f32[${cout}, ${cin}, 3, 3] result
      buffer %dx: f32[2, ${cin}, ${height}, ${width}] result
      kernel k0 { contraction for b in 2, o in ${cout}, i in ${height}, j in ${width} sum c in ${cin}, p in 3, q in 3 {
        s: f32 = %x[b, c, i + p - 1, j + q - 1]? . %w[o, c, p, q]
        %y[b, o, i, j] = max(s, 0)
      } }
      kernel k1 { contraction for o in ${cout}, c in ${cin}, p in 3, q in 3 sum b in 2, i in ${height}, j in ${width} {
        s: f32 = %y[b, o, i, j] . %x[b, c, i + p - 1, j + q - 1]?
        %dw[o, c, p, q] = s
      } }
      kernel k2 { contraction for b in 2, c in ${cin}, i in ${height}, j in ${width} sum o in ${cout}, p in 3, q in 3 {
        s: f32 = %y[b, o, i - p + 1, j - q + 1]? . %w[o, c, p, q]
        %dx[b, c, i, j] = s
      } }
    }`,
      { lanes: [16, 8, 1] },
    );
  });

  /** Channels last, as models have it: forward, and the adjoint for the input; `stride` for both directions. */
  const channelsLast = (size: number, cin: number, cout: number, stride: number): string => `program p {
      buffer %x: f32[2, ${size}, ${size}, ${cin}] batch
      buffer %w: f32[3, 3, ${cin}, ${cout}] param
      buffer %y: f32[2, ${Math.ceil(size / stride)}, ${Math.ceil(size / stride)}, ${cout}] result
      buffer %dx: f32[2, ${size}, ${size}, ${cin}] result
      kernel k0 { contraction for b in 2, i in ${Math.ceil(size / stride)}, j in ${Math.ceil(size / stride)}, o in ${cout} sum p in 3, q in 3, c in ${cin} {
        s: f32 = %x[b, ${stride}*i + p - 1, ${stride}*j + q - 1, c]? . %w[p, q, c, o]
        %y[b, i, j, o] = s
      } }
      kernel k1 { contraction for b in 2, i in ${size}, j in ${size}, c in ${cin} sum o in ${cout}, p in 3, q in 3 {
        s: f32 = %y[b, (i - p + 1) / ${stride}, (j - q + 1) / ${stride}, o]? . %w[p, q, c, o]
        %dx[b, i, j, c] = max(s, %x[b, i, j, c])
      } }
    }`;

  test.each([
    [13, 16, 16, 1],
    [13, 7, 18, 1],
    [13, 16, 5, 2],
    [14, 5, 16, 3],
  ])('channels last: side %i, %i → %i channels, stride %i', (size, cin, cout, stride) =>
    expectScheduled(channelsLast(size, cin, cout, stride), { lanes: [16, 4, 1] }),
  );

  test('the border is asked for while the window is copied, not while it is multiplied', () => {
    const text = channelsLast(32, 16, 16, 1);
    for (const step of scheduled(parseLoop(text), 16).steps) {
      if (step.kind !== 'launch') continue;
      const printed = printTile({ name: 'p', buffers: [], arena: 0, steps: [step] });
      const multiply = printed.slice(printed.indexOf('= fma(') - 400);
      expect(printed).toMatch(/ = p0\[.*; 16 if r\d+\]/);
      expect(multiply).not.toContain('where(');
      expect(multiply.slice(400)).not.toContain(' if ');
    }
  });

  test('few channels are copied in whole vectors: what lies side by side is one row', () => {
    const [step] = scheduled(parseLoop(channelsLast(14, 5, 16, 1)), 16).steps;
    const printed = printTile({ name: 'p', buffers: [], arena: 0, steps: [step] });
    // 16 pixels of 5 channels: five vectors a row, not sixteen cut ones.
    expect(printed).toMatch(/for n\d+ = 0 to 80 step 16/);
  });

  test('an adjoint with a divisor reads without dividing, each phase by itself', () => {
    const phases = scheduled(parseLoop(channelsLast(16, 16, 16, 2)), 16).steps.slice(1);
    expect(phases).toHaveLength(4);
    const printed = printTile({ name: 'p', buffers: [], arena: 0, steps: phases });
    expect(printed).not.toContain(':i32)');
  });

  test('the shortcut of a strided convolution: points that nothing reaches are still stored', () =>
    expectScheduled(`program p {
      buffer %y: f32[2, 5, 20] batch
      buffer %w: f32[16, 20] param
      buffer %dx: f32[2, 9, 16] result
      kernel k0 { contraction for b in 2, i in 9, c in 16 sum o in 20 {
        s: f32 = %y[b, (i) / 2, o]? . %w[c, o]
        %dx[b, i, c] = s + 1
      } }
    }`));

  test('strided, and the adjoint with its divisor', () => {
    expectScheduled(
      `program p {
      buffer %x: f32[2, 5, 11, 11] batch
      buffer %w: f32[6, 5, 3, 3] param
      buffer %y: f32[2, 6, 6, 6] result
      buffer %dx: f32[2, 5, 11, 11] result
      kernel k0 { contraction for b in 2, o in 6, i in 6, j in 6 sum c in 5, p in 3, q in 3 {
        s: f32 = %x[b, c, 2*i + p - 1, 2*j + q - 1]? . %w[o, c, p, q]
        %y[b, o, i, j] = s
      } }
      kernel k1 { contraction for b in 2, c in 5, i in 11, j in 11 sum o in 6, p in 3, q in 3 {
        s: f32 = %y[b, o, (i - p + 1) / 2, (j - q + 1) / 2]? . %w[o, c, p, q]
        %dx[b, c, i, j] = s
      } }
    }`,
      { lanes: [16, 4, 1] },
    );
  });
});

test.each([
  ['bf16', 'matrices'],
  ['f16', 'matrices'],
  ['tf32', 'matrices'],
  ['bf16', 'wide matrices'],
  ['f16', 'wide matrices'],
  ['tf32', 'wide matrices'],
] as const)('products of %s by %s', (dtype, machine) => {
  const [stored, each] = dtype === 'tf32' ? ['f32', 4] : [dtype, 8];
  const read = (of: string): string => (dtype === 'tf32' ? `tf32(${of})` : of);
  for (const [outer, rows, sum, columns] of [
    [1, 16, 16, 16],
    [2, 40, 50, 36],
    [3, 130, 70, 70],
    // Strips that come by 16 bytes at a time, several of them, whole and beyond the end.
    [1, 64, 96, 128],
    [2, 72, 104, 136],
  ]) {
    const text = `program p {
      buffer %x: ${stored}[${outer}, ${rows}, ${sum}] batch
      buffer %w: ${stored}[${outer}, ${sum}, ${columns}] param
      buffer %b: f32[${columns}] param
      buffer %y: f32[${outer}, ${rows}, ${columns}] result
      kernel k0 { contraction for o in ${outer}, i in ${rows}, j in ${columns} sum k in ${sum} {
        s: f32 = ${read('%x[o, i, k]')} . ${read('%w[o, k, j]')}
        %y[o, i, j] = max(s + %b[j], 0)
      } }
    }`;
    expectScheduled(text, { lanes: [machine] });
    const tile = scheduled(parseLoop(text), machine);
    expect(printTile(tile)).toMatch(
      machine === 'matrices' || rows < 32 ? /multiply \d+, \d+, \d+ by 32 / : /multiply 64, \d+, (16|32) by 128 /,
    );
    // What is rounded on its way does not come by itself.
    const fetches = !(dtype === 'tf32' && printTile(tile).includes('by 128'));
    expect(printTile(tile).includes(`fetch ${each} of p0`)).toBe(fetches && sum % each === 0);
    expect(printTile(tile).includes(`fetch ${each} of p1`)).toBe(fetches && columns % each === 0);
    expect(printTile(parseTile(printTile(tile)))).toBe(printTile(tile));
  }
});

test('what 128 threads do not take of f32: numbers with more digits than TF32, matrices that lie turned', () => {
  const loop = parseLoop(`program p {
    buffer %x: f32[64, 40] batch
    buffer %w: f32[40, 128] param
    buffer %y: f32[64, 128] result
    kernel k0 { contraction for i in 64, j in 128 sum k in 40 {
      s: f32 = tf32(%x[i, k]) . tf32(%w[k, j])
      %y[i, j] = s
    } }
  }`);
  const text = printTile(scheduled(loop, 'wide matrices'));
  expect(text).toMatch(/= tf32\(v\d+\)/);
  const rough = parseTile(text.replaceAll(/= tf32\((v\d+)\)/g, '= $1'));
  expect(() => interpretTile(rough, contentsOf(loop))).toThrow('which is not rounded to TF32');
  const turned = parseTile(text.replace(/(multiply .* by 128 of .*?\]),/, '$1 turned,'));
  expect(verifyTile(turned)).toEqual(['kernel k0: a matrix of f32 that lies turned, which 128 threads do not take']);
});

test('a strip that is left on its way for too long is missed', () => {
  const loop = parseLoop(`program p {
    buffer %x: bf16[64, 256] batch
    buffer %w: bf16[256, 64] param
    buffer %y: f32[64, 64] result
    kernel k0 { contraction for i in 64, j in 64 sum k in 256 {
      s: f32 = %x[i, k] . %w[k, j]
      %y[i, j] = s
    } }
  }`);
  const text = printTile(scheduled(loop, 'wide matrices'));
  const [left] = /barrier leaves \d/.exec(text) ?? [];
  expect(left).toBe('barrier leaves 2');
  const found = ['barrier leaves 2', 'barrier leaves 1', 'barrier leaves 3'].map((other) => {
    const buffers = contentsOf(loop);
    interpretTile(parseTile(text.replaceAll('barrier leaves 2', other)), buffers);
    return buffers.get('y');
  });
  expect(found[0]?.every(Number.isFinite)).toBe(true);
  // To wait for more is only slower.
  expect(found[1]).toEqual(found[0]);
  expect(found[2]).not.toEqual(found[0]);
});
