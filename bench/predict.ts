/**
 * `node dist/bench/predict.js [--threads N] [--data DIR …]`: for the train blocks of every example whose data are there, the time of a
 * step as `nacre plan` predicts it and as a run of a few seconds takes it, the data's loading included.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { UserError } from '../runtime/errors.ts';
import { train } from '../runtime/trainer.ts';
import { analyzeTrain } from '../tools/driver/analysis.ts';
import { asTrained, compactTrain, prunesColumns } from '../tools/driver/compact.ts';
import { createPrograms } from '../tools/driver/programs.ts';
import { openProject, packageRoot } from '../tools/driver/project.ts';
import { openTarget } from '../tools/driver/target.ts';
import { median } from './time.ts';

const { values } = parseArgs({
  options: { threads: { type: 'string', default: '2' }, data: { type: 'string', multiple: true, default: [] } },
});
const threads = Number(values.threads);
/** Enough is so many steps and milliseconds (until then V8 still compiles the loop, on a core that training wants), or as many at most. */
const enough = { steps: 300, ms: 1500, most: 4000 };

/** The median time of a step of a run, in seconds: from the end of one to the end of the next. */
async function measure(file: string, name: string, out: string): Promise<number> {
  const project = await openProject(file, { data: values.data });
  const asked = await project.train(name);
  const open = () => openTarget('cpu', { threads });
  const compacted = prunesColumns(asked) ? await compactTrain(asked, project.files, open) : undefined;
  const { block, plan, data } = compacted?.train ?? asked;
  const target = await open();
  const stop = new AbortController();
  const times: number[] = [];
  let before = performance.now();
  const begun = before;
  try {
    await train({
      plan: { ...plan, evaluations: [], saves: [] },
      programs: createPrograms(block, data, target),
      files: project.files,
      out,
      signal: stop.signal,
      ...(compacted && { weights: compacted.weights }),
      onEvent: ({ event }) => {
        if (event !== 'step') return;
        const now = performance.now();
        times.push(now - before);
        before = now;
        const ms = now - begun;
        if ((times.length >= enough.steps && ms > enough.ms) || ms > enough.most) stop.abort();
      },
    });
  } finally {
    target.session.close();
  }
  return median(times.slice(1)) / 1000;
}

const milliseconds = (seconds: number): string => `${(1000 * seconds).toPrecision(3)} ms`;
const out = mkdtempSync(join(tmpdir(), 'nacre-predict-'));
console.log('| example | predicted | measured | measured / predicted |\n|---|---|---|---|');
try {
  for (const file of readdirSync(join(packageRoot, 'examples')).filter((name) => name.endsWith('.model'))) {
    const path = join(packageRoot, 'examples', file);
    const { trains } = await openProject(path);
    for (const name of trains) {
      try {
        const project = await openProject(path, { data: values.data });
        const runnable = await project.train(name);
        if (runnable.plan.epochs === 0) continue;
        const measured = await measure(path, name, out);
        const predicted = (await analyzeTrain(asTrained(runnable), { threads })).seconds ?? NaN;
        console.log(
          `| ${file} ${name} | ${milliseconds(predicted)} | ${milliseconds(measured)} | ${(measured / predicted).toFixed(2)} |`,
        );
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        console.log(`| ${file} ${name} | – | – | ${error.code} |`);
      }
    }
  }
} finally {
  rmSync(out, { recursive: true });
}
