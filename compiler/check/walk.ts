/** The parts of an expression, for walks that do not care what it is. */
import type { Block, Expression, Statement } from '../../grammar/ast.ts';

/** The expressions directly inside, in the order of the text. */
export function parts(expression: Expression): readonly Expression[] {
  switch (expression.kind) {
    case 'number':
    case 'bool':
    case 'identifier':
      return [];
    case 'string':
      return expression.parts.filter((part) => typeof part !== 'string');
    case 'unary':
      return [expression.operand];
    case 'binary':
      return [expression.left, expression.right];
    case 'pipe':
      return [expression.value, expression.into];
    case 'call':
    case 'make':
      return [expression.callee, ...expression.arguments.map(({ value }) => value)];
    case 'index':
      return [expression.target, ...expression.items.flatMap((item) => (item.kind === 'at' ? [item.value] : []))];
    case 'member':
      return [expression.target];
    case 'reduction':
      return [...expression.indices.flatMap(({ range }) => (range === undefined ? [] : [range])), expression.body];
    case 'if':
      return [expression.condition, expression.then, expression.else];
    case 'tuple':
    case 'list':
      return expression.elements;
    case 'comprehension':
      return [
        expression.over,
        expression.element,
        ...(expression.condition === undefined ? [] : [expression.condition]),
      ];
    case 'range':
      return [expression.from, expression.to];
    case 'record':
      return expression.fields.map(({ value }) => value);
    case 'block':
      return blockParts(expression);
    case 'scan':
      return [expression.over, ...expression.carried.map(({ init }) => init), ...blockParts(expression.body)];
  }
}

const blockParts = (block: Block): readonly Expression[] => [
  ...block.statements.flatMap(statementParts),
  ...(block.result === undefined ? [] : [block.result]),
];

function statementParts(statement: Statement): readonly Expression[] {
  switch (statement.kind) {
    case 'let':
    case 'assign':
    case 'yield':
      return [statement.value];
    case 'expect': {
      const right = statement.comparison === undefined ? [] : [statement.comparison.right];
      return [statement.left, ...right, ...(statement.within === undefined ? [] : [statement.within])];
    }
    case 'gradcheck':
      return [statement.target];
    case 'train':
      return [statement.steps, ...(statement.batches === undefined ? [] : [statement.batches])];
  }
}

/** How many levels deep a tree is, found without recursion. */
export function depthOf(tree: object): number {
  let deepest = 0;
  const open: [node: object, depth: number][] = [[tree, 1]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [node, depth] = next;
    deepest = Math.max(deepest, depth);
    for (const [key, value] of Object.entries(node))
      if (typeof value === 'object' && value !== null && key !== 'span')
        open.push([value, Array.isArray(value) ? depth : depth + 1]);
  }
  return deepest;
}

/** Whether some part, however deep, satisfies the condition. */
export function some(expression: Expression, holds: (part: Expression) => boolean): boolean {
  return holds(expression) || parts(expression).some((part) => some(part, holds));
}
