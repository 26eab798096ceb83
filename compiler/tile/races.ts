/**
 * What the interpreter knows of a kernel while it runs, and who met whom: work items, and threads between two barriers, must not
 * touch an element that one of them writes.
 */
import type { Memory, Register, TileKernel } from './tile.ts';

/** Of a register: a number, or one for each lane. */
export type Value = number | Float64Array;

/** A memory while its kernel runs. Marks say which work item touched an element: -1 none, -2 several. */
export interface Bound {
  data: Float64Array;
  readers?: Int32Array;
  writers?: Int32Array;
}

/** Threads that touched an element since the last barrier; several readers are -2. */
interface Touch {
  reader: number;
  writer: number;
}

export interface Context {
  readonly kernel: TileKernel;
  readonly state: { flagged: boolean };
  readonly memories: Map<Memory, Bound>;
  /** Those of the thread whose turn it is. */
  registers: Map<Register, Value>;
  item: number;
  thread: number;
  readonly threads: readonly {
    readonly registers: Map<Register, Value>;
    readonly scratch: Map<Memory, Float64Array>;
  }[];
  readonly touched: Map<Float64Array, Map<number, Touch>>;
  /** What was fetched and is not there yet: since the last barrier, between the two before, … */
  readonly underway: (() => void)[][];
}

/** Notes who touched an element and objects where two work items meet at one that is written. */
export function mark(context: Context, bound: Bound, memory: Memory, at: number, writes: boolean): void {
  if (context.threads.length > 1 && memory.space !== 'private') touch(context, bound, memory, at, writes);
  const { readers, writers } = bound;
  if (readers === undefined || writers === undefined) return;
  const { item } = context;
  const writer = writers[at] ?? -1;
  const reader = readers[at] ?? -1;
  if ((writer !== -1 && writer !== item) || (writes && reader !== -1 && reader !== item)) {
    throw new Error(
      `kernel ${context.kernel.name}: work items ${writer !== -1 && writer !== item ? writer : reader} and ${item} meet at ${memory.name}[${at}], which one of them writes`,
    );
  }
  if (writes) writers[at] = item;
  else if (reader === -1) readers[at] = item;
  else if (reader !== item) readers[at] = -2;
}

/** The same for the threads of a workgroup, between two barriers. */
function touch(
  { kernel, item, thread, touched }: Context,
  { data }: Bound,
  memory: Memory,
  at: number,
  writes: boolean,
): void {
  const elements = touched.get(data) ?? new Map<number, Touch>();
  touched.set(data, elements);
  const known = elements.get(at) ?? { reader: -1, writer: -1 };
  elements.set(at, known);
  const other = [known.writer, writes ? known.reader : -1].find((before) => before !== -1 && before !== thread);
  if (other !== undefined)
    throw new Error(
      `kernel ${kernel.name}, item ${item}: threads ${other} and ${thread} meet at ${memory.name}[${at}], which one of them writes, without a barrier between`,
    );
  if (writes) known.writer = thread;
  else known.reader = known.reader === -1 || known.reader === thread ? thread : -2;
}

/** Rounds to the register type; index arithmetic stays whole. */
