/** Which layer a kernel belongs to, for people: the instance most of it came from. */
import type { Kernel } from '../loop/loop.ts';
import type { Cost } from './cost.ts';

/**
 * The path of an instance; `optimizer` for what only updates weights, otherwise '' where no instance is behind it (the loss,
 * the data).
 */
export function layerOf({ origins, segments }: Kernel, { writes }: Cost): string {
  const paths = origins.flatMap(({ path }) => (path === undefined ? [] : [path]));
  const weights = [...writes.keys()].some(({ role }) => role === 'param' || role === 'state');
  if (paths.length === 0) return weights ? 'optimizer' : '';
  const counts = new Map<string, number>();
  for (const path of paths) counts.set(path, (counts.get(path) ?? 0) + 1);
  const most = [...counts].sort((a, b) => b[1] - a[1] || b[0].length - a[0].length)[0][0];
  // One kernel that updates weights of many layers is of none of them.
  return weights && segments.length > 1 && counts.size > 1 ? 'optimizer' : most;
}
