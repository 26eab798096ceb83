/**
 * `test` declarations as things to run: graphs whose results are compared, gradients to check, training runs to make, and
 * bodies that must not compile. Running them is the driver's.
 */
import type {
  Expect,
  Expression,
  GradCheck,
  Identifier,
  Statement,
  TestDeclaration,
  TrainStatement,
} from '../../grammar/ast.ts';
import { diagnose, Diagnostics, Problem, type Diagnostic } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import type { Graph } from '../graph/graph.ts';
import { createBuilder } from '../ops/builder.ts';
import { attempt, type Context } from './context.ts';
import { createContext, evaluate } from './evaluate.ts';
import { buildGradientCheck, type GradientCheck } from './gradient-check.ts';
import { initialize } from './initialize.ts';
import { bind, createScope, type Scope } from './scope.ts';
import { runStatement } from './statements.ts';
import { describe, int, numberOf, type InstanceValue, type Value } from './value.ts';

/** One side of an expectation: known when compiling, or a result of the test's graph. */
export type Side =
  { readonly kind: 'number'; readonly value: number } | { readonly kind: 'result'; readonly name: string };

export interface Expectation {
  readonly span: Span;
  readonly operator: NonNullable<Expect['comparison']>['operator'];
  readonly left: Side;
  readonly right: Side;
  /** Greatest absolute difference; for `≈` without `within`, 1e-5 of the larger of 1 and the right side. */
  readonly within: number | undefined;
}

export interface Training {
  readonly span: Span;
  readonly train: Identifier;
  readonly batches: number | undefined;
  readonly steps: number;
  readonly expects: readonly Expect[];
}

/** A test with sizes filled in. */
export interface TestCase {
  readonly name: string;
  readonly span: Span;
  /** Why it cannot be run; for `test rejects`, what was found. */
  readonly diagnostics: readonly Diagnostic[];
  /** The code the body must be rejected with. */
  readonly rejects: string | undefined;
  /** First values of the instances made in the test, and the test itself. */
  readonly init: Graph;
  readonly graph: Graph;
  readonly expectations: readonly Expectation[];
  readonly gradients: readonly GradientCheck[];
  readonly trainings: readonly Training[];
  readonly scope: Scope;
}

/** The cases of a test: one, or one for each combination of the sizes it runs over. */
export function elaborateTest(declaration: TestDeclaration, moduleScope: Scope): TestCase[] {
  let cases: { label: string; scope: Scope }[] = [{ label: '', scope: createScope(moduleScope) }];
  const diagnostics = new Diagnostics();
  for (const { name, range } of declaration.over) {
    const values = sizesOf(range, moduleScope, diagnostics);
    cases = cases.flatMap((outer) =>
      values.map((size) => {
        const scope = createScope(outer.scope);
        bind(scope, name.name, int(size));
        return { label: `${outer.label}${outer.label === '' ? '' : ', '}${name.name} = ${size}`, scope };
      }),
    );
  }
  return cases.map(({ label, scope }) => {
    const test = elaborateCase(declaration, scope, label === '' ? declaration.name : `${declaration.name} (${label})`);
    return { ...test, diagnostics: [...diagnostics.all, ...test.diagnostics] };
  });
}

function elaborateCase(declaration: TestDeclaration, scope: Scope, name: string): TestCase {
  const diagnostics = new Diagnostics();
  const context = createContext(createBuilder('test'), diagnostics);
  const expectations: Expectation[] = [];
  const gradients: GradientCheck[] = [];
  const trainings: Training[] = [];
  const perform = (statement: Statement): void => {
    switch (statement.kind) {
      case 'expect':
        expectations.push(expectation(context, scope, statement, expectations.length));
        break;
      case 'gradcheck':
        gradients.push(gradientCheck(context, scope, statement));
        break;
      case 'train':
        trainings.push(training(context, scope, statement));
        break;
      default:
        runStatement(context, scope, statement);
    }
  };
  const statements: readonly Statement[] = declaration.body.statements;
  for (const statement of statements) guarded(diagnostics, () => perform(statement));
  const { result } = declaration.body;
  if (result !== undefined) attempt(context, () => evaluate(context, scope, result));
  return {
    name,
    span: declaration.span,
    diagnostics: diagnostics.all,
    rejects: declaration.rejects ? declaration.name : undefined,
    init: buildInstances(context, diagnostics),
    graph: context.root.finish(),
    expectations,
    gradients,
    trainings,
    scope,
  };
}

function expectation(context: Context, scope: Scope, statement: Expect, at: number): Expectation {
  const sideOf = (expression: Expression, side: string): Side => {
    const value = evaluate(context, scope, expression);
    return toSide(context, value, `expect.${at}.${side}`, expression.span);
  };
  const { comparison } = statement;
  const within =
    statement.within === undefined
      ? undefined
      : numberFrom(evaluate(context, scope, statement.within), statement.within.span);
  return {
    span: statement.span,
    operator: comparison?.operator ?? '==',
    left: sideOf(statement.left, 'left'),
    right: comparison === undefined ? { kind: 'number', value: 1 } : sideOf(comparison.right, 'right'),
    within,
  };
}

function toSide(context: Context, value: Value, name: string, span: Span): Side {
  switch (value.kind) {
    case 'int':
    case 'float':
      return { kind: 'number', value: numberFrom(value, span) };
    case 'bool':
      return { kind: 'number', value: value.value === true ? 1 : 0 };
    case 'unknown':
      return { kind: 'number', value: NaN };
    case 'loss':
      context.root.output(name, 'result', context.root.binary('div', value.sum, value.count));
      return { kind: 'result', name };
    case 'tensor':
      context.root.output(name, 'result', value.value);
      return { kind: 'result', name };
    default:
      throw new Problem(
        diagnose('not-testable', { what: 'What is expected', found: describe(value) }, [{ span, text: '' }]),
      );
  }
}

function gradientCheck(context: Context, scope: Scope, statement: GradCheck): GradientCheck {
  const target = evaluate(context, scope, statement.target);
  return buildGradientCheck(context, scope, statement, target);
}

function training(context: Context, scope: Scope, statement: TrainStatement): Training {
  const count = (expression: Expression): number => numberFrom(evaluate(context, scope, expression), expression.span);
  return {
    span: statement.span,
    train: statement.name,
    steps: count(statement.steps),
    batches: statement.batches === undefined ? undefined : count(statement.batches),
    expects: statement.expects,
  };
}

/** Whether a condition over the loss and metrics of a training run holds. */
export function holds(
  expect: Expect,
  values: ReadonlyMap<string, number>,
  outer: Scope,
): { readonly ok: boolean; readonly left: number; readonly right: number } {
  const context = createContext(createBuilder('condition'), new Diagnostics());
  const scope = createScope(outer);
  for (const [name, value] of values) bind(scope, name, { kind: 'float', value });
  const { comparison } = expect;
  if (comparison === undefined) {
    const value = evaluate(context, scope, expect.left);
    return { ok: value.kind === 'bool' && value.value === true, left: NaN, right: NaN };
  }
  const left = numberFrom(evaluate(context, scope, expect.left), expect.left.span);
  const right = numberFrom(evaluate(context, scope, comparison.right), comparison.right.span);
  const within =
    expect.within === undefined ? undefined : numberFrom(evaluate(context, scope, expect.within), expect.within.span);
  return { ok: compare(comparison.operator, left, right, within), left, right };
}

/** The meaning of a comparison in `expect`, for one pair of numbers. */
export function compare(
  operator: Expectation['operator'],
  left: number,
  right: number,
  within: number | undefined,
): boolean {
  switch (operator) {
    case '≈':
      return left === right || Math.abs(left - right) <= (within ?? 1e-5 * Math.max(1, Math.abs(right)));
    case '==':
      return left === right;
    case '!=':
      return left !== right;
    case '<':
      return left < right;
    case '<=':
      return left <= right;
    case '>':
      return left > right;
    case '>=':
      return left >= right;
  }
}

/** First values of every instance the test used. */
function buildInstances(context: Context, diagnostics: Diagnostics): Graph {
  const build = createBuilder('test.init');
  const inner = createContext(build, diagnostics);
  const roots = new Set<InstanceValue>();
  for (const slot of context.slots.keys()) {
    let root = slot.owner;
    while (root.owner !== undefined) root = root.owner;
    roots.add(root);
  }
  for (const root of roots) guarded(diagnostics, () => initialize(inner, root));
  return build.finish();
}

function sizesOf(range: Expression, scope: Scope, diagnostics: Diagnostics): number[] {
  const context = createContext(createBuilder('sizes'), diagnostics);
  const value = attempt(context, () => evaluate(context, scope, range));
  if (value.kind === 'range' && typeof value.from === 'number' && typeof value.to === 'number') {
    const { from, to } = value;
    return Array.from({ length: Math.max(0, to - from) }, (_, offset) => from + offset);
  }
  if (value.kind === 'list')
    return value.elements.flatMap((element) =>
      element.kind === 'int' && typeof element.value === 'number' ? [element.value] : [],
    );
  return [];
}

function numberFrom(value: Value, span: Span): number {
  const number = value.kind === 'int' || value.kind === 'float' ? numberOf(value) : undefined;
  if (number !== undefined) return number;
  throw new Problem(diagnose('not-testable', { what: 'This', found: describe(value) }, [{ span, text: '' }]));
}

function guarded(diagnostics: Diagnostics, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    diagnostics.report(error.diagnostic);
  }
}
