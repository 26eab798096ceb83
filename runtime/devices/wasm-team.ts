/** Threads that run a step together: this one and workers, or, where this one may not wait (a page's own), workers alone. */
import { inBrowser } from '../browser.ts';
import { DeviceError } from '../program.ts';
import { commands, control, dropped, instantiate, syncAddress, type Step, type WorkerStart } from './wasm-control.ts';

export interface Team {
  readonly threads: number;
  /** Hands over a program; its number is what `run` takes. `place`: where there is room for the module meanwhile. */
  load(module: WebAssembly.Module, code: Uint8Array, place: number): Promise<number>;
  run(program: number, buffers: number, scratch: number, each: number): Promise<void>;
  /** Forgets a program. */
  drop(program: number): Promise<void>;
  close(): Promise<void>;
}

/** A page's own thread may not; asking does not wait, for the word is not what is waited on. */
function mayWait(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1);
    return true;
  } catch {
    return false;
  }
}

/** One thread: the memory need not be shared, and nothing is waited for. */
export function aloneTeam(memory: WebAssembly.Memory): Team {
  const steps: Step[] = [];
  return {
    threads: 1,
    load: async (module) => steps.push(instantiate(module, memory)) - 1,
    async run(program, buffers, scratch) {
      steps[program](0, 1, buffers, scratch, syncAddress);
    },
    async drop(program) {
      steps[program] = dropped;
    },
    close: () => Promise.resolve(),
  };
}

interface Started {
  terminate(): unknown;
  /** Never kept, broken where the worker does not start. */
  readonly broken: Promise<never>;
}

function startWebWorker(start: WorkerStart): Started {
  // Bundlers find the script by these words, and by no others.
  const worker = new Worker(new URL('./wasm-worker.js', import.meta.url), { type: 'module' });
  const broken = new Promise<never>((_, reject) => {
    worker.onerror = () => reject(new DeviceError('A thread of the wasm target could not be started.'));
  });
  worker.postMessage(start);
  return { terminate: () => worker.terminate(), broken };
}

/** The script as it lies beside this file, or in dist/ where this runs from the sources. */
function nodeScript(): URL {
  const here = import.meta.url;
  return here.endsWith('.ts')
    ? new URL('../../dist/runtime/devices/wasm-worker.js', here)
    : new URL('./wasm-worker.js', here);
}

function startNodeWorker(start: WorkerStart): Started {
  // Not imported: bundlers of pages would look for it.
  const threads = process.getBuiltinModule('node:worker_threads');
  const worker = new threads.Worker(nodeScript(), { workerData: start });
  worker.unref();
  const broken = new Promise<never>((_, reject) => {
    worker.on('error', ({ message }) => reject(new DeviceError(`A thread of the wasm target stopped: ${message}.`)));
  });
  return { terminate: () => worker.terminate(), broken };
}

function startWorker(start: WorkerStart): Started {
  const started = inBrowser ? startWebWorker(start) : startNodeWorker(start);
  started.broken.catch(() => {});
  return started;
}

/** `memory` must be shared. */
export async function startTeam(memory: WebAssembly.Memory, threads: number): Promise<Team> {
  const takesPart = mayWait();
  const steps: Step[] = [];
  const numbers = Array.from({ length: threads }, (_, thread) => thread).slice(takesPart ? 1 : 0);
  const workers = numbers.map((thread) => startWorker({ memory, thread }));
  const broken = workers.map((worker) => worker.broken);
  const words = (): Int32Array => new Int32Array(memory.buffer);
  const tell = (command: number, ...operands: readonly number[]): void => {
    const view = words();
    view[control.command] = command;
    view.set(operands, control.operands);
    Atomics.store(view, control.done, 0);
    Atomics.store(view, control.failed, 0);
    Atomics.add(view, control.turn, 1);
    Atomics.notify(view, control.turn);
  };
  const everyone = async (): Promise<void> => {
    const view = words();
    for (let done = Atomics.load(view, control.done); done < workers.length; done = Atomics.load(view, control.done)) {
      if (takesPart) Atomics.wait(view, control.done, done);
      else await Promise.race([Atomics.waitAsync(view, control.done, done).value, ...broken]);
    }
    if (Atomics.load(view, control.failed) > 0) throw new DeviceError('A thread of the wasm target failed.');
  };
  /** A worker that is still starting finds the first command waiting for it; until then this thread must not block it. */
  let begun = false;
  const patiently = async (): Promise<void> => {
    while (!begun && Atomics.load(words(), control.done) < workers.length)
      await Promise.race([new Promise((resolve) => setTimeout(resolve, 1)), ...broken]);
    begun = true;
    await everyone();
  };
  return {
    threads,
    async load(module, code, place) {
      new Uint8Array(memory.buffer).set(code, place);
      tell(commands.load, place, code.length);
      steps.push(takesPart ? instantiate(module, memory) : dropped);
      await patiently();
      return steps.length - 1;
    },
    async run(program, buffers, scratch, each) {
      tell(commands.run, program, threads, buffers, scratch, each);
      if (takesPart) steps[program](0, threads, buffers, scratch, syncAddress);
      await everyone();
    },
    async drop(program) {
      tell(commands.drop, program);
      steps[program] = dropped;
      await everyone();
    },
    async close() {
      tell(commands.quit);
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
