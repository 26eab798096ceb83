/** `--set`: what the command line says instead of a train block. */
import type { TrainDeclaration, TrainSetting } from '../../grammar/ast.ts';
import type { Span } from '../base/source.ts';
import { int, type Value } from './value.ts';

/** Settings that are numbers; an override may give one that the block leaves out. */
export const numberSettings: readonly string[] = ['epochs', 'steps', 'seed', 'eval_every'];

/** Overrides from the command line: `--set model.hidden=256` gives the hyperparameter `hidden` of `model` a value. */
export interface Override {
  readonly path: readonly string[];
  readonly value: Value;
}

/** `model.hidden=256` replaces or adds an argument of the braces that make `model`; `epochs=3` replaces the whole value. */
export function applyOverrides(entry: TrainSetting, overrides: readonly Override[]): TrainSetting {
  let { value } = entry;
  for (const { path, value: given } of overrides) {
    if (path[0] !== entry.name.name) continue;
    const literal = literalOf(given, entry.value.span);
    if (path.length === 1) value = literal;
    else if (path.length === 2 && value.kind === 'make') {
      const name = { kind: 'identifier', name: path[1], span: value.span } as const;
      const argument = { name, value: literal, span: value.span };
      const others = value.arguments.filter((existing) => existing.name?.name !== path[1]);
      value = { ...value, arguments: [...others, argument] };
    }
  }
  return { ...entry, value };
}

/** The settings that overrides give and the block does not. */
export function added(declaration: TrainDeclaration, overrides: readonly Override[]): TrainSetting[] {
  const { span } = declaration.name;
  const written = declaration.entries.flatMap((entry) => (entry.kind === 'setting' ? [entry.name.name] : []));
  const names = new Set(
    overrides.flatMap(({ path }) => (path.length === 1 && numberSettings.includes(path[0]) ? path : [])),
  );
  return [...names]
    .filter((name) => !written.includes(name))
    .map((name) => ({
      kind: 'setting',
      name: { kind: 'identifier', name, span },
      value: literalOf(int(0), span),
      groups: [],
      span,
    }));
}

function literalOf(value: Value, span: Span): TrainSetting['value'] {
  switch (value.kind) {
    case 'bool':
      return { kind: 'bool', value: value.value === true, span };
    case 'string':
      return { kind: 'string', parts: [value.value], span };
    case 'int':
    case 'float': {
      const number = Number(value.value);
      return { kind: 'number', value: number, isInteger: value.kind === 'int', text: String(number), span };
    }
    default:
      throw new Error(`${value.kind} cannot be set from the command line`);
  }
}
