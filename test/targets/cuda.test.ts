/**
 * The cuda target. Every op, on every sample of its record, and random graphs with their gradients, against the reference: on an
 * emulated driver. Where nvcc is, it compiles the kernels of every example, for sm_80 and sm_90a.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Builder } from '../../compiler/graph/build.ts';
import type { Graph, Precision, Value } from '../../compiler/graph/graph.ts';
import type { TileBuffer } from '../../compiler/tile/tile.ts';
import type { CudaText } from '../../compiler/targets/cuda/compiler.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import { compile } from '../../compiler/pipeline.ts';
import { type MatrixDtype, matrixDtypes } from '../../compiler/targets/target.ts';
import { capabilitiesOf } from '../../compiler/targets/cuda/features.ts';
import { emitCuda } from '../../compiler/targets/cuda/step.ts';
import { openCudaSession, type CudaSession } from '../../runtime/devices/cuda.ts';
import type { Executable, TypedArray } from '../../runtime/program.ts';
import { compilerOn } from '../../tools/driver/targets/cuda-wide.ts';
import { attention, type Variant } from '../fuse/attention.ts';
import { mlp } from '../fuse/networks.ts';
import { emulatedImage, emulatedProgram, emulatorProblem } from '../support/cuda.ts';
import { expectNear, inputsOf, type Proof, samplesByOp } from '../support/proof.ts';
import { randomGraph } from '../support/random-graph.ts';
import { opNames } from '../support/samples.ts';
import { together } from '../tile/programs.ts';
import { typed } from '../tile/values.ts';

const inPrecision = (products: MatrixDtype, storage: Precision['storage']): Precision => ({
  products,
  storage,
  except: [],
});

describe.skipIf(emulatorProblem !== undefined)(
  `cuda against reference${emulatorProblem === undefined ? '' : ` (skipped: ${emulatorProblem})`}`,
  () => {
    let session: CudaSession;
    beforeAll(async () => void (session = await openCudaSession()));
    afterAll(() => session.close());

    /** Compiles and runs the graphs as one program, and compares every result with the reference's. */
    async function prove(proofs: readonly Proof[], machine = capabilitiesOf(4)): Promise<void> {
      const inputs = proofs.map(inputsOf);
      const tiles = proofs.map(({ graph }) => compile(graph, machine, { verify: true }).tile);
      const given = tiles.flatMap(({ buffers }, place) =>
        buffers.flatMap(({ name }): [string, TypedArray][] => {
          const tensor = inputs[place].get(name);
          return tensor === undefined ? [] : [[`${place}.${name}`, typed(tensor.type.dtype, tensor.data)]];
        }),
      );
      const executable = await session.load(emulatedProgram(together(tiles)));
      for (const [name, data] of given) if (session.fields.has(name)) session.write(name, data);
      const got = await executable.run(new Map(given));
      proofs.forEach((proof, place) => expectNear(proof, inputs[place], (name) => got.get(`${place}.${name}`), 'cuda'));
    }

    const proofs = samplesByOp();
    test.each(opNames)('%s', async (op) => {
      const possible = (proofs.get(op) ?? []).filter(({ graph }) =>
        graph.nodes.every(({ outputs }) => outputs.every(({ type }) => type.dtype !== 'f64')),
      );
      expect(possible.length).toBeGreaterThan(0);
      await prove(possible);
    });

    /** An operand of a product in one of the three ways tensor cores take. */
    const operandOf = (build: Builder, name: string, dtype: MatrixDtype, shape: readonly number[]): Value =>
      dtype === 'tf32'
        ? build.unary('tf32', build.input(name, 'batch', { dtype: 'f32', shape }))
        : build.input(name, 'batch', { dtype, shape });

    test.each(matrixDtypes)('products of %s by tensor cores', async (dtype) => {
      const build = createBuilder('product');
      const x = operandOf(build, 'x', dtype, [2, 70, 50]);
      const w = operandOf(build, 'w', dtype, [2, 50, 90]);
      build.output('y', 'result', build.matmul(x, w));
      const graph = build.finish();
      expect(emitCuda(compile(graph, capabilitiesOf(4)).tile).source).toMatch(
        new RegExp(`m16n8k(8|16).row.col.f32.${dtype}`),
      );
      await prove([{ says: dtype, graph, ranges: {} }]);
    });

    test.each([
      ['mixed(bf16)', { products: 'bf16', storage: 'bf16' }, 'bf16'],
      ['mixed(f16)', { products: 'f16', storage: 'f16' }, 'f16'],
      ['mixed(tf32)', { products: 'tf32', storage: 'f32' }, 'tf32'],
    ] as const)('every product of a network in %s goes through tensor cores', (_, precision, dtype) => {
      const graph: Graph = { ...mlp(64, [784, 256, 128, 16]), precision: { ...precision, except: [] } };
      const { source } = emitCuda(compile(graph, capabilitiesOf(4)).tile);
      // Three layers forward, three gradients of weights, two of what layers read.
      expect(source.match(/unsigned a\[/g)).toHaveLength(8);
      expect(source).toMatch(new RegExp(`m16n8k(8|16).row.col.f32.${dtype}`));
    });

    const turned = [
      ['as they lie', [0, 1, 2], [0, 1, 2]],
      ['the left one turned', [0, 2, 1], [0, 1, 2]],
      ['the right one turned', [0, 1, 2], [0, 2, 1]],
      ['both turned', [0, 2, 1], [0, 2, 1]],
    ] as const;
    const ways = (dtypes: readonly MatrixDtype[]) =>
      dtypes.flatMap((dtype) => turned.map(([how, left, right]) => ({ dtype, how, left, right })));
    /** An operand of these sizes whose axes lie in this order. */
    const lying = (
      build: Builder,
      name: string,
      dtype: MatrixDtype,
      sizes: readonly number[],
      order: readonly number[],
    ): Value => {
      const shape = order.map((axis) => sizes[axis]);
      return build.transpose(operandOf(build, name, dtype, shape), order);
    };
    test.each(ways(['bf16', 'tf32']))(
      'strips of products on their way while others are multiplied, $dtype, operands $how',
      async (of) => {
        const build = createBuilder('product');
        const x = lying(build, 'x', of.dtype, [2, 72, 104], of.left);
        const w = lying(build, 'w', of.dtype, [2, 104, 136], of.right);
        build.output('y', 'result', build.matmul(x, w));
        const graph = build.finish();
        const { source } = emitCuda(compile(graph, capabilitiesOf(4)).tile);
        expect(source.match(/ fetch\(s\d/g)?.length).toBeGreaterThan(2);
        expect(source).toContain('cp.async.wait_group');
        await prove([{ says: 'strips', graph, ranges: {} }]);
      },
    );

    test.each(ways(matrixDtypes))('products by 128 threads, $dtype, operands $how', async (of) => {
      // One that is whole, one that ends within its tiles, and one that does not come by 16 bytes at a time.
      for (const [rows, sum, columns, tile] of [
        [128, 64, 128, 128],
        [72, 104, 200, 128],
        [70, 50, 90, 64],
      ]) {
        const build = createBuilder('product');
        const x = lying(build, 'x', of.dtype, [2, rows, sum], of.left);
        const w = lying(build, 'w', of.dtype, [2, sum, columns], of.right);
        build.output('y', 'result', build.matmul(x, w));
        const graph = build.finish();
        const machine = capabilitiesOf(tile === 128 ? 2 : 5, true);
        const { source } = emitCuda(compile(graph, machine).tile);
        const depth = of.dtype === 'tf32' ? 8 : 16;
        expect(source).toContain(`wgmma.mma_async.sync.aligned.m64n${tile}k${depth}.f32.${of.dtype}.${of.dtype}`);
        await prove([{ says: of.how, graph, ranges: {} }], machine);
      }
    });

    const attentions: readonly (readonly [string, Variant])[] = [
      ['f32', { batch: [2], rows: 40, columns: 37, width: 6 }],
      ['tf32', { batch: [2], rows: 70, width: 8, causal: true, precision: inPrecision('tf32', 'f32') }],
      ['bf16', { batch: [2], rows: 70, width: 8, causal: true, precision: inPrecision('bf16', 'bf16') }],
      [
        'bf16, of wide heads',
        { batch: [2], rows: 66, columns: 130, width: 80, precision: inPrecision('bf16', 'bf16') },
      ],
      ['f16', { batch: [2], rows: 33, columns: 70, width: 24, precision: inPrecision('f16', 'f16') }],
    ];
    test.each(attentions)('attention by tiles, in %s', async (says, variant) => {
      // With its casts, so that the reference rounds as well.
      const graph = optimize(attention(variant));
      const { tile } = compile(graph, capabilitiesOf(4));
      const isScores = ({ role, shape }: TileBuffer): boolean =>
        role === 'temporary' && shape.at(-2) === variant.rows && shape.at(-1) === (variant.columns ?? variant.rows);
      expect(tile.buffers.filter(isScores)).toEqual([]);
      const { source } = emitCuda(tile);
      const dtype = variant.precision?.products;
      if (dtype !== undefined) expect(source).toContain(`row.col.f32.${dtype}.${dtype}`);
      await prove([{ says, graph, ranges: {} }]);
    });

    test('products by 128 threads are tried out: wrong descriptors are found', async () => {
      const load = ({ source, ...program }: CudaText, text = source): Promise<Executable> =>
        session.load({ ...program, image: emulatedImage(text) });
      const { description } = session;
      expect(description).toMatchObject({ major: 9, minor: 0 });
      const right = await compilerOn(description, true, (program) => load(program));
      expect([right.compiler.capabilities.wideMatrices, right.notice]).toEqual([matrixDtypes, undefined]);
      // Not tried where it is not there, or not wanted.
      const never = (): Promise<Executable> => Promise.reject(new Error('tried'));
      for (const chosen of [
        await compilerOn({ ...description, major: 8 }, true, never),
        await compilerOn(description, false, never),
      ])
        expect([chosen.compiler.capabilities.wideMatrices, chosen.notice]).toEqual([[], undefined]);
      // Chunks swapped as panels of 128 bytes have them; rows too near each other; another order of the operands' elements;
      // the next elements of the sum, of TF32 alone, at the wrong place.
      for (const [from, to] of [
        ['2ull << 62', '1ull << 62'],
        ['(rows >> 4)', '(rows >> 5)'],
        ['adds, 1, 1, 0, 1;', 'adds, 1, 1, 0, 0;'],
        [' + 8, 16, 512', ' + 4, 16, 512'],
      ]) {
        const wrong = (program: CudaText): Promise<Executable> => {
          expect(program.source).toContain(from);
          return load(program, program.source.replaceAll(from, to));
        };
        const { compiler, notice } = await compilerOn(description, true, wrong);
        expect(compiler.capabilities.wideMatrices, from).toEqual([]);
        expect(notice).toContain('They go through mma');
      }
    });

    test('runs queue: the next are begun before the results of one are there, and none overwrites another', async () => {
      const build = createBuilder('queue');
      const total = build.input('total', 'param', { dtype: 'f32', shape: [300] });
      const x = build.input('x', 'batch', { dtype: 'f32', shape: [300] });
      const sum = build.binary('add', total, x);
      build.output('total', 'update', sum);
      build.output('sum', 'result', sum);
      const executable = await session.load(emulatedProgram(compile(build.finish(), capabilitiesOf(4)).tile));
      expect(session.queues).toBe(true);
      session.write('total', new Float32Array(300));
      const order: number[] = [];
      const given = new Float32Array(300);
      const begin = async (step: number): Promise<number> => {
        given.fill(10 ** step);
        const sums = (await executable.run(new Map([['x', given]]))).get('sum');
        order.push(step);
        expect(sums).toEqual(new Float32Array(300).fill(sums?.[0] ?? NaN));
        return sums?.[0] ?? NaN;
      };
      const runs = [0, 1, 2, 3, 4].map(begin);
      given.fill(NaN);
      expect(order).toEqual([]);
      // What is written and read in between waits for its turn.
      expect((await session.read('total'))[0]).toBe(11111);
      expect(await Promise.all(runs)).toEqual([1, 11, 111, 1111, 11111]);
      expect(order).toEqual([0, 1, 2, 3, 4]);
    });

    test('a session that is closed while a run is under way', async () => {
      const build = createBuilder('closing');
      build.output('y', 'result', build.unary('neg', build.input('x', 'batch', { dtype: 'f32', shape: [4] })));
      const closing = await openCudaSession();
      const executable = await closing.load(emulatedProgram(compile(build.finish(), capabilitiesOf(4)).tile));
      const run = executable.run(new Map([['x', new Float32Array(4)]]));
      closing.close();
      await expect(run).rejects.toThrow('The session is closed.');
    });

    test('random graphs with their gradients', async () => {
      await prove(
        Array.from({ length: 20 }, (_, i) => ({
          says: `random graph ${i + 1}`,
          graph: randomGraph(i + 1),
          ranges: {},
        })),
      );
    });
  },
);
