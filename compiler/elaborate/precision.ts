/** `precision = …` of a train block, resolved to what the pass insert-casts is asked for. */
import type { TrainPrecision } from '../../grammar/ast.ts';
import { diagnose, Problem } from '../base/diagnostics.ts';
import type { Precision } from '../graph/graph.ts';
import { select } from './selectors.ts';
import { slotPath, type Slot } from './value.ts';

const halves = ['bf16', 'f16'] as const;
const isHalf = (name: string): name is (typeof halves)[number] => halves.some((half) => half === name);

/** Undefined for plain f32. An exception is for the instances that own what its selectors mean. */
export function resolvePrecision(entry: TrainPrecision, slots: readonly Slot[]): Precision | undefined {
  const chosen = entry.except.flatMap((selector) => select(selector, slots));
  const except = [...new Set(chosen.map((slot) => slotPath(slot).split('.').slice(0, -1).join('.')))];
  const { mixed, dtype, storing } = entry;
  if (mixed && isHalf(dtype.name)) return { products: dtype.name, storage: dtype.name, except };
  // A way of rounding, not a type: nothing is kept in it.
  if (mixed && dtype.name === 'tf32') return { products: 'tf32', storage: 'f32', except };
  if (!mixed && dtype.name === 'f32') {
    if (storing === undefined) return undefined;
    if (isHalf(storing.name)) return { products: 'f32', storage: storing.name, except };
  }
  const found = mixed
    ? `mixed(${dtype.name})`
    : storing === undefined
      ? dtype.name
      : `${dtype.name} storing ${storing.name}`;
  const wanted = '`f32`, `mixed(bf16)`, `mixed(f16)`, `mixed(tf32)`, `f32 storing bf16` or `f32 storing f16`';
  const hint = !mixed && (isHalf(dtype.name) || dtype.name === 'tf32') ? { hint: hintFor(dtype.name) } : {};
  throw new Problem(
    diagnose(
      'bad-setting',
      { name: 'precision', wanted, found: `\`${found}\`` },
      [{ span: (storing ?? dtype).span, text: '' }],
      hint,
    ),
  );
}

/** Weights and updates of f16 alone lose what is small, however the loss is scaled. */
const hintFor = (dtype: string): string =>
  dtype === 'f16'
    ? 'Did you mean `mixed(f16)`? It keeps weights in f32 and scales the loss; in f16 alone small gradients would be 0.'
    : `Did you mean \`mixed(${dtype})\`?`;
