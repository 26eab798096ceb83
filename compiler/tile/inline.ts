/**
 * A kernel's body with what is named only once written where it is used, and what nobody uses left out: for targets whose text
 * people read, and whose compilers see single expressions better than chains of names.
 *
 *   let r1 = p0[i]; let r2 = splat(r1, 4)   →   let r2 = splat(p0[i], 4)
 */
import { countUses, rewriteOperands, visitRegisters } from './rewrite.ts';
import type { Register, Statement, TileExpression } from './tile.ts';

type Let = Extract<Statement, { kind: 'let' }>;

export function inlineOnce(body: readonly Statement[]): readonly Statement[] {
  return inline(body, countUses(body));
}

/** From the last statement to the first: what a statement that falls away uses is then used less. */
function inline(body: readonly Statement[], uses: Map<Register, number>): readonly Statement[] {
  const kept: Statement[] = [];
  for (let at = body.length - 1; at >= 0; at--) {
    const statement = nested(body[at], uses);
    if (statement.kind === 'let') {
      const count = uses.get(statement.register) ?? 0;
      if (count === 0) {
        visitRegisters(statement.value, (register) => uses.set(register, (uses.get(register) ?? 0) - 1));
        continue;
      }
      const next = kept[kept.length - 1];
      const merged = count === 1 && next !== undefined ? replaced(next, statement) : undefined;
      if (merged !== undefined) {
        kept[kept.length - 1] = merged;
        continue;
      }
    }
    kept.push(statement);
  }
  return kept.reverse();
}

function nested(statement: Statement, uses: Map<Register, number>): Statement {
  if (statement.kind === 'for') return { ...statement, body: inline(statement.body, uses) };
  if (statement.kind === 'if')
    return { ...statement, then: inline(statement.then, uses), else: inline(statement.else, uses) };
  return statement;
}

/** The statement with the name's one use replaced; undefined where it is not in what the statement itself computes. */
function replaced(statement: Statement, { register, value }: Let): Statement | undefined {
  let found = false;
  const replace = (of: TileExpression): TileExpression => {
    if (of.kind === 'register') {
      if (of.register !== register) return of;
      found = true;
      return value;
    }
    return rewriteOperands(of, replace);
  };
  switch (statement.kind) {
    case 'let':
    case 'var':
    case 'assign': {
      const made = { ...statement, value: replace(statement.value) };
      return found ? made : undefined;
    }
    case 'store': {
      const made = {
        ...statement,
        offset: replace(statement.offset),
        value: replace(statement.value),
        ...(statement.mask !== undefined && { mask: replace(statement.mask) }),
      };
      return found ? made : undefined;
    }
    case 'if':
    case 'flag': {
      const made = { ...statement, condition: replace(statement.condition) };
      return found ? made : undefined;
    }
    default:
      // A loop's bounds are looked at in every round.
      return undefined;
  }
}
