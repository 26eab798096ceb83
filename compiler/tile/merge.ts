/**
 * Kernels that do not depend on each other as one launch: its grid is theirs one after the other, and each workgroup does what the
 * kernel would do that its number falls to.
 *
 *   kernel a grid 5, kernel b grid 3   →   kernel ab grid 8: if whole < 5 { a, item = whole } else { b, item = whole - 5 }
 */
import { less, read, register, sub } from './build.ts';
import { rewriteOperands, rewriteStatement } from './rewrite.ts';
import type { Memory, Register, Statement, TileExpression, TileKernel } from './tile.ts';

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
    const item = { ...kernel.item };
    registers.set(kernel.item, item);
    const own: Statement = { kind: 'let', register: item, value: sub(read(whole), from) };
    return { end: grid, body: [own, ...renamed(kernel.body, memories, registers)] };
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

/** The body with memories and registers of its own, those that it defines among them. */
function renamed(
  body: readonly Statement[],
  memories: ReadonlyMap<Memory, Memory>,
  registers: Map<Register, Register>,
): readonly Statement[] {
  const done = new Map<TileExpression, TileExpression>();
  const memory = (of: Memory): Memory => memories.get(of) ?? of;
  const register = (of: Register): Register => {
    const own = registers.get(of) ?? { ...of };
    registers.set(of, own);
    return own;
  };
  const expression = (of: TileExpression): TileExpression => {
    const made =
      done.get(of) ?? (of.kind === 'register' ? read(register(of.register)) : rewriteOperands(of, expression, memory));
    done.set(of, made);
    return made;
  };
  const own = (statements: readonly Statement[]): readonly Statement[] =>
    statements.map((statement) => rewriteStatement(statement, { expression, memory, register, body: own }));
  return own(body);
}
