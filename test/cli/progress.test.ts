import { describe, expect, it } from 'vitest';
import { duration, Progress } from '../../tools/cli/progress.ts';

function record(
  isInteractive: boolean,
  columns = 200,
): {
  progress: Progress;
  written: string[];
  pass: (milliseconds: number) => void;
} {
  const written: string[] = [];
  let time = 0;
  const terminal = {
    out: () => undefined,
    err: (text: string) => void written.push(text),
    isInteractive,
    color: false,
    columns,
  };
  return { progress: new Progress(terminal, () => time), written, pass: (milliseconds) => void (time += milliseconds) };
}

const start = {
  event: 'start',
  run: 'runs/a-1',
  step: 0,
  steps: 100,
  epochs: 2,
  batches: 50,
  samples: 500,
  trained: 1234,
  frozen: 5,
  resumed: false,
} as const;
const step = (number: number) => ({ event: 'step', step: number, epoch: 1, loss: 0.5, seconds: 0 }) as const;

describe('progress', () => {
  it('is a plain line at most every ten seconds where nobody watches', () => {
    const { progress, written, pass } = record(false);
    progress.show(start);
    expect(written.splice(0)).toEqual([
      '1,234 parameters, 5 frozen; 500 samples, 50 batches an epoch\n',
      'run: runs/a-1\n',
    ]);
    pass(2000);
    for (let at = 1; at <= 41; at++) {
      progress.show(step(at));
      pass(500);
    }
    expect(written.splice(0)).toEqual([
      'epoch 1/2  step 17/100  loss 0.5000  2.0 steps/s  20 samples/s  42 s left\n',
      'epoch 1/2  step 37/100  loss 0.5000  2.0 steps/s  20 samples/s  32 s left\n',
    ]);
    progress.show({ event: 'eval', step: 50, epoch: 1, data: 'eval', accuracy: 0.25 });
    progress.show({ event: 'epoch', step: 50, epoch: 1, loss: 0.75, seconds: 65 });
    expect(written).toEqual(['epoch 1  accuracy 0.2500\n', 'epoch 1  loss 0.7500  1 min 5 s\n']);
  });

  it('says where a run that goes on has nothing left to do', () => {
    const { progress, written } = record(false);
    progress.show({ ...start, step: 20, steps: 10, resumed: true });
    expect(written.at(-1)).toBe('it has its 10 steps already: say more --steps or --epochs to go on\n');
  });

  it('says what quantized weights take, and where that is more', () => {
    const { progress, written } = record(false);
    progress.show({ event: 'quantize', step: 0, weights: 4, was: 860_736, bytes: 215_944 });
    progress.show({ event: 'quantize', step: 0, weights: 1, was: 24, bytes: 30 });
    expect(written).toEqual([
      '4 weights in few bits: 860,736 bytes become 215,944 (3.99× smaller)\n',
      '1 weight in few bits: 24 bytes become 30 (1.25× larger: they are so small that their scales take more)\n',
    ]);
  });

  it('is one line that is redrawn on a screen, and taken away for other lines', () => {
    const { progress, written, pass } = record(true);
    progress.show(start);
    written.length = 0;
    progress.show(step(1));
    pass(1000);
    progress.show(step(51));
    progress.show(step(52));
    progress.line('other');
    expect(written).toEqual([
      '\r░░░░░░░░░░░░░░░░ epoch 1/2  step 1/100  loss 0.5000\u001b[K',
      '\r████████░░░░░░░░ epoch 1/2  step 51/100  loss 0.5000  50 steps/s  500 samples/s  1 s left\u001b[K',
      '\r\u001b[K',
      'other\n',
    ]);
  });

  it('fits into the line without cutting a word', () => {
    for (let columns = 1; columns < 120; columns++) {
      const { progress, written, pass } = record(true, columns);
      progress.show(start);
      progress.show(step(1));
      pass(1000);
      progress.show(step(51));
      const [line = ''] = written.slice(-1).map((text) => text.replace(/[\r█░]|\u001b\[K/g, '').trim());
      expect(line.length).toBeLessThan(columns);
      expect('epoch 1/2  step 51/100  loss 0.5000  50 steps/s  500 samples/s  1 s left').toContain(
        line.split('  ').at(-1),
      );
      if (columns > 60) expect(line).toMatch(/^epoch 1\/2 {2}.* 1 s left$/);
    }
  });

  it('writes times as people say them', () => {
    expect([0.4, 59, 61, 3600, 8000, Infinity].map(duration)).toEqual([
      '0 s',
      '59 s',
      '1 min 1 s',
      '1 h 0 min',
      '2 h 13 min',
      '? s',
    ]);
  });
});
