/** Helper functions for transcendental ops and random bits: one per lane count, inlined where they are called. */
import type { FunctionWriter } from './writer.ts';
import { functionWriter, vectorOf } from './writer.ts';
import { philox } from './philox.ts';

export type MathFunction = 'exp' | 'log' | 'sin' | 'cos' | 'tanh' | 'erf' | 'pow' | 'philox';

/** Calls a helper function, writing it first where this module has not used it yet. */
export function callMath(writer: FunctionWriter, name: MathFunction, lanes: number, values: readonly string[]): string {
  const type = vectorOf(name === 'philox' ? 'i32' : 'float', lanes);
  const helper = `nacre.${name}.${lanes}`;
  writer.module.helper(helper, () => {
    const inner = functionWriter(writer.module);
    const names = values.map((_, place) => `%a${place}`);
    const result = bodies[name](inner, lanes, names);
    return [
      `define internal ${type} @${helper}(${names.map((parameter) => `${type} ${parameter}`).join(', ')}) alwaysinline {`,
      inner.body(), `  ret ${type} ${result}`, '}',
    ].join('\n');
  });
  return writer.define(`call ${type} @${helper}(${values.map((value) => `${type} ${value}`).join(', ')})`);
}

type Body = (writer: FunctionWriter, lanes: number, values: readonly string[]) => string;
const missing: Body = () => { throw new Error('not yet'); };
const bodies: Record<MathFunction, Body> = { exp: missing, log: missing, sin: missing, cos: missing, tanh: missing, erf: missing, pow: missing, philox };
