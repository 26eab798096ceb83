/**
 * The whole step as one exported function that every thread runs: step(thread, threads, buffers, scratch, sync). `buffers` is a list
 * of addresses, in the program's order; `scratch` the thread's own memory; `sync` holds what `wait` counts with and the flag
 * word. Each launch takes a fixed slice of its grid, a grid of one runs on thread 0.
 */
import type { TileBuffer, TileKernel, TileProgram, TileStep } from '../../tile/tile.ts';
import { dtypeBytes } from '../../types/dtype.ts';
import { identifier } from '../structured.ts';
import { waits } from '../waits.ts';
import { call, type Code, type FunctionCode, get, i32, memory, type ModuleCode, plain, set } from './code.ts';
import { emitKernel } from './kernel.ts';
import { type FunctionWriter, functionWriter, moduleWriter } from './writer.ts';

export interface WasmModule {
  readonly code: ModuleCode;
  /** Bytes of scratch memory one thread needs. */
  readonly scratch: number;
}

export interface WasmOptions {
  /** f32x4.relaxed_madd may be used. */
  readonly relaxed: boolean;
}

/** Byte offsets from `sync`; each word has a cache line of its own. */
const layout = { arrived: 0, generation: 64, flag: 128 } as const;
const spins = 2000;

const alignment = 64;
const rounded = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;
const scratchOf = (kernel: TileKernel): number =>
  kernel.scratch.reduce((bytes, { size, dtype }) => bytes + rounded(size * dtypeBytes[dtype]), 0);

export function emitWasm(program: TileProgram, { relaxed }: WasmOptions): WasmModule {
  const module = moduleWriter(relaxed);
  const kernels: FunctionCode[] = [];
  const names = new Map<TileKernel, string>();
  let scratch = 0;
  const functionFor = (kernel: TileKernel): string => {
    const known = names.get(kernel);
    if (known !== undefined) return known;
    const name = `kernel.${identifier(kernel.name)}`;
    names.set(kernel, name);
    kernels.push(emitKernel(module, name, kernel));
    scratch = Math.max(scratch, scratchOf(kernel));
    return name;
  };
  const step = emitStep(program, functionFor);
  const functions = [...module.functions, ...kernels, wait, step];
  return { code: { functions }, scratch };
}

function emitStep(program: TileProgram, functionFor: (kernel: TileKernel) => string): FunctionCode {
  const writer = functionWriter(moduleWriter(false));
  const places = new Map(program.buffers.map((buffer, place) => [buffer.name, { buffer, place }]));
  const plan = waits(program);
  const meet = (): void => writer.push(call('wait', get('sync'), get('threads')));
  const emitSteps = (steps: readonly TileStep[]): void => {
    for (const step of steps) {
      if (plan.before.has(step)) meet();
      if (step.kind === 'launch') {
        emitLaunch(writer, step, functionFor(step.kernel), places);
        continue;
      }
      if (step.trips === 0) continue;
      const counter = writer.local(`${step.index.name}.trip`, 'i32');
      const index = writer.local(step.index.name, 'i32');
      writer.push(set(counter, i32(0)));
      const body = writer.inside(() => {
        writer.push(set(index, step.reverse ? plain('i32.sub', i32(step.trips - 1), get(counter)) : get(counter)));
        emitSteps(step.body);
        if (plan.after.has(step)) meet();
        writer.push(set(counter, plain('i32.add', get(counter), i32(1))));
      });
      writer.push({ kind: 'loop', body, again: plain('i32.lt_s', get(counter), i32(step.trips)) });
    }
  };
  emitSteps(program.steps);
  return {
    name: 'step',
    exported: true,
    parameters: ['thread', 'threads', 'buffers', 'scratch', 'sync'].map((word) => [word, 'i32'] as const),
    locals: writer.locals,
    body: writer.body,
  };
}

function emitLaunch(
  writer: FunctionWriter,
  { kernel, buffers, arguments: given }: Extract<TileStep, { kind: 'launch' }>,
  name: string,
  places: ReadonlyMap<string, { readonly buffer: TileBuffer; readonly place: number }>,
): void {
  if (kernel.grid === 0) return;
  let offset = 0;
  const scratch = kernel.scratch.map(({ size, dtype }) => {
    const at = plain('i32.add', get('scratch'), i32(offset));
    offset += rounded(size * dtypeBytes[dtype]);
    return at;
  });
  const rest = [
    ...given.map((argument) => get(argument.name)),
    ...buffers.map((buffer) => {
      const known = places.get(buffer);
      if (known === undefined) throw new Error(`launch of ${kernel.name}: no buffer ${buffer}`);
      return memory('i32.load', 2, 4 * known.place, get('buffers'));
    }),
    ...scratch,
    plain('i32.add', get('sync'), i32(layout.flag)),
  ];
  const run = (first: Code, last: Code): Code => call(name, first, last, ...rest);
  if (kernel.grid === 1)
    return writer.push({
      kind: 'if',
      condition: plain('i32.eqz', get('thread')),
      then: [run(i32(0), i32(1))],
      else: [],
    });
  const bound = (thread: Code): Code => plain('i32.div_u', plain('i32.mul', thread, i32(kernel.grid)), get('threads'));
  writer.push(run(bound(get('thread')), bound(plain('i32.add', get('thread'), i32(1)))));
}

/** All threads arrive: who comes last opens the next generation; who waits looks for it a while, then sleeps. */
const wait: FunctionCode = (() => {
  const writer = functionWriter(moduleWriter(false));
  const now = writer.local('now', 'i32');
  const round = writer.local('round', 'i32');
  const generation = memory('i32.atomic.load', 2, layout.generation, get('sync'));
  const unchanged = plain('i32.eq', generation, get(now));
  writer.push(set(now, generation));
  const arrived = memory('i32.atomic.rmw.add', 2, layout.arrived, get('sync'), i32(1));
  writer.push({
    kind: 'if',
    condition: plain('i32.eq', plain('i32.add', arrived, i32(1)), get('threads')),
    then: [
      memory('i32.atomic.store', 2, layout.arrived, get('sync'), i32(0)),
      memory('i32.atomic.store', 2, layout.generation, get('sync'), plain('i32.add', get(now), i32(1))),
      plain('drop', memory('memory.atomic.notify', 2, layout.generation, get('sync'), i32(-1))),
    ],
    else: [
      set(round, i32(0)),
      {
        kind: 'loop',
        body: [set(round, plain('i32.add', get(round), i32(1)))],
        again: plain('i32.and', unchanged, plain('i32.lt_s', get(round), i32(spins))),
      },
      {
        kind: 'if',
        condition: unchanged,
        then: [
          {
            kind: 'loop',
            body: [
              plain(
                'drop',
                memory('memory.atomic.wait32', 2, layout.generation, get('sync'), get(now), {
                  kind: 'const64',
                  value: -1n,
                }),
              ),
            ],
            again: unchanged,
          },
        ],
        else: [],
      },
    ],
  });
  return {
    name: 'wait',
    parameters: [
      ['sync', 'i32'],
      ['threads', 'i32'],
    ],
    locals: writer.locals,
    body: writer.body,
  };
})();
