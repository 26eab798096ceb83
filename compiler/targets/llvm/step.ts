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
import { waits } from '../waits.ts';
import type { FunctionWriter, Instructions, ModuleWriter } from './writer.ts';
import { common, functionWriter, moduleWriter } from './writer.ts';

/** Where the flag word lies in the memory all threads share; the rest of its 192 bytes belongs to `@wait`. */
const flagOffset = 128;

export interface LlvmModule {
  /** The program as one module, for people and tools. */
  readonly text: string;
  /** The same as modules that can be compiled side by side and linked; the last defines @step. */
  readonly parts: readonly string[];
  /** Bytes of scratch memory one thread needs; a multiple of 64. */
  readonly scratch: number;
}

/** Characters of text from which on a part is full: about 60 ms of LLVM's time. */
const partSize = 128 * 1024;

/** Kernels that are compiled together. */
interface Part {
  readonly module: ModuleWriter;
  readonly functions: string[];
  size: number;
}

const scratchAlignment = 64;
const rounded = (bytes: number): number => Math.ceil(bytes / scratchAlignment) * scratchAlignment;

/** A Tile program as LLVM text. Where temporaries have their places (`planMemory`), threads wait for each other less often. */
export function emitLlvm(program: TileProgram, instructions: Instructions = common): LlvmModule {
  const parts: Part[] = [];
  const names = new Map<string, string>();
  const declarations: string[] = [];
  /** The name of a kernel's function; equal kernels share one. */
  const functionFor = (kernel: TileKernel, buffers: readonly string[]): string => {
    const shared = buffers.map((name, place) =>
      buffers.some((other, otherPlace) => other === name && otherPlace !== place),
    );
    let part = parts.at(-1);
    if (part === undefined || part.size > partSize) {
      part = { module: moduleWriter(instructions), functions: [], size: 0 };
      parts.push(part);
    }
    const { types, definition } = emitKernel(part.module, kernel, shared);
    const known = names.get(definition);
    if (known !== undefined) return known;
    const name = `${identifier(kernel.name)}.${names.size}`;
    names.set(definition, name);
    declarations.push(`declare void @${name}(${types})`);
    part.functions.push(`void @${name}${definition}`);
    part.size += definition.length;
    return name;
  };
  const scratch = Math.max(0, ...launches(program.steps).map((launch) => scratchOf(launch.kernel)));
  const step = emitStep(program, scratch, functionFor);
  const common = ['declare void @wait(ptr, i64)', 'attributes #0 = { nounwind }', ''];
  const header = `; ${identifier(program.name)}`;
  const whole = moduleWriter();
  for (const part of parts) whole.include(part.module);
  const linked = (linkage: string, functions: readonly string[]): string[] =>
    functions.map((text) => `define ${linkage}${text}`);
  const text = [
    header,
    ...parts.flatMap((part) => linked('internal ', part.functions)),
    step,
    whole.text(),
    ...common,
  ].join('\n\n');
  return {
    scratch,
    text,
    parts:
      parts.length < 2
        ? [text]
        : [
            ...parts.map((part) => [header, ...linked('', part.functions), part.module.text(), ...common].join('\n\n')),
            [header, declarations.join('\n'), step, ...common].join('\n\n'),
          ],
  };
}

/** The function that every thread runs. */
function emitStep(
  program: TileProgram,
  scratch: number,
  functionFor: (kernel: TileKernel, buffers: readonly string[]) => string,
): string {
  const writer = functionWriter(moduleWriter());
  const places = new Map(program.buffers.map((buffer, place) => [buffer.name, { buffer, place }]));
  const plan = waits(program);
  writer.line(`%flag = getelementptr i8, ptr %sync, i64 ${flagOffset}`);
  const indices = new Map<Register, string>();
  const emitSteps = (steps: readonly TileStep[]): void => {
    for (const step of steps) {
      if (plan.before.has(step)) writer.line('call void @wait(ptr %sync, i64 %threads)');
      if (step.kind === 'launch')
        emitLaunch(writer, step, functionFor(step.kernel, step.buffers), scratch, places, indices);
      else emitRepeat(writer, step, indices, () => emitSteps(step.body), plan.after.has(step));
    }
  };
  emitSteps(program.steps);
  writer.line('ret void');
  return `define void @step(i64 %thread, i64 %threads, ptr noalias readonly %buffers, ptr noalias %scratch, ptr %sync) #0 {\n${writer.body()}\n}`;
}

const scratchOf = (kernel: TileKernel): number =>
  kernel.scratch.reduce((bytes, memory) => bytes + rounded(memory.size * dtypeBytes[memory.dtype]), 0);

const launches = (steps: readonly TileStep[]): Extract<TileStep, { kind: 'launch' }>[] =>
  steps.flatMap((step) => (step.kind === 'launch' ? [step] : launches(step.body)));

/** Letters, digits and underscores only: names come from the user's file. */
const identifier = (name: string): string => `k_${name.replace(/[^A-Za-z0-9_]+/g, '_')}`;

function emitLaunch(
  writer: FunctionWriter,
  launch: Extract<TileStep, { kind: 'launch' }>,
  name: string,
  scratch: number,
  places: ReadonlyMap<string, { readonly buffer: TileBuffer; readonly place: number }>,
  indices: ReadonlyMap<Register, string>,
): void {
  const { kernel } = launch;
  if (kernel.grid === 0) return;
  const call = (first: string, last: string): void => {
    const values = [`i64 ${first}`, `i64 ${last}`];
    for (const argument of launch.arguments) {
      const index = indices.get(argument);
      if (index === undefined)
        throw new Error(`launch of ${kernel.name}: ${argument.name} is not the axis of a repeat around it`);
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
  const bound = (thread: string): string =>
    writer.define(`udiv i64 ${writer.define(`mul i64 ${thread}, ${kernel.grid}`)}, %threads`);
  const first = bound('%thread');
  call(first, bound(writer.define('add i64 %thread, 1')));
}

function emitRepeat(
  writer: FunctionWriter,
  repeat: Extract<TileStep, { kind: 'repeat' }>,
  indices: Map<Register, string>,
  body: () => void,
  wait: boolean,
): void {
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
