/** A device that goes away in the middle of a run: in a folder and in a page the run ends as if nothing had been. */
import { expect, test } from 'vitest';
import { grantFiles } from '../../runtime/files.ts';
import { memoryRuns } from '../../runtime/memory-run.ts';
import { DeviceLost, type Programs } from '../../runtime/program.ts';
import { runFolders } from '../../runtime/run-folder.ts';
import { trainThroughLosses } from '../../runtime/survive.ts';
import type { TrainEvent } from '../../runtime/train-options.ts';
import { fakePrograms, losing, regressionPlan, scratch, writeRegression } from './fake.ts';

const folder = scratch();
writeRegression(folder);
const files = grantFiles({ data: [folder] });
const plan = regressionPlan({ saves: [{ kind: 'every', steps: 5 }, { kind: 'last' }] });

const kept = {
  'in a folder': () => runFolders(scratch()),
  'in memory': () => memoryRuns(),
};

/** Trains where the device of the n-th turn is lost at the n-th of these steps. */
async function survive(runs: ReturnType<(typeof kept)['in memory' | 'in a folder']>, lostAt: readonly number[]) {
  const events: TrainEvent[] = [];
  const told: string[] = [];
  let closed = 0;
  let turn = 0;
  const open = (): Programs => {
    const programs = losing(fakePrograms(), lostAt[turn++]);
    return { ...programs, session: { ...programs.session, close: () => void closed++ } };
  };
  const result = await trainThroughLosses({
    plan,
    programs: open(),
    reopen: async () => open(),
    onLost: (text) => told.push(text),
    files,
    out: '',
    runs,
    onEvent: (event) => void events.push(event),
  });
  const losses = new Map(events.flatMap((event) => (event.event === 'step' ? [[event.step, event.loss]] : [])));
  return { result, losses, told, turn, closed };
}

test.each(Object.entries(kept))('%s', async (_, runs) => {
  const whole = await survive(runs(), []);
  const lost = await survive(runs(), [13, 16, 18]);
  expect(lost.losses).toEqual(whole.losses);
  expect(lost.result.metrics).toEqual(whole.result.metrics);
  expect([lost.turn, lost.closed]).toEqual([4, 4]);
  expect(lost.told).toEqual(
    Array<unknown>(3).fill(expect.stringMatching(/^gone — going on from the last checkpoint of .*line/)),
  );
  // Before there is a checkpoint.
  const early = await survive(runs(), [2]);
  expect(early.told).toEqual(['gone — beginning again']);
  expect(early.losses).toEqual(whole.losses);
});

test('one that is lost again and again is given up, not one that gets further each time', async () => {
  expect((await survive(memoryRuns(), [6, 7, 8, 11, 12, 13, 16, 17])).turn).toBe(9);
  await expect(survive(memoryRuns(), Array<number>(10).fill(3))).rejects.toThrow(DeviceLost);
});
