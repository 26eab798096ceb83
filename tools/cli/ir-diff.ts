/** `nacre ir --diff PASS`: what a pass changed, in operations or in kernels. */
import { compareGraphs, foldDiff } from '../../compiler/graph/compare.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Graph, Node } from '../../compiler/graph/graph.ts';
import { compareKernels, essence, kernelsIn, linesOfKernel } from '../../compiler/loop/compare.ts';
import type { Kernel } from '../../compiler/loop/loop.ts';
import { UserError } from '../../runtime/errors.ts';
import { lower, type Level, type LowerOptions } from '../driver/ir.ts';

/** The steps below Tensor IR. */
export const below: Readonly<Record<string, string>> = {
  fuse: 'Tensor IR to Loop IR: values that need no memory of their own are computed where they are used.',
  schedule: 'Loop IR to Tile IR: loops, vectors and work items for this machine.',
  'plan-memory': 'Gives every temporary its place in the arena.',
  emit: 'Tile IR to LLVM text.',
};

/** What one pass changed, after all that run before it: at the level asked for. */
export async function showDiff(graph: Graph, name: string, level: Level, options: LowerOptions): Promise<string> {
  if (level !== 'tensor' && level !== 'loop')
    throw new UserError(
      'ir-stage',
      `What a pass changed is shown in operations or in kernels, not in ${level}.`,
      'Say --stage tensor or --stage loop.',
    );
  if (name === 'fuse') return showFusion(graph, options);
  let pair: readonly [Graph, Graph] | undefined;
  let doc = '';
  await lower({ level: 'tensor', graph }, 'tensor', {
    ...options,
    after: name,
    observe: (pass, before, after) => {
      if (pass.name === name) [pair, doc] = [[before, after], pass.doc];
    },
  });
  if (pair === undefined)
    throw new UserError('unknown-pass', `The pass ${name} is left out here, so there is nothing to compare.`);
  const [before, after] = pair;
  return [
    `// ${name}: ${doc}`,
    ...(level === 'tensor' ? ofGraphs(before, after) : await ofKernels(pair, options)),
    '',
  ].join('\n');
}

function ofGraphs(before: Graph, after: Graph): readonly string[] {
  const diff = compareGraphs(before, after);
  const counts = `${diff.before} operations before, ${diff.after} after: ${diff.gone} gone, ${diff.added} new, ${diff.changed} changed`;
  return [`// ${counts}`, ...foldDiff(diff)];
}

/** The kernels that are made of each. */
async function ofKernels(graphs: readonly Graph[], options: LowerOptions): Promise<readonly string[]> {
  const [before, after] = await Promise.all(
    graphs.map(async (graph) => {
      const found = await lower({ level: 'tensor', graph }, 'loop', { ...options, raw: true });
      if (found.level !== 'loop') throw new Error('asked for kernels');
      return found.loop;
    }),
  );
  const { same, gone, added } = compareKernels(before, after);
  const counts = `${same + gone.length} kernels before, ${same + added.length} after: ${gone.length} gone, ${added.length} new, ${same} the same`;
  return [`// ${counts}`, ...marked('-', gone), ...marked('+', added)];
}

const marked = (mark: '-' | '+', kernels: readonly Kernel[]): readonly string[] =>
  kernels.flatMap((kernel) => linesOfKernel(kernel).map((line) => `${mark} ${line}`));

/** For each kernel those that its operations would be alone. What two kernels compute is shown with the first. */
async function showFusion(given: Graph, options: LowerOptions): Promise<string> {
  const found = await lower({ level: 'tensor', graph: given }, 'tensor', options);
  if (found.level !== 'tensor') throw new Error('asked for a graph');
  const [apart, fused] = [true, false].map((alone) => fuse(found.graph, { apart: alone }));
  const owner = new Map<Node, string>();
  for (const [name, nodes] of fused.operations) for (const node of nodes()) if (!owner.has(node)) owner.set(node, name);
  const alone = new Map<string, Kernel[]>();
  for (const kernel of kernelsIn(apart.program.steps)) {
    // The last operation is the kernel's own; before it stand views and constants.
    const own = apart.operations.get(kernel.name)?.().at(-1);
    const name = own && owner.get(own);
    if (name !== undefined) alone.set(name, [...(alone.get(name) ?? []), kernel]);
  }
  const lines: string[] = [];
  let same = 0;
  for (const kernel of kernelsIn(fused.program.steps)) {
    const before = alone.get(kernel.name) ?? [];
    if (before.length === 1 && essence(before[0]) === essence(kernel)) same++;
    else lines.push(...marked('-', before), ...marked('+', [kernel]));
  }
  const counts = `${apart.operations.size} kernels if every operation is one, ${fused.operations.size} after: ${same} the same`;
  return [`// fuse: ${below['fuse']}`, `// ${counts}`, ...lines, ''].join('\n');
}
