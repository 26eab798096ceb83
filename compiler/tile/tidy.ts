/**
 * A kernel's body with what schedules leave behind cleared away: index arithmetic that says less than it spells, values computed
 * twice, and values that nobody uses.
 *
 *   let r1 = rem(thread, 64)                         thread, in a workgroup of 64
 *   let r2 = r0 / 100, let r3 = rem(r0, 100)
 *   p0[r3 + r2 * 100]                                p0[r0]
 *   let r4 = r0 / 100                                r2
 */
import { add, apply, index, mul, read } from './build.ts';
import { countUses, rewriteOperands, rewriteStatement, visitRegisters } from './rewrite.ts';
import type { Register, Statement, TileExpression, TileKernel } from './tile.ts';

type Let = Extract<Statement, { kind: 'let' }>;
type Range = readonly [low: number, high: number];

export function tidy(kernel: TileKernel): TileKernel {
  const body = simplified(kernel);
  return { ...kernel, body: withoutUnused(body, countUses(body)) };
}

function simplified(kernel: TileKernel): readonly Statement[] {
  /** What registers that never change hold: a value, or whatever lies in a range. */
  const values = new Map<Register, TileExpression>();
  const ranges = new Map<Register, Range>([
    [kernel.item, [0, kernel.grid - 1]],
    [kernel.thread, [0, kernel.workgroup - 1]],
  ]);
  const instead = new Map<Register, TileExpression>();
  const done = new Map<TileExpression, TileExpression>();
  const variables = new Set<Register>();
  const keys = createKeys(variables);
  /** Named values of the blocks around, outermost first; and conditions that raised the flag already. */
  const named: Map<string, Register>[] = [];
  const flagged: Set<string>[] = [];

  const rangeOf = (of: TileExpression): Range => {
    if (of.kind === 'number') return [of.value, of.value];
    if (of.kind === 'register') return ranges.get(of.register) ?? anything;
    if (of.kind !== 'apply' || of.type.dtype !== 'index') return anything;
    const [a, b] = of.operands.map(rangeOf);
    return (b === undefined ? undefined : combinedRange(of.op, a, b)) ?? anything;
  };

  const expression = (of: TileExpression): TileExpression => {
    const known = done.get(of);
    if (known !== undefined) return known;
    const made = of.kind === 'register' ? (instead.get(of.register) ?? of) : simpler(rewriteOperands(of, expression));
    done.set(of, made);
    return made;
  };

  const simpler = (of: TileExpression): TileExpression => {
    if (of.kind !== 'apply' || of.type.dtype !== 'index' || of.type.lanes !== 1) return of;
    const [a, b] = of.operands;
    if ((of.op === 'rem' || of.op === 'div') && b.kind === 'number') {
      const [low, high] = rangeOf(a);
      if (low >= 0 && high < b.value) return of.op === 'rem' ? a : index(0);
    }
    const folded = apply(of.op, ...of.operands);
    return folded.kind === 'apply' && folded.op === 'add' ? (withoutDigits(folded, values) ?? folded) : folded;
  };

  const defined = (of: Let): readonly Let[] => {
    const value = expression(of.value);
    const key = keys(value);
    const same = key === undefined ? undefined : named.map((block) => block.get(key)).find((one) => one !== undefined);
    // A variable may hold something else by then.
    const isName = value.kind === 'register' && !variables.has(value.register);
    if (value.kind === 'number' || isName || same !== undefined) {
      instead.set(of.register, same === undefined ? value : read(same));
      return [];
    }
    if (key !== undefined) {
      named[named.length - 1].set(key, of.register);
      values.set(of.register, value);
    }
    if (value.type.dtype === 'index' && value.type.lanes === 1) ranges.set(of.register, rangeOf(value));
    return [{ ...of, value }];
  };

  const isFlagged = (condition: TileExpression): boolean => {
    const key = keys(expression(condition));
    if (key === undefined) return false;
    if (flagged.some((block) => block.has(key))) return true;
    flagged[flagged.length - 1].add(key);
    return false;
  };

  const block = (statements: readonly Statement[]): readonly Statement[] => {
    named.push(new Map());
    flagged.push(new Set());
    const made = statements.flatMap((statement): readonly Statement[] => {
      if (statement.kind === 'let') return defined(statement);
      if (statement.kind === 'flag' && isFlagged(statement.condition)) return [];
      if (statement.kind === 'var') variables.add(statement.register);
      if (statement.kind === 'for') {
        const [low] = rangeOf(expression(statement.from));
        const [, end] = rangeOf(expression(statement.to));
        ranges.set(statement.index, [low, end - 1]);
      }
      return [rewriteStatement(statement, { expression, memory: itself, register: itself, body: block })];
    });
    named.pop();
    flagged.pop();
    return made;
  };
  return block(kernel.body);
}

const itself = <Kind>(of: Kind): Kind => of;

const anything: Range = [-Infinity, Infinity];

function combinedRange(op: string, [low, high]: Range, [least, most]: Range): Range | undefined {
  switch (op) {
    case 'add':
      return [low + least, high + most];
    case 'sub':
      return [low - most, high - least];
    case 'mul':
      return least === most && least > 0 ? [low * least, high * least] : undefined;
    case 'div':
      return least === most && least > 0 ? [Math.trunc(low / least), Math.trunc(high / least)] : undefined;
    case 'rem':
      return least === most && least > 0 && low >= 0 ? [0, Math.min(high, least - 1)] : undefined;
    case 'min':
      return [Math.min(low, least), Math.min(high, most)];
    case 'max':
      return [Math.max(low, least), Math.max(high, most)];
    default:
      return undefined;
  }
}

/** x mod n + x / n · n = x, also a multiple of both; undefined where there is nothing of that. */
function withoutDigits(sum: TileExpression, values: ReadonlyMap<Register, TileExpression>): TileExpression | undefined {
  const terms = termsOf(sum);
  let found = false;
  const digit = (of: TileExpression, op: 'rem' | 'div'): { readonly of: Register; readonly by: number } | undefined => {
    const value = of.kind === 'register' ? values.get(of.register) : of;
    if (value?.kind !== 'apply' || value.op !== op) return undefined;
    const [x, by] = value.operands;
    return x.kind === 'register' && by.kind === 'number' ? { of: x.register, by: by.value } : undefined;
  };
  for (let first = 0; first < terms.length; first++) {
    const low = digit(terms[first].of, 'rem');
    const second =
      low === undefined
        ? -1
        : terms.findIndex(({ of, times }) => {
            const high = digit(of, 'div');
            return high?.of === low.of && high.by === low.by && times === terms[first].times * low.by;
          });
    if (low === undefined || second < 0) continue;
    found = true;
    terms[first] = { of: read(low.of), times: terms[first].times };
    terms.splice(second, 1);
    first = -1;
  }
  return found ? terms.reduce((before, { of, times }) => add(before, mul(of, times)), index(0)) : undefined;
}

interface Term {
  readonly of: TileExpression;
  readonly times: number;
}

function termsOf(of: TileExpression): Term[] {
  if (of.kind !== 'apply') return [{ of, times: 1 }];
  const [a, b] = of.operands;
  if (of.op === 'add') return [...termsOf(a), ...termsOf(b)];
  if (of.op === 'mul' && b.kind === 'number') return [{ of: a, times: b.value }];
  return [{ of, times: 1 }];
}

/** The same text for the same value; none for what may be another value each time: memory, and variables. */
function createKeys(variables: ReadonlySet<Register>): (of: TileExpression) => string | undefined {
  const numbers = new Map<Register, number>();
  const known = new Map<TileExpression, string | undefined>();
  const all = (of: readonly TileExpression[]): string | undefined => {
    const made = of.map(keyOf);
    return made.includes(undefined) ? undefined : made.join(',');
  };
  const named = (type: TileExpression['type'], what: string, operands: string | undefined): string | undefined =>
    operands === undefined ? undefined : `${what}:${type.dtype}${type.lanes}(${operands})`;
  const make = (of: TileExpression): string | undefined => {
    switch (of.kind) {
      case 'number':
        return named(of.type, Object.is(of.value, -0) ? '-0' : String(of.value), '');
      case 'register': {
        if (variables.has(of.register)) return undefined;
        const number = numbers.get(of.register) ?? numbers.size;
        numbers.set(of.register, number);
        return `r${number}`;
      }
      case 'apply':
        return named(of.type, of.op, all(of.operands));
      case 'cast':
      case 'splat':
        return named(of.type, of.kind, all([of.operand]));
      case 'combine':
        return named(of.type, of.monoid, all([of.operand]));
      case 'ramp':
        return named(of.type, of.kind, '');
      case 'shuffle':
        return named(of.type, of.picks.join('.'), all(of.operands));
      case 'load':
        return undefined;
    }
  };
  function keyOf(of: TileExpression): string | undefined {
    if (!known.has(of)) known.set(of, make(of));
    return known.get(of);
  }
  return keyOf;
}

/** From the last statement to the first: what a statement that falls away uses is then used less. */
function withoutUnused(body: readonly Statement[], uses: Map<Register, number>): readonly Statement[] {
  const kept: Statement[] = [];
  for (const statement of body.toReversed()) {
    if (statement.kind === 'let' && (uses.get(statement.register) ?? 0) === 0)
      visitRegisters(statement.value, (register) => uses.set(register, (uses.get(register) ?? 0) - 1));
    else if (statement.kind === 'for') kept.push({ ...statement, body: withoutUnused(statement.body, uses) });
    else if (statement.kind === 'if')
      kept.push({ ...statement, then: withoutUnused(statement.then, uses), else: withoutUnused(statement.else, uses) });
    else kept.push(statement);
  }
  return kept.reverse();
}
