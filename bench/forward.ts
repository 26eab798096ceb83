/**
 * `node dist/bench/forward.js FILE NAME THREADS DATA [whole]`: milliseconds of one batch of the evaluation of a train block, as it is
 * trained — what structured pruning removed is gone — or, with `whole`, as it is written.
 */
import { openData } from '../runtime/data/dataset.ts';
import { chooseInputs, scalarsOf } from '../runtime/step.ts';
import { asTrained } from '../tools/driver/compact.ts';
import { createPrograms } from '../tools/driver/programs.ts';
import { openProject } from '../tools/driver/project.ts';
import { openTarget } from '../tools/driver/target.ts';
import { timeRuns } from './time.ts';

const [file, name, threads, folder, whole] = process.argv.slice(2);
const project = await openProject(file, { data: [folder] });
const written = await project.train(name);
const { block, plan, data } = whole === 'whole' ? written : asTrained(written);
const target = await openTarget('cpu', { threads: Number(threads) });
const programs = createPrograms(block, data, target);
const scalars = scalarsOf(0, 1, 0, 0);
const init = await programs.init();
await init.run(chooseInputs(init, new Map(), scalars));
const [evaluation] = plan.evaluations;
const dataset = await openData(evaluation.data, project.files, { batch: evaluation.batch });
for await (const { size, fields } of dataset.batches(0)) {
  const program = await programs.evaluate(evaluation.name, size);
  const ms = await timeRuns(() => program.run(chooseInputs(program, fields, scalars)));
  console.log(JSON.stringify({ batch: size, ms }));
  break;
}
await dataset.close();
target.session.close();
