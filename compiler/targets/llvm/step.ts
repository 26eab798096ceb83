/**
 * The whole step as one function that every thread runs:
 * void @step(i64 thread, i64 threads, ptr buffers, ptr scratch, ptr sync). Each launch takes a fixed slice of its grid,
 * a grid of one runs on thread 0. Threads wait for each other only where a launch touches memory that an earlier launch
 * of another thread wrote (or would overwrite what it still reads), by calling @wait(ptr sync, i64 threads), which the
 * runtime provides.
 */
import type { Register, TileBuffer, TileKernel, TileProgram, TileStep } from '../../tile/tile.ts';
import { dtypeBytes } from '../../types/dtype.ts';
import { emitKernel } from './kernel.ts';
import { waits } from './waits.ts';
import type { FunctionWriter } from './writer.ts';
import { functionWriter, moduleWriter } from './writer.ts';

/** Where the flag word lies in the memory all threads share; the rest of its 192 bytes belongs to `@wait`. */
const flagOffset = 128;

export interface LlvmModule {
  readonly text: string;
  /** Bytes of scratch memory one thread needs; a multiple of 64. */
  readonly scratch: number;
}

const scratchAlignment = 64;
const rounded = (bytes: number): number => Math.ceil(bytes / scratchAlignment) * scratchAlignment;

/** A Tile program as LLVM text. Where temporaries have their places (`planMemory`), threads wait for each other less often. */
export function emitLlvm(program: TileProgram): LlvmModule {
  const module = moduleWriter();
  const kernels = new Map<string, string>();
  const functions: string[] = [];
  const scratch = Math.max(0, ...launches(program.steps).map((launch) => scratchOf(launch.kernel)));
  const functionFor = (kernel: TileKernel, buffers: readonly string[]): string => {
    const shared = buffers.map((name, place) => buffers.some((other, otherPlace) => other === name && otherPlace !== place));
    const text = emitKernel(module, kernel, shared);
    const known = kernels.get(text);
    if (known !== undefined) return known;
    const name = `${identifier(kernel.name)}.${kernels.size}`;
    kernels.set(text, name);
    functions.push(`define internal void @${name}${text}`);
    return name;
  };
  const writer = functionWriter(module);
  const places = new Map(program.buffers.map((buffer, place) => [buffer.name, { buffer, place }]));
  const plan = waits(program);
  writer.line(`%flag = getelementptr i8, ptr %sync, i64 ${flagOffset}`);
  const indices = new Map<Register, string>();
  const emitSteps = (steps: readonly TileStep[]): void => {
    for (const step of steps) {
      if (plan.before.has(step)) writer.line('call void @wait(ptr %sync, i64 %threads)');
      if (step.kind === 'launch') emitLaunch(writer, step, functionFor(step.kernel, step.buffers), scratch, places, indices);
      else emitRepeat(writer, step, indices, () => emitSteps(step.body), plan.after.has(step));
    }
  };
  emitSteps(program.steps);
  writer.line('ret void');
  const step = `define void @step(i64 %thread, i64 %threads, ptr noalias readonly %buffers, ptr noalias %scratch, ptr %sync) #0 {\n${writer.body()}\n}`;
  const text = [
    `; ${identifier(program.name)}`,
    ...functions,
    step,
    'declare void @wait(ptr, i64)',
    module.text(),
    'attributes #0 = { nounwind }',
    '',
  ].join('\n\n');
  return { text, scratch };
}

const scratchOf = (kernel: TileKernel): number =>
  kernel.scratch.reduce((bytes, memory) => bytes + rounded(memory.size * dtypeBytes[memory.dtype]), 0);

const launches = (steps: readonly TileStep[]): Extract<TileStep, { kind: 'launch' }>[] =>
  steps.flatMap((step) => (step.kind === 'launch' ? [step] : launches(step.body)));

/** Letters, digits and underscores only: names come from the user's file. */
const identifier = (name: string): string => `k_${name.replace(/[^A-Za-z0-9_]+/g, '_')}`;

function emitLaunch(
  writer: FunctionWriter, launch: Extract<TileStep, { kind: 'launch' }>, name: string, scratch: number,
  places: ReadonlyMap<string, { readonly buffer: TileBuffer; readonly place: number }>, indices: ReadonlyMap<Register, string>,
): void {
  const { kernel } = launch;
  if (kernel.grid === 0) return;
  const call = (first: string, last: string): void => {
    const values = [`i64 ${first}`, `i64 ${last}`];
    for (const argument of launch.arguments) {
      const index = indices.get(argument);
      if (index === undefined) throw new Error(`launch of ${kernel.name}: ${argument.name} is not the axis of a repeat around it`);
      values.push(`i64 ${index}`);
    }
    for (const buffer of launch.buffers) {
      const known = places.get(buffer);
      if (known === undefined) throw new Error(`launch of ${kernel.name}: no buffer ${buffer}`);
      const slot = writer.define(`getelementptr ptr, ptr %buffers, i64 ${known.place}`);
      values.push(`ptr ${writer.define(`load ptr, ptr ${slot}, align 8`)}`);
    }
    let offset = 0;
    for (const memory of kernel.scratch) {
      const thread = writer.define(`mul i64 %thread, ${scratch}`);
      const at = writer.define(`add i64 ${thread}, ${offset}`);
      values.push(`ptr ${writer.define(`getelementptr i8, ptr %scratch, i64 ${at}`)}`);
      offset += rounded(memory.size * dtypeBytes[memory.dtype]);
    }
    writer.line(`call void @${name}(${[...values, 'ptr %flag'].join(', ')})`);
  };
  if (kernel.grid === 1) {
    const run = writer.label('run');
    const on = writer.label('on');
    writer.line(`br i1 ${writer.define('icmp eq i64 %thread, 0')}, label %${run}, label %${on}`);
    writer.begin(run);
    call('0', '1');
    writer.line(`br label %${on}`);
    writer.begin(on);
    return;
  }
  const bound = (thread: string): string => writer.define(`udiv i64 ${writer.define(`mul i64 ${thread}, ${kernel.grid}`)}, %threads`);
  const first = bound('%thread');
  call(first, bound(writer.define('add i64 %thread, 1')));
}

function emitRepeat(writer: FunctionWriter, repeat: Extract<TileStep, { kind: 'repeat' }>, indices: Map<Register, string>, body: () => void, wait: boolean): void {
  if (repeat.trips === 0) return;
  const round = writer.label('repeat');
  const latch = writer.label('latch');
  const done = writer.label('done');
  const before = writer.current();
  writer.line(`br label %${round}`);
  writer.begin(round);
  const counter = `%i.${round}`;
  writer.line(`${counter} = phi i64 [ 0, %${before} ], [ %n.${round}, %${latch} ]`);
  indices.set(repeat.index, repeat.reverse ? writer.define(`sub i64 ${repeat.trips - 1}, ${counter}`) : counter);
  body();
  if (wait) writer.line('call void @wait(ptr %sync, i64 %threads)');
  writer.line(`br label %${latch}`);
  writer.begin(latch);
  writer.line(`%n.${round} = add nuw i64 ${counter}, 1`);
  writer.line(`br i1 ${writer.define(`icmp ult i64 %n.${round}, ${repeat.trips}`)}, label %${round}, label %${done}`);
  writer.begin(done);
}
