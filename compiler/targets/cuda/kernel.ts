/** A kernel as one CUDA C++ function: its buffers, the counters of the loops around the launch, the flag word. */
import type { Statement, TileKernel } from '../../tile/tile.ts';
import { mentions, printBody } from '../structured.ts';
import { emitCast } from './cast.ts';
import { emitMultiply } from './matrix.ts';
import { declaration, emitFetch, emitLoad, emitStore, parameter } from './memory.ts';
import { emitOp } from './scalar.ts';
import { emitWideMultiply } from './wide-matrix.ts';
import { cudaType, literal, type UnitWriter } from './writer.ts';

/** All statements, those within others too. */
const statementsIn = (body: readonly Statement[]): readonly Statement[] =>
  body.flatMap((statement) => {
    if (statement.kind === 'for') return statementsIn(statement.body);
    if (statement.kind === 'if') return [...statementsIn(statement.then), ...statementsIn(statement.else)];
    return statement;
  });

/** `shared[i]`: parameter i may be the same buffer as another. */
export function emitKernel(writer: UnitWriter, name: string, kernel: TileKernel, shared: readonly boolean[]): string {
  const statements = statementsIn(kernel.body);
  const inPanels = new Set(
    statements.flatMap((of) => (of.kind === 'multiply' && of.threads === 128 ? [of.left.memory, of.right.memory] : [])),
  );
  const fetches = statements.some(({ kind }) => kind === 'fetch');
  // What was asked for is there, and whoever reads workgroup memory without a thread's doing finds it.
  const barrier = (leaves: number): string =>
    [
      ...(fetches ? [`${writer.use('fetched')}<${leaves}>();`] : []),
      ...(inPanels.size > 0 ? [`${writer.use('show')}();`] : []),
      '__syncthreads();',
    ].join(' ');
  const body = printBody(kernel.body, {
    literal,
    constant: (register, dtype, value) => `const ${cudaType(dtype)} ${register} = ${value};`,
    variable: (register, dtype, value) => `${cudaType(dtype)} ${register} = ${value};`,
    op: (op, dtype, operands) => emitOp(writer, op, dtype, operands),
    cast: (from, to, value) => emitCast(writer, from, to, value),
    load: (memory, offset, mask) => emitLoad(writer, memory, offset, mask),
    store: (memory, offset, value) => emitStore(writer, memory, offset, value),
    loop: (index, from, to, step) =>
      `for (int ${index} = ${from}; ${index} < ${to}; ${step === 1 ? `${index}++` : `${index} += ${step}`})`,
    fetch: (of, print) => emitFetch(writer, of, print),
    multiply: (of, print) =>
      of.threads === 128 ? emitWideMultiply(writer, of, print) : emitMultiply(writer, of, print),
    barrier,
    exchange: (dtype, value, distance) =>
      dtype === 'bool'
        ? `(__shfl_xor_sync(0xffffffffu, (int)(${value}), ${distance}) != 0)`
        : `__shfl_xor_sync(0xffffffffu, ${value}, ${distance})`,
    raiseFlag: '*flag = 1u;',
  });
  const parameters = [
    ...kernel.parameters.map((memory, place) => parameter(memory, shared[place] === true)),
    ...kernel.arguments.map((argument) => `int ${argument.name}`),
    'unsigned* flag',
  ];
  const lines = [
    `// ${kernel.grid} blocks of ${kernel.workgroup}`,
    `extern "C" __global__ void __launch_bounds__(${kernel.workgroup}) ${name}(`,
    ...parameters.map((text, place) => `  ${text}${place === parameters.length - 1 ? '' : ','}`),
    ') {',
    ...kernel.scratch.map((memory) => `  ${declaration(memory, inPanels.has(memory))}`),
    ...(mentions(body, kernel.item) ? [`  const int ${kernel.item.name} = blockIdx.x;`] : []),
    ...(mentions(body, kernel.thread) ? [`  const int ${kernel.thread.name} = threadIdx.x;`] : []),
    ...body,
    '}',
  ];
  return `${lines.join('\n')}\n`;
}
