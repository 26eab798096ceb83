/**
 * Names and what they stand for, innermost first: locals, members and hyperparameters, the module, the prelude, builtins.
 */
import type { Span } from '../base/source.ts';
import type { Context } from './context.ts';
import type { Slot, Value } from './value.ts';

export type Binding =
  | { readonly kind: 'value'; readonly value: Value }
  /** What `<-` gives a next value: carried values of a scan, states and the parameter of an optimizer. */
  | { readonly kind: 'cell'; value: Value; assigned: boolean }
  /** A parameter or buffer of the instance that is being applied: it enters a graph when it is first read. */
  | { readonly kind: 'slot'; readonly slot: Slot }
  /** A declaration of a module. */
  | { readonly kind: 'global'; readonly read: (context: Context, span: Span) => Value };

export interface Scope {
  readonly outer: Scope | undefined;
  readonly names: Map<string, Binding>;
  /** At which axis of its parameter a size was bound: `scan … over T` walks the same axis of tensors made from it. */
  readonly axes: Map<string, number>;
  /** Where hyperparameters got their values. */
  readonly origins: Map<string, Span>;
}

export const createScope = (outer?: Scope): Scope => ({ outer, names: new Map(), axes: new Map(), origins: new Map() });

export function bind(scope: Scope, name: string, value: Value): void {
  scope.names.set(name, { kind: 'value', value });
}

export function find(scope: Scope, name: string): Binding | undefined {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.outer) {
    const binding = at.names.get(name);
    if (binding !== undefined) return binding;
  }
  return undefined;
}

/** The axis at which a size was bound, if it was. */
export function axisOf(scope: Scope, name: string): number | undefined {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.outer)
    if (at.names.has(name)) return at.axes.get(name);
  return undefined;
}

/** Every name that can be seen from here, for suggestions. */
export function visibleNames(scope: Scope): Set<string> {
  const names = new Set<string>();
  for (let at: Scope | undefined = scope; at !== undefined; at = at.outer)
    for (const name of at.names.keys()) names.add(name);
  return names;
}
