/** Running the body of an `optimizer` for one parameter. */
import { Diagnostics } from '../base/diagnostics.ts';
import type { Value as GraphValue } from '../graph/graph.ts';
import { createBuilder } from '../ops/builder.ts';
import type { TensorType } from '../types/tensor.ts';
import { bindHyper } from './arguments.ts';
import { initialTensor } from './calls.ts';
import { standing, type Context } from './context.ts';
import { createContext } from './evaluate.ts';
import { bind, createScope, type Binding, type Scope } from './scope.ts';
import { evaluateBlock } from './statements.ts';
import { tensor, type OptimizerValue } from './value.ts';

/** One parameter at one step. */
export interface OptimizerStep {
  readonly param: GraphValue;
  readonly grad: GraphValue;
  /** f32, 1 at the first update. */
  readonly step: GraphValue;
  readonly states: ReadonlyMap<string, GraphValue>;
}

/** The state in which optimizer state `name` of a parameter is kept. */
export const stateName = (name: string, path: string): string => `optimizer.${name}.${path}`;

function optimizerScope(context: Context, optimizer: OptimizerValue): Scope {
  const { declaration } = optimizer;
  const scope = createScope(optimizer.scope);
  bindHyper(context, declaration.name.name, declaration.hyper, optimizer.hyper, scope, optimizer.span);
  return scope;
}

/** The states an optimizer keeps for a parameter, with their first values: those that its body reads or writes. */
export function optimizerStates(
  context: Context,
  optimizer: OptimizerValue,
  type: TensorType,
): { readonly name: string; readonly initial: GraphValue }[] {
  const scope = optimizerScope(context, optimizer);
  const used = usedStates(context, optimizer, type);
  return optimizer.declaration.states.flatMap(({ name, init }) => {
    if (!used.has(name.name)) return [];
    const value = initialTensor(context, context.evaluator.evaluate(context, scope, init), type.shape, init.span);
    return value.kind === 'tensor' ? [{ name: name.name, initial: value.value }] : [];
  });
}

/**
 * The states that the body reads or writes: a condition on hyperparameters may leave out the branch that does. Tried in a graph
 * that is thrown away; what is wrong there is said where the body is applied.
 */
function usedStates({ symbolic }: Context, optimizer: OptimizerValue, type: TensorType): ReadonlySet<string> {
  const build = createBuilder('optimizer');
  const names = optimizer.declaration.states.map(({ name }) => name.name);
  const states = new Map(names.map((name) => [name, build.input(name, 'state', type)]));
  const next = applyOptimizer(createContext(build, new Diagnostics(), { symbolic, training: true }), optimizer, {
    param: build.input('param', 'param', type),
    grad: build.input('grad', 'batch', type),
    step: build.input('step', 'scalar', { dtype: 'f32', shape: [] }),
    states,
  });
  const read = new Set([next.param, ...build.nodes.flatMap(({ inputs }) => inputs)]);
  return new Set([...states].flatMap(([name, now]) => (read.has(now) || next.states.get(name) !== now ? [name] : [])));
}

/** The next values of the parameter and its states. What the body does not assign stays. */
export function applyOptimizer(
  context: Context,
  optimizer: OptimizerValue,
  now: OptimizerStep,
): { readonly param: GraphValue; readonly states: ReadonlyMap<string, GraphValue> } {
  return standing(context, {}, () => {
    const { declaration, span } = optimizer;
    context.frames.push({ name: declaration.name.name, span, kind: 'function', declaration });
    return runBody(context, optimizer, now);
  });
}

function runBody(context: Context, optimizer: OptimizerValue, now: OptimizerStep): ReturnType<typeof applyOptimizer> {
  const { declaration } = optimizer;
  const scope = createScope(optimizerScope(context, optimizer));
  const [param, grad, step] = declaration.parameters;
  const cell = (name: string, value: GraphValue): Binding & { kind: 'cell' } => {
    const binding = { kind: 'cell', value: tensor(value), assigned: false } satisfies Binding as Binding & {
      kind: 'cell';
    };
    scope.names.set(name, binding);
    return binding;
  };
  const states = [...now.states].map(([name, value]) => ({ name, value, cell: cell(name, value) }));
  const own = param === undefined ? undefined : cell(param.name.name, now.param);
  if (grad !== undefined) bind(scope, grad.name.name, tensor(now.grad));
  if (step !== undefined) bind(scope, step.name.name, tensor(now.step));
  evaluateBlock(context, scope, declaration.body, { effects: true });
  const settle = (binding: (Binding & { kind: 'cell' }) | undefined, before: GraphValue): GraphValue => {
    if (binding === undefined || !binding.assigned) return before;
    const value = initialTensor(context, binding.value, before.type.shape, declaration.body.span);
    return value.kind === 'tensor' ? value.value : before;
  };
  return {
    param: settle(own, now.param),
    states: new Map(states.map(({ name, value, cell: binding }) => [name, settle(binding, value)])),
  };
}
