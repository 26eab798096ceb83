/**
 * How a training run looks on stderr: one line that is redrawn where stderr is a screen, else a plain line at most every ten
 * seconds and at the end of each epoch.
 */
import type { TrainEvent, TrainResult } from '../../runtime/train-options.ts';
import { count, type Terminal } from './terminal.ts';

const redrawEvery = 100;
const plainEvery = 10_000;

export class Progress {
  private readonly terminal: Terminal;
  private readonly now: () => number;
  private start: Extract<TrainEvent, { event: 'start' }> | undefined;
  /** The first step, from which the rate is counted: it alone waits for the compiler. */
  private first: { readonly step: number; readonly at: number } | undefined;
  /** What was last said to be 0. */
  private sparsity: number | undefined;
  private shown = -Infinity;
  private isDrawn = false;

  constructor(terminal: Terminal, now: () => number = () => performance.now()) {
    this.terminal = terminal;
    this.now = now;
  }

  show(event: TrainEvent): void {
    switch (event.event) {
      case 'start': {
        this.start = event;
        this.first = undefined;
        const frozen = event.frozen === 0 ? '' : `, ${group(event.frozen)} frozen`;
        const from = event.resumed ? `, going on after step ${event.step}` : '';
        this.line(
          `${group(event.trained)} parameters${frozen}; ${count(event.samples, 'sample')}, ${count(event.batches, 'batch', 'batches')} an epoch${from}`,
        );
        this.line(`run: ${event.run}`);
        if (event.resumed && event.step >= event.steps)
          this.line(`it has its ${count(event.steps, 'step')} already: say more --steps or --epochs to go on`);
        if (!this.terminal.isInteractive) this.shown = this.now();
        return;
      }
      case 'step': {
        this.first ??= { step: event.step, at: this.now() };
        const due = this.now() - this.shown >= (this.terminal.isInteractive ? redrawEvery : plainEvery);
        if (due) this.step(event);
        return;
      }
      case 'eval': {
        const metrics = Object.entries(event).filter(([key]) => !['event', 'step', 'epoch', 'data'].includes(key));
        this.line(`epoch ${event.epoch}  ${metrics.map(([name, value]) => `${name} ${number(value)}`).join('  ')}`);
        return;
      }
      case 'epoch':
        this.line(`epoch ${event.epoch}  loss ${number(event.loss)}  ${duration(event.seconds)}`);
        return;
      case 'prune': {
        if (event.sparsity === this.sparsity && event.rewind === null) return;
        this.sparsity = event.sparsity;
        const back = event.rewind === null ? '' : `, and the others are what they were after step ${event.rewind}`;
        this.line(`step ${event.step}  ${(100 * event.sparsity).toFixed(1)} % of the pruned weights are 0${back}`);
        return;
      }
      case 'quantize': {
        const { weights, bytes, was } = event;
        // A scale for each column is more than what so small a weight saves.
        const change =
          bytes <= was
            ? `${(was / bytes).toFixed(2)}× smaller`
            : `${(bytes / was).toFixed(2)}× larger: they are so small that their scales take more`;
        this.line(`${count(weights, 'weight')} in few bits: ${group(was)} bytes become ${group(bytes)} (${change})`);
        return;
      }
      case 'save':
        return;
      case 'done':
        this.clear();
        return;
    }
  }

  /** Writes a line of its own, above what is being redrawn. */
  line(text: string): void {
    this.clear();
    this.terminal.err(`${text}\n`);
  }

  /** Takes the redrawn line away. */
  clear(): void {
    if (this.isDrawn) this.terminal.err('\r\u001b[K');
    this.isDrawn = false;
  }

  private step(event: Extract<TrainEvent, { event: 'step' }>): void {
    const { start, first } = this;
    if (start === undefined || first === undefined) return;
    this.shown = this.now();
    const elapsed = (this.now() - first.at) / 1000;
    const rate = (event.step - first.step) / elapsed;
    const place = [`step ${event.step}/${start.steps}`, `loss ${number(event.loss)}`];
    const whole = [`epoch ${event.epoch}/${start.epochs}`, ...place];
    const isMoving = elapsed > 0 && rate > 0;
    const speed = isMoving ? [`${rate.toFixed(rate < 10 ? 1 : 0)} steps/s`] : [];
    const samples = isMoving ? [`${group(Math.round(rate * (start.samples / start.batches)))} samples/s`] : [];
    const left = isMoving ? [`${duration((start.steps - event.step) / rate)} left`] : [];
    const full = [...whole, ...speed, ...samples, ...left];
    if (!this.terminal.isInteractive) {
      this.terminal.err(`${full.join('  ')}\n`);
      return;
    }
    const width = 16;
    const done = Math.round((event.step / start.steps) * width);
    const bar = `${'█'.repeat(done)}${'░'.repeat(Math.max(0, width - done))} `;
    // From the longest to the shortest: the first that fits into the line is shown, and no word is ever cut.
    const lines = [
      bar + full.join('  '),
      full.join('  '),
      ...[[...whole, ...left], whole, place, place.slice(1), []].map((parts) => parts.join('  ')),
    ];
    const fitting = lines.find((line) => line.length < this.terminal.columns) ?? '';
    this.terminal.err(`\r${fitting}\u001b[K`);
    this.isDrawn = true;
  }
}

/** How far a run came: `step 313  loss 0.03147  accuracy 0.9945`. */
export function summary({ steps, loss, metrics }: TrainResult): string {
  const values = [...metrics].map(([metric, value]) => `  ${metric} ${number(value)}`).join('');
  return `step ${steps}${Number.isNaN(loss) ? '' : `  loss ${number(loss)}`}${values}`;
}

const group = (value: number): string => value.toLocaleString('en-US');

export const number = (value: number | string): string =>
  typeof value === 'string' ? value : Number.isFinite(value) ? value.toPrecision(4) : String(value);

/** `45 s`, `3 min 5 s`, `2 h 10 min` */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '? s';
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
