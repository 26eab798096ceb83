/** The CPU device: threads and waits, memory shared between programs, the flag, and a machine without LLVM. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { capabilitiesOf } from '../../compiler/targets/llvm/features.ts';
import { waits } from '../../compiler/targets/waits.ts';
import { add, block, less, load, mul, number, parameter, read, register } from '../../compiler/tile/build.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import type { Memory, Register, TileBuffer, TileExpression, TileProgram, TileStep } from '../../compiler/tile/tile.ts';
import { describeCpu, openCpuSession } from '../../runtime/devices/cpu.ts';
import { findOpenMp } from '../../runtime/devices/cpu-library.ts';
import { halfBits } from '../../runtime/halves.ts';
import { DeviceError } from '../../runtime/program.ts';
import { fromBits } from '../tile/halves.ts';
import { loadNative, nativeProblem, nativeProgram } from '../tile/native.ts';
import { launch } from '../tile/programs.ts';

const size = 256;

/** out[i] = value(in[i], i) over a grid of `items`. */
function map(
  name: string,
  from: string,
  to: string,
  items: number,
  value: (x: TileExpression, i: TileExpression, given: readonly Register[]) => TileExpression,
  given: readonly Register[] = [],
): TileStep {
  const input = parameter('in', 'f32', size, 'read');
  const output = parameter('out', 'f32', size, 'write');
  const item = register('item', 'index');
  const inner = given.map((axis) => register(axis.name, 'index'));
  const code = block();
  code.for('i', 0, size / items, 1, (i) => {
    const at = code.let('at', add(mul(read(item), size / items), i));
    code.store(output, at, value(load(input, at), at, inner));
  });
  return {
    kind: 'launch',
    buffers: [from, to],
    arguments: given,
    kernel: {
      name,
      parameters: [input, output],
      arguments: inner,
      scratch: [],
      grid: items,
      item,
      workgroup: 1,
      thread: register('thread', 'index'),
      body: code.statements,
    },
  };
}

const buffer = (name: string, role: TileBuffer['role']): TileBuffer => ({ name, role, dtype: 'f32', shape: [size] });

/** Each trip adds 1 to the element to the right, in two launches with a wait between. */
function rotating(trips: number): TileProgram {
  const index = register('t', 'index');
  const next = (load0: Memory, at: TileExpression): TileExpression =>
    load(load0, {
      kind: 'apply',
      type: { dtype: 'index', lanes: 1 },
      op: 'rem',
      operands: [add(at, 1), number(size, 'index')],
    });
  const shift = (from: string, to: string): TileStep => {
    const input = parameter('in', 'f32', size, 'read');
    const output = parameter('out', 'f32', size, 'write');
    const item = register('item', 'index');
    const code = block();
    code.for('i', 0, size / 8, 1, (i) => {
      const at = code.let('at', add(mul(read(item), size / 8), i));
      code.store(output, at, add(next(input, at), number(1)));
    });
    return launch({ name: `shift_${from}`, parameters: [input, output], grid: 8, item, body: code.statements }, [
      from,
      to,
    ]);
  };
  return planMemory({
    name: 'rotating',
    arena: 0,
    buffers: [buffer('x', 'batch'), buffer('a', 'temporary'), buffer('b', 'temporary'), buffer('y', 'result')],
    steps: [
      map('copy', 'x', 'a', 4, (x) => x),
      { kind: 'repeat', index, trips, reverse: false, body: [shift('a', 'b'), shift('b', 'a')] },
      map('out', 'a', 'y', 1, (x) => x),
    ],
  });
}

afterEach(() => void delete process.env['NACRE_LIBLLVM']);

test('without a libLLVM there is a sentence, and doctor does not throw', async () => {
  process.env['NACRE_LIBLLVM'] = '/nowhere/libLLVM-14.so';
  await expect(openCpuSession({ threads: 1 })).rejects.toThrow(
    /needs LLVM's library, but NACRE_LIBLLVM names \/nowhere\/libLLVM-14.so.*apt install libllvm14/s,
  );
  await expect(openCpuSession({ threads: 1 })).rejects.toBeInstanceOf(DeviceError);
  const description = await describeCpu();
  expect(description.problem).toContain('NACRE_LIBLLVM');
  expect(description.llvm).toBeUndefined();
  expect(description.threads).toBeGreaterThan(0);
});

test('a library that is not LLVM is a sentence too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nacre-llvm-'));
  const path = join(folder, 'libLLVM-14.so');
  process.env['NACRE_LIBLLVM'] = path;
  writeFileSync(path, 'no library');
  expect((await describeCpu()).problem).toContain(`libLLVM at ${path} cannot be loaded`);
  rmSync(folder, { recursive: true });
});

test('capabilities follow the features', () => {
  const host = { architecture: 'x86_64', l1: 49152 } as const;
  expect(capabilitiesOf({ ...host, features: '+avx2,+fma,+avx512f,+avx512bw,+avx512vl' }, 2)).toMatchObject({
    vectorLanes: 16,
    vectorRegisters: 32,
    units: 2,
    nearMemory: 49152,
    cache: 1048576,
    dotsBytes: false,
  });
  const vnni = '+avx512f,+avx512bw,+avx512vl,+avx512vnni,+fma';
  expect(capabilitiesOf({ ...host, features: vnni }, 2)).toMatchObject({ vectorLanes: 16, dotsBytes: true });
  expect(capabilitiesOf({ ...host, features: '+avx2,+fma,-avx512f' }, 2)).toMatchObject({
    vectorLanes: 8,
    vectorRegisters: 16,
  });
  expect(capabilitiesOf({ ...host, features: '+sse4.2,-avx2' }, 2)).toMatchObject({
    vectorLanes: 4,
    vectorRegisters: 16,
  });
  expect(capabilitiesOf({ ...host, architecture: 'aarch64', features: '+neon' }, 2)).toMatchObject({
    vectorLanes: 4,
    vectorRegisters: 32,
  });
});

test('threads wait only where memory is handed over', () => {
  const steps = [
    map('one', 'x', 'a', 4, (x) => x),
    map('two', 'x', 'b', 4, (x) => x),
    map('three', 'a', 'c', 4, (x) => x),
    map('four', 'c', 'd', 1, (x) => x),
    map('five', 'd', 'y', 1, (x) => x),
  ];
  const program: TileProgram = {
    name: 'p',
    arena: 0,
    buffers: ['x', 'a', 'b', 'c', 'd', 'y'].map((name) => buffer(name, 'state')),
    steps,
  };
  expect(steps.map((step) => waits(program).before.has(step))).toEqual([false, false, true, true, false]);
});

test('half-precision constants are rounded to nearest even', () => {
  for (const dtype of ['f16', 'bf16'] as const) {
    for (let bits = 0; bits < 65536; bits++) {
      const value = fromBits(dtype, bits);
      if (!Number.isNaN(value) && halfBits(dtype, value) !== bits) throw new Error(`${dtype} ${value}`);
    }
  }
  expect(
    [1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 65520, 2 ** -25, 3 * 2 ** -25].map((value) =>
      fromBits('f16', halfBits('f16', value)),
    ),
  ).toEqual([1, 1 + 2 ** -9, 65504, Infinity, 0, 2 ** -23]);
});

describe.skipIf(nativeProblem !== undefined)(
  `the native CPU${nativeProblem === undefined ? '' : ` (skipped: ${nativeProblem})`}`,
  () => {
    test.each([
      ['openmp', 2, 1000],
      ['openmp', 3, 100],
      ['pthreads', 2, 100],
      ['pthreads', 3, 100],
      ['one', 1, 100],
    ] as const)('waits hand memory over: %s, %d threads, %d steps', async (threading, threads, steps) => {
      const trips = 2;
      const { session, executable } = await loadNative(rotating(trips), { threads, threading, guard: true });
      const x = Float32Array.from({ length: size }, (_, i) => i * i);
      const want = Float32Array.from({ length: size }, (_, i) => x[(i + 2 * trips) % size] + 2 * trips);
      for (let step = 0; step < steps; step++) {
        const result = await executable.run(new Map([['x', x]]));
        const y = result.get('y');
        if (y === undefined || want.some((value, i) => y[i] !== value)) throw new Error(`step ${step} is wrong`);
      }
      session.close();
      await expect(executable.run(new Map([['x', x]]))).rejects.toThrow('closed');
    });

    test.skipIf(process.platform !== 'linux')('threads that find their CPU taken leave it, and stay free', async () => {
      // More threads than there are CPUs: some always do.
      const threads = availableParallelism() + 1;
      const { session, executable } = await loadNative(rotating(1), { threads, threading: 'openmp' });
      for (let step = 0; step < 20; step++) await executable.run(new Map([['x', new Float32Array(size)]]));
      const allowed = readdirSync('/proc/self/task').map(
        (task) => /^Cpus_allowed:.*$/m.exec(readFileSync(`/proc/self/task/${task}/status`, 'utf8'))?.[0],
      );
      expect(new Set(allowed).size).toBe(1);
      session.close();
    });

    test('programs of a session share params by name; the axis of a repeat reaches its kernels, also in reverse', async () => {
      const session = await openCpuSession({ threads: 2, guard: true });
      const index = register('t', 'index');
      const body = [
        map(
          'last',
          'w',
          'y',
          2,
          (_x, _i, [t]) => ({ kind: 'cast', type: { dtype: 'f32', lanes: 1 }, operand: read(t) }),
          [index],
        ),
      ];
      const bump = await session.load(
        nativeProgram({
          name: 'bump',
          arena: 0,
          buffers: [buffer('w', 'param'), buffer('v', 'state')],
          steps: [map('copy', 'w', 'v', 2, (x) => add(x, number(1)))],
        }),
      );
      const show = await session.load(
        nativeProgram({
          name: 'show',
          arena: 0,
          buffers: [buffer('v', 'state'), buffer('y', 'result')],
          steps: [map('copy', 'v', 'y', 2, (x) => mul(x, number(2)))],
        }),
      );
      const last = await session.load(
        nativeProgram({
          name: 'last',
          arena: 0,
          buffers: [buffer('w', 'param'), buffer('y', 'result')],
          steps: [{ kind: 'repeat', index, trips: 5, reverse: true, body }],
        }),
      );
      session.write('w', new Float32Array(size).fill(20));
      await bump.run(new Map());
      expect((await show.run(new Map())).get('y')).toEqual(new Float32Array(size).fill(42));
      expect((await session.read('v'))[7]).toBe(21);
      expect((await last.run(new Map())).get('y')?.[3]).toBe(0);
      expect([...session.fields.keys()].sort()).toEqual(['v', 'w']);
      expect(() => session.write('w', new Float32Array(3))).toThrow('w needs Float32Array of 256 elements');
      await expect(session.read('nobody')).rejects.toThrow('nobody');
      await expect(
        session.load(
          nativeProgram({
            name: 'other',
            arena: 0,
            buffers: [{ ...buffer('w', 'param'), shape: [2, 128] }],
            steps: [],
          }),
        ),
      ).rejects.toThrow('w is f32[256] in one program and f32[2, 128] in other');
      session.close();
    });

    test('a raised flag is an error of the run, and only of that run', async () => {
      const x = parameter('x', 'f32', size, 'read');
      const y = parameter('y', 'f32', size, 'write');
      const item = register('item', 'index');
      const code = block();
      const v = code.let('v', load(x, mul(read(item), 16), 16));
      code.flag(less(v, number(0)));
      code.store(y, mul(read(item), 16), v);
      const program: TileProgram = {
        name: 'lookup',
        arena: 0,
        buffers: [buffer('x', 'batch'), buffer('y', 'result')],
        steps: [launch({ name: 'check', parameters: [x, y], grid: size / 16, item, body: code.statements })],
      };
      const { session, executable } = await loadNative(program, { threads: 2, guard: true });
      const good = new Float32Array(size).fill(1);
      const bad = good.slice();
      bad[201] = -1;
      await executable.run(new Map([['x', good]]));
      await expect(executable.run(new Map([['x', bad]]))).rejects.toThrow('An index was out of range in lookup');
      await executable.run(new Map([['x', good]]));
      await expect(executable.run(new Map())).rejects.toThrow('lookup needs the input x');
      await expect(executable.run(new Map([['x', new Float32Array(3)]]))).rejects.toThrow(
        'Float32Array of 256 elements',
      );
      session.close();
    });

    test('text that is not LLVM is a DeviceError', async () => {
      const session = await openCpuSession({ threads: 1 });
      await expect(
        session.load({ name: 'broken', llvm: ['define void @step('], buffers: [], arena: 0, scratch: 0 }),
      ).rejects.toThrow('LLVM cannot read the module broken');
      session.close();
    });
  },
);

test.skipIf(findOpenMp() === undefined)('a process whose threads sleep ends as it should', () => {
  const file = (path: string): string => JSON.stringify(new URL(`../../dist/${path}`, import.meta.url).href);
  const script = `
    import { loadKoffi } from ${file('runtime/devices/cpu-library.js')};
    import { openThreads } from ${file('runtime/devices/cpu-threads.js')};
    const koffi = await loadKoffi('cpu');
    const symbol = koffi.load(null).func('void *dlsym(void *library, const char *name)');
    const threads = openThreads(koffi, process.arch === 'x64' ? 'x86_64' : 'aarch64', 2);
    const enter = BigInt(symbol(null, 'sched_yield'));
    for (let count = 0; count < 50; count++) threads.run(enter, 0n);`;
  const ends = Array.from({ length: 8 }, () => {
    const { status, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script]);
    return signal ?? status;
  });
  expect(ends).toEqual(Array(8).fill(0));
});

/**
 * Leaves a hole of one page at the upper end of the address space, and no other above five gigabytes that are taken: constants lie there
 * then, and code, which is longer, far below.
 */
test.skipIf(nativeProblem !== undefined || process.platform !== 'linux')(
  'code and its constants may lie far from each other',
  () => {
    const file = (path: string): string => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);
    const script = `
      import { readFileSync } from 'node:fs';
      import { compile } from ${file('dist/tools/api/index.js')};
      import { loadKoffi } from ${file('dist/runtime/devices/cpu-library.js')};
      const source = readFileSync(new URL(${file('examples/digits.model')}), 'utf8');
      const open = () => compile(source, { target: 'cpu', threads: 1 });
      const near = await open();
      const libc = (await loadKoffi('cpu')).load(null);
      const [page, reserved] = [4096, 0x4022];
      const map = libc.func('intptr_t mmap(intptr_t place, size_t size, int access, int flags, int file, intptr_t at)');
      const unmap = libc.func('int munmap(intptr_t place, size_t size)');
      const take = (size) => BigInt(map(0, size, 0, reserved, -1, 0));
      const top = take(3 * page);
      const wall = take(5 * 2 ** 30);
      for (let size = 2 ** 30; size > page; size /= 2) {
        let place = take(size);
        while (place > wall) place = take(size);
        unmap(place, size);
      }
      unmap(top + BigInt(page), page);
      const far = await open();
      const index = Int32Array.from({ length: 64 }, (_, at) => at);
      const losses = [await near.step({ index }), await far.step({ index })].map(({ loss }) => loss);
      console.log(losses[0] === losses[1]);
      process.exit();`;
    const { stdout, status, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    expect([signal ?? status, stdout]).toEqual([0, 'true\n']);
  },
);
