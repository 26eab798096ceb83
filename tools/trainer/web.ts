/** The entry of a built trainer in a page: trains as the program says, and shows the loss as it falls. */
import { builtPrograms, type OpenBuilt, readTrainer } from '../../runtime/artefact.ts';
import { drawChart, escapeHtml, shortNumber, type Point } from '../../runtime/chart.ts';
import { UserError } from '../../runtime/errors.ts';
import { type MemoryRun, type MemoryRuns, memoryRuns } from '../../runtime/memory-run.ts';
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

/** What a page keeps from one press of its button to the next: Train goes on from where Stop left it. */
interface Kept {
  readonly runs: MemoryRuns;
  readonly losses: Point[];
  readonly measured: Map<string, Point[]>;
}

/** What was drawn from there on is drawn anew: after a loss of the device training goes on from an earlier step. */
function add(points: Point[], point: Point): void {
  while (points.length > 0 && points[points.length - 1].x >= point.x) points.pop();
  points.push(point);
}

async function run(openBuilt: OpenBuilt, { runs, losses, measured }: Kept): Promise<void> {
  const stop = new AbortController();
  at('stop').onclick = () => stop.abort();
  const trainer = readTrainer(await read('trainer.json'));
  const files = await openWebFiles(trainer.plan);
  let steps = Infinity;
  let seconds = 0;
  let drawn = 0;
  const onEvent = (event: TrainEvent): void => {
    if (event.event === 'start') steps = event.steps;
    if (event.event === 'step' || event.event === 'epoch') seconds = event.seconds;
    if (event.event === 'step') {
      add(losses, { x: event.step, y: event.loss });
      if (performance.now() - drawn < redrawEvery) return;
      const rate = shortNumber(event.step / Math.max(seconds, 0.001));
      say(`step ${event.step} of ${steps} · loss ${shortNumber(event.loss)} · ${rate} steps/s`);
      show(losses, measured);
      drawn = performance.now();
    }
    if (event.event === 'eval')
      for (const [metric, value] of Object.entries(event)) {
        if (typeof value !== 'number' || metric === 'step' || metric === 'epoch') continue;
        const points = measured.get(metric) ?? [];
        measured.set(metric, points);
        add(points, { x: event.step, y: value });
        document.body.dataset[metric] = String(value);
      }
  };
  const open = async (): Promise<Programs> =>
    builtPrograms(trainer, await openBuilt(navigator.hardwareConcurrency), read);
  const before = runs.newest();
  const result = await trainThroughLosses({
    plan: trainer.plan,
    programs: await open(),
    reopen: open,
    onLost: say,
    files,
    out: '',
    runs,
    ...(before?.newestCheckpoint() !== undefined && { resume: before.path }),
    signal: stop.signal,
    onEvent,
  });
  show(losses, measured);
  const values = [...result.metrics].map(([metric, value]) => ` · ${metric} ${shortNumber(value)}`).join('');
  say(
    `${result.status === 'done' ? 'done' : 'stopped'}: step ${result.steps} · loss ${shortNumber(result.loss)}${values} · ${seconds.toFixed(1)} s on ${trainer.target}`,
  );
  document.body.dataset.status = result.status;
}

/** Links to what `save` lines name, and to the last checkpoint. */
function offerWeights(run: MemoryRun | undefined): void {
  const checkpoint = run?.newestCheckpoint();
  if (run === undefined || checkpoint === undefined) return;
  const file = checkpoint.open();
  const offered = new Map(run.saved).set(`checkpoint-${checkpoint.progress.step}.safetensors`, [
    file.read(0, file.size),
  ]);
  for (const { href } of at('weights').querySelectorAll('a')) URL.revokeObjectURL(href);
  const links = [...offered].map(([name, pieces]) => {
    const url = URL.createObjectURL(new Blob(pieces.map((piece) => piece.slice())));
    return `<a href="${url}" download="${escapeHtml(name)}">${escapeHtml(name)}</a>`;
  });
  at('weights').innerHTML = `Weights: ${links.join(', ')}`;
}

/** Called by the page's script, with the device of its target. */
export function start(openBuilt: OpenBuilt): void {
  const kept: Kept = { runs: memoryRuns(), losses: [], measured: new Map() };
  at('start').addEventListener('click', () => {
    // A script can click what is hidden.
    if (at('start').hidden) return;
    at('start').hidden = true;
    at('stop').hidden = false;
    delete document.body.dataset.status;
    say('getting ready …');
    run(openBuilt, kept)
      .catch((error: unknown) => {
        const known = error instanceof UserError || error instanceof DeviceError;
        say(known ? error.message : `Nacre made a mistake of its own: ${String(error)}`);
        document.body.dataset.status = 'failed';
      })
      .finally(() => {
        offerWeights(kept.runs.newest());
        at('stop').hidden = true;
        at('start').hidden = document.body.dataset.status === 'done';
      });
  });
}
