/**
 * Checks definitions that nothing uses yet: whole-number hyperparameters are symbols, other hyperparameters have their
 * defaults or are not known, tensors come from the signature with sizes left open. The graph is thrown away.
 */
import type { Declaration, FunctionDeclaration, LayerDeclaration, Parameter, Signature } from '../../grammar/ast.ts';
import { Diagnostics } from '../base/diagnostics.ts';
import { createBuilder } from '../ops/builder.ts';
import { symbol } from '../types/dim.ts';
import { bindHyper } from './arguments.ts';
import { evaluateBody, initialTensor } from './calls.ts';
import { attempt, emit, type Context, type Given } from './context.ts';
import { createContext } from './evaluate.ts';
import { initialValue } from './initialize.ts';
import { instantiate } from './instances.ts';
import type { ProgramModule } from './modules.ts';
import { applyOptimizer, optimizerStates } from './optimizer.ts';
import { createScope, type Scope } from './scope.ts';
import { createSizes } from './sizes.ts';
import { openTensor } from './types.ts';
import { bool, float, int, string, tensor, unknown, type OptimizerValue, type Value } from './value.ts';

/** Checks every definition of a module. Train blocks and tests are checked where they are elaborated. */
export function checkModule(module: ProgramModule, diagnostics: Diagnostics): void {
  const found = new Diagnostics();
  checkDeclarations(module, found);
  // In a text that could not be read as a whole, a name may be unknown because its definition was lost.
  for (const diagnostic of found.all)
    if (!module.loaded.isBroken || diagnostic.code !== 'unknown-name') diagnostics.report(diagnostic);
}

function checkDeclarations(module: ProgramModule, found: Diagnostics): void {
  for (const declaration of module.loaded.healthy)
    for (const chosen of choices(declaration)) {
      const context = createContext(createBuilder('check'), found, { symbolic: true });
      attempt(context, () => {
        checkDeclaration(context, module.scope, declaration, chosen);
        return unknown;
      });
    }
}

/** A choice (`"train" | "test"`) for each parameter that has some: each of them comes by once. */
type Chosen = ReadonlyMap<Parameter, string>;

function choices(declaration: Declaration): Chosen[] {
  const parameters =
    'hyper' in declaration ? declaration.hyper : declaration.kind === 'data' ? declaration.parameters : [];
  const open = parameters.flatMap((parameter) =>
    parameter.type?.kind === 'choice-type' ? [{ parameter, choices: parameter.type.choices }] : [],
  );
  const count = Math.max(1, ...open.map((choice) => choice.choices.length));
  return Array.from(
    { length: count },
    (_, round) =>
      new Map(open.map(({ parameter, choices: texts }) => [parameter, texts[Math.min(round, texts.length - 1)]])),
  );
}

function checkDeclaration(context: Context, scope: Scope, declaration: Declaration, chosen: Chosen): void {
  switch (declaration.kind) {
    case 'constant':
      context.evaluator.evaluate(context, scope, declaration.name);
      return;
    case 'function':
      return checkFunction(context, scope, declaration, chosen);
    case 'layer':
      return checkLayer(context, scope, declaration, chosen);
    case 'optimizer':
      return checkOptimizer(
        context,
        { kind: 'optimizer', declaration, scope, hyper: new Map(), span: declaration.name.span },
        chosen,
      );
    case 'data': {
      const given = declaration.parameters.map((parameter): Given => ({
        value: openValue(context, scope, parameter, chosen),
        span: parameter.span,
      }));
      context.evaluator.apply(context, { kind: 'data-function', declaration, scope }, given, declaration.name.span);
      return;
    }
    case 'train':
    case 'test':
      return;
  }
}

/** A value that a hyperparameter's type allows. */
function openValue(context: Context, scope: Scope, parameter: Parameter, chosen: Chosen): Value {
  const { name, type, default: otherwise } = parameter;
  const usual = (): Value =>
    otherwise === undefined ? unknown : context.evaluator.evaluate(context, scope, otherwise);
  if (type?.kind === 'choice-type') return string(chosen.get(parameter) ?? type.choices[0] ?? '');
  if (type?.kind === 'tensor-type') return openTensor(context, scope, createSizes(), type, name.name, parameter.span);
  if (type?.kind !== 'named-type') return usual();
  switch (type.name.name) {
    case 'int':
      return int(symbol(name.name));
    case 'float':
      return float(undefined);
    case 'bool':
      return bool(undefined);
    case 'schedule':
      return otherwise === undefined ? float(undefined) : usual();
    default: {
      // A name that is no type is found when a value is matched with it.
      const value = usual();
      return value.kind === 'unknown' && !named.has(type.name.name) ? float(undefined) : value;
    }
  }
}

const named = new Set(['str', 'list', 'record', 'function', 'layer', 'data', 'optimizer', 'any']);

/** Arguments that a signature allows; parameters without a type are unknown, except the step of a schedule. */
function openArguments(context: Context, scope: Scope, signature: Signature, role: string): Given[] {
  const sizes = createSizes();
  // A name that stands twice was reported; the first is enough here.
  const once = signature.parameters.filter(
    ({ name }, place) => signature.parameters.findIndex((other) => other.name.name === name.name) === place,
  );
  return once.map((parameter): Given => {
    const { type, name, span } = parameter;
    if (type?.kind === 'tensor-type')
      return { name: name.name, value: openTensor(context, scope, sizes, type, name.name, span), span };
    if (role === 'schedule')
      return {
        name: name.name,
        value: tensor(
          emit(context, span, (builder) => builder.input(name.name, 'scalar', { dtype: 'f32', shape: [] })),
        ),
        span,
      };
    return { name: name.name, value: openValue(context, scope, parameter, new Map()), span };
  });
}

function checkFunction(context: Context, outer: Scope, declaration: FunctionDeclaration, chosen: Chosen): void {
  const name = declaration.name.name;
  const span = declaration.name.span;
  const scope = createScope(outer);
  bindHyper(context, name, declaration.hyper, new Map(), scope, span, (parameter) =>
    openValue(context, scope, parameter, chosen),
  );
  const given = openArguments(context, scope, declaration.signature, declaration.role);
  if (declaration.role !== 'init') {
    context.frames.push({ name, span, kind: 'function', declaration });
    evaluateBody(context, declaration, scope, declaration.signature, declaration.body, given, span, name);
    return;
  }
  const fixed = new Map(
    [...scope.names].flatMap(([key, binding]) =>
      binding.kind === 'value' ? [[key, { value: binding.value, span }] as const] : [],
    ),
  );
  const made = context.evaluator.apply(
    context,
    { kind: 'function', declaration, scope: outer, hyper: fixed },
    given,
    span,
  );
  initialTensor(context, made, [symbol('n'), symbol('m')], span);
}

function checkLayer(context: Context, scope: Scope, declaration: LayerDeclaration, chosen: Chosen): void {
  const { span } = declaration.name;
  const instance = instantiate(context, { kind: 'layer', declaration, scope }, [], span, (parameter) =>
    openValue(context, scope, parameter, chosen),
  );
  instance.name = declaration.name.name;
  for (const slot of instance.slots)
    attempt(context, () => {
      initialValue(context, slot);
      return unknown;
    });
  const application = declaration.apply;
  if (application === undefined) return;
  context.path = instance.name;
  context.frames.push({ name: instance.name, span, kind: 'layer', declaration });
  const given = openArguments(context, instance.scope, application.signature, declaration.role);
  evaluateBody(
    context,
    declaration,
    instance.scope,
    application.signature,
    application.body,
    given,
    span,
    instance.name,
  );
}

function checkOptimizer(context: Context, optimizer: OptimizerValue, chosen: Chosen): void {
  const open = new Map(
    optimizer.declaration.hyper.map((parameter) => [
      parameter.name.name,
      { value: openValue(context, optimizer.scope, parameter, chosen), span: parameter.span },
    ]),
  );
  const value: OptimizerValue = { ...optimizer, hyper: open };
  const type = { dtype: 'f32', shape: [symbol('n'), symbol('m')] } as const;
  const states = new Map(optimizerStates(context, value, type).map(({ name, initial }) => [name, initial]));
  const input = (name: string, shape: readonly (typeof type.shape)[number][]) =>
    context.root.input(name, 'batch', { dtype: 'f32', shape });
  applyOptimizer(context, value, {
    param: input('param', type.shape),
    grad: input('grad', type.shape),
    step: input('step', []),
    states,
  });
}
