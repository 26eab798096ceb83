/** The entry of a built trainer in a page: trains as the program says, and shows the loss as it falls. */
import { builtPrograms, type OpenBuilt, readTrainer } from '../../runtime/artefact.ts';
import { drawChart, escapeHtml, shortNumber, type Point } from '../../runtime/chart.ts';
import { UserError } from '../../runtime/errors.ts';
import { memoryRuns } from '../../runtime/memory-run.ts';
import { DeviceError, type Programs } from '../../runtime/program.ts';
import type { TrainEvent } from '../../runtime/train-options.ts';
import { trainThroughLosses } from '../../runtime/survive.ts';
import { openWebFiles } from './web-files.ts';

const at = (id: string): HTMLElement => {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
};

const redrawEvery = 200;
/** Points of the curve at most: more than a screen has places for. */
const mostPoints = 1000;

/** Every second one, until few enough are left. */
const thinned = (points: readonly Point[]): readonly Point[] =>
  points.length <= mostPoints ? points : thinned(points.filter((_, place) => place % 2 === 0));

/** A mean that forgets: the curve behind the noise of single batches. */
function smoothed(points: readonly Point[]): readonly Point[] {
  let mean = points[0]?.y ?? 0;
  return points.map(({ x, y }) => ({ x, y: (mean += 0.05 * (y - mean)) }));
}

function show(losses: readonly Point[], measured: ReadonlyMap<string, readonly Point[]>): void {
  const charts = [
    drawChart({
      title: 'Loss',
      xLabel: 'step',
      lines: [
        { label: 'each step', style: 'raw', points: thinned(losses) },
        { label: 'smoothed', style: 'main', points: thinned(smoothed(losses)) },
      ],
    }),
    ...[...measured].map(([metric, points]) =>
      drawChart({ title: metric, xLabel: 'step', lines: [{ label: metric, style: 'other', points }] }),
    ),
  ];
  at('charts').innerHTML = charts.join('');
}

const say = (text: string): void => void (at('state').textContent = text);

async function read(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await fetch(name);
  if (!answer.ok) throw new UserError('no-file', `There is no file ${name} beside this page.`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function run(openBuilt: OpenBuilt): Promise<void> {
  const trainer = readTrainer(await read('trainer.json'));
  const files = await openWebFiles(trainer.plan);
  const runs = memoryRuns();
  let losses: Point[] = [];
  const measured = new Map<string, Point[]>();
  let steps = Infinity;
  let drawn = 0;
  const begun = performance.now();
  const stop = new AbortController();
  at('stop').addEventListener('click', () => stop.abort());
  const onEvent = (event: TrainEvent): void => {
    if (event.event === 'start') {
      steps = event.steps;
      // After a loss of the device it goes on from an earlier step.
      losses = losses.filter(({ x }) => x <= event.step);
    }
    if (event.event === 'step') {
      losses.push({ x: event.step, y: event.loss });
      const rate = event.step / ((performance.now() - begun) / 1000);
      if (performance.now() - drawn < redrawEvery) return;
      say(`step ${event.step} of ${steps} · loss ${shortNumber(event.loss)} · ${shortNumber(rate)} steps/s`);
    }
    if (event.event === 'eval')
      for (const [metric, value] of Object.entries(event)) {
        if (typeof value !== 'number' || metric === 'step' || metric === 'epoch') continue;
        measured.set(metric, [...(measured.get(metric) ?? []), { x: event.step, y: value }]);
        document.body.dataset[metric] = String(value);
      }
    if (event.event === 'step' || event.event === 'eval') {
      show(losses, measured);
      drawn = performance.now();
    }
  };
  const open = async (): Promise<Programs> =>
    builtPrograms(trainer, await openBuilt(navigator.hardwareConcurrency), read);
  const result = await trainThroughLosses({
    plan: trainer.plan,
    programs: await open(),
    reopen: open,
    onLost: say,
    files,
    out: '',
    runs,
    signal: stop.signal,
    onEvent,
  });
  show(losses, measured);
  const values = [...result.metrics].map(([metric, value]) => ` · ${metric} ${shortNumber(value)}`).join('');
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  say(
    `${result.status === 'done' ? 'done' : 'stopped'}: step ${result.steps} · loss ${shortNumber(result.loss)}${values} · ${seconds} s on ${trainer.target}`,
  );
  const links = [...(runs.newest()?.saved ?? [])].map(([name, pieces]) => {
    const url = URL.createObjectURL(new Blob(pieces.map((piece) => piece.slice())));
    return `<a href="${url}" download="${escapeHtml(name)}">${escapeHtml(name)}</a>`;
  });
  at('weights').innerHTML = links.length === 0 ? '' : `Weights: ${links.join(', ')}`;
  document.body.dataset.status = result.status;
}

/** Called by the page's script, with the device of its target. */
export function start(openBuilt: OpenBuilt): void {
  at('start').addEventListener('click', () => {
    at('start').hidden = true;
    at('stop').hidden = false;
    say('getting ready …');
    run(openBuilt)
      .catch((error: unknown) => {
        const known = error instanceof UserError || error instanceof DeviceError;
        say(known ? error.message : `Nacre made a mistake of its own: ${String(error)}`);
        document.body.dataset.status = 'failed';
      })
      .finally(() => (at('stop').hidden = true));
  });
}
