/** A kernel as one CUDA C++ function: its buffers, the counters of the loops around the launch, the flag word. */
import type { Statement, TileKernel } from '../../tile/tile.ts';
import { mentions, printBody } from '../structured.ts';
import { emitCast } from './cast.ts';
import { emitMultiply } from './matrix.ts';
import { declaration, emitFetch, emitLoad, emitStore, parameter } from './memory.ts';
import { emitOp } from './scalar.ts';
import { cudaType, literal, type UnitWriter } from './writer.ts';

/** Does it have to wait for what it fetched? */
const fetches = (body: readonly Statement[]): boolean =>
  body.some((statement) => {
    if (statement.kind === 'for') return fetches(statement.body);
    if (statement.kind === 'if') return fetches(statement.then) || fetches(statement.else);
    return statement.kind === 'fetch';
  });

/** `shared[i]`: parameter i may be the same buffer as another. */
export function emitKernel(writer: UnitWriter, name: string, kernel: TileKernel, shared: readonly boolean[]): string {
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
    multiply: (of, print) => emitMultiply(writer, of, print),
    barrier: fetches(kernel.body) ? `${writer.use('fetched')}(); __syncthreads();` : '__syncthreads();',
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
    ...kernel.scratch.map((memory) => `  ${declaration(memory)}`),
    ...(mentions(body, kernel.item) ? [`  const int ${kernel.item.name} = blockIdx.x;`] : []),
    ...(mentions(body, kernel.thread) ? [`  const int ${kernel.thread.name} = threadIdx.x;`] : []),
    ...body,
    '}',
  ];
  return `${lines.join('\n')}\n`;
}
