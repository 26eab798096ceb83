/** What a person should know of a block before it runs, and may not have meant. */
import { showPlace } from '../../compiler/base/source.ts';
import type { TrainBlock } from '../../compiler/elaborate/train.ts';
import { concrete } from '../../compiler/types/dim.ts';
import { showCount } from './numbers.ts';

/** What is no part of the run, and where it was decided. */
export function describeCutOff({ cutOff }: TrainBlock): string | undefined {
  if (cutOff.length === 0) return undefined;
  const weights = cutOff.reduce((sum, { slot }) => sum + concrete(slot.type.shape).reduce((a, b) => a * b, 1), 0);
  const names = cutOff.map(({ path }) => path).join(', ');
  return `left out: ${names} (${showCount(weights)} numbers); the branch that reads ${cutOff.length === 1 ? 'it' : 'them'} is not taken (${showPlace(cutOff[0].branch)})`;
}

/** A teacher that nobody taught. */
export function describeUntaught({ roots, parameters, loads }: TrainBlock): string | undefined {
  if (loads.length > 0) return undefined;
  const frozen = [...roots.keys()].filter((root) => {
    const own = parameters.filter(({ path }) => path.startsWith(`${root}.`));
    return own.length > 0 && own.every(({ optimizer }) => optimizer === undefined);
  });
  if (frozen.length === 0) return undefined;
  const [is, its] = frozen.length === 1 ? ['is', 'its'] : ['are', 'their'];
  return `${frozen.join(' and ')} ${is} frozen and nothing is loaded: ${its} weights stay as they are first made`;
}
