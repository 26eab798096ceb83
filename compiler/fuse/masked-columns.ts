/**
 * Which columns of scores a mask takes out of all rows of a block: a causal mask lets row t see the columns up to t + reach, and what lies beyond
 * need not be computed. Proven link by link: where a column lies beyond, what is handed on is the mask's constant or made of it
 * (exp(-inf) is 0), and whatever runs over the columns adds the monoid's identity. A number times zero counts as zero: what a mask takes out
 * does not matter, be it infinite.
 */
import type { Monoid } from '../graph/graph.ts';
import type { Affine } from '../loop/build.ts';
import type { Axis, Buffer, Expression, Link, Stage, Store } from '../loop/loop.ts';
import { identity } from '../ops/monoid.ts';
import { binaryScalar, castScalar, unaryScalar } from '../ops/scalar.ts';
import { binaryOps, unaryOps } from '../graph/graph.ts';
import { visitExpression } from './rewrite-expression.ts';

/** Which axes of the links walk rows, and which columns. */
export interface Grid {
  isRow(axis: Axis): boolean;
  isColumn(axis: Axis): boolean;
  isHanded(buffer: Buffer): boolean;
}

/** The smallest number that added to a row's gives the last column the row needs; undefined where it needs all. */
export function reachOf(links: readonly Link[], grid: Grid): number | undefined {
  const candidates = new Set<number>();
  const roots = links.flatMap((link) =>
    link.kind === 'contraction' ? [link.left, link.right, ...valuesOf(link.stores)] : link.stages.flatMap(rootsOf),
  );
  visitExpression(roots, (of) => {
    const bound = boundOf(of, grid);
    if (bound !== undefined) candidates.add(bound.reach);
  });
  return [...candidates].sort((a, b) => a - b).find((reach) => isBeyondNothing(links, grid, reach));
}

const valuesOf = (stores: readonly Store[]): Expression[] => stores.map(({ value }) => value);

function rootsOf(stage: Stage): Expression[] {
  if (stage.kind === 'reduce') return stage.results.map(({ value }) => value);
  return stage.kind === 'store' ? valuesOf(stage.stores) : [stage.value, ...valuesOf(stage.stores)];
}

/** A comparison as column ≤ row + reach, or (`isBeyond`) as column > row + reach. */
interface Bound {
  readonly reach: number;
  readonly isBeyond: boolean;
}

function boundOf(of: Expression, grid: Grid): Bound | undefined {
  if (of.kind !== 'apply' || (of.op !== 'lt' && of.op !== 'le')) return undefined;
  const [left, right] = of.operands.map((operand) => linearIn(operand, grid));
  const [rows, columns, offset] = combine(left, right, -1) ?? [];
  if (rows === undefined || offset === undefined || columns !== -rows) return undefined;
  // column - row + offset ≤ 0, or < 0; or row - column + offset: then what is compared is beyond.
  const strict = of.op === 'lt' ? 1 : 0;
  if (columns === 1) return { reach: -offset - strict, isBeyond: false };
  return columns === -1 ? { reach: offset - 1 + strict, isBeyond: true } : undefined;
}

/** How often the row's number, how often the column's, and what else. */
type Linear = readonly [rows: number, columns: number, offset: number];

const combine = (a: Linear | undefined, b: Linear | undefined, sign: number): Linear | undefined =>
  a && b && [a[0] + sign * b[0], a[1] + sign * b[1], a[2] + sign * b[2]];

function linearIn(of: Expression, grid: Grid): Linear | undefined {
  if (of.kind === 'number') return [0, 0, of.value];
  if (of.kind === 'apply' && (of.op === 'add' || of.op === 'sub') && of.dtype === 'i32') {
    const [a, b] = of.operands.map((operand) => linearIn(operand, grid));
    return combine(a, b, of.op === 'add' ? 1 : -1);
  }
  if (of.kind !== 'coordinate' || of.value.kind !== 'affine') return undefined;
  const { terms, offset, divisor }: Affine = of.value;
  if (divisor !== 1 || !terms.every(({ axis }) => grid.isRow(axis) || grid.isColumn(axis))) return undefined;
  const scaleOf = (wanted: (axis: Axis) => boolean): number =>
    terms.reduce((sum, { axis, scale }) => (wanted(axis) ? sum + scale : sum), 0);
  return [scaleOf((axis) => grid.isRow(axis)), scaleOf((axis) => grid.isColumn(axis)), offset];
}

/** Does no link notice what is computed in columns beyond? */
function isBeyondNothing(links: readonly Link[], grid: Grid, reach: number): boolean {
  /** Of what is handed on, beyond. */
  const known = new Map<Buffer, number | undefined>();
  const evaluate = (of: Expression): number | undefined => constantBeyond(of, grid, reach, known);
  const storeAll = (stores: readonly Store[]): boolean =>
    stores.every(({ access, value }) => {
      if (!grid.isHanded(access.buffer)) return false;
      known.set(access.buffer, evaluate(value));
      return true;
    });
  const hasColumn = (axes: readonly Axis[]): boolean => axes.some((axis) => grid.isColumn(axis));
  const hasRow = (axes: readonly Axis[]): boolean => axes.some((axis) => grid.isRow(axis));
  const adds = (monoid: Monoid | 'argmax' | 'argmin', value: Expression): boolean =>
    monoid !== 'argmax' && monoid !== 'argmin' && evaluate(value) === identity(monoid, value.dtype);
  return links.every((link) => {
    if (link.kind === 'contraction') {
      const isZero = evaluate(link.left) === 0 || evaluate(link.right) === 0;
      if (hasColumn(link.reduce)) return isZero;
      if (!hasColumn(link.axes)) return true;
      return hasRow(link.reduce) ? isZero : storeAll(link.stores);
    }
    const [first] = link.stages;
    if (hasColumn(link.axes) && first.kind === 'reduce' && hasRow(first.axes))
      return first.results.every(({ monoid, value }) => adds(monoid, value));
    return link.stages.every((stage) => {
      if (stage.kind === 'cumulate') return !hasColumn([...link.axes, stage.axis]);
      if (!hasColumn([...link.axes, ...stage.axes])) return true;
      if (stage.kind === 'store') return storeAll(stage.stores);
      return hasColumn(link.axes) || stage.results.every(({ monoid, value }) => adds(monoid, value));
    });
  });
}

/** The value of an expression in columns beyond, if it is one. */
function constantBeyond(
  root: Expression,
  grid: Grid,
  reach: number,
  known: ReadonlyMap<Buffer, number | undefined>,
): number | undefined {
  const done = new Map<Expression, number | undefined>();
  const evaluate = (of: Expression): number | undefined => {
    if (done.has(of)) return done.get(of);
    const value = find(of);
    done.set(of, value);
    return value;
  };
  const find = (of: Expression): number | undefined => {
    if (of.kind === 'number') return of.value;
    if (of.kind === 'load') return known.get(of.access.buffer);
    if (of.kind !== 'apply') return undefined;
    const bound = boundOf(of, grid);
    // Beyond is column > row + reach.
    if (bound !== undefined && bound.reach <= reach) return bound.isBeyond ? 1 : 0;
    if (of.op === 'where') {
      const condition = evaluate(of.operands[0]);
      if (condition !== undefined) return evaluate(of.operands[condition !== 0 ? 1 : 2]);
    }
    const operands = of.operands.map(evaluate);
    if (of.op === 'where') return operands[1] === operands[2] ? operands[1] : undefined;
    const [a, b] = operands;
    if (of.op === 'cast') return a === undefined ? undefined : castScalar(of.operands[0].dtype, of.dtype)(a);
    const unary = unaryOps.find((op) => op === of.op);
    if (unary !== undefined) return a === undefined ? undefined : unaryScalar(unary, of.dtype)(a);
    const binary = binaryOps.find((op) => op === of.op);
    if (binary === undefined) return undefined;
    if (a !== undefined && b !== undefined) return binaryScalar(binary, of.operands[0].dtype)(a, b);
    return withOneKnown(binary, a, b);
  };
  return evaluate(root);
}

/** What one operand decides, the other being any finite number. */
function withOneKnown(op: string, a: number | undefined, b: number | undefined): number | undefined {
  switch (op) {
    case 'mul':
    case 'and':
      return a === 0 || b === 0 ? 0 : undefined;
    case 'div':
      return a === 0 ? 0 : undefined;
    case 'add':
      return [a, b].find((one) => one === -Infinity);
    case 'sub':
      return a === -Infinity ? a : undefined;
    default:
      return undefined;
  }
}
