/** The files of a data plan in a page: fetched from beside it before training, inflated where they are .gz. */
import { UserError } from '../../runtime/errors.ts';
import type { Files } from '../../runtime/files.ts';
import { inflate } from '../../runtime/inflate.ts';
import { memoryFiles } from '../../runtime/memory-files.ts';
import type { DataPlan, TrainPlan } from '../../runtime/program.ts';

function pathsOf(plan: DataPlan): readonly string[] {
  if ('of' in plan) return pathsOf(plan.of);
  if (plan.kind === 'generate') return [];
  return 'fields' in plan ? plan.fields.map(({ path }) => path) : [plan.path];
}

/** The address of a file beside a page: names may hold what means something else there. */
export const addressOf = (path: string): string => path.split('/').map(encodeURIComponent).join('/');

async function fetched(path: string): Promise<Uint8Array> {
  const answer = await fetch(addressOf(path));
  if (!answer.ok || answer.body === null)
    throw new UserError('no-file', `There is no file ${path} beside this page.`, 'Copy it there.');
  return inflate(new Uint8Array(await answer.arrayBuffer()));
}

/** Every file that the plan reads. */
export async function openWebFiles({ data, evaluations, loads }: TrainPlan): Promise<Files> {
  const paths = new Set([
    ...pathsOf(data),
    ...evaluations.flatMap((one) => pathsOf(one.data)),
    ...loads.map(({ path }) => path),
  ]);
  const contents = new Map(await Promise.all([...paths].map(async (path) => [path, await fetched(path)] as const)));
  return memoryFiles(contents, 'beside this page');
}
