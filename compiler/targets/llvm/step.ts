/**
 * The whole step as one function that every thread runs:
 * void @step(i64 thread, i64 threads, ptr buffers, ptr scratch, ptr sync). Each launch takes a fixed slice of its grid,
 * a grid of one runs on thread 0. Threads wait for each other only where a launch touches memory that an earlier launch
 * of another thread wrote (or would overwrite what it still reads).
 */
import type { TileBuffer, TileKernel, TileProgram, TileStep } from '../../tile/tile.ts';
import type { Register } from '../../tile/tile.ts';
import { dtypeBytes } from '../../types/dtype.ts';
import { emitKernel } from './kernel.ts';
import type { FunctionWriter } from './writer.ts';
import { functionWriter, moduleWriter } from './writer.ts';

/** What the code must know about the machine it will run on; the CPU's features are the JIT's business. */
export interface LlvmHost {
  readonly architecture: 'x86_64' | 'aarch64';
}

export interface LlvmModule {
  readonly text: string;
  /** Bytes of scratch memory one thread needs; a multiple of 64. */
  readonly scratch: number;
}

/** Byte offsets in the memory all threads wait on. */
export const syncLayout = { arrived: 0, generation: 64, flag: 128, bytes: 192 } as const;

export const scratchAlignment = 64;
const rounded = (bytes: number): number => Math.ceil(bytes / scratchAlignment) * scratchAlignment;

/** A Tile program as LLVM text. Temporaries must have their places (`planMemory`) only for barriers to be as few as possible. */
export function emitLlvm(program: TileProgram, host: LlvmHost): LlvmModule {
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
  writer.line(`%flag = getelementptr i8, ptr %sync, i64 ${syncLayout.flag}`);
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
    `; ${program.name}`,
    ...functions,
    step,
    barrier(host),
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

/** A touch of memory since the last wait: by thread 0 alone, or by all. */
interface Touch {
  readonly buffer: string;
  readonly writes: boolean;
  readonly alone: boolean;
}

/**
 * Steps that must wait for the other threads first, and repeats whose body must end with a wait. A repeat is entered
 * and left with nothing pending unless its body never waits and all of it runs on thread 0.
 */
export function waits(program: TileProgram): { readonly before: ReadonlySet<TileStep>; readonly after: ReadonlySet<TileStep> } {
  const before = new Set<TileStep>();
  const after = new Set<TileStep>();
  const buffers = new Map(program.buffers.map((buffer) => [buffer.name, buffer]));
  const overlap = (a: string, b: string): boolean => a === b || overlapping(buffers.get(a), buffers.get(b));
  const walk = (steps: readonly TileStep[], pending: Touch[]): Touch[] => {
    let open = pending;
    for (const step of steps) {
      if (step.kind === 'launch') {
        const touches = touchesOf(step);
        const clash = touches.some((touch) => open.some((earlier) =>
          (touch.writes || earlier.writes) && !(touch.alone && earlier.alone) && overlap(touch.buffer, earlier.buffer)));
        if (clash) {
          before.add(step);
          open = [];
        }
        open = [...open, ...touches];
      } else if (everyLaunch(step.body, (launch) => launch.kernel.grid <= 1)) {
        // Runs on thread 0 from beginning to end: to the others it is one launch.
        const touches = everyTouch(step.body);
        const clash = touches.some((touch) => open.some((earlier) => (touch.writes || earlier.writes) && !earlier.alone && overlap(touch.buffer, earlier.buffer)));
        if (clash) {
          before.add(step);
          open = [];
        }
        open = [...open, ...touches];
      } else {
        if (open.length > 0) before.add(step);
        if (walk(step.body, []).length > 0) after.add(step);
        open = [];
      }
    }
    return open;
  };
  walk(program.steps, []);
  return { before, after };
}

function touchesOf(launch: Extract<TileStep, { kind: 'launch' }>): Touch[] {
  const alone = launch.kernel.grid <= 1;
  return launch.buffers.map((buffer, place) => ({ buffer, alone, writes: launch.kernel.parameters[place]?.access !== 'read' }));
}

const everyLaunch = (steps: readonly TileStep[], holds: (launch: Extract<TileStep, { kind: 'launch' }>) => boolean): boolean =>
  steps.every((step) => (step.kind === 'launch' ? holds(step) : everyLaunch(step.body, holds)));

const everyTouch = (steps: readonly TileStep[]): Touch[] => steps.flatMap((step) => (step.kind === 'launch' ? touchesOf(step) : everyTouch(step.body)));

/** Two temporaries in the same place of the arena; without places, any two. */
function overlapping(a: TileBuffer | undefined, b: TileBuffer | undefined): boolean {
  if (a?.role !== 'temporary' || b?.role !== 'temporary') return false;
  if (a.offset === undefined || b.offset === undefined) return true;
  const bytes = (buffer: TileBuffer): number => buffer.shape.reduce((product, size) => product * size, dtypeBytes[buffer.dtype]);
  return a.offset < b.offset + bytes(b) && b.offset < a.offset + bytes(a);
}

/** All threads arrive before one goes on; spins, then gives the core away so that more threads than cores still move. */
function barrier(host: LlvmHost): string {
  const pause = host.architecture === 'x86_64' ? 'call void @llvm.x86.sse2.pause()' : 'call void @llvm.aarch64.hint(i32 1)';
  const declaration = host.architecture === 'x86_64' ? 'declare void @llvm.x86.sse2.pause()' : 'declare void @llvm.aarch64.hint(i32)';
  return `${declaration}
declare i32 @sched_yield()

define internal void @wait(ptr %sync, i64 %threads) noinline nounwind {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %arrive
arrive:
  %turn = getelementptr i8, ptr %sync, i64 ${syncLayout.generation}
  %now = load atomic i32, ptr %turn acquire, align 4
  %before = atomicrmw add ptr %sync, i32 1 acq_rel
  %all = trunc i64 %threads to i32
  %arrived = add i32 %before, 1
  %last = icmp eq i32 %arrived, %all
  br i1 %last, label %open, label %spin
open:
  store atomic i32 0, ptr %sync monotonic, align 4
  %next = add i32 %now, 1
  store atomic i32 %next, ptr %turn release, align 4
  br label %done
spin:
  %count = phi i32 [ 0, %arrive ], [ %more, %again ]
  %seen = load atomic i32, ptr %turn acquire, align 4
  %moved = icmp ne i32 %seen, %now
  br i1 %moved, label %done, label %rest
rest:
  ${pause}
  %more = add i32 %count, 1
  %long = icmp ugt i32 %count, 256
  br i1 %long, label %yield, label %again
yield:
  %ignored = call i32 @sched_yield()
  br label %again
again:
  br label %spin
done:
  ret void
}`;
}
