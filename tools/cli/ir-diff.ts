/** `nacre ir --diff PASS`: what a pass changed, in operations or in kernels. */
import { compareGraphs, foldDiff, type GraphDiff } from '../../compiler/graph/compare.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Graph, Node } from '../../compiler/graph/graph.ts';
import { compareKernels, essence, kernelsIn, linesOfKernel } from '../../compiler/loop/compare.ts';
import type { Kernel } from '../../compiler/loop/loop.ts';
import { UserError } from '../../runtime/errors.ts';
import { lower, steps, type Level, type LowerOptions } from '../driver/ir.ts';

/** What became of which kernels. */
interface Replaced {
  readonly gone: readonly Kernel[];
  readonly added: readonly Kernel[];
}

export interface PassDiff {
  readonly pass: string;
  readonly doc: string;
  readonly changes:
    | { readonly of: 'operations'; readonly diff: GraphDiff }
    | {
        readonly of: 'kernels';
        readonly before: number;
        readonly after: number;
        readonly same: number;
        readonly replaced: readonly Replaced[];
      };
}

/** What one pass changed, after all that run before it: at the level asked for. */
export async function diffOf(graph: Graph, name: string, level: Level, options: LowerOptions): Promise<PassDiff> {
  if (level !== 'tensor' && level !== 'loop')
    throw new UserError(
      'ir-stage',
      `What a pass changed is shown in operations or in kernels, not in ${level}.`,
      'Say --stage tensor or --stage loop.',
    );
  if (name === 'fuse') return { pass: name, doc: steps.fuse, changes: await fusionOf(graph, options) };
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
  const changes: PassDiff['changes'] =
    level === 'tensor'
      ? { of: 'operations', diff: compareGraphs(before, after) }
      : await kernelsOfBoth(before, after, options);
  return { pass: name, doc, changes };
}

/** The kernels that are made of each. */
async function kernelsOfBoth(before: Graph, after: Graph, options: LowerOptions): Promise<PassDiff['changes']> {
  const [old, now] = await Promise.all(
    [before, after].map(async (graph) => {
      const found = await lower({ level: 'tensor', graph }, 'loop', { ...options, raw: true });
      if (found.level !== 'loop') throw new Error('asked for kernels');
      return found.loop;
    }),
  );
  const { same, gone, added } = compareKernels(old, now);
  const counts = { before: same + gone.length, after: same + added.length, same };
  const replaced = gone.length + added.length === 0 ? [] : [{ gone, added }];
  return { of: 'kernels', ...counts, replaced };
}

/** For each kernel those that its operations would be alone. What two kernels compute is shown with the first. */
async function fusionOf(given: Graph, options: LowerOptions): Promise<PassDiff['changes']> {
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
  const pairs = kernelsIn(fused.program.steps).map((kernel) => ({
    gone: alone.get(kernel.name) ?? [],
    added: [kernel],
  }));
  const replaced = pairs.filter(({ gone, added }) => gone.length !== 1 || essence(gone[0]) !== essence(added[0]));
  const counts = { before: apart.operations.size, after: fused.operations.size, same: pairs.length - replaced.length };
  return { of: 'kernels', ...counts, replaced };
}

/** For a reader: what differs, and a line that counts. */
export function textOfDiff({ pass, doc, changes }: PassDiff): string {
  const lines = changes.of === 'operations' ? foldDiff(changes.diff) : changes.replaced.flatMap(linesOf);
  return [`// ${pass}: ${doc}`, `// ${countsOf(pass, changes)}`, ...lines, ''].join('\n');
}

function countsOf(pass: string, changes: PassDiff['changes']): string {
  if (changes.of === 'operations') {
    const { before, after, gone, added, changed } = changes.diff;
    return `${before} operations before, ${after} after: ${gone} gone, ${added} new, ${changed} changed`;
  }
  const { before, after, same } = changes;
  return pass === 'fuse'
    ? `${before} kernels if every operation is one, ${after} after: ${same} the same`
    : `${before} kernels before, ${after} after: ${before - same} gone, ${after - same} new, ${same} the same`;
}

const linesOf = ({ gone, added }: Replaced): readonly string[] => [...marked('-', gone), ...marked('+', added)];

const marked = (mark: '-' | '+', kernels: readonly Kernel[]): readonly string[] =>
  kernels.flatMap((kernel) => linesOfKernel(kernel).map((line) => `${mark} ${line}`));

/** For a program: the same, with every line of a graph, those that stay too. */
export function jsonOfDiff({ pass, doc, changes }: PassDiff): unknown {
  if (changes.of === 'operations') {
    const { before, after, gone, added, changed, lines } = changes.diff;
    return { pass, doc, operations: { before, after, gone, new: added, changed }, lines };
  }
  const { before, after, same, replaced } = changes;
  const plain = (kernel: Kernel): unknown => ({ kernel: kernel.name, text: linesOfKernel(kernel).join('\n') });
  return {
    pass,
    doc,
    kernels: { before, after, same },
    replaced: replaced.map(({ gone, added }) => ({ gone: gone.map(plain), new: added.map(plain) })),
  };
}
