/** What every device says in the same words, and what is wrong with a machine that has none: each a sentence with what to do. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Compiler } from '../../compiler/targets/target.ts';
import { compileFor } from '../../compiler/pipeline.ts';
import { forCpu } from '../../compiler/targets/llvm/compiler.ts';
import { type CudaText, forCuda } from '../../compiler/targets/cuda/compiler.ts';
import { forWasm } from '../../compiler/targets/wasm/compiler.ts';
import { forWebGpu } from '../../compiler/targets/wgsl/compiler.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { describeCpu, openCpuSession } from '../../runtime/devices/cpu.ts';
import { openCudaSession } from '../../runtime/devices/cuda.ts';
import { openWasmSession } from '../../runtime/devices/wasm.ts';
import type { Room, RoomySession } from '../../runtime/devices/room.ts';
import { openWebGpuSession } from '../../runtime/devices/webgpu.ts';
import { type Executable, NoRoom, type Session, type TypedArray } from '../../runtime/program.ts';
import { chooseInputs } from '../../runtime/step.ts';
import { openTarget } from '../../tools/driver/target.ts';
import { emulatedImage, emulatorProblem } from '../support/cuda.ts';
import { webgpuProblem } from '../support/webgpu.ts';

const cpu = await describeCpu();
const root = join(import.meta.dirname, '../..');
const libm = ['x86_64', 'aarch64']
  .map((name) => `/usr/lib/${name}-linux-gnu/libm.so.6`)
  .find((path) => existsSync(path));

interface Opened {
  readonly session: Session;
  load(graph: Graph): Promise<Executable>;
  rooms?(graph: Graph): readonly Room[];
}

const compiling = <Program>(
  session: RoomySession<Program>,
  compiler: Compiler<Program>,
  load: (program: Program) => Promise<Executable>,
): Opened => ({
  session,
  load: (graph) => load(compileFor(compiler, graph)),
  rooms: (graph) => session.rooms(compileFor(compiler, graph)),
});

const devices: Readonly<Record<string, { readonly problem: string | undefined; open(): Promise<Opened> }>> = {
  cpu: {
    problem: cpu.problem,
    async open() {
      const session = await openCpuSession({ threads: 2, guard: true });
      const { architecture = 'x86_64', features = '' } = cpu;
      return compiling(session, forCpu({ architecture, features }, 2), (program) => session.load(program));
    },
  },
  wasm: {
    problem: undefined,
    async open() {
      const session = await openWasmSession({ threads: 2, guard: true });
      return compiling(session, forWasm(2, false), (program) => session.load(program));
    },
  },
  webgpu: {
    problem: webgpuProblem,
    async open() {
      const session = await openWebGpuSession();
      return compiling(session, forWebGpu(session), (program) => session.load(program));
    },
  },
  reference: { problem: undefined, open: () => openTarget('reference') },
  cuda: {
    problem: emulatorProblem,
    async open() {
      const session = await openCudaSession();
      return compiling<CudaText>(session, forCuda(4), ({ source, ...program }) =>
        session.load({ ...program, image: emulatedImage(source) }),
      );
    },
  },
};

/** Rows of a table by their numbers. */
function lookup(): Graph {
  const build = createBuilder('lookup');
  const table = build.input('table', 'param', { dtype: 'f32', shape: [4, 3] });
  const ids = build.input('ids', 'batch', { dtype: 'i32', shape: [2] });
  build.output('rows', 'result', build.gather(table, ids, 0));
  build.output('table', 'update', build.binary('add', table, build.constant(1, 'f32', [4, 3])));
  return build.finish();
}

/** Numbers times a table's sum, and a constant added; `count` of them. */
function scaled(count: number): Graph {
  const build = createBuilder(`scaled${count}`);
  const table = build.input('table', 'param', { dtype: 'f32', shape: [8] });
  const x = build.input('x', 'batch', { dtype: 'f32', shape: [count, 2] });
  const sum = build.broadcast(build.reduce('sum', table, [0]), [count, 2]);
  const more = build.broadcast(build.constant([0.5, -0], 'f32'), [count, 2]);
  build.output('y', 'result', build.binary('add', build.binary('mul', x, sum), more));
  return build.finish();
}

/** What it gives of 0, 1, 2 and so on, and what it should with a table whose sum is 2. */
async function run(program: Executable, count: number): Promise<TypedArray | undefined> {
  const x = Float32Array.from({ length: 2 * count }, (_, at) => at);
  return (await program.run(new Map([['x', x]]))).get('y');
}
const wanted = (count: number) =>
  Float32Array.from({ length: 2 * count }, (_, at) => 2 * at + (at % 2 === 0 ? 0.5 : 0));

/** A large param that is new, and the table in another shape. */
function otherTable(): Graph {
  const build = createBuilder('other');
  const fresh = build.input('fresh', 'param', { dtype: 'f32', shape: [100_000] });
  const table = build.input('table', 'param', { dtype: 'f32', shape: [9] });
  build.output('y', 'result', build.binary('add', build.reduce('sum', fresh, [0]), build.reduce('sum', table, [0])));
  return build.finish();
}

describe.each(Object.entries(devices))('on %s', (_, { problem, open }) => {
  it.skipIf(problem !== undefined)(
    'what programs need while they run they share, and what they had alone they give back',
    async () => {
      const { session, load, rooms } = await open();
      const [large, small] = [await load(scaled(5000)), await load(scaled(3))];
      session.write('table', new Float32Array(8).fill(0.25));
      const taken = (): number | undefined =>
        rooms?.(scaled(4000)).reduce((sum, room) => sum + room.taken + room.wanted, 0);
      const first = await run(small, 3);
      const before = taken();
      for (const count of [4000, 7, 4001]) {
        const other = await load(scaled(count));
        expect(await run(other, count)).toEqual(wanted(count));
        expect(await run(large, 5000)).toEqual(wanted(5000));
        await other.close();
        expect(await run(small, 3)).toEqual(wanted(3));
        expect(taken()).toBe(before);
      }
      expect(first).toEqual(wanted(3));
      session.close();
    },
  );

  it.skipIf(problem !== undefined)(
    'a program that is refused changes nothing, runs may overlap, and one that is closed says so',
    async () => {
      const { session, load } = await open();
      const [three, four] = [await load(scaled(3)), await load(scaled(4))];
      session.write('table', new Float32Array(8).fill(0.25));
      await expect((async () => load(otherTable()))()).rejects.toThrow(
        'table is f32[8] in one program and f32[9] in other.',
      );
      expect(await run(three, 3)).toEqual(wanted(3));
      expect(await Promise.all([run(three, 3), run(four, 4), run(three, 3)])).toEqual([
        wanted(3),
        wanted(4),
        wanted(3),
      ]);
      await four.close();
      await four.close();
      await expect(run(four, 4)).rejects.toThrow('scaled4 is closed.');
      expect(await run(three, 3)).toEqual(wanted(3));
      session.close();
    },
  );

  it.skipIf(problem !== undefined)(
    'weights are kept, inputs are checked, and an index out of range is an error',
    async () => {
      const { session, load } = await open();
      const program = await load(lookup());
      session.write(
        'table',
        Float32Array.from({ length: 12 }, (_, at) => at),
      );
      const run = async (...ids: readonly number[]) => program.run(new Map([['ids', Int32Array.from(ids)]]));
      expect((await run(2, 0)).get('rows')).toEqual(Float32Array.of(6, 7, 8, 0, 1, 2));
      expect((await run(3, 3)).get('rows')?.[0]).toBe(10);
      expect((await session.read('table'))[11]).toBe(13);
      for (const wrong of [4, -1, 2 ** 30]) {
        await expect(run(0, wrong)).rejects.toThrow('An index was out of range in lookup');
        // It is raised once, not for ever.
        expect((await run(1, 1)).get('rows')).toHaveLength(6);
      }
      await expect(run(1)).rejects.toThrow(
        'The input ids of lookup needs Int32Array of 2 elements, but was given Int32Array of 1.',
      );
      await expect(program.run(new Map())).rejects.toThrow('lookup needs the input ids, which was not given.');
      expect(() => session.write('table', new Float32Array(3))).toThrow('table needs Float32Array of 12 elements');
      await expect(session.read('chair')).rejects.toThrow('No loaded program has a param or state chair.');
      session.close();
      await expect(run(1, 1)).rejects.toThrow('The session is closed.');
      await expect((async () => session.read('table'))()).rejects.toThrow('The session is closed.');
      expect(() => session.write('table', new Float32Array(12))).toThrow('The session is closed.');
    },
  );
});

describe('a machine without', () => {
  const nacre = (env: Readonly<Record<string, string>>, ...words: readonly string[]) =>
    spawnSync(process.execPath, [join(root, 'bin/nacre.mjs'), ...words], {
      encoding: 'utf8',
      env: { ...process.env, ...env },
    });
  const digits = join(root, 'examples/digits.model');

  it('a GPU that WebGPU reaches', () => {
    const { status, stderr } = nacre({ VK_ICD_FILENAMES: '/nowhere.json' }, 'train', digits, '--target', 'webgpu');
    expect(status).toBe(1);
    expect(stderr).toContain('error: The webgpu target found no GPU: Dawn needs a Vulkan driver');
    expect(stderr).toContain(
      'hint: `nacre doctor` says what this machine has and what is missing; `--target wasm` runs',
    );
  });

  it("NVIDIA's driver", () => {
    const { status, stderr } = nacre({ NACRE_LIBCUDA: '/nowhere.so' }, 'train', digits, '--target', 'cuda');
    expect([status, stderr]).toEqual([
      1,
      "error: The cuda target needs NVIDIA's driver, but NACRE_LIBCUDA names /nowhere.so, which cannot be loaded: install the driver of your GPU.\nhint: `nacre doctor` says what this machine has and what is missing; `--target wasm` runs everywhere.\n",
    ]);
  });

  it.skipIf(emulatorProblem !== undefined)('nvcc', () => {
    const { status, stderr } = nacre({ NACRE_NVCC: '/nowhere/nvcc' }, 'train', digits, '--target', 'cuda');
    expect([status, stderr]).toEqual([1, expect.stringContaining('The cuda target needs nvcc of the CUDA toolkit')]);
  });

  it.skipIf(emulatorProblem !== undefined)('nvcc, but a folder in its place', () => {
    const sentence = `The cuda target needs nvcc of the CUDA toolkit, but NACRE_NVCC names ${root}, which is no program: set it to the file nvcc itself.`;
    const { status, stderr } = nacre({ NACRE_NVCC: root }, 'train', digits, '--target', 'cuda');
    expect([status, stderr]).toEqual([1, expect.stringContaining(`error: ${sentence}\n`)]);
    const found = nacre({ NACRE_NVCC: root }, 'doctor', '--json').stdout.trim().split('\n');
    expect(found.map((line) => JSON.parse(line))).toContainEqual(
      expect.objectContaining({ name: 'nvcc', found: false, text: sentence }),
    );
  });

  it.skipIf(emulatorProblem !== undefined).each([
    [
      '/bin/false',
      /nvcc does not take the kernels of .*: `\/bin\/false .*` said nothing and ended with exit status 1: /,
    ],
    ['/bin/true', /nvcc made nothing of the kernels of .*, and ended as if all were well: is \/bin\/true nvcc/],
  ])('nvcc, but %s in its place', (NACRE_NVCC, said) => {
    const { status, stderr } = nacre({ NACRE_NVCC }, 'train', digits, '--target', 'cuda');
    expect([status, stderr]).toEqual([1, expect.stringMatching(said)]);
  });

  it('room for what nvcc reads', () => {
    const env = { NACRE_NVCC: '/bin/true', TMPDIR: '/dev/null' };
    const { status, stderr } = nacre(env, 'build', digits, '--target', 'cuda', '-o', '/nowhere');
    expect([status, stderr]).toEqual([
      1,
      'error: Could not write the kernels of reader.init below /dev/null: part of the path is a file, not a folder.\n',
    ]);
  });

  it.skipIf(libm === undefined)("NVIDIA's driver, but another library in its place", () => {
    const { status, stderr } = nacre({ NACRE_LIBCUDA: libm ?? '' }, 'train', digits, '--target', 'cuda');
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining(
        `error: The cuda target needs NVIDIA's driver, but ${libm} has no cuInit: it is another library, or a driver too old. Install driver 470 or newer, or unset NACRE_LIBCUDA, which names this one.\n`,
      ),
    ]);
  });
});

it.skipIf(emulatorProblem !== undefined)('kernels that were made for another GPU', async () => {
  const { session } = await devices.cuda.open();
  const program = compileFor(forCuda(4), lookup());
  const image = new TextEncoder().encode('/nowhere.so\0');
  await expect((session as Awaited<ReturnType<typeof openCudaSession>>).load({ ...program, image })).rejects.toThrow(
    /^lookup was built for another GPU than this one \(emulator, compute capability 9\.0\)/,
  );
  session.close();
});

it.for([
  ['cpu', cpu.problem, /^huge needs 6291456 MiB, and this machine has \d+ MiB\. /],
  ['cuda', emulatorProblem, /^huge needs 6291456 MiB, and the GPU has 8192 MiB\. /],
  ['wasm', undefined, /^huge needs 6291456 MiB, and WebAssembly has in all 4096 MiB\. /],
  ['webgpu', webgpuProblem, /^huge needs 6291456 MiB, and the GPU \(.+\) lets a program use at once \d+ MiB\. /],
] as const)(
  'on %s, what has no room says so, and leaves the session as it was',
  async ([device, problem, beginning], { skip }) => {
    skip(problem !== undefined, problem);
    const { session, load } = await devices[device].open();
    const small = await load(lookup());
    session.write(
      'table',
      Float32Array.from({ length: 12 }, (_, at) => at),
    );
    const ids = new Map([['ids', Int32Array.of(2, 0)]]);
    expect((await small.run(ids)).get('rows')).toEqual(Float32Array.of(6, 7, 8, 0, 1, 2));
    const build = createBuilder('huge');
    const x = build.input('pictures', 'batch', { dtype: 'f32', shape: [2 ** 26, 3, 64, 64] });
    build.output('brighter', 'result', build.binary('mul', x, build.constant(2, 'f32', x.type.shape)));
    const said = await load(build.finish()).then(
      () => '',
      (error: unknown) => (error instanceof NoRoom ? error.message : String(error)),
    );
    expect(said).toMatch(beginning);
    expect(said).toMatch(/ Its largest buffer is pictures: f32\[67108864, 3, 64, 64\], 3145728 MiB\.$/);
    expect((await small.run(ids)).get('rows')).toEqual(Float32Array.of(7, 8, 9, 1, 2, 3));
    expect((await (await load(lookup())).run(ids)).get('rows')).toEqual(Float32Array.of(8, 9, 10, 2, 3, 4));
    session.close();
  },
);

it('on wasm, programs that lie behind the first 2 GiB run on all threads', { timeout: 60_000 }, async () => {
  const { session, load } = await devices.wasm.open();
  const rows = 2 ** 29 + 2;
  const far = (name: string): Graph => {
    const build = createBuilder(name);
    const table = build.input('table', 'param', { dtype: 'f32', shape: [rows, 1] });
    const id = build.input('id', 'batch', { dtype: 'i32', shape: [1] });
    build.output('row', 'result', build.gather(table, id, 0));
    build.output('more', 'result', build.binary('add', build.cast(id, 'f32'), build.constant(0.5, 'f32', [1])));
    return build.finish();
  };
  for (const name of ['first', 'second']) {
    const results = await (await load(far(name))).run(new Map([['id', Int32Array.of(rows - 1)]]));
    expect([results.get('row'), results.get('more')]).toEqual([Float32Array.of(0), Float32Array.of(rows - 0.5)]);
  }
  session.close();
});

it('data of f64 come rounded where a program only takes a rounded copy', async () => {
  const build = createBuilder('rounds');
  const [x, y] = ['x', 'y'].map((name) => build.input(name, 'batch', { dtype: 'f64', shape: [2] }));
  build.output('single', 'result', build.cast(x, 'f32'));
  build.output('whole', 'result', build.cast(y, 'i32'));
  const given = new Map([
    ['x', Float64Array.of(0.1, 1e300)],
    ['y', Float64Array.of(-2.9, 1e12)],
  ]);
  const graph = build.finish();
  for (const target of ['reference', 'wasm'] as const) {
    const { session, load } = await openTarget(target, { threads: 1 });
    const program = await load(graph);
    const results = await program.run(chooseInputs(program, given, new Map()));
    expect([...results]).toEqual([
      ['single', Float32Array.of(0.1, Infinity)],
      ['whole', Int32Array.of(-2, 2 ** 31 - 1)],
    ]);
    session.close();
  }
  const both = createBuilder('both');
  const w = both.input('w', 'batch', { dtype: 'f64', shape: [2] });
  both.output('single', 'result', both.cast(w, 'f32'));
  both.output('truth', 'result', both.cast(w, 'bool'));
  const { session, load } = await openTarget('wasm', { threads: 1 });
  await expect(load(both.finish())).rejects.toThrow(
    '`w` of the data is f64, which the wasm target does not compute in: round it once, where it comes in (`|> map(w: f32(w))`), or use `--target reference`.',
  );
  session.close();
});

it('an element type that a target has no code for', async () => {
  const build = createBuilder('wide');
  const x = build.input('x', 'batch', { dtype: 'f32', shape: [2] });
  build.output('y', 'result', build.cast(build.cast(x, 'f64'), 'f32'));
  const { session, load } = await openTarget('wasm', { threads: 1 });
  await expect(load(build.finish())).rejects.toThrow(
    'computes in f64, which the wasm target does not: use `--target reference`',
  );
  session.close();
});
