/** What a branch names that is not taken: what only such branches name is cut off (cut-off.ts). */
import type { Expression } from '../../grammar/ast.ts';
import { parts } from '../check/walk.ts';
import type { Context } from './context.ts';
import { slotsOf } from './instances.ts';
import { find, type Scope } from './scope.ts';
import type { Slot, Value } from './value.ts';

/** Notes in the context what a branch names that is not taken. */
export function noteCut({ cut }: Context, scope: Scope, branch: Expression): void {
  for (const slot of slotsIn(scope, branch)) if (!cut.has(slot)) cut.set(slot, branch.span);
}

function slotsIn(scope: Scope, expression: Expression): Slot[] {
  const inner = parts(expression).flatMap((part) => slotsIn(scope, part));
  if (expression.kind !== 'identifier') return inner;
  const binding = find(scope, expression.name);
  if (binding?.kind === 'slot') return [binding.slot];
  return binding?.kind === 'value' ? slotsOfValue(binding.value) : [];
}

const slotsOfValue = (value: Value): Slot[] =>
  value.kind === 'instance' ? slotsOf(value) : value.kind === 'list' ? value.elements.flatMap(slotsOfValue) : [];
