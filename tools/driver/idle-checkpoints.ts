/** Layers whose activations are computed again though no memory comes of it: what only shows once the arena is planned. */
import { compile } from '../../compiler/pipeline.ts';
import type { TrainAnalysis } from './analysis.ts';
import { graphOfTrain } from './ir.ts';
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
  { main, capabilities }: Pick<TrainAnalysis, 'main' | 'capabilities'>,
  named: readonly string[] = train.block.recompute,
): readonly IdleCheckpoint[] {
  if (named.length === 0 || main.kind !== 'step') return [];
  const arenaWithout = (paths: readonly string[]): number => {
    const recompute = train.block.recompute.filter((path) => !paths.includes(path));
    const graph = graphOfTrain({ ...train, block: { ...train.block, recompute } }, 'step');
    return compile(graph, capabilities).tile.arena;
  };
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

export const describeIdle = ({ paths, with: now, without }: IdleCheckpoint): string =>
  `checkpoint ${paths.join(', ')} frees nothing: the temporaries of a step take ${showBytes(now)}, and ${now === without ? 'no more' : showBytes(without)} without it`;
