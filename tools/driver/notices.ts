/** What a person should know of a block before it runs, and may not have meant. */
import { totalElements } from '../../common/elements.ts';
import { showPlace } from '../../compiler/base/source.ts';
import { batchesOf } from '../../compiler/elaborate/due.ts';
import type { TrainBlock } from '../../compiler/elaborate/train.ts';
import { concrete } from '../../compiler/types/dim.ts';
import { showCount } from './numbers.ts';
import type { RunnableTrain } from './train-blocks.ts';

/** What is said of a block by `plan` and before a run; one that goes on has calibrated. */
export const noticesOf = (train: RunnableTrain, { goesOn = false } = {}): readonly string[] =>
  [
    describeCutOff(train.block),
    describeUntaught(train.block),
    goesOn ? undefined : describeShortCalibration(train),
  ].filter((line) => line !== undefined);

/** More batches are asked for than there are to look at. */
function describeShortCalibration({ block, data }: RunnableTrain): string | undefined {
  const there = batchesOf(block, data.train.count);
  const wanted = Math.max(0, ...block.quantizes.map(({ calibrate, isAsked }) => (isAsked ? calibrate : 0)));
  if (wanted <= there) return undefined;
  return `calibrate ${wanted} looks at ${there === 1 ? 'the one batch' : `the ${there} batches`} that an epoch has: there are no more`;
}

/** What is no part of the run, and where it was decided. */
export function describeCutOff({ cutOff }: TrainBlock): string | undefined {
  if (cutOff.length === 0) return undefined;
  const weights = totalElements(cutOff.map(({ slot }) => ({ shape: concrete(slot.type.shape) })));
  const names = cutOff.map(({ path }) => path).join(', ');
  return `left out: ${names} (${showCount(weights)} numbers); the branch that reads ${cutOff.length === 1 ? 'it' : 'them'} is not taken (${showPlace(cutOff[0].branch)})`;
}

/** A teacher that nobody taught. */
function describeUntaught({ roots, parameters, loads }: TrainBlock): string | undefined {
  if (loads.length > 0) return undefined;
  const frozen = [...roots.keys()].filter((root) => {
    const own = parameters.filter(({ path }) => path.startsWith(`${root}.`));
    return own.length > 0 && own.every(({ optimizer }) => optimizer === undefined);
  });
  if (frozen.length === 0) return undefined;
  const [is, its] = frozen.length === 1 ? ['is', 'its'] : ['are', 'their'];
  return `${frozen.join(' and ')} ${is} frozen and nothing is loaded: ${its} weights stay as they are first made`;
}
