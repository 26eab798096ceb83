/** The worker's side of wasm-team.ts: does what the words of the shared memory say, until it is told to quit. */
import { inBrowser } from '../browser.ts';
import { commands, control, dropped, instantiate, syncAddress, type Step, type WorkerStart } from './wasm-control.ts';

function work({ memory, thread }: WorkerStart): void {
  const steps: Step[] = [];
  let turn = 0;
  for (;;) {
    // The memory may have grown since the last command: views of it are made anew.
    let words = new Int32Array(memory.buffer);
    while (Atomics.load(words, control.turn) === turn) Atomics.wait(words, control.turn, turn);
    turn = Atomics.load(words, control.turn);
    words = new Int32Array(memory.buffer);
    // Places behind the first 2 GiB are no negative numbers.
    const [first, second, buffers, scratch, each] = new Uint32Array(memory.buffer, 4 * control.operands, 5);
    const command = words[control.command];
    try {
      // load: address and length of a module. run: which program, on how many threads, its list of buffers, where scratch
      // begins and how much of it each thread has. drop: which program.
      if (command === commands.load)
        steps.push(instantiate(new WebAssembly.Module(new Uint8Array(memory.buffer, first, second).slice()), memory));
      if (command === commands.run) steps[first](thread, second, buffers, scratch + thread * each, syncAddress);
      if (command === commands.drop) steps[first] = dropped;
    } catch {
      Atomics.add(words, control.failed, 1);
    }
    Atomics.add(words, control.done, 1);
    Atomics.notify(words, control.done);
    if (command === commands.quit) return;
  }
}

if (inBrowser) {
  addEventListener('message', ({ data }: { readonly data?: WorkerStart }) => data !== undefined && work(data), {
    once: true,
  });
} else {
  // Not imported: bundlers of pages would look for it.
  work(process.getBuiltinModule('node:worker_threads').workerData as WorkerStart);
}
