/**
 * What an expression can be while a definition is evaluated. A closed union: tsc is the checklist of every place that
 * takes values apart.
 *
 * The same values serve both modes. On concrete sizes an `int` is a number; when a definition is checked generically it may
 * be a symbolic size, and a `float` or `bool` may be one that is not known yet (`value: undefined`).
 */
import type {
  Argument,
  DataDeclaration,
  FunctionDeclaration,
  LayerDeclaration,
  OptimizerDeclaration,
  ParamMember,
} from '../../grammar/ast.ts';
import type { Span } from '../base/source.ts';
import type { Value as GraphValue } from '../graph/graph.ts';
import { show, showShape, type Dim } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import type { Builtin } from './builtins/builtin.ts';
import type { Scope } from './scope.ts';

export type Value =
  | TensorValue
  | IntValue
  | FloatValue
  | BoolValue
  | StringValue
  | ListValue
  | TupleValue
  | RecordValue
  | RangeValue
  | FunctionValue
  | BuiltinValue
  | InitializerValue
  | LayerValue
  | InstanceValue
  | OptimizerValue
  | DataFunctionValue
  | DataValue
  | LossValue
  | IndexValue
  | IndexedValue
  | WildcardValue
  | UnknownValue;

/** A tensor of the graph that is being built. */
export interface TensorValue {
  readonly kind: 'tensor';
  readonly value: GraphValue;
}

/** A compile-time whole number: a size, a count. */
export interface IntValue {
  readonly kind: 'int';
  readonly value: Dim;
}

export interface FloatValue {
  readonly kind: 'float';
  readonly value: number | undefined;
}

export interface BoolValue {
  readonly kind: 'bool';
  readonly value: boolean | undefined;
}

export interface StringValue {
  readonly kind: 'string';
  readonly value: string;
}

/**
 * `length` is symbolic when a definition is checked for any number of elements; then there is one element for all, and
 * `varies` tells whether it depends on its place.
 */
export interface ListValue {
  readonly kind: 'list';
  readonly elements: readonly Value[];
  readonly length: Dim;
  readonly varies?: boolean;
}

export interface TupleValue {
  readonly kind: 'tuple';
  readonly elements: readonly Value[];
}

export interface RecordValue {
  readonly kind: 'record';
  readonly fields: ReadonlyMap<string, Value>;
}

/** `from..to`, half-open. */
export interface RangeValue {
  readonly kind: 'range';
  readonly from: Dim;
  readonly to: Dim;
}

/** A fn, loss, metric, schedule or init with the hyperparameters that are fixed so far. */
export interface FunctionValue {
  readonly kind: 'function';
  readonly declaration: FunctionDeclaration;
  readonly scope: Scope;
  readonly hyper: ReadonlyMap<string, Fixed>;
}

/** A hyperparameter's value and where it was given. */
export interface Fixed {
  readonly value: Value;
  readonly span: Span;
}

/** `shape`: what stood in brackets, as in `zeros[2, 3]` or `randint[64]`. */
export interface BuiltinValue {
  readonly kind: 'builtin';
  readonly builtin: Builtin;
  readonly shape?: readonly Dim[];
}

/** An `init` applied to its arguments: it waits for a shape, from the parameter it is for or from `[…]`. */
export interface InitializerValue {
  readonly kind: 'initializer';
  readonly declaration: FunctionDeclaration;
  readonly scope: Scope;
}

/** A layer or model that was not made yet. */
export interface LayerValue {
  readonly kind: 'layer';
  readonly declaration: LayerDeclaration;
  readonly scope: Scope;
}

/**
 * What braces made: it owns parameters, and lives outside every graph. Its path is its owner's path and its name there;
 * the outermost is named by whoever binds it.
 */
export interface InstanceValue {
  readonly kind: 'instance';
  readonly declaration: LayerDeclaration;
  readonly hyper: ReadonlyMap<string, Fixed>;
  /** Hyperparameters and members, inside the module's names. */
  readonly scope: Scope;
  readonly slots: readonly Slot[];
  /** Bind members, in order. */
  readonly members: ReadonlyMap<string, Value>;
  owner?: InstanceValue;
  name?: string;
  /** A train block holds all of it fixed: it is applied as in an evaluation, `training` is false in it. */
  isFrozen?: boolean;
  readonly span: Span;
}

/** A place for a parameter or buffer. */
export interface Slot {
  readonly owner: InstanceValue;
  readonly declaration: ParamMember;
  readonly type: TensorType;
}

/** An optimizer with its hyperparameters. */
export interface OptimizerValue {
  readonly kind: 'optimizer';
  readonly declaration: OptimizerDeclaration;
  readonly scope: Scope;
  readonly hyper: ReadonlyMap<string, Fixed>;
  readonly span: Span;
}

/** A `data` declaration, to be called with its parameters. */
export interface DataFunctionValue {
  readonly kind: 'data-function';
  readonly declaration: DataDeclaration;
  readonly scope: Scope;
}

/** A data source and what is done to its rows, in order; the first step is the source. */
export interface DataValue {
  readonly kind: 'data';
  readonly steps: readonly DataStep[];
}

/** `idx(image: "…")`, `shuffle(seed: 0)`, `map(image: f32(image) / 255)`. A `map` or `filter` keeps its expressions. */
export interface DataStep {
  readonly name: string;
  readonly arguments: readonly { readonly name?: string; readonly value: Value; readonly span: Span }[];
  readonly expressions: readonly Argument[];
  readonly scope: Scope;
  readonly span: Span;
}

/** What a loss or metric gives: the mean is `sum / count`. Both are f32 scalars. */
export interface LossValue {
  readonly kind: 'loss';
  readonly sum: GraphValue;
  readonly count: GraphValue;
}

/** An index variable of index notation; compared by identity. `size` is known once ranges are inferred. */
export interface Axis {
  readonly name: string;
  readonly span: Span;
  /** Axes are laid out in this order wherever several meet. */
  readonly order: number;
  size?: Dim;
}

/** A whole multiple of index variables plus a number: what positions in index notation are made of. */
export interface IndexValue {
  readonly kind: 'index';
  readonly terms: readonly { readonly axis: Axis; readonly scale: Dim }[];
  readonly offset: Dim;
}

/** One element as a function of index variables: `value` read at these positions. */
export interface IndexedValue {
  readonly kind: 'indexed';
  readonly value: GraphValue;
  readonly index: readonly IndexValue[];
}

/** `_`: a size to be inferred. */
export interface WildcardValue {
  readonly kind: 'wildcard';
}

/** The value of something wrong that was reported already, or not known in a generic check. It agrees with everything. */
export interface UnknownValue {
  readonly kind: 'unknown';
}

export const unknown: UnknownValue = { kind: 'unknown' };
export const int = (value: Dim): IntValue => ({ kind: 'int', value });
export const float = (value: number | undefined): FloatValue => ({ kind: 'float', value });
export const bool = (value: boolean | undefined): BoolValue => ({ kind: 'bool', value });
export const string = (value: string): StringValue => ({ kind: 'string', value });
export const tensor = (value: GraphValue): TensorValue => ({ kind: 'tensor', value });
export const list = (elements: readonly Value[]): ListValue => ({ kind: 'list', elements, length: elements.length });

export const isNumber = (value: Value): value is IntValue | FloatValue =>
  value.kind === 'int' || value.kind === 'float';

/** A compile-time number as a JavaScript number; undefined where it is not known. */
export const numberOf = (value: IntValue | FloatValue): number | undefined =>
  typeof value.value === 'number' ? value.value : undefined;

/** `model.blocks.0.attn`; undefined as long as nobody named the outermost. */
export function pathOf(instance: InstanceValue): string | undefined {
  if (instance.name === undefined) return undefined;
  if (instance.owner === undefined) return instance.name;
  const owner = pathOf(instance.owner);
  return owner === undefined ? undefined : `${owner}.${instance.name}`;
}

/** `model.fc1.weight` */
export const slotPath = (slot: Slot): string =>
  `${pathOf(slot.owner) ?? slot.owner.declaration.name.name}.${slot.declaration.name.name}`;

export const showType = (type: TensorType): string =>
  type.shape.length === 0 ? type.dtype : `${type.dtype}${showShape(type.shape)}`;

const roleWords = {
  fn: 'function',
  loss: 'loss',
  metric: 'metric',
  schedule: 'schedule',
  init: 'initializer',
} as const;

/** What to do with the name of a data declaration where data is wanted. */
export function callData(value: Value | undefined): { hint?: string } {
  if (value?.kind !== 'data-function') return {};
  const { name, parameters } = value.declaration;
  return {
    hint: `\`${name.name}\` is a data declaration: call it, \`${name.name}(${parameters.length === 0 ? '' : '…'})\`.`,
  };
}

/** A value in the user's words: `the tensor f32[3, 4]`, `the layer Linear`. */
export function describe(value: Value): string {
  switch (value.kind) {
    case 'tensor':
      return `the tensor ${showType(value.value.type)}`;
    case 'int':
      return `the number ${show(value.value)}`;
    case 'float':
      return value.value === undefined ? 'a number' : `the number ${value.value}`;
    case 'bool':
      return value.value === undefined ? 'a truth value' : String(value.value);
    case 'string':
      return `the text "${value.value}"`;
    case 'list':
      return `a list of ${show(value.length)}`;
    case 'tuple':
      return `a tuple of ${value.elements.length}`;
    case 'record':
      return `the record { ${[...value.fields.keys()].join(', ')} }`;
    case 'range':
      return `the range ${show(value.from)}..${show(value.to)}`;
    case 'function':
      return `the ${roleWords[value.declaration.role]} \`${value.declaration.name.name}\``;
    case 'builtin':
      return `the function \`${value.builtin.name}\``;
    case 'initializer':
      return `the initializer \`${value.declaration.name.name}\``;
    case 'layer':
      return `the ${value.declaration.role} \`${value.declaration.name.name}\``;
    case 'instance':
      return `an instance of \`${value.declaration.name.name}\``;
    case 'optimizer':
      return `the optimizer \`${value.declaration.name.name}\``;
    case 'data-function':
      return `the data declaration \`${value.declaration.name.name}\``;
    case 'data':
      return 'data';
    case 'loss':
      return 'a loss';
    case 'index':
      return 'a position of index notation';
    case 'indexed':
      return `an element (${value.value.type.dtype}) of index notation`;
    case 'wildcard':
      return '`_`';
    case 'unknown':
      return 'something unknown';
  }
}
