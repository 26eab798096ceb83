/** Layers whose activations are computed again though no memory comes of it: what only shows once the arena is planned. */
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildStep } from '../../compiler/elaborate/step.ts';
import { compile } from '../../compiler/pipeline.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import type { TrainAnalysis } from './analysis.ts';
import { diagnosed } from './diagnosed.ts';
import { showBytes } from './numbers.ts';
import type { RunnableTrain } from './train-blocks.ts';

/** `paths` together free nothing: bytes of a step's temporaries with and without computing them again. */
interface IdleCheckpoint {
  readonly paths: readonly string[];
  readonly with: number;
  readonly without: number;
}

/** Each is a compilation; more layers are judged together only. */
const mostJudged = 6;

/** Which of the layers that `checkpoint` names may be left out of it without a larger arena, all of them at once. */
export function idleCheckpoints(
  train: RunnableTrain,
  { batch, main, capabilities }: Pick<TrainAnalysis, 'batch' | 'main' | 'capabilities'>,
  named: readonly string[] = train.block.recompute,
): readonly IdleCheckpoint[] {
  if (named.length === 0 || main.kind !== 'step') return [];
  const arenaWithout = (paths: readonly string[]): number =>
    arenaOf(
      train,
      train.block.recompute.filter((path) => !paths.includes(path)),
      batch,
      capabilities,
    );
  const whole = main.stages.tile.arena;
  const without = arenaWithout(named);
  if (whole >= without) return [{ paths: named, with: whole, without }];
  if (named.length === 1 || named.length > mostJudged) return [];
  const idle: string[] = [];
  let least = whole;
  for (const path of named) {
    const arena = arenaWithout([...idle, path]);
    if (arena > least) continue;
    idle.push(path);
    least = arena;
  }
  return idle.length === 0 ? [] : [{ paths: idle, with: whole, without: least }];
}

function arenaOf(
  { block, data, plan }: RunnableTrain,
  recompute: readonly string[],
  batch: number,
  capabilities: Capabilities,
): number {
  const diagnostics = new Diagnostics();
  const phase = plan.accumulate > 1 ? 'last' : 'only';
  const graph = diagnosed(diagnostics, () => buildStep({ ...block, recompute }, data.train, batch, phase, diagnostics));
  return compile(graph, capabilities).tile.arena;
}

export const describeIdle = ({ paths, with: now, without }: IdleCheckpoint): string =>
  `checkpoint ${paths.join(', ')} frees nothing: the temporaries of a step take ${showBytes(now)}, and ${now === without ? 'no more' : showBytes(without)} without it`;
