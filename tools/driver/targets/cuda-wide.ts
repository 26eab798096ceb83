/**
 * Does this GPU multiply by 128 threads as the compiler thinks it does? wgmma reads workgroup memory by descriptors, and one that is
 * wrong gives wrong numbers in silence. So it is tried out, once a session, on products whose sums every type holds exactly.
 */
import type { Graph } from '../../../compiler/graph/graph.ts';
import { createBuilder } from '../../../compiler/ops/builder.ts';
import { compileFor } from '../../../compiler/pipeline.ts';
import { type CudaText, forCuda } from '../../../compiler/targets/cuda/compiler.ts';
import type { Compiler, MatrixDtype } from '../../../compiler/targets/target.ts';
import type { CudaDescription } from '../../../runtime/devices/cuda-driver.ts';
import type { Executable, TypedArray } from '../../../runtime/program.ts';

const [rows, sum, columns] = [128, 104, 136];

/** Every way in which operands can lie, and every type. */
const products = [
  { dtype: 'bf16', turned: [false, false] },
  { dtype: 'bf16', turned: [true, false] },
  { dtype: 'f16', turned: [false, true] },
  { dtype: 'f16', turned: [true, true] },
  { dtype: 'tf32', turned: [false, true] },
  { dtype: 'tf32', turned: [true, false] },
] as const;

interface Chosen {
  readonly compiler: Compiler<CudaText>;
  /** What is wrong with the GPU. */
  readonly notice?: string;
}

/** The compiler for a GPU, which is given the program that tries it out. `wide`: where it has wgmma it may be used. */
export async function compilerOn(
  { major, minor, multiprocessors }: CudaDescription,
  wide: boolean,
  load: (program: CudaText) => Promise<Executable>,
): Promise<Chosen> {
  // Only this compute capability has it.
  if (!wide || major !== 9 || minor !== 0) return { compiler: forCuda(multiprocessors) };
  if (await multipliesWide(load)) return { compiler: forCuda(multiprocessors, true) };
  const notice =
    'Target cuda: on this GPU, products by wgmma are not what they should be. They go through mma, which is slower; please report it.';
  return { compiler: forCuda(multiprocessors), notice };
}

async function multipliesWide(load: (program: CudaText) => Promise<Executable>): Promise<boolean> {
  const executable = await load(compileFor(forCuda(1, true), tried()));
  const [left, right] = [signs(rows * sum, 1), signs(sum * columns, 2)];
  const given = products.flatMap(({ dtype, turned }, at): [string, TypedArray][] => [
    [`x${at}`, written[dtype](turned[0] ? turn(left, rows, sum) : left)],
    [`w${at}`, written[dtype](turned[1] ? turn(right, sum, columns) : right)],
  ]);
  const found = await executable.run(new Map(given));
  const wanted = Array.from({ length: rows * columns }, (_, at) => {
    const [row, column] = [Math.floor(at / columns), at % columns];
    return Array.from({ length: sum }, (__, k) => left[row * sum + k] * right[k * columns + column]).reduce(
      (a, b) => a + b,
    );
  });
  return products.every((_, at) => {
    const result = found.get(`y${at}`);
    return result !== undefined && wanted.every((value, place) => result[place] === value);
  });
}

function tried(): Graph {
  const build = createBuilder('wide');
  products.forEach(({ dtype, turned }, at) => {
    const operand = (name: string, shape: readonly number[], isTurned: boolean) => {
      const given = build.input(name, 'batch', {
        dtype: dtype === 'tf32' ? 'f32' : dtype,
        shape: isTurned ? [...shape].reverse() : shape,
      });
      const value = dtype === 'tf32' ? build.unary('tf32', given) : given;
      return isTurned ? build.transpose(value, [1, 0]) : value;
    };
    const product = build.matmul(
      operand(`x${at}`, [rows, sum], turned[0]),
      operand(`w${at}`, [sum, columns], turned[1]),
    );
    build.output(`y${at}`, 'result', build.cast(product, 'f32'));
  });
  return build.finish();
}

/** -1, 0 and 1, without a pattern that another order would leave as it is. */
function signs(count: number, seed: number): number[] {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state >>> 16) % 3) - 1;
  });
}

const turn = (of: readonly number[], height: number, width: number): number[] =>
  Array.from({ length: of.length }, (_, at) => of[(at % height) * width + Math.floor(at / height)]);

const written: Record<MatrixDtype, (of: readonly number[]) => TypedArray> = {
  bf16: (of) => bitsOf(of, 0x3f80),
  f16: (of) => bitsOf(of, 0x3c00),
  tf32: (of) => Float32Array.from(of),
};

/** The bits of a half precision whose 1 are these. */
const bitsOf = (of: readonly number[], one: number): Uint16Array =>
  Uint16Array.from(of, (value) => (value === 0 ? 0 : value < 0 ? 0x8000 | one : one));
