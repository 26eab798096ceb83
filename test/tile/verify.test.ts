/** What the verifier and the interpreter refuse: the faults a schedule could have. */
import { describe, expect, test } from 'vitest';
import {
  add,
  apply,
  block,
  index,
  load,
  mul,
  number,
  parameter,
  ramp,
  read,
  register,
  scratch,
  splat,
} from '../../compiler/tile/build.ts';
import type { Block } from '../../compiler/tile/build.ts';
import { interpretTile } from '../../compiler/tile/interpret.ts';
import { parseTile, TileSyntaxError } from '../../compiler/tile/parse.ts';
import { printTile } from '../../compiler/tile/text.ts';
import type { TileExpression, TileProgram } from '../../compiler/tile/tile.ts';
import { verifyTile } from '../../compiler/tile/verify.ts';
import { elementwise, launch } from './programs.ts';

const x = parameter('x', 'f32', 32, 'read');
const y = parameter('y', 'f32', 32, 'write');
const panel = scratch('panel', 'f32', 8);
const item = register('item', 'index');

function program(write: (code: Block) => void, grid = 1): TileProgram {
  const code = block();
  write(code);
  return {
    name: 'p',
    arena: 0,
    buffers: [
      { name: 'x', role: 'batch', dtype: 'f32', shape: [32] },
      { name: 'y', role: 'result', dtype: 'f32', shape: [32] },
    ],
    steps: [launch({ name: 'k', parameters: [x, y], scratch: [panel], grid, item, body: code.statements })],
  };
}

const vector = (value: number): TileExpression => number(value, 'f32', 4);

describe('the verifier', () => {
  const faults: readonly [string, (code: Block) => void, RegExp][] = [
    [
      'a register out of reach',
      (code) => {
        let inner = index(0);
        code.for('i', 0, 4, 1, (i) => {
          inner = code.let('v', mul(i, i));
        });
        code.store(y, inner, number(1));
      },
      /used where it is not defined/,
    ],
    [
      'an assignment to a let',
      (code) => {
        const v = code.let('v', load(x, 0));
        if (v.kind === 'register') code.assign(v.register, number(1));
      },
      /v is assigned but is no variable/,
    ],
    [
      'a variable of another type',
      (code) => code.assign(code.var('v', number(1)), vector(1)),
      /v is f32 but is assigned f32x4/,
    ],
    [
      'mixed lanes',
      (code) => code.store(y, 0, { kind: 'apply', type: vector(0).type, op: 'add', operands: [vector(1), number(1)] }),
      /operands with different lanes/,
    ],
    [
      'mixed types',
      (code) => code.store(y, 0, apply('add', number(1), number(1, 'i32'))),
      /operands of different types/,
    ],
    ['a logical op of floats', (code) => code.store(y, 0, apply('and', number(1), number(1))), /and of f32/],
    ['a math function of integers', (code) => code.store(y, 0, apply('exp', number(1, 'i32'))), /exp of i32/],
    ['a store of another type', (code) => code.store(y, 0, number(1, 'i32')), /i32 in memory of f32/],
    ['a read of a written parameter', (code) => code.store(y, 0, load(y, 1)), /may only be written/],
    ['a write of a read parameter', (code) => code.store(x, 0, number(1)), /may only be read/],
    [
      'memory of another kernel',
      (code) => code.store(parameter('z', 'f32', 4, 'write'), 0, number(1)),
      /not this kernel's/,
    ],
    [
      'a mask of other lanes',
      (code) => code.store(y, 0, vector(1), { mask: number(1, 'bool', 8) }),
      /a mask of boolx8 for f32x4/,
    ],
    ['lanes that meet in one place', (code) => code.store(y, 0, vector(1), { stride: 0 }), /all lanes go to one place/],
    ['three lanes', (code) => code.store(y, 0, number(1, 'f32', 3)), /3 lanes are not a power of two/],
    ['a float offset', (code) => code.store(y, number(1), number(1)), /the offset is f32/],
    ['offsets of other lanes', (code) => code.store(y, ramp('index', 8), vector(1)), /8 offsets for 4 lanes/],
    ['an if on a number', (code) => code.if(load(x, 0), () => {}), /an if asks f32/],
    [
      'a splat of a vector',
      (code) => code.store(y, 0, { kind: 'splat', type: number(0, 'f32', 8).type, operand: load(x, 0, 4) }),
      /splat of f32x4/,
    ],
    [
      'a wrong number of operands',
      (code) => code.store(y, 0, { kind: 'apply', type: number(0).type, op: 'fma', operands: [number(1)] }),
      /fma takes 3 operands/,
    ],
    ['a loop that does not move', (code) => code.for('i', 0, load(x, 0), 0, () => {}), /steps by 0/],
  ];
  test.each(faults)('finds %s', (_, write, message) => expect(verifyTile(program(write)).join('\n')).toMatch(message));

  test('finds launches that do not fit', () => {
    const good = program((code) => code.store(y, 0, load(x, 0)));
    const [launch] = good.steps;
    if (launch?.kind !== 'launch') throw new Error('a launch');
    const wrong = (change: Partial<typeof launch>, buffers = good.buffers): string =>
      verifyTile({ ...good, buffers, steps: [{ ...launch, ...change }] }).join('\n');
    expect(verifyTile(good)).toEqual([]);
    expect(wrong({ buffers: ['x'] })).toMatch('1 buffers for 2 parameters');
    expect(wrong({ buffers: ['x', 'z'] })).toMatch('no buffer z');
    expect(wrong({ arguments: [item] })).toMatch('1 values for 0 arguments');
    expect(
      wrong({}, [
        { name: 'x', role: 'batch', dtype: 'f32', shape: [31] },
        { name: 'y', role: 'result', dtype: 'i32', shape: [32] },
      ]),
    ).toMatch(/x has 31 elements.*\n.*y is i32, parameter y f32/);
    expect(
      wrong({}, [
        { name: 'x', role: 'batch', dtype: 'f32', shape: [32] },
        { name: 'y', role: 'constant', dtype: 'f32', shape: [32], data: [1] },
      ]),
    ).toMatch(/1 of its 32 elements[^]*writes the constant y/);
    expect(
      wrong(
        {},
        good.buffers.map((buffer) => ({ ...buffer, role: 'temporary', offset: 64 })),
      ),
    ).toMatch('in an arena of 0 bytes');
  });

  test('finds temporaries that share memory while both are in use', () => {
    const good = program((code) => code.store(y, 0, load(x, 0)));
    const placed = (...offsets: readonly number[]): string[] =>
      verifyTile({
        ...good,
        arena: 256,
        buffers: good.buffers.map((buffer, at) => ({ ...buffer, role: 'temporary', offset: offsets[at] })),
      });
    expect(placed(0, 128)).toEqual([]);
    expect(placed(0, 64)).toEqual(['buffers x and y share bytes of the arena while both are in use']);
  });
});

describe('the interpreter', () => {
  const run = (write: (code: Block) => void, grid = 1): Float64Array => {
    const memories = new Map([['x', Float64Array.from({ length: 32 }, (_, i) => i)]]);
    interpretTile(program(write, grid), memories);
    return memories.get('y') ?? new Float64Array(0);
  };

  test('refuses to leave a memory, and names the kernel and the place', () => {
    expect(() => run((code) => code.store(y, 32, number(1)))).toThrow(
      'kernel k, item 0: y[32] is outside its 32 elements',
    );
    expect(() => run((code) => code.store(y, 0, load(x, 30, 4)))).toThrow('x[32] is outside');
    expect(() => run((code) => code.store(y, 0, load(x, 1, 4, { stride: -1 })))).toThrow('x[-1] is outside');
    expect(() => run((code) => code.store(panel, 8, number(1)))).toThrow('panel[8]');
    expect(
      run((code) => code.store(y, 0, load(x, 30, 4, { mask: apply('lt', ramp('index', 4), splat(2, 4)) }))).subarray(
        0,
        4,
      ),
    ).toEqual(Float64Array.from([30, 31, 0, 0]));
  });

  test('finds work items that meet', () => {
    expect(() => run((code) => code.store(y, 0, number(1)), 2)).toThrow('work items 0 and 1 meet at y[0]');
    expect(() => run((code) => code.store(y, mul(read(item), 4), vector(1)), 8)).not.toThrow();
    expect(() => run((code) => code.store(y, mul(read(item), 3), vector(1)), 8)).toThrow('meet at y[3]');
  });

  test('gives NaN for scratch that nobody wrote, also what the item before left', () => {
    expect(run((code) => code.store(y, 0, load(panel, 3)))[0]).toBeNaN();
    const second = run((code) => {
      code.if(apply('eq', read(item), index(0)), () => code.store(panel, 0, number(5)));
      code.store(y, read(item), load(panel, 0));
    }, 2);
    expect([second[0], second[1]]).toEqual([5, NaN]);
  });
});

describe('the text', () => {
  test('keeps operators in their order, and names apart', () => {
    const text = printTile(
      program((code) => {
        const a = code.let('v', load(x, 1));
        const b = code.let('v', load(x, 2));
        code.store(y, 0, apply('sub', a, apply('sub', b, apply('mul', a, add(a, b)))));
        code.store(y, add(mul(read(item), 4), 1), number(-0.5, 'f32', 2), { mask: number(1, 'bool', 2) });
        code.if(
          apply('lt', a, number(Infinity)),
          () => code.store(panel, 0, a),
          () => code.store(panel, 1, b),
        );
      }),
    );
    expect(text).toContain(
      [
        '    let v = x[1]',
        '    let v.2 = x[2]',
        '    y[0] = v - (v.2 - v * (v + v.2))',
        '    y[item * 4 + 1 if 1:boolx2] = -0.5:f32x2',
        '    if v < inf:f32 {',
        '      panel[0] = v',
        '    } else {',
        '      panel[1] = v.2',
        '    }',
      ].join('\n'),
    );
    expect(printTile(parseTile(text))).toBe(text);
  });

  test('survives any name', () => {
    const odd = { ...elementwise(['f32'], 16, 4, (v) => v), name: 'a "b"\n; }' };
    const [launch] = odd.steps;
    if (launch?.kind !== 'launch') throw new Error('a launch');
    const named: TileProgram = {
      ...odd,
      buffers: odd.buffers.map((buffer) => ({ ...buffer, name: `let/${buffer.name}` })),
      steps: [
        { ...launch, kernel: { ...launch.kernel, name: 'for' }, buffers: launch.buffers.map((name) => `let/${name}`) },
      ],
    };
    expect(parseTile(printTile(named)).steps).toMatchObject([
      { buffers: ['let/x0', 'let/y'], kernel: { name: 'for' } },
    ]);
    expect(printTile(parseTile(printTile(named)))).toBe(printTile(named));
  });

  test('says the line of a mistake', () => {
    expect(() => parseTile('program p arena 0 {\n  buffer x: f33[4] batch\n}')).toThrow(TileSyntaxError);
    expect(() => parseTile('program p arena 0 {\n  buffer x: f33[4] batch\n}')).toThrow(
      /^line 2: one of f32, .* was expected, not 'f33'$/,
    );
    expect(() => parseTile('program p arena 0 {')).toThrow("'launch' was expected");
  });
});

describe('index arithmetic', () => {
  test('is folded as it is built', () => {
    const i = read(item);
    const show = (value: TileExpression): string =>
      printTile(program((code) => code.store(y, value, number(1))))
        .split('y[')[1]
        ?.split(']')[0] ?? '';
    expect(show(add(add(i, 3), add(i, 4)))).toBe('item + item + 7');
    expect(show(mul(add(mul(i, 4), 2), 8))).toBe('item * 32 + 16');
    expect(show(apply('div', mul(i, 12), 4))).toBe('item * 3');
    expect(show(apply('rem', mul(i, 12), 4))).toBe('0');
    expect(show(add(apply('sub', i, 5), 5))).toBe('item');
    expect(show(mul(i, 0))).toBe('0');
  });
});
