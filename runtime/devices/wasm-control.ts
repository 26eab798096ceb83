/**
 * What the threads of the wasm target tell each other, in words of the memory they share: what to do next, how many have done it.
 * A thread that waits cannot be sent messages, so programs are handed over in that memory too.
 */

/** Places of words (4 bytes), each on a cache line of its own, from the beginning of the memory. */
export const control = {
  /** Goes up by one with every command. */
  turn: 256,
  /** Which: see `commands`. */
  command: 272,
  /** What the command is about: see `wasm-worker.ts`. */
  operands: 288,
  /** Threads that have done it, and how many of them failed. */
  done: 304,
  failed: 320,
} as const;

export const commands = { load: 1, run: 2, drop: 3, quit: 4 } as const;

/** Bytes that belong to the threads' arrangements: the words above, and what a step's `wait` counts with. */
export const reserved = 4096;
/** Where a step's `wait` and its flag word are. */
export const syncAddress = 2048;
export const flagWord = (syncAddress + 128) / 4;

/** What a worker is started with. */
export interface WorkerStart {
  readonly memory: WebAssembly.Memory;
  readonly thread: number;
}

/** What a program's module exports. */
export type Step = (thread: number, threads: number, buffers: number, scratch: number, sync: number) => void;

/** In the place of a program that is not here, so that the others keep their numbers. */
export const dropped: Step = () => {};

export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Step {
  const { step } = new WebAssembly.Instance(module, { nacre: { memory } }).exports;
  if (typeof step !== 'function') throw new Error('the module exports no step');
  return step as Step;
}
