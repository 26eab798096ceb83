/**
 * Kernels that do not depend on each other as one launch: its grid is theirs one after the other, and each workgroup does what the
 * kernel would do that its number falls to.
 *
 *   kernel a grid 5, kernel b grid 3   →   kernel ab grid 8: if whole < 5 { a, item = whole } else { b, item = whole - 5 }
 */
import { less, read, register, sub } from './build.ts';
import type { MatrixOperand, Memory, Register, Statement, TileExpression, TileKernel } from './tile.ts';

/** All must have workgroups of one size, and the same arguments. */
export function mergeKernels(name: string, kernels: readonly TileKernel[]): TileKernel {
  const whole = register('whole', 'index');
  const thread = register('thread', 'index');
  const [{ arguments: given, workgroup }] = kernels;
  const counters = given.map((argument) => register(argument.name, 'index'));
  const parameters: Memory[] = [];
  const scratch: Memory[] = [];
  let grid = 0;
  const parts = kernels.map((kernel) => {
    const memories = new Map<Memory, Memory>();
    for (const memory of kernel.parameters) add(memory, `p${parameters.length}`, parameters, memories);
    for (const memory of kernel.scratch) add(memory, `s${scratch.length}`, scratch, memories);
    const registers = new Map<Register, Register>([
      [kernel.thread, thread],
      ...kernel.arguments.map((argument, at): [Register, Register] => [argument, counters[at]]),
    ]);
    const from = grid;
    grid += kernel.grid;
    const item: Statement = { kind: 'let', register: kernel.item, value: sub(read(whole), from) };
    return { end: grid, body: [item, ...renamed(kernel.body, memories, registers)] };
  });
  const body = parts
    .slice(0, -1)
    .reduceRight<readonly Statement[]>(
      (rest, { end, body: own }) => [{ kind: 'if', condition: less(read(whole), end), then: own, else: rest }],
      parts[parts.length - 1].body,
    );
  return { name, parameters, arguments: counters, scratch, grid, item: whole, workgroup, thread, body };
}

function add(memory: Memory, name: string, to: Memory[], names: Map<Memory, Memory>): void {
  const own = { ...memory, name };
  to.push(own);
  names.set(memory, own);
}

function renamed(
  body: readonly Statement[],
  memories: ReadonlyMap<Memory, Memory>,
  registers: ReadonlyMap<Register, Register>,
): readonly Statement[] {
  const done = new Map<TileExpression, TileExpression>();
  const memoryOf = (memory: Memory): Memory => memories.get(memory) ?? memory;
  const expression = (of: TileExpression): TileExpression => {
    const known = done.get(of);
    if (known !== undefined) return known;
    const made = rename(of);
    done.set(of, made);
    return made;
  };
  const rename = (of: TileExpression): TileExpression => {
    switch (of.kind) {
      case 'register': {
        const other = registers.get(of.register);
        return other === undefined ? of : read(other);
      }
      case 'apply':
        return { ...of, operands: of.operands.map(expression) };
      case 'cast':
      case 'splat':
      case 'combine':
        return { ...of, operand: expression(of.operand) };
      case 'shuffle':
        return { ...of, operands: [expression(of.operands[0]), expression(of.operands[1])] };
      case 'load':
        return {
          ...of,
          memory: memoryOf(of.memory),
          offset: expression(of.offset),
          ...(of.mask !== undefined && { mask: expression(of.mask) }),
        };
      default:
        return of;
    }
  };
  const statement = (of: Statement): Statement => {
    switch (of.kind) {
      case 'let':
      case 'var':
      case 'assign':
      case 'exchange':
        return { ...of, value: expression(of.value) };
      case 'store':
        return {
          ...of,
          memory: memoryOf(of.memory),
          offset: expression(of.offset),
          value: expression(of.value),
          ...(of.mask !== undefined && { mask: expression(of.mask) }),
        };
      case 'for':
        return { ...of, from: expression(of.from), to: expression(of.to), body: of.body.map(statement) };
      case 'if':
        return {
          ...of,
          condition: expression(of.condition),
          then: of.then.map(statement),
          else: of.else.map(statement),
        };
      case 'prefetch':
        return { ...of, memory: memoryOf(of.memory), offset: expression(of.offset) };
      case 'fetch':
        return {
          ...of,
          memory: memoryOf(of.memory),
          offset: expression(of.offset),
          from: memoryOf(of.from),
          at: expression(of.at),
          ...(of.mask !== undefined && { mask: expression(of.mask) }),
        };
      case 'multiply': {
        const operand = (matrix: MatrixOperand): MatrixOperand => ({
          ...matrix,
          memory: memoryOf(matrix.memory),
          offset: expression(matrix.offset),
        });
        return { ...of, left: operand(of.left), right: operand(of.right) };
      }
      case 'flag':
        return { ...of, condition: expression(of.condition) };
      case 'barrier':
        return of;
    }
  };
  return body.map(statement);
}
