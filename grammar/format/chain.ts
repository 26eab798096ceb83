/** Rows of operators and ladders of `if`, flat again: the tree is as deep as they are long, a printer's stack is not. */
import type { Binary, Conditional, Expression, Pipe } from '../ast.ts';
import { precedence } from '../operators.ts';

export interface Chain {
  readonly operands: readonly Expression[];
  /** One fewer than operands; for a ladder, nothing. */
  readonly operators: readonly string[];
}

/** `a + b - c`, `a ^ b ^ c`, `a |> f |> g`; of a ladder, condition and value of each rung, then the last value. */
export function chain(node: Expression): Chain {
  if (node.kind === 'pipe')
    return leftChain(node, (one) =>
      one.kind === 'pipe' ? { left: one.value, operator: '|>', right: one.into } : undefined,
    );
  if (node.kind === 'if') return { operands: ladder(node), operators: [] };
  if (node.kind !== 'binary') return { operands: [node], operators: [] };
  if (node.operator === '^') return powerChain(node);
  const level = precedence[node.operator];
  const canChain = level !== precedence['=='];
  return leftChain(node, (one) =>
    one.kind === 'binary' && (one === node || (canChain && precedence[one.operator] === level)) ? one : undefined,
  );
}

function leftChain(
  node: Binary | Pipe,
  split: (node: Expression) => { left: Expression; operator: string; right: Expression } | undefined,
): Chain {
  const operands: Expression[] = [];
  const operators: string[] = [];
  let rest: Expression = node;
  for (let parts = split(rest); parts !== undefined; parts = split(rest)) {
    operands.push(parts.right);
    operators.push(parts.operator);
    rest = parts.left;
  }
  operands.push(rest);
  return { operands: operands.reverse(), operators: operators.reverse() };
}

function powerChain(node: Binary): Chain {
  const operands: Expression[] = [];
  let rest: Expression = node;
  while (rest.kind === 'binary' && rest.operator === '^') {
    operands.push(rest.left);
    rest = rest.right;
  }
  operands.push(rest);
  return { operands, operators: Array.from({ length: operands.length - 1 }, () => '^') };
}

function ladder(node: Conditional): Expression[] {
  const operands: Expression[] = [];
  let rest: Expression = node;
  while (rest.kind === 'if') {
    operands.push(rest.condition, rest.then);
    rest = rest.else;
  }
  operands.push(rest);
  return operands;
}
