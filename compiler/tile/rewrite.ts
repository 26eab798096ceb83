/** Statements and expressions of Tile IR with what they are made of replaced, or counted. */
import type { MatrixOperand, Memory, Register, Statement, TileExpression } from './tile.ts';

/** What becomes of the parts of a statement. */
export interface TileRewriter {
  expression(of: TileExpression): TileExpression;
  memory(of: Memory): Memory;
  /** Where it is defined or assigned; where it is read it is an expression. */
  register(of: Register): Register;
  body(of: readonly Statement[]): readonly Statement[];
}

/** An expression whose operands are rewritten; itself where none of them changes. */
export function rewriteOperands(
  of: TileExpression,
  expression: (of: TileExpression) => TileExpression,
  memoryOf: (of: Memory) => Memory = (memory) => memory,
): TileExpression {
  switch (of.kind) {
    case 'apply': {
      const operands = of.operands.map(expression);
      return operands.every((operand, at) => operand === of.operands[at]) ? of : { ...of, operands };
    }
    case 'cast':
    case 'splat':
    case 'combine': {
      const operand = expression(of.operand);
      return operand === of.operand ? of : { ...of, operand };
    }
    case 'shuffle': {
      const [a, b] = of.operands;
      const operands = [expression(a), expression(b)] as const;
      return operands[0] === a && operands[1] === b ? of : { ...of, operands };
    }
    case 'load': {
      const memory = memoryOf(of.memory);
      const offset = expression(of.offset);
      const mask = of.mask && expression(of.mask);
      if (memory === of.memory && offset === of.offset && mask === of.mask) return of;
      return { ...of, memory, offset, ...(mask !== undefined && { mask }) };
    }
    default:
      return of;
  }
}

export function rewriteStatement(of: Statement, { expression, memory, register, body }: TileRewriter): Statement {
  switch (of.kind) {
    case 'let':
    case 'var':
    case 'exchange':
    case 'assign': {
      const value = expression(of.value);
      return { ...of, register: register(of.register), value };
    }
    case 'store':
      return {
        ...of,
        memory: memory(of.memory),
        offset: expression(of.offset),
        value: expression(of.value),
        ...(of.mask !== undefined && { mask: expression(of.mask) }),
      };
    case 'for':
      return {
        ...of,
        from: expression(of.from),
        to: expression(of.to),
        index: register(of.index),
        body: body(of.body),
      };
    case 'if':
      return { ...of, condition: expression(of.condition), then: body(of.then), else: body(of.else) };
    case 'prefetch':
      return { ...of, memory: memory(of.memory), offset: expression(of.offset) };
    case 'fetch':
      return {
        ...of,
        memory: memory(of.memory),
        offset: expression(of.offset),
        from: memory(of.from),
        at: expression(of.at),
        ...(of.mask !== undefined && { mask: expression(of.mask) }),
      };
    case 'multiply': {
      const operand = (matrix: MatrixOperand): MatrixOperand => ({
        ...matrix,
        memory: memory(matrix.memory),
        offset: expression(matrix.offset),
      });
      return { ...of, left: operand(of.left), right: operand(of.right), sums: of.sums.map(register) };
    }
    case 'flag':
      return { ...of, condition: expression(of.condition) };
    case 'barrier':
      return of;
  }
}

/** How often each register is mentioned in an expression. */
export function countUses(body: readonly Statement[]): Map<Register, number> {
  const uses = new Map<Register, number>();
  countIn(body, uses);
  return uses;
}

function countIn(body: readonly Statement[], uses: Map<Register, number>): void {
  const count = (of: TileExpression | undefined): void => {
    if (of !== undefined) visitRegisters(of, (register) => uses.set(register, (uses.get(register) ?? 0) + 1));
  };
  for (const statement of body)
    switch (statement.kind) {
      case 'let':
      case 'var':
      case 'assign':
      case 'exchange':
        count(statement.value);
        break;
      case 'store':
        [statement.offset, statement.value, statement.mask].forEach(count);
        break;
      case 'for':
        [statement.from, statement.to].forEach(count);
        countIn(statement.body, uses);
        break;
      case 'if':
        count(statement.condition);
        countIn(statement.then, uses);
        countIn(statement.else, uses);
        break;
      case 'prefetch':
        count(statement.offset);
        break;
      case 'fetch':
        [statement.offset, statement.at, statement.mask].forEach(count);
        break;
      case 'flag':
        count(statement.condition);
        break;
      case 'multiply':
        [statement.left.offset, statement.right.offset].forEach(count);
        break;
      case 'barrier':
        break;
    }
}

/** Every mention of a register, as often as it is mentioned. */
export function visitRegisters(of: TileExpression, visit: (register: Register) => void): void {
  switch (of.kind) {
    case 'register':
      return visit(of.register);
    case 'apply':
    case 'shuffle':
      return of.operands.forEach((operand) => visitRegisters(operand, visit));
    case 'cast':
    case 'splat':
    case 'combine':
      return visitRegisters(of.operand, visit);
    case 'load':
      visitRegisters(of.offset, visit);
      if (of.mask !== undefined) visitRegisters(of.mask, visit);
      return;
    default:
      return;
  }
}
