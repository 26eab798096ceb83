/**
 * Equal numbers for expressions that are the same function of what their axes, buffers and results are called: two
 * stages of a region that compute the same thing, two segments that differ in their buffers only.
 */
import type { Access, Axis, Coordinate, Expression, Segment, Stage, Store } from '../loop/loop.ts';

/** Numbers shared by everything that is to be compared. */
export type Numbers = Map<string, number>;

export interface Names {
  axis(axis: Axis): string;
  /** A buffer or a result. */
  other(of: object): string;
}

export interface Fingerprint {
  expression(of: Expression): number;
  access(of: Access): string;
}

export function fingerprint(numbers: Numbers, names: Names): Fingerprint {
  const done = new Map<Expression, number>();
  const coordinate = (of: Coordinate): string =>
    of.kind === 'computed'
      ? `[${expression(of.value)}]`
      : `${of.terms
          .map((term) => `${names.axis(term.axis)}*${term.scale}`)
          .sort()
          .join('+')}+${of.offset}/${of.divisor}`;
  const access = (of: Access): string =>
    `${names.other(of.buffer)} ${of.shape.join()} ${of.index.map(coordinate).join(' ')}`;
  function expression(of: Expression): number {
    const known = done.get(of);
    if (known !== undefined) return known;
    const text = describe(of);
    const number = numbers.get(text) ?? numbers.size;
    numbers.set(text, number);
    done.set(of, number);
    return number;
  }
  function describe(of: Expression): string {
    switch (of.kind) {
      case 'number':
        return `n ${of.dtype} ${Object.is(of.value, -0) ? '-0' : of.value}`;
      case 'coordinate':
        return `c ${coordinate(of.value)}`;
      case 'result':
        return `r ${names.other(of.of)}`;
      case 'load':
        return `l ${of.guard} ${access(of.access)}`;
      case 'apply':
        return `a ${of.op} ${of.dtype} ${of.operands.map(expression).join()}`;
    }
  }
  return { expression, access };
}

/** Equal texts for segments that become the same kernel, launched on different buffers. */
export function segmentKey(segment: Segment, repeats: readonly Axis[], numbers: Numbers): string {
  const seen = new Map<object, number>();
  const place = (of: object): number => {
    const known = seen.get(of) ?? seen.size;
    seen.set(of, known);
    return known;
  };
  const axis = (of: Axis): string => `${place(of)}:${of.size}`;
  const other = (of: object): string =>
    `${place(of)}${'role' in of && 'shape' in of && Array.isArray(of.shape) ? `[${of.shape.join()}]` : ''}${'dtype' in of ? String(of.dtype) : ''}`;
  const print = fingerprint(numbers, { axis, other });
  const axes = (of: readonly Axis[]): string => of.map(axis).join();
  const stores = (of: readonly Store[]): string =>
    of.map((store) => `${print.access(store.access)}=${print.expression(store.value)}`).join(';');
  const stage = (of: Stage): string => {
    switch (of.kind) {
      case 'reduce':
        return `reduce ${axes(of.axes)} ${of.results.map(({ result, monoid, value }) => `${other(result)} ${monoid} ${print.expression(value)}`).join(';')}`;
      case 'store':
        return `store ${axes(of.axes)} ${stores(of.stores)}`;
      case 'cumulate':
        return `cumulate ${axis(of.axis)} ${of.reverse} ${of.monoid} ${other(of.result)} ${print.expression(of.value)} ${stores(of.stores)}`;
    }
  };
  const describe = (of: Segment): string => {
    switch (of.kind) {
      case 'region':
        return `region ${axes(of.axes)} ${of.stages.map(stage).join(' | ')}`;
      case 'contraction':
        return `contraction${of.bytes === true ? ' of bytes' : ''} ${axes(of.axes)} ${axes(of.reduce)} ${print.expression(of.left)} ${print.expression(of.right)} ${other(of.result)} ${stores(of.stores)}`;
      case 'scatter':
        return `scatter ${[of.batch, of.walk, of.rest].map(axes).join('/')} ${print.expression(of.id)} ${print.expression(of.value)} ${other(of.target)} ${of.shape.join()}`;
      case 'chain':
        return `chain ${axes(of.axes)} ${axes(of.walk)} ${of.reach} ${of.locals.map(other).join(' ')} ${[of.sums, of.totals].map((sums) => sums.map(({ buffer, monoid }) => `${monoid} ${other(buffer)}`).join(' ')).join(' total ')} { ${[...of.spans, { axes: [], parts: of.last }, { axes: [], parts: of.end }].map((span) => `${axes(span.axes)} ${span.parts.map(describe).join(' } ')}`).join(' then ')}`;
    }
  };
  return `${axes(repeats)} ${describe(segment)}`;
}
