/** Runs the tests of a `.model` file: on the reference interpreter, or its graphs on a device. */
import { elementCount } from '../../common/elements.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { showPlace } from '../../compiler/base/source.ts';
import { renderDiagnostic } from '../../compiler/base/diagnostics.ts';
import { type GradientCheck, gradientName } from '../../compiler/elaborate/gradient-check.ts';
import { compare, holds, type Expectation, type TestCase } from '../../compiler/elaborate/tests.ts';
import { concrete } from '../../compiler/types/dim.ts';
import { isFloat } from '../../compiler/types/dtype.ts';
import { philoxWord } from '../../common/philox.ts';
import { seedWords } from '../../runtime/philox.ts';
import { UserError } from '../../runtime/errors.ts';
import { DeviceError } from '../../runtime/program.ts';
import { Diagnosed } from './diagnosed.ts';
import { interpret } from './interpret.ts';
import { openTarget } from './target.ts';
import type { TargetName } from './targets/index.ts';
import { trainBriefly } from './train-briefly.ts';
import type { Project } from './project.ts';

export interface TestResult {
  readonly name: string;
  /** `file:line:column` */
  readonly place: string;
  readonly ok: boolean;
  /** Why it failed, one paragraph each. */
  readonly failures: readonly string[];
}

/** Numbers of a test's graph, by the name of the result. */
type Results = ReadonlyMap<string, ArrayLike<number>>;

export async function runTest(project: Project, test: TestCase, target: TargetName): Promise<TestResult> {
  const failures: string[] = [];
  if (test.rejects !== undefined) {
    const codes = test.diagnostics.map(({ code }) => code);
    if (!codes.includes(test.rejects))
      failures.push(
        codes.length === 0
          ? `It should be rejected with "${test.rejects}", but it compiles.`
          : `It should be rejected with "${test.rejects}", but was with ${codes.map((code) => `"${code}"`).join(', ')}.`,
      );
  } else if (test.diagnostics.length > 0)
    failures.push(...test.diagnostics.map((diagnostic) => renderDiagnostic(diagnostic, { color: false })));
  else {
    try {
      const results =
        test.expectations.length === 0 ? new Map<string, ArrayLike<number>>() : await runGraphs(test, target);
      for (const expectation of test.expectations) failures.push(...check(expectation, results));
      for (const gradient of test.gradients) failures.push(...checkGradient(gradient));
      for (const training of test.trainings) {
        const values = await trainBriefly(project, training, target);
        for (const expect of training.expects) {
          const { ok, left, right } = holds(expect, values, test.scope);
          if (!ok)
            failures.push(
              `${showPlace(expect.span)}: after ${training.steps} steps this does not hold: ${left} against ${right}.`,
            );
        }
      }
    } catch (error) {
      if (error instanceof Diagnosed)
        failures.push(...error.diagnostics.map((diagnostic) => renderDiagnostic(diagnostic, { color: false })));
      else if (error instanceof UserError || error instanceof DeviceError) failures.push(error.message);
      else throw error;
    }
  }
  return { name: test.name, place: showPlace(test.span), ok: failures.length === 0, failures };
}

/** Seed and step of everything random in a test. */
const scalars = new Map<string, Float64Array>([
  ['seed', Float64Array.from(seedWords(0))],
  ['step', Float64Array.of(1)],
]);

async function runGraphs(test: TestCase, name: TargetName): Promise<Results> {
  if (name === 'reference') {
    const parameters = run(test.init, new Map(), 'as-written');
    return new Map([...run(test.graph, parameters, 'as-written')].map(([key, tensor]) => [key, tensor.data]));
  }
  const { session, load } = await openTarget(name);
  try {
    const run = async (graph: Graph): Promise<Results> => {
      const executable = await load(graph);
      const given = new Map(
        executable.inputs.map((field) => [field.name, Uint32Array.from(scalars.get(field.name) ?? [])]),
      );
      return executable.run(given);
    };
    if (test.init.outputs.length > 0) await run(test.init);
    return await run(test.graph);
  } finally {
    session.close();
  }
}

function run(graph: Graph, inputs: ReadonlyMap<string, Tensor>, precision: 'as-written' | 'f64'): Map<string, Tensor> {
  const all = new Map(
    graph.inputs.map(({ name, value }): [string, Tensor] => {
      const data = scalars.get(name);
      const tensor = inputs.get(name) ?? (data === undefined ? undefined : { type: value.type, data });
      if (tensor === undefined) throw new Error(`the test's graph wants ${name}`);
      return [name, tensor];
    }),
  );
  return interpret(graph, all, precision);
}

function check(expectation: Expectation, results: Results): string[] {
  const { operator, within, span } = expectation;
  const values = (side: Expectation['left']): ArrayLike<number> =>
    side.kind === 'number' ? [side.value] : (results.get(side.name) ?? []);
  const left = values(expectation.left);
  const right = values(expectation.right);
  const count = Math.max(left.length, right.length);
  if (left.length !== right.length && left.length !== 1 && right.length !== 1)
    return [`${showPlace(span)}: the sides have ${left.length} and ${right.length} elements.`];
  let wrong = 0;
  let worst = 0;
  for (let at = 0; at < count; at++) {
    const [a, b] = [left[left.length === 1 ? 0 : at], right[right.length === 1 ? 0 : at]];
    if (compare(operator, a, b, within)) continue;
    const distance = (i: number): number =>
      Math.abs(left[left.length === 1 ? 0 : i] - right[right.length === 1 ? 0 : i]);
    if (wrong++ === 0 || distance(at) > distance(worst)) worst = at;
  }
  if (wrong === 0) return [];
  const [a, b] = [left[left.length === 1 ? 0 : worst], right[right.length === 1 ? 0 : worst]];
  const where = count === 1 ? '' : ` (${wrong} of ${count} elements; worst at ${worst})`;
  return [
    `${showPlace(span)}: expected ${a} ${operator} ${b}${within === undefined ? '' : ` within ${within}`}${where}.`,
  ];
}

const step = 1e-6;
const absolute = 1e-5;
const relative = 1e-3;
/** Elements of an input checked one by one; of larger inputs so many, evenly spread. */
const checked = 64;

/** Central differences in double precision against the gradient, for every float input and parameter. */
function checkGradient({ span, init, forward, backward }: GradientCheck): string[] {
  const inputs = new Map(run(init, new Map(), 'f64'));
  let stream = 0;
  for (const { name, role, value } of forward.inputs)
    if (role === 'batch')
      inputs.set(name, {
        type: value.type,
        data: randomData(elementCount(concrete(value.type.shape)), isFloat(value.type.dtype), stream++),
      });
  const gradients = run(backward, inputs, 'f64');
  const valueAt = (): number => run(forward, inputs, 'f64').get('value')?.data[0] ?? NaN;
  const failures: string[] = [];
  for (const [name, { data }] of inputs) {
    const gradient = gradients.get(gradientName(name))?.data;
    if (gradient === undefined) continue;
    const stride = Math.max(1, Math.floor(data.length / checked));
    for (let at = 0; at < data.length; at += stride) {
      const kept = data[at];
      data[at] = kept + step;
      const above = valueAt();
      data[at] = kept - step;
      const below = valueAt();
      data[at] = kept;
      const numeric = (above - below) / (2 * step);
      if (Math.abs(numeric - gradient[at]) <= absolute + relative * Math.abs(numeric)) continue;
      failures.push(
        `${showPlace(span)}: the gradient for element ${at} of ${name} is ${gradient[at]}, but finite differences give ${numeric}.`,
      );
      break;
    }
  }
  return failures;
}

/** Floats spread over ±1.5, away from the kinks that functions have at 0; integers 0. */
function randomData(count: number, float: boolean, stream: number): Float64Array {
  const data = new Float64Array(count);
  if (!float) return data;
  for (let at = 0; at < count; at++) {
    const value = (philoxWord(at, stream, 0, 0, 0, 0) / 2 ** 32) * 3 - 1.5;
    data[at] = Math.abs(value) < 0.01 ? 0.02 : value;
  }
  return data;
}
