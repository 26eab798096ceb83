// Saves one checkpoint after the other until it is killed; says each step once it is saved. Run by crash.test.ts.
import { reopenRun } from '../../dist/runtime/run-folder.js';

const run = reopenRun(process.argv[2]);
let step = run.newestCheckpoint()?.progress.step ?? 0;
for (;;) {
  step++;
  const field = { name: 'w', dtype: 'f32', shape: [1 << 16] };
  const progress = {
    step,
    epoch: 0,
    batch: step,
    last: 1,
    loss: { sum: 0, count: 0 },
    measured: [],
    best: [],
    seconds: 0,
  };
  run.saveCheckpoint(progress, [{ field, data: new Float32Array(1 << 16).fill(step) }], []);
  process.stdout.write(`${step}\n`);
}
