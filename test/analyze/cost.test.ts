/** Bytes and operations against numbers worked out by hand. */
import { describe, expect, it } from 'vitest';
import { analyze } from '../../compiler/analyze/analyze.ts';
import { type Cycles, kernelCycles } from '../../compiler/analyze/cycles.ts';
import { costOf, kernelsOf } from '../../compiler/analyze/cost.ts';
import { Predictor, type Machine } from '../../compiler/analyze/predict.ts';
import { parseLoop } from '../../compiler/loop/parse.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { parseTile } from '../../compiler/tile/parse.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import type { TileKernel } from '../../compiler/tile/tile.ts';

const capabilities: Capabilities = {
  vectorLanes: 8,
  vectorRegisters: 16,
  workgroupThreads: 1,
  subgroupThreads: 1,
  nearMemory: 32768,
  cache: 1 << 20,
  units: 2,
  smallestElement: 1,
  halvesApart: false,
  dtypes: ['f32', 'i32', 'u32', 'bool'],
  matrices: [],
  wideMatrices: [],
  dotsBytes: false,
};

const costs = (text: string) =>
  kernelsOf(parseLoop(text).steps).map(({ kernel, repeats }) => costOf(kernel.segments, repeats));

describe('the cost of a kernel', () => {
  it('is the operands, the result and two operations a product', () => {
    const [cost] = costs(`program p {
  buffer %x: f32[8, 32] batch
  buffer %w: f32[32, 4] param
  buffer %bias: f32[4] param
  buffer %y: f32[8, 4] result
  kernel k {
    contraction for i in 8, j in 4 sum k in 32 {
      dot: f32 = %x[i, k] . %w[k, j]
      %y[i, j] = dot + %bias[j]
    }
  }
}
`);
    expect([cost.bytesRead, cost.bytesWritten]).toEqual([4 * (8 * 32 + 32 * 4 + 4), 4 * 8 * 4]);
    expect(cost.flops).toBe(2 * 8 * 4 * 32 + 8 * 4);
  });

  it('counts what is shared once, and what does not change along an axis once for it', () => {
    const [cost] = costs(`program p {
  buffer %x: f32[16, 100] batch
  buffer %y: f32[16, 100] result
  kernel k {
    region for i in 16 {
      reduce for j in 100 { most: f32 = max %x[i, j] }
      store for l in 100 {
        let $0 = exp(most)
        %y[i, l] = (%x[i, l] * $0) + $0
      }
    }
  }
}
`);
    // 1,600 of the reduction, 16 of exp, 1,600 products and sums each.
    expect(cost.flops).toBe(1600 + 16 + 2 * 1600);
    // Both stages read x: it comes from memory once.
    expect([cost.bytesRead, cost.bytesWritten]).toEqual([6400, 6400]);
  });

  it('of gathered rows is the rows, and of one trip of a repeat its slice', () => {
    const [gathered, sliced] = costs(`program p {
  buffer %table: f32[1000, 8] param
  buffer %ids: i32[3] batch
  buffer %y: f32[3, 8] temporary
  buffer %h: f32[3, 8] result
  kernel a {
    region for i in 3, j in 8 {
      store { %y[i, j] = %table[{%ids[i]}, j]! }
    }
  }
  repeat t in 3 {
    kernel b {
      region for i in 8 {
        store { %h[t, i] = %y[t, i] }
      }
    }
  }
}
`);
    expect([gathered.bytesRead, gathered.flops]).toEqual([4 * 3 * 8 + 4 * 3, 0]);
    expect([sliced.bytesRead, sliced.bytesWritten]).toEqual([4 * 8, 4 * 8]);
  });
});

const machine: Machine = {
  threads: 2,
  contraction: 1e9,
  cycles: { functions: 1e9, rest: 4e9, multiply: 2e9, beside: 8e9 },
  bandwidth: [
    { within: 1024, rate: 1e9 },
    { within: 1e6, rate: 1e8 },
  ],
  launch: 1e-6,
  meeting: 3e-6,
  call: 1e-5,
  between: 0,
  gather: 1e9,
};

describe('the cycles of a kernel', () => {
  const partsOf = (body: string, grid = 1): Cycles =>
    kernelCycles(
      onlyKernel(`program p arena 0 {
  buffer x: f32[4096] batch
  buffer y: f32[4096] result

  kernel k(p0: f32[4096] read, p1: f32[4096] write) grid item in ${grid} {
${body}
  }

  launch k(x, y)
}
`),
    );
  const cyclesOf = (body: string, grid = 1): number => {
    const { multiply, functions, rest } = partsOf(body, grid);
    return multiply + functions + rest;
  };
  const copy = '      p1[i0] = p0[i0; 16]\n';
  const loop = (to: string, body: string): string => `    for i0 = 0 to ${to} step 16 {\n${body}    }`;

  it('are those of its loops, trip by trip, and of all its items', () => {
    const whole = cyclesOf(loop('4096', copy));
    expect(cyclesOf(loop('2048', copy))).toBeCloseTo(whole / 2, 9);
    expect(cyclesOf(loop('min(item * 1024, 2048)', copy), 4)).toBeCloseTo(((0 + 1024 + 2048 + 2048) / 4096) * whole, 9);
    // A load, a store, counting: two accesses a cycle to read, one to write.
    expect(whole / 256).toBeCloseTo(0.5 + 1 + 1, 9);
  });

  it('are more where elements lie apart, and where a function takes longer', () => {
    const plain = cyclesOf(loop('4096', copy));
    expect(cyclesOf(loop('4096', '      p1[i0] = p0[0; 16 by 2]\n'))).toBeGreaterThan(3 * plain);
    expect(cyclesOf(loop('4096', '      p1[i0] = exp(p0[i0; 16])\n'))).toBeGreaterThan(3 * plain);
  });

  it('are told apart: multiply-adds, functions, the rest', () => {
    const of = (value: string): Cycles => partsOf(loop('4096', `      p1[i0] = ${value}\n`));
    const { rest } = of('p0[i0; 16]');
    expect(of('fma(p0[i0; 16], 2:f32x16, 1:f32x16)')).toEqual({ multiply: 128, functions: 0, rest });
    expect(of('exp(p0[i0; 16])')).toEqual({ multiply: 0, functions: 12 * 256, rest });
    expect(of('p0[i0; 16] + 1:f32x16')).toEqual({ multiply: 0, functions: 0, rest: rest + 128 });
  });

  it('follow a branch that is decided, and half of each side of one that is not', () => {
    const [first, second] = [loop('4096', copy), loop('1024', copy)];
    const branch = (condition: string): number =>
      cyclesOf(`    if ${condition} {\n${first}\n    } else {\n${second}\n    }`);
    expect(branch('item == 0')).toBe(cyclesOf(first));
    expect(branch('item == 1')).toBe(cyclesOf(second));
    expect(branch('p0[0] < 0:f32')).toBe(1 + (cyclesOf(first) + cyclesOf(second)) / 2);
  });
});

function onlyKernel(text: string): TileKernel {
  const [step] = parseTile(text).steps;
  if (step.kind !== 'launch') throw new Error('no launch');
  return step.kernel;
}

describe('a prediction', () => {
  const program = parseLoop(`program p {
  buffer %x: f32[64] state
  buffer %y: f32[64] temporary
  kernel a {
    region for i in 64 {
      store { %y[i] = %x[i] + 1 }
    }
  }
  kernel b {
    region for i in 64 {
      store { %x[i] = %y[i] * 2 }
    }
  }
}
`);

  it('takes the bandwidth of the memory that still holds a buffer', () => {
    const [{ kernel }] = kernelsOf(program.steps);
    const launches = [{ cycles: { multiply: 0, functions: 0, rest: 1 }, grid: 1 }];
    const work = { cost: costOf(kernel.segments), kind: 'elementwise', launches } as const;
    const predictor = new Predictor(machine);
    // Never touched: 512 bytes from main memory. Then at once again: from the cache.
    expect(predictor.predict(work).traffic).toBeCloseTo(512 / 1e8, 12);
    expect(predictor.predict(work).traffic).toBeCloseTo(512 / 1e9, 12);
  });

  it('leaves threads idle that a grid has no item for', () => {
    const [{ kernel }] = kernelsOf(program.steps);
    const cost = costOf(kernel.segments);
    const cycles = { multiply: 20, functions: 30, rest: 50 };
    const arithmetic = (grid: number): number =>
      new Predictor(machine).predict({ cost, kind: 'elementwise', launches: [{ cycles, grid }] }).arithmetic;
    expect(arithmetic(1)).toBeCloseTo(2 * arithmetic(2), 15);
    expect(arithmetic(3)).toBeCloseTo((4 / 3) * arithmetic(2), 15);
  });

  it('takes for each kind of cycles what the machine reaches in it', () => {
    const [{ kernel }] = kernelsOf(program.steps);
    const launches = [{ cycles: { multiply: 20, functions: 30, rest: 50 }, grid: 2 }];
    const of = (kind: 'product' | 'elementwise'): number =>
      new Predictor(machine).predict({ cost: costOf(kernel.segments), kind, launches }).arithmetic;
    expect(of('elementwise')).toBeCloseTo(30 / 1e9 + 70 / 4e9, 15);
    expect(of('product')).toBeCloseTo(30 / 1e9 + 20 / 2e9 + 50 / 8e9, 15);
  });

  it('of a program adds up its kernels, and follows memory through them', () => {
    const tile = planMemory(schedule(program, capabilities));
    const analysis = analyze(program, tile, capabilities, machine);
    expect(analysis.kernels.map(({ phase, launches, moment }) => [phase, launches, moment])).toEqual([
      ['forward', 1, 0],
      ['update', 1, 1],
    ]);
    expect(analysis.memory.lifetimes).toMatchObject([{ name: 'y', bytes: 256, offset: 0, first: 0, last: 1 }]);
    expect(analysis.memory.alive).toEqual([256, 256]);
    expect(analysis.bytes).toMatchObject({ state: 256, temporary: 256 });
    expect(analysis.seconds).toBeCloseTo(1e-5 + 2 * 1e-6 + (2 * 512) / 1e9, 9);
  });

  it('lets threads meet before a kernel that they share', () => {
    const large = parseLoop(`program p {
  buffer %x: f32[4096, 64] state
  kernel a {
    region for i in 4096 {
      store for j in 64 { %x[i, j] = exp(%x[i, j]) }
    }
  }
}
`);
    const secondsOf = (meeting: number): number | undefined =>
      analyze(large, planMemory(schedule(large, capabilities)), capabilities, { ...machine, meeting }).seconds;
    expect(secondsOf(1)).toBeCloseTo(1 + (secondsOf(0) ?? NaN), 9);
  });
});
