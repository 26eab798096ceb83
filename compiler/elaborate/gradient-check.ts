/**
 * `gradcheck f at f32[2, 3]`: two graphs of the same function, one giving a number, one the gradient of that number with
 * respect to every float input and parameter. The driver compares them with central differences in double precision.
 */
import { elementCount } from '../../common/elements.ts';
import type { GradCheck } from '../../grammar/ast.ts';
import { diagnose, Problem } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import { differentiate } from '../differentiate/differentiate.ts';
import type { Builder } from '../graph/build.ts';
import type { Graph, Value as GraphValue } from '../graph/graph.ts';
import { createBuilder } from '../ops/builder.ts';
import { concrete } from '../types/dim.ts';
import { isFloat } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';
import type { Context } from './context.ts';
import { applyValue, createContext } from './evaluate.ts';
import { initialize } from './initialize.ts';
import type { Scope } from './scope.ts';
import { tensorTypeOf } from './types.ts';
import { describe, slotPath, tensor, type Value } from './value.ts';

export interface GradientCheck {
  readonly span: Span;
  /** First values of the parameters, as updates. */
  readonly init: Graph;
  /** Result `value`: a fixed mixture of everything the function returned. */
  readonly forward: Graph;
  /** Results: the gradient of `value` for each float input, called `gradientName` of the input's name. */
  readonly backward: Graph;
}

export const gradientName = (input: string): string => `gradient ${input}`;

export function buildGradientCheck(context: Context, scope: Scope, statement: GradCheck, target: Value): GradientCheck {
  const types = statement.at.map((type) => tensorTypeOf(context, scope, type));
  const forward = evaluateAt(context, statement, target, types);
  forward.build.output('value', 'result', forward.value);
  const backward = evaluateAt(context, statement, target, types);
  const wrt = [...backward.inputs].filter(([, value]) => isFloat(value.type.dtype));
  differentiate(
    backward.build,
    backward.value,
    wrt.map(([, value]) => value),
  ).forEach((gradient, at) => backward.build.output(gradientName(wrt[at][0]), 'result', gradient));
  const init = createBuilder('gradcheck.init');
  if (target.kind === 'instance') initialize(createContext(init, context.diagnostics), target);
  return {
    span: statement.span,
    init: init.finish(),
    forward: forward.build.finish(),
    backward: backward.build.finish(),
  };
}

/** What a signature calls its arguments. */
function argumentNames(target: Value): readonly string[] {
  if (target.kind === 'builtin') return target.builtin.parameters.map(({ name }) => name);
  const signature =
    target.kind === 'function'
      ? target.declaration.signature
      : target.kind === 'instance'
        ? target.declaration.apply?.signature
        : undefined;
  return signature?.parameters.map(({ name }) => name.name) ?? [];
}

interface Evaluated {
  readonly build: Builder;
  readonly inputs: ReadonlyMap<string, GraphValue>;
  readonly value: GraphValue;
}

function evaluateAt(outer: Context, statement: GradCheck, target: Value, types: readonly TensorType[]): Evaluated {
  const build = createBuilder('gradcheck');
  const context = createContext(build, outer.diagnostics);
  const names = argumentNames(target);
  const inputs = new Map(
    types.map((type, at): [string, GraphValue] => {
      const name = names[at] ?? `input${at}`;
      return [name, build.input(name, 'batch', type)];
    }),
  );
  const result = applyValue(context, target, [...inputs.values()].map(tensor), statement.span);
  const value = mixture(build, result, statement.span);
  for (const [slot, parameter] of context.slots) inputs.set(slotPath(slot), parameter);
  return { build, inputs, value };
}

/** Σ wᵢ·xᵢ over all elements, with weights that no symmetry of the function can hide from. */
function mixture(build: Builder, result: Value, span: Span): GraphValue {
  const tensors =
    result.kind === 'tensor'
      ? [result.value]
      : result.kind === 'loss'
        ? [build.binary('div', result.sum, result.count)]
        : result.kind === 'tuple'
          ? result.elements.flatMap((element) => (element.kind === 'tensor' ? [element.value] : []))
          : [];
  const sums = tensors
    .filter(({ type }) => isFloat(type.dtype))
    .map((value) => {
      const shape = concrete(value.type.shape);
      const weights = Array.from({ length: elementCount(shape) }, (_, i) => 0.5 + ((i * 0.6180339887498949) % 1));
      const weighted = build.binary('mul', value, build.constant(weights, value.type.dtype, shape));
      return build.reduce(
        'sum',
        weighted,
        shape.map((_, axis) => axis),
      );
    });
  if (sums.length === 0)
    throw new Problem(
      diagnose('not-testable', { what: 'What gradcheck differentiates', found: describe(result) }, [
        { span, text: '' },
      ]),
    );
  return sums.reduce((sum, term) => build.binary('add', sum, term));
}
