import { createHash } from 'node:crypto';
import { cpSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { evaluateRun } from '../../runtime/evaluate.ts';
import { grantFiles, type Files } from '../../runtime/files.ts';
import { openRun } from '../../runtime/run-folder.ts';
import { readWeightsHeader } from '../../runtime/safetensors.ts';
import { permutation } from '../../runtime/philox.ts';
import { DeviceError, type Programs, type TrainPlan } from '../../runtime/program.ts';
import type { TrainEvent, TrainResult } from '../../runtime/train-options.ts';
import { train } from '../../runtime/trainer.ts';
import { fakePrograms, queueing, regressionPlan, scratch, writeRegression } from './fake.ts';

const folder = scratch();
writeRegression(folder);
const files: Files = grantFiles({ data: [folder] });

interface Ran {
  readonly result: TrainResult;
  readonly events: TrainEvent[];
  readonly hash: string;
}

const stateHash = async (programs: Programs): Promise<string> => {
  const hash = createHash('sha256');
  for (const name of programs.session.fields.keys())
    hash.update(new Uint8Array((await programs.session.read(name)).buffer));
  return hash.digest('hex');
};

interface Change {
  readonly steps?: number;
  readonly epochs?: number;
  readonly resume?: string;
  readonly stopAt?: number;
  readonly out?: string;
}

async function run(
  plan: TrainPlan,
  { stopAt, ...change }: Change = {},
  programs: Programs = fakePrograms(),
): Promise<Ran> {
  const events: TrainEvent[] = [];
  const stop = new AbortController();
  const result = await train({
    plan,
    programs,
    files,
    out: scratch(),
    ...change,
    signal: stop.signal,
    onEvent: (event) => {
      events.push(event);
      if (event.event === 'step' && event.step === stopAt) stop.abort();
    },
  });
  return { result, events, hash: await stateHash(programs) };
}

const losses = ({ events }: Ran): number[] => events.flatMap((event) => (event.event === 'step' ? [event.loss] : []));
const linesOf = (path: string): Record<string, unknown>[] =>
  readFileSync(join(path, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
const withoutTime = (lines: Record<string, unknown>[]): Record<string, unknown>[] =>
  lines.map(({ seconds: _, ...line }) => line);

test('a run trains, measures, saves and tells so in order', async () => {
  const { result, events } = await run(regressionPlan({ epochs: 30 }));
  expect(result).toMatchObject({ status: 'done', steps: 30 * 6 });
  expect(result.metrics.get('error')).toBeLessThan(0.1);
  expect(result.loss).toBeLessThan(0.01);
  expect(events[0]).toMatchObject({
    event: 'start',
    steps: 180,
    epochs: 30,
    batches: 6,
    samples: 43,
    trained: 4,
    frozen: 0,
    resumed: false,
  });
  expect(events.slice(1, 9).map((event) => event.event)).toEqual([
    'step',
    'step',
    'step',
    'step',
    'step',
    'step',
    'eval',
    'save',
  ]);
  expect(events[1]).toMatchObject({ step: 1, epoch: 1, lr: 0.1 });
  const last = events.at(-1);
  expect(last).toMatchObject({ event: 'done', run: result.run, steps: 180, loss: result.loss, status: 'done' });
  expect(JSON.parse(JSON.stringify(last))).toHaveProperty('error');
  expect(readdirSync(result.run).sort()).toEqual([
    'best.safetensors',
    'checkpoints',
    'config.json',
    'metrics.jsonl',
    'report.html',
  ]);
  expect(linesOf(result.run).filter((line) => line.event === 'step')).toHaveLength(180);
});

test('a frozen model beside the trained one is in the checkpoints and in no file of weights, and is measured again', async () => {
  const plan = regressionPlan({ epochs: 2 });
  // What the fake keeps as momentum stands for a teacher here: it is not trained, and no optimizer's.
  const teacher = { name: 'm.weight', dtype: 'f32', shape: [3], trained: false } as const;
  const taught: TrainPlan = {
    ...plan,
    parameters: [...plan.parameters, teacher],
    states: plan.states.filter(({ name }) => name !== teacher.name),
  };
  const { result } = await run(taught);
  const best = openRun(result.run).openWeights('best');
  if (best === undefined) throw new Error('there is a best one');
  expect([...readWeightsHeader(best).tensors.keys()].sort()).toEqual(['bias', 'seen', 'weight']);
  best.close();
  const programs = fakePrograms();
  const { from, metrics } = await evaluateRun({ plan: taught, programs, files, run: result.run });
  expect(from).toContain('best.safetensors');
  expect(metrics.get('error')).toBeGreaterThan(0);
  expect([...(await programs.session.read('m.weight'))].some((value) => value !== 0)).toBe(true);
});

test('the last, smaller batch asks for a program of its size, or is dropped', async () => {
  const programs = fakePrograms();
  await run(regressionPlan({ epochs: 1 }), {}, programs);
  expect(programs.sizes).toEqual(['8 only', '8 only', '8 only', '8 only', '8 only', '3 only']);
  const dropping = fakePrograms();
  const plan = regressionPlan({ epochs: 1 });
  if (plan.data.kind !== 'batch') throw new Error('the plan batches');
  await run({ ...plan, data: { ...plan.data, last: 'drop' } }, {}, dropping);
  expect(dropping.sizes).toHaveLength(5);
});

test('accumulation groups micro-batches and closes the group at the end of the epoch', async () => {
  const programs = fakePrograms();
  const { result } = await run(regressionPlan({ epochs: 1, accumulate: 4 }), {}, programs);
  expect(result.steps).toBe(2);
  expect(programs.sizes).toEqual(['8 accumulate', '8 accumulate', '8 accumulate', '8 last', '8 accumulate', '3 last']);
});

test('bounds: --steps and --epochs override the plan, the nearer one wins', async () => {
  expect((await run(regressionPlan(), { steps: 9 })).result.steps).toBe(9);
  expect((await run(regressionPlan(), { epochs: 2 })).result.steps).toBe(12);
  expect((await run(regressionPlan(), { epochs: 2, steps: 50 })).result.steps).toBe(12);
  expect((await run(regressionPlan({ epochs: 1 }), { steps: 20 })).result.steps).toBe(20);
  await expect(run(regressionPlan(), { steps: 0 })).rejects.toThrow('at least 1');
  await expect(run(regressionPlan({ epochs: undefined }))).rejects.toThrow('never end');
});

for (const accumulate of [1, 4]) {
  test(`a run cut at any step and continued by a new process has the same bits (accumulate ${accumulate})`, async () => {
    const plan = regressionPlan({
      epochs: 4,
      accumulate,
      saves: [
        { kind: 'best', metric: 'error', order: 'min' },
        { kind: 'every', steps: 5 },
      ],
      evaluations: [
        ...regressionPlan().evaluations,
        { ...regressionPlan().evaluations[0], name: 'often', metrics: ['error'], every: 3 },
      ],
    });
    const whole = await run(plan);
    const total = whole.result.steps;
    // Cut points in an order drawn once, so that cuts at ends and middles of epochs are all among them.
    for (const cut of permutation(total - 1, 3, accumulate).subarray(0, 12)) {
      const first = await run(plan, { stopAt: cut + 1 });
      expect(first.result).toMatchObject({ status: 'interrupted', steps: cut + 1 });
      const second = await run(plan, { resume: first.result.run });
      expect(second.hash).toBe(whole.hash);
      expect([...losses(first), ...losses(second)]).toEqual(losses(whole));
      expect(second.events[0]).toMatchObject({ event: 'start', step: cut + 1, resumed: true });
      expect(withoutTime(linesOf(second.result.run))).toEqual(withoutTime(linesOf(whole.result.run)));
      expect(readFileSync(join(second.result.run, 'best.safetensors'))).toEqual(
        readFileSync(join(whole.result.run, 'best.safetensors')),
      );
    }
  });
}

test.each([1, 4])(
  'a device that queues has the next step while results are on their way: the same bits (accumulate %i)',
  async (accumulate) => {
    const often = { ...regressionPlan().evaluations[0], name: 'often', metrics: ['error'], every: 3 };
    const plan = regressionPlan({
      accumulate,
      saves: [{ kind: 'every', steps: 5 }],
      evaluations: [...regressionPlan().evaluations, often],
    });
    const whole = await run(plan);
    const programs = queueing(fakePrograms());
    const queued = await run(plan, {}, programs);
    expect(programs.underway.most).toBeGreaterThan(accumulate);
    expect(programs.underway.disturbed).toEqual([]);
    expect(queued.hash).toBe(whole.hash);
    expect(withoutTime(linesOf(queued.result.run))).toEqual(withoutTime(linesOf(whole.result.run)));
    // A wish to stop is fulfilled after the step that was begun already.
    const cut = await run(plan, { stopAt: 7 }, queueing(fakePrograms()));
    expect([cut.result.status, cut.result.steps]).toEqual(['interrupted', 8]);
    expect((await run(plan, { resume: cut.result.run }, queueing(fakePrograms()))).hash).toBe(whole.hash);
    // And what goes wrong is said of its own step.
    await expect(run(plan, {}, queueing(fakePrograms({ breakAt: { step: 4, loss: NaN } })))).rejects.toMatchObject({
      code: 'diverged',
      message: expect.stringContaining('in step 4'),
    });
  },
);

test('N and N steps are 2N steps, also where the cut is within an epoch', async () => {
  const whole = await run(regressionPlan(), { steps: 20 });
  const half = await run(regressionPlan(), { steps: 10 });
  const rest = await run(regressionPlan(), { steps: 20, resume: half.result.run });
  expect(rest.hash).toBe(whole.hash);
  expect(losses(rest)).toEqual(losses(whole).slice(10));
});

test('a run that is over says so again and can be lengthened', async () => {
  const first = await run(regressionPlan({ epochs: 2 }));
  const again = await run(regressionPlan({ epochs: 2 }), { resume: first.result.run });
  expect(again.result).toMatchObject({ status: 'done', steps: 12, loss: first.result.loss });
  const longer = await run(regressionPlan({ epochs: 3 }), { resume: first.result.run });
  expect(longer.hash).toBe((await run(regressionPlan({ epochs: 3 }))).hash);
});

test('a continuation with another seed, batch or model is refused', async () => {
  const { result } = await run(regressionPlan({ epochs: 1 }));
  await expect(run(regressionPlan({ seed: 1 }), { resume: result.run })).rejects.toMatchObject({
    code: 'resume-differs',
  });
  await expect(run(regressionPlan({ batch: 4 }), { resume: result.run })).rejects.toThrow('another batch');
  const wider = regressionPlan({ epochs: 2 });
  const parameters = wider.parameters.map((field) => (field.name === 'bias' ? { ...field, shape: [2] } : field));
  await expect(run({ ...wider, parameters }, { resume: result.run })).rejects.toThrow(
    'its bias has shape [1], now it is [2]',
  );
  await expect(run(regressionPlan(), { resume: join(scratch(), 'line-1') })).rejects.toMatchObject({
    code: 'run-not-found',
  });
});

test('a loss that is no number stops the run, names the step and saves nothing of it', async () => {
  for (const loss of [NaN, Infinity]) {
    const out = scratch();
    const failing = run(
      regressionPlan({ saves: [{ kind: 'every', steps: 4 }] }),
      { out },
      fakePrograms({ breakAt: { step: 7, loss } }),
    );
    await expect(failing).rejects.toMatchObject({
      code: 'diverged',
      message: expect.stringMatching(/in step 7: its loss is (NaN|Infinity).*bias/),
    });
    const folderOfRun = join(out, 'line-1');
    expect(readdirSync(join(folderOfRun, 'checkpoints'))).toEqual(['000000004.json', '000000004.safetensors']);
    expect(linesOf(folderOfRun).filter((line) => line.event === 'step')).toHaveLength(6);
    expect((await run(regressionPlan(), { resume: folderOfRun })).hash).toBe((await run(regressionPlan())).hash);
  }
});

test('a failing device is reported with its step', async () => {
  const programs = fakePrograms();
  const failing: Programs = {
    ...programs,
    step: async (batch, phase) => {
      const program = await programs.step(batch, phase);
      return {
        ...program,
        run: async (inputs) => {
          if (inputs.get('step')?.[0] === 3) throw new DeviceError('index 12 is out of range');
          return program.run(inputs);
        },
      };
    },
  };
  await expect(run(regressionPlan(), {}, failing)).rejects.toMatchObject({
    code: 'device',
    message: 'In step 3: index 12 is out of range',
  });
});

test('a missing file or a metric that nobody measures leaves no run folder behind', async () => {
  const out = scratch();
  await expect(
    run(regressionPlan({ data: { kind: 'npy', fields: [{ name: 'x', path: 'z.npy' }] } }), { out }),
  ).rejects.toMatchObject({ code: 'file-not-found' });
  await expect(
    run(regressionPlan({ saves: [{ kind: 'best', metric: 'eror', order: 'min' }] }), { out }),
  ).rejects.toMatchObject({ hint: 'Did you mean error?' });
  expect(readdirSync(out)).toEqual([]);
});

test('evaluating a run takes its best weights', async () => {
  const trained = await run(regressionPlan({ epochs: 8 }));
  const { from, metrics } = await evaluateRun({
    plan: regressionPlan(),
    programs: fakePrograms(),
    files,
    run: trained.result.run,
  });
  expect(from).toContain('best.safetensors');
  const measured = trained.events.flatMap((event) => (event.event === 'eval' ? [Number(event.error)] : []));
  expect(metrics.get('error')).toBe(Math.min(...measured));
});

test('saves: every n steps, two checkpoints kept, the last weights, best by training loss', async () => {
  const plan = regressionPlan({
    saves: [{ kind: 'every', steps: 2 }, { kind: 'last' }, { kind: 'best', metric: 'loss', order: 'min' }],
  });
  const { result, events } = await run(plan);
  expect(readdirSync(join(result.run, 'checkpoints'))).toHaveLength(4);
  expect(existsSync(join(result.run, 'last.safetensors'))).toBe(true);
  expect(existsSync(join(result.run, 'best.safetensors'))).toBe(true);
  expect(events.filter((event) => event.event === 'save' && event.file.startsWith('checkpoints/'))).toHaveLength(13);
});

test('weights of one run fill another', async () => {
  const first = await run(regressionPlan());
  const loaded = grantFiles({ data: [folder, first.result.run] });
  const programs = fakePrograms({ rate: 0 });
  const plan = regressionPlan({ epochs: 1, loads: [{ path: 'best.safetensors', rules: [] }] });
  const result = await train({ plan, programs, files: loaded, out: scratch() });
  const { metrics } = await evaluateRun({ plan, programs: fakePrograms(), files, run: first.result.run });
  expect(result.metrics.get('error')).toBe(metrics.get('error'));
});

test('a timer can stop a run whose steps block the thread', async () => {
  const programs = fakePrograms();
  const busy: Programs = {
    ...programs,
    step: async (batch, phase) => {
      const program = await programs.step(batch, phase);
      return {
        ...program,
        run: (inputs) => {
          const until = performance.now() + 2;
          while (performance.now() < until);
          return program.run(inputs);
        },
      };
    },
  };
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 30);
  const result = await train({
    plan: regressionPlan({ epochs: 1000 }),
    programs: busy,
    files,
    out: scratch(),
    signal: stop.signal,
  });
  expect(result.status).toBe('interrupted');
  expect(result.steps).toBeLessThan(500);
});

test('a run that is stopped before its first step can be continued', async () => {
  const stop = new AbortController();
  stop.abort();
  const plan = regressionPlan();
  const first = await train({ plan, programs: fakePrograms(), files, out: scratch(), signal: stop.signal });
  expect(first).toMatchObject({ status: 'interrupted', steps: 0 });
  expect((await run(plan, { resume: first.run })).hash).toBe((await run(plan)).hash);
});

test('another version of the artefact is refused', async () => {
  const plan = { ...regressionPlan(), version: 99 } as unknown as TrainPlan;
  await expect(run(plan)).rejects.toMatchObject({ code: 'program-version' });
});

test('weights that a step has spoiled are never saved, even where its loss looked sound', async () => {
  const out = scratch();
  const plan = regressionPlan({
    saves: [
      { kind: 'every', steps: 4 },
      { kind: 'best', metric: 'loss', order: 'min' },
    ],
  });
  await expect(run(plan, { out }, fakePrograms({ breakAt: { step: 8 } }))).rejects.toMatchObject({
    code: 'diverged',
    message: expect.stringContaining(
      'in step 8: the weights it left cannot be used. These now hold values that are no numbers: bias.',
    ),
  });
  expect(readdirSync(join(out, 'line-1', 'checkpoints'))).toEqual(['000000004.json', '000000004.safetensors']);
});

// Never to be written anew: runs that people have on their disks look like this.
test('a run folder of format version 1 can be continued and evaluated', async () => {
  const old = join(scratch(), 'old');
  cpSync(new URL('golden/run-version-1', import.meta.url), old, { recursive: true });
  const { metrics } = await evaluateRun({ plan: regressionPlan(), programs: fakePrograms(), files, run: old });
  expect(metrics.get('error')).toBe(0.17948638951473583);
  const continued = await run(regressionPlan(), { resume: old });
  expect(continued.hash).toBe((await run(regressionPlan())).hash);
});

test('one process trains a run, and the lock of a process that is gone is none', async () => {
  const { result } = await run(regressionPlan(), { steps: 3 });
  const lock = join(result.run, 'lock');
  expect(existsSync(lock)).toBe(false);
  writeFileSync(lock, `${process.ppid}\n`);
  await expect(run(regressionPlan(), { resume: result.run })).rejects.toMatchObject({
    code: 'run-in-use',
    message: expect.stringContaining(`Process ${process.ppid} is training`),
  });
  for (const gone of ['999999999\n', `${process.pid}\n`, '']) {
    writeFileSync(lock, gone);
    await run(regressionPlan(), { steps: 4, resume: result.run });
    expect(existsSync(lock)).toBe(false);
  }
});

/** The fake run with steps that say they were skipped, as a program that scales its loss does. */
function skipping(skips: (step: number) => number, why?: { text: string; hint: string }): Programs {
  const programs = fakePrograms();
  return {
    ...programs,
    ...(why !== undefined && { explainSkip: () => Promise.resolve(why) }),
    step: async (batch, phase) => {
      const program = await programs.step(batch, phase);
      return {
        ...program,
        run: async (inputs) => {
          const count = skips(inputs.get('step')?.[0] ?? 0);
          const results = new Map(await program.run(inputs));
          if (count > 0) results.set('loss.sum', Float64Array.of(NaN)).set('grad_norm', Float64Array.of(Infinity));
          return results.set('skipped_in_a_row', Float64Array.of(count));
        },
      };
    },
  };
}

test('a step that was skipped is no divergence, and does not spoil the loss of its epoch', async () => {
  const { result, events } = await run(
    regressionPlan(),
    { epochs: 2 },
    skipping((step) => (step === 3 ? 1 : 0)),
  );
  expect(result.status).toBe('done');
  const steps = events.flatMap((event) => (event.event === 'step' ? [event] : []));
  expect(steps.map(({ loss }) => Number.isNaN(loss)).indexOf(true)).toBe(2);
  for (const event of events) if (event.event === 'epoch') expect(event.loss).toBeGreaterThan(0);
});

test('fifty skipped steps in a row are an error that says why', async () => {
  const why = { text: '`model.up` reaches 70,000, and f16 ends at 65,504.', hint: 'Keep it in f32.' };
  await expect(
    run(
      regressionPlan(),
      { epochs: 40 },
      skipping((step) => step, why),
    ),
  ).rejects.toMatchObject({
    code: 'all-skipped',
    message:
      'In step 50: 50 steps in a row were skipped, because their gradients were not finite however the loss was scaled. `model.up` reaches 70,000, and f16 ends at 65,504.',
    hint: 'Keep it in f32.',
  });
});
