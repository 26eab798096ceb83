/** Native code against the interpreter, bit by bit where arithmetic is exact: every op, dtype, width, access and mask. */
import { describe, expect, test } from 'vitest';
import {
  add,
  apply,
  block,
  cast,
  combine,
  fma,
  less,
  load,
  mul,
  number,
  parameter,
  ramp,
  read,
  register,
  scratch,
  splat,
  where,
} from '../../compiler/tile/build.ts';
import { interpretTile } from '../../compiler/tile/interpret.ts';
import { parseTile } from '../../compiler/tile/parse.ts';
import { printTile } from '../../compiler/tile/text.ts';
import type { TileExpression, TileOp, TileProgram } from '../../compiler/tile/tile.ts';
import { verifyTile } from '../../compiler/tile/verify.ts';
import { binaryOps, unaryOps } from '../../compiler/graph/graph.ts';
import { roundTo } from '../../compiler/ops/numeric.ts';
import type { Dtype } from '../../compiler/types/dtype.ts';
import { isFloat } from '../../compiler/types/dtype.ts';
import { nativeProblem, runNative } from './native.ts';
import { elementwise, launch, together } from './programs.ts';
import { typed, untyped } from './values.ts';

const size = 64;
const interesting = [
  0,
  -0,
  1,
  -1,
  2,
  3,
  -7,
  0.5,
  -2.5,
  1.5,
  100.25,
  -1000,
  65504,
  1e-5,
  3e38,
  -3e38,
  Infinity,
  -Infinity,
  NaN,
  255,
  256,
  4294967295,
  2147483647,
  -2147483648,
  7,
  31,
  33,
  1e-40,
  0.1,
  -0.3,
  12.75,
  5,
];

/** Values of a dtype in an order that depends on `turn`, so that two operands meet in all ways. */
function values(dtype: Dtype, turn: number): Float64Array {
  return Float64Array.from({ length: size }, (_, i) => {
    const value = interesting[(i * (2 * turn + 1) + turn * 5) % interesting.length];
    return roundTo(dtype, isFloat(dtype) ? value : Number.isFinite(value) ? Math.trunc(value) : 0);
  });
}

interface Case {
  readonly says: string;
  readonly program: TileProgram;
  readonly inputs: Readonly<Record<string, Float64Array>>;
  /** How far native code may be off, in units of 2^-23 of the result. */
  readonly ulps?: number;
}

/** Runs the cases natively, as one program, and interpreted, from the text of the program. */
async function compare(cases: readonly Case[]): Promise<void> {
  const program = together(cases.map((one) => one.program));
  expect(verifyTile(program)).toEqual([]);
  const text = printTile(program);
  expect(printTile(parseTile(text))).toBe(text);
  const inputs = new Map<string, Float64Array>(
    cases.flatMap((one, place) =>
      Object.entries(one.inputs).map(([name, data]) => [`${place}.${name}`, data] as const),
    ),
  );
  const memories = new Map([...inputs].map(([name, data]) => [name, data.slice()]));
  interpretTile(parseTile(text), memories);
  const dtypeOf = new Map(program.buffers.map((buffer) => [buffer.name, buffer.dtype]));
  const results = await runNative(
    program,
    Object.fromEntries([...inputs].map(([name, data]) => [name, typed(dtypeOf.get(name) ?? 'f32', data)])),
  );
  expect(results.size).toBeGreaterThanOrEqual(cases.length);
  for (const [name, data] of results) {
    const { says, ulps = 0, inputs: own } = cases[Number(name.split('.')[0])];
    const got = untyped(dtypeOf.get(name) ?? 'f32', data);
    const want = memories.get(name) ?? new Float64Array(0);
    for (let i = 0; i < want.length; i++) {
      const near =
        got[i] === want[i] ||
        (Number.isNaN(got[i]) && Number.isNaN(want[i])) ||
        Math.abs(got[i] - want[i]) <= ulps * 2 ** -23 * Math.max(2 ** -126, Math.abs(want[i]));
      if (!near)
        throw new Error(
          `${says}: ${name}[${i}] is ${got[i]} natively and ${want[i]} interpreted (inputs ${Object.values(own)
            .map((values) => values[i])
            .join(', ')})`,
        );
    }
  }
}

const accepts = (op: TileOp, dtype: Dtype): boolean => {
  const program = elementwise(
    op === 'where' ? ['bool', dtype, dtype] : [dtype, dtype, dtype].slice(0, arity(op)),
    size,
    1,
    (...operands) => apply(op, ...operands),
  );
  return verifyTile(program).length === 0;
};
const arity = (op: TileOp): number =>
  (unaryOps as readonly string[]).includes(op) ? 1 : (binaryOps as readonly string[]).includes(op) ? 2 : 3;
const transcendental: ReadonlySet<TileOp> = new Set<TileOp>(['exp', 'log', 'sin', 'cos', 'tanh', 'erf', 'pow']);

/** The interpreter computes in double and rounds once more; a half-precision result may fall on the other side of a tie. */
function tolerance(op: TileOp, dtype: Dtype): number {
  if (transcendental.has(op)) return dtype === 'f32' ? 4 : 2 ** 17;
  if (op === 'rsqrt' && dtype === 'f32') return 1;
  if (op === 'fma') return dtype === 'f64' ? 2 ** -20 : 1;
  return 0;
}

const allOps: readonly TileOp[] = [...unaryOps, ...binaryOps, 'where', 'fma'];
const storable: readonly Dtype[] = ['f32', 'f16', 'bf16', 'f64', 'i32', 'u32', 'i8', 'u8', 'bool'];

describe.skipIf(nativeProblem !== undefined)(
  `native code${nativeProblem === undefined ? '' : ` (skipped: ${nativeProblem})`}`,
  () => {
    for (const dtype of storable) {
      test(`every op of ${dtype}`, async () => {
        await compare(
          allOps
            .filter((op) => accepts(op, dtype) && !(dtype === 'f64' && transcendental.has(op)))
            .flatMap((op) => {
              const dtypes: Dtype[] =
                op === 'where' ? ['bool', dtype, dtype] : [dtype, dtype, dtype].slice(0, arity(op));
              const inputs = Object.fromEntries(dtypes.map((of, place) => [`x${place}`, values(of, place)]));
              return [1, 2, 16].map((lanes): Case => ({
                says: `${op} of ${dtype} in ${lanes} lanes`,
                inputs,
                ulps: tolerance(op, dtype),
                program: elementwise(dtypes, size, lanes, (...operands) => apply(op, ...operands)),
              }));
            }),
        );
      });
    }

    test('every cast', async () => {
      await compare(
        storable.flatMap((from) =>
          storable.flatMap((to) =>
            [1, 16].map((lanes): Case => ({
              says: `${from} to ${to} in ${lanes} lanes`,
              inputs: { x0: values(from, 1) },
              program: elementwise([from], size, lanes, (x) => cast(x, to)),
            })),
          ),
        ),
      );
    });

    test('random bits are those of Philox4x32-10', async () => {
      const words = (turn: number): Float64Array =>
        Float64Array.from({ length: size }, (_, i) => Math.imul(i + 1, 0x9e3779b1 + turn * 7919) >>> 0);
      const inputs = Object.fromEntries([0, 1, 2, 3, 4].map((place) => [`x${place}`, words(place)]));
      const program = (lanes: number): TileProgram =>
        elementwise(['u32', 'u32', 'u32', 'u32', 'u32'], size, lanes, (...operands) => apply('philox', ...operands));
      await compare([1, 16].map((lanes) => ({ says: `philox in ${lanes} lanes`, inputs, program: program(lanes) })));
      // The published vector for counter 0, key 0.
      const zeros = Object.fromEntries(Object.keys(inputs).map((name) => [name, new Uint32Array(size)]));
      expect((await runNative(program(16), zeros)).get('y')?.[3]).toBe(0x6627e8d5);
    });

    test('combine, ramp, splat and where of vectors', async () => {
      const combined = (['sum', 'prod', 'max', 'min'] as const).flatMap((monoid) =>
        (['f32', 'i32', 'u32', 'bf16'] as const).map((dtype): Case => ({
          says: `${monoid} of ${dtype}`,
          program: elementwise([dtype], size, 16, (x) => splat(combine(monoid, x), 16)),
          inputs: { x0: Float64Array.from({ length: size }, (_, i) => roundTo(dtype, (i % 5) + 0.25 * (i % 3))) },
        })),
      );
      const chosen = elementwise(['i32'], size, 8, (x) =>
        where(less(x, ramp('i32', 8)), x, splat(number(9, 'i32'), 8)),
      );
      await compare([...combined, { says: 'where', program: chosen, inputs: { x0: values('i32', 1) } }]);
    });

    test('masks, strides, gathers and scatters', async () => {
      await compare(
        storable.flatMap((dtype) =>
          [1, 4, 16].map((lanes): Case => ({
            says: `accesses of ${dtype} in ${lanes} lanes`,
            program: accessProgram(dtype, lanes),
            inputs: {
              x: values(dtype, 2),
              choose: values('bool', 1),
              where: Float64Array.from({ length: size }, (_, i) => (i * 37) % size),
            },
          })),
        ),
      );
    });

    test('loops, branches, variables and scratch', async () => {
      await compare([
        {
          says: 'control',
          program: controlProgram(),
          inputs: { x: Float64Array.from({ length: size }, (_, i) => i - 20) },
        },
      ]);
    });
  },
);

/** Each kind of access once: masked load and store, stride 0, 2 and -1, gathered load and scattered store. */
function accessProgram(dtype: Dtype, lanes: number): TileProgram {
  const x = parameter('x', dtype, size, 'read');
  const choose = parameter('choose', 'bool', size, 'read');
  const places = parameter('where', 'i32', size, 'read');
  const names = ['masked', 'kept', 'spread', 'turned', 'same', 'gathered', 'scattered', 'guarded'];
  const outs = new Map(names.map((name) => [name, parameter(name, dtype, 2 * size, 'write')]));
  const out = (name: string) => outs.get(name) ?? x;
  const code = block();
  code.for('i', 0, size, lanes, (i) => {
    const mask = code.let('mask', load(choose, i, lanes));
    const plain = code.let('plain', load(x, i, lanes));
    const place = code.let('place', cast(load(places, i, lanes), 'index'));
    code.store(out('masked'), i, load(x, i, lanes, { mask }));
    code.store(out('kept'), i, plain, { mask });
    code.store(out('same'), i, load(x, i, lanes, { stride: 0 }));
    code.store(out('turned'), i, load(x, add(i, lanes - 1), lanes, { stride: -1 }));
    code.store(out('spread'), mul(i, 2), plain, { stride: 2, mask });
    code.store(out('gathered'), i, load(x, place, lanes, { mask }));
    code.store(out('scattered'), place, plain);
    code.store(out('guarded'), place, load(x, mul(i, 2), lanes, { stride: 2, mask: mask && andInside(i, lanes) }), {
      mask,
    });
  });
  const parameters = [x, choose, places, ...outs.values()];
  return {
    name: 'access',
    arena: 0,
    buffers: parameters.map((memory) => ({
      name: memory.name,
      role: memory.access === 'read' ? 'batch' : 'result',
      dtype: memory.dtype,
      shape: [memory.size],
    })),
    steps: [launch({ name: 'access', parameters, body: code.statements })],
  };
}

/** Lanes whose place 2·(i + lane) is inside. */
function andInside(i: TileExpression, lanes: number): TileExpression {
  return less(
    add(splat(mul(i, 2), lanes), mul(lanes === 1 ? number(0, 'index') : ramp('index', lanes), number(2, 'index'))),
    number(size, 'index', lanes),
  );
}

/** A small matrix-vector product through scratch, with a branch, run over a grid. */
function controlProgram(): TileProgram {
  const x = parameter('x', 'f32', size, 'read');
  const y = parameter('y', 'f32', size, 'write');
  const panel = scratch('panel', 'f32', 16);
  const other = scratch('other', 'i32', 3);
  const item = register('item', 'index');
  const code = block();
  const start = code.let('start', mul(read(item), 16));
  code.for('i', 0, 16, 4, (i) => code.store(panel, i, mul(load(x, add(start, i), 4), number(2))));
  code.store(other, 1, cast(start, 'i32'));
  const sum = code.var('sum', number(0, 'f32', 4));
  code.for('j', 0, add(read(item), 2), 1, (j) => {
    code.assign(sum, fma(load(panel, mul(j, 2), 4), splat(cast(j, 'f32'), 4), read(sum)));
    code.prefetch(x, j);
  });
  code.if(
    less(load(other, 1), number(20, 'i32')),
    () => {
      code.for('i', 0, 16, 4, (i) => code.store(y, add(start, i), read(sum)));
    },
    () => {
      code.for('i', 0, 16, 1, (i) => code.store(y, add(start, i), add(combine('sum', read(sum)), load(panel, i))));
    },
  );
  return {
    name: 'control',
    arena: 0,
    buffers: [
      { name: 'x', role: 'batch', dtype: 'f32', shape: [size] },
      { name: 'y', role: 'result', dtype: 'f32', shape: [size] },
    ],
    steps: [
      launch({ name: 'control', parameters: [x, y], scratch: [panel, other], grid: 4, item, body: code.statements }),
    ],
  };
}
