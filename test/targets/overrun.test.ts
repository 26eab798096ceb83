/** A kernel that writes beside its buffer is found out where tests look at the bytes there, beside temporaries too. */
import { describe, expect, test } from 'vitest';
import { block, load, number, parameter } from '../../compiler/tile/build.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import type { TileBuffer, TileProgram, TileStep } from '../../compiler/tile/tile.ts';
import { openCpuSession } from '../../runtime/devices/cpu.ts';
import { openWasmSession, type WasmOptions } from '../../runtime/devices/wasm.ts';
import type { Executable, Session } from '../../runtime/program.ts';
import { wasmProgram } from '../support/wasm.ts';
import { nativeProblem, nativeProgram } from '../tile/native.ts';
import { launch } from '../tile/programs.ts';

const size = 16;

const buffer = (name: string, role: TileBuffer['role']): TileBuffer => ({ name, role, dtype: 'f32', shape: [size] });

/** Copies a buffer into another, and writes into one of the two places beside it if told to. */
function copy(from: string, to: string, beside?: number): TileStep {
  const [input, output] = [parameter('in', 'f32', size, 'read'), parameter('out', 'f32', size, 'write')];
  const code = block();
  code.for('i', 0, size, 1, (i) => code.store(output, i, code.let('x', load(input, i))));
  if (beside !== undefined) code.store(output, number(beside, 'index'), number(1));
  return launch({ name: `${from}_${to}`, parameters: [input, output], body: code.statements }, [from, to]);
}

/** x to a to b to y; one of them is written beside. */
const wild = (written: string, beside: number): TileProgram =>
  planMemory({
    name: 'wild',
    arena: 0,
    buffers: [buffer('x', 'batch'), buffer('a', 'temporary'), buffer('b', 'temporary'), buffer('y', 'result')],
    steps: ['x', 'a', 'b'].map((from, at) => {
      const to = ['a', 'b', 'y'][at];
      return copy(from, to, to === written ? beside : undefined);
    }),
  });

const devices: Readonly<
  Record<string, (program: TileProgram, options: WasmOptions) => Promise<{ session: Session; executable: Executable }>>
> = {
  async cpu(program, options) {
    const session = await openCpuSession(options);
    return { session, executable: await session.load(nativeProgram(program)) };
  },
  async wasm(program, options) {
    const session = await openWasmSession(options);
    return { session, executable: await session.load(wasmProgram(program)) };
  },
};

describe.each(Object.keys(devices))('on %s', (device) => {
  const run = async (program: TileProgram, apart: boolean): Promise<unknown> => {
    const { session, executable } = await devices[device](program, { threads: 1, guard: true, apart });
    const x = Float32Array.from({ length: size }, (_, at) => at + 1);
    return executable
      .run(new Map([['x', x]]))
      .then((results) => results.get('y'))
      .finally(() => session.close());
  };
  const skip = device === 'cpu' && nativeProblem !== undefined;

  test.skipIf(skip).each([size, -1])('beside temporaries that lie apart: element %i', async (beside) => {
    for (const name of ['a', 'b', 'y'])
      await expect(run(wild(name, beside), true)).rejects.toThrow(`wild wrote outside ${name}.`);
    expect(await run(wild('none', beside), true)).toEqual(Float32Array.from({ length: size }, (_, at) => at + 1));
  });

  test.skipIf(skip).each([size, -1])('beside what does not share places: element %i', async (beside) => {
    await expect(run(wild('y', beside), false)).rejects.toThrow('wild wrote outside y.');
  });
});
