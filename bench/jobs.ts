/** The training jobs of bench/jobs: one optimizer step on random data of the job's shape. */
import { join } from 'node:path';
import { elementCount } from '../common/elements.ts';
import type { Field } from '../runtime/program.ts';
import { chooseInputs, scalarsOf } from '../runtime/step.ts';
import { createPrograms } from '../tools/driver/programs.ts';
import { openProject, packageRoot, type RunnableTrain } from '../tools/driver/project.ts';
import { openTarget } from '../tools/driver/target.ts';
import type { TargetName } from '../tools/driver/targets/index.ts';
import type { Measurement } from './measure.ts';
import { timeQueue, timeRuns } from './time.ts';

interface Job {
  readonly train: string;
  /** Of bench/jobs; the job's name where it is absent. */
  readonly file?: string;
  /** Fields of one sample, and how many values each may take (none: floats in 0..1). */
  readonly fields: readonly (Field & { readonly classes?: number })[];
  /** Instances whose activations are computed again. */
  readonly recompute?: readonly string[];
}

const tokens = (length: number, classes: number): Job['fields'] => [
  { name: 'input', dtype: 'i32', shape: [length], classes },
  { name: 'target', dtype: 'i32', shape: [length], classes },
];

export const jobs: Readonly<Record<string, Job>> = {
  mlp: {
    train: 'mlp',
    fields: [
      { name: 'input', dtype: 'f32', shape: [784] },
      { name: 'target', dtype: 'i32', shape: [], classes: 10 },
    ],
  },
  'mlp-wide': {
    train: 'mlp_wide',
    fields: [
      { name: 'input', dtype: 'f32', shape: [784] },
      { name: 'target', dtype: 'i32', shape: [], classes: 10 },
    ],
  },
  gpt: { train: 'gpt', fields: tokens(128, 65) },
  'gpt-small': { train: 'gpt_small', fields: tokens(64, 256) },
  gpt2: { train: 'gpt2', file: 'gpt', fields: tokens(1024, 50304) },
  'gpt-checkpoint': {
    train: 'gpt',
    file: 'gpt',
    fields: tokens(128, 65),
    recompute: [0, 1, 2, 3].map((block) => `model.blocks.${block}`),
  },
  resnet: {
    train: 'resnet',
    fields: [
      { name: 'input', dtype: 'f32', shape: [3, 32, 32] },
      { name: 'target', dtype: 'i32', shape: [], classes: 10 },
    ],
  },
  bilstm: {
    train: 'bilstm',
    fields: [
      { name: 'input', dtype: 'i32', shape: [64], classes: 10_000 },
      { name: 'target', dtype: 'i32', shape: [], classes: 2 },
    ],
  },
};

export const jobFile = (name: string): string => join(packageRoot, 'bench', 'jobs', `${name}.model`);

/** The job as `nacre train` would open it, on data that is not looked at. */
export async function openJob(name: string): Promise<RunnableTrain> {
  const job = jobs[name];
  const project = await openProject(jobFile(job.file ?? name), {
    describe: () => ({ count: 100_000, fields: job.fields }),
  });
  const train = await project.train(job.train);
  return { ...train, block: { ...train.block, recompute: job.recompute ?? train.block.recompute } };
}

/** `without`: passes of the compiler that are left out. */
export async function measureJob(
  name: string,
  threads: number,
  { without = [], target: on = 'cpu' }: { readonly without?: readonly string[]; readonly target?: TargetName } = {},
): Promise<Measurement> {
  const { block, plan, data } = await openJob(name);
  const target = await openTarget(on, { threads, without });
  const programs = createPrograms(block, data, target);
  const init = await programs.init();
  await init.run(chooseInputs(init, new Map(), scalarsOf(0, 0, 0, 0)));
  const program = await programs.step(plan.batch, 'only');
  const fields = new Map(
    jobs[name].fields.map(({ name: field, shape, classes }) => {
      const count = plan.batch * elementCount(shape);
      const values = Array.from({ length: count }, (_, at) => (at * 0.6180339887498949) % 1);
      return [
        field,
        classes === undefined
          ? Float32Array.from(values)
          : Int32Array.from(values, (value) => Math.floor(value * classes)),
      ];
    }),
  );
  let step = 0;
  const run = () => program.run(chooseInputs(program, fields, scalarsOf(0, ++step, 0, 0)));
  await run();
  // Since the process began: loading modules is on the user's clock too.
  const first = process.uptime();
  const ms = await timeRuns(run);
  const queued = target.session.queues === true ? { queued_ms: await timeQueue(run) } : {};
  target.session.close();
  return { ms, first_step_s: first, ...queued };
}
