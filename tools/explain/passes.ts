/** What the passes over Tensor IR did to the step, one line each, and what the file asked them for. */
import { elementCount } from '../../common/elements.ts';
import type { Graph, Node } from '../../compiler/graph/graph.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import { policy, ruleOf } from '../../compiler/optimize/precision-policy.ts';
import { concrete } from '../../compiler/types/dim.ts';
import { dtypeBytes } from '../../compiler/types/dtype.ts';
import { showBytes, showCount } from '../driver/numbers.ts';
import { escapeHtml, table } from './html.ts';

export function renderPasses(graph: Graph): string {
  const rows: string[][] = [];
  let casts: Graph | undefined;
  optimize(graph, {
    observe(pass, before, after, milliseconds) {
      if (pass.name === 'insert-casts' && graph.precision !== undefined) casts = after;
      const [from, to] = [before.nodes.length, after.nodes.length];
      const change = from === to ? '' : `${to > from ? '+' : '−'}${showCount(Math.abs(to - from))}`;
      rows.push([
        `<code>${escapeHtml(pass.name)}</code>`,
        escapeHtml(pass.doc).replace(/`([^`]*)`/g, '<code>$1</code>'),
        showCount(to),
        change,
        milliseconds.toFixed(1),
      ]);
    },
  });
  const list = table(['pass', 'what it does', 'operations after it', 'change', 'ms'], rows);
  return `<p>From ${showCount(graph.nodes.length)} operations as they were written, with their gradients, in this order. <code>nacre ir --diff PASS</code> shows what one of them changed.</p>${list}${casts === undefined ? '' : renderCasts(casts)}`;
}

type Readers = ReadonlyMap<Node['outputs'][number], readonly Node[]>;

/** Is it multiplied, as it is or moved? */
const feedsProduct = (value: Node['outputs'][number], readers: Readers): boolean =>
  readers
    .get(value)
    ?.some(
      ({ op, outputs }) =>
        op === 'contract' ||
        ((op === 'cast' || op === 'view' || op === 'reshape') && feedsProduct(outputs[0], readers)),
    ) === true;

const productRule = policy.find(({ treatment }) => treatment === 'low');

/** Every rounding, to a type of two bytes or to TF32: whose value, for whom, and the bytes it saves. */
function renderCasts(graph: Graph): string {
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((value) => [value, node] as const)));
  const readers = new Map<Node['outputs'][number], Node[]>();
  for (const node of graph.nodes)
    for (const value of node.inputs) readers.set(value, [...(readers.get(value) ?? []), node]);
  const inputs = new Map(graph.inputs.map(({ name, value }) => [value, name]));
  const found = graph.nodes.flatMap((node) => {
    const [value] = node.outputs;
    const isHalved = node.op === 'cast' && dtypeBytes[value.type.dtype] === 2 && node.inputs[0].type.dtype === 'f32';
    if (!isHalved && node.op !== 'tf32') return [];
    const [source] = node.inputs;
    const made = producers.get(source);
    const isProduct = feedsProduct(value, readers);
    return [
      {
        layer: made?.origin.path ?? node.origin.path ?? '',
        what: inputs.get(source) ?? made?.op ?? '',
        type: `${isHalved ? value.type.dtype : 'tf32'}[${concrete(value.type.shape).join(', ')}]`,
        as: isProduct ? 'operand of a product' : 'kept in memory',
        rule: isProduct ? productRule : made === undefined ? undefined : ruleOf(made),
        saved: (isHalved ? 2 : 0) * elementCount(concrete(value.type.shape)),
      },
    ];
  });
  const saved = found.reduce((sum, cast) => sum + cast.saved, 0);
  const rows = found.map(({ layer, what, type, as, rule, saved: bytes }) => [
    escapeHtml(layer),
    `<code>${escapeHtml(what)}</code>`,
    `<code>${escapeHtml(type)}</code>`,
    as,
    rule === undefined ? 'what the run is given' : `${escapeHtml(rule.what)} <small>${escapeHtml(rule.why)}</small>`,
    showBytes(bytes),
  ]);
  return `<p>${showCount(found.length)} tensors are rounded, ${showBytes(saved)} smaller together; sums, norms, softmax, losses and optimizer states stay f32.</p><details><summary>The casts <small>${showCount(found.length)}</small></summary>${table(['layer', 'value', 'becomes', 'as', 'by the rule for', 'bytes less'], rows)}</details>`;
}
