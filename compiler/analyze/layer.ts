/** Which layer a kernel belongs to, for people: the instance most of it came from. */
import type { Buffer, Kernel } from '../loop/loop.ts';
import { costOf } from './cost.ts';

/**
 * The path of an instance; `optimizer` for what only updates weights, otherwise '' where no instance is behind it (the loss,
 * the data).
 */
export function layerOf({ origins, segments }: Kernel): string {
  const updates = segments.map((segment) => [...costOf([segment]).writes.keys()].some(isUpdated));
  const paths = origins.flatMap(({ path }) => (path === undefined ? [] : [path]));
  if (paths.length === 0) return updates.includes(true) ? 'optimizer' : '';
  const counts = new Map<string, number>();
  for (const path of paths) counts.set(path, (counts.get(path) ?? 0) + 1);
  const most = [...counts].sort((a, b) => b[1] - a[1] || b[0].length - a[0].length)[0][0];
  // One kernel that updates weights of many layers, and does nothing else, is of none of them.
  return updates.every((one) => one) && segments.length > 1 && counts.size > 1 ? 'optimizer' : most;
}

/** A weight, or what the optimizer keeps for one; not what layers keep, such as the ranges of what they multiply. */
const isUpdated = ({ role, name }: Buffer): boolean =>
  role === 'param' || (role === 'state' && name.startsWith('optimizer.'));
