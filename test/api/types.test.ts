/** What TypeScript knows of the programming interface: `npm run typecheck` reads this file, nothing runs it. */
import { describe, expectTypeOf, it } from 'vitest';
import { type Batch, compile, type CompiledModel, type Model, type Tensor } from '../../tools/api/index.ts';
import { data, source } from './inside.ts';

describe('the types', () => {
  it('of a tensor say which array holds its elements', () => {
    const right: Tensor = { dtype: 'f32', shape: [2], data: new Float32Array(2) };
    // @ts-expect-error: f32 is not held by Int32Array.
    const wrong: Tensor = { dtype: 'f32', shape: [2], data: new Int32Array(2) };
    const bits: Tensor = { dtype: 'bf16', shape: [2], data: new Uint16Array(2) };
    void [right, wrong, bits];
    const use = (tensor: Tensor): void => {
      if (tensor.dtype === 'f32') expectTypeOf(tensor.data).toEqualTypeOf<Float32Array>();
      if (tensor.dtype === 'bool') expectTypeOf(tensor.data).toEqualTypeOf<Uint8Array>();
    };
    void use;
  });

  it('of a model say what a batch is', () => {
    const use = async (): Promise<void> => {
      const model = await compile(source, {
        data: { x: { dtype: 'f32', shape: [2] }, y: { dtype: 'i32', shape: [] } },
      });
      await model.step({ x: new Float32Array(2), y: new Int32Array(1) });
      // @ts-expect-error: `y` is i32.
      await model.step({ x: new Float32Array(2), y: new Float32Array(1) });
      // @ts-expect-error: there is no `y`.
      await model.evaluate({ x: new Float32Array(2) });
      // @ts-expect-error: there is no batch.
      await model.step();
      // @ts-expect-error: f32 is not held by Int32Array.
      await model.infer({ dtype: 'f32', shape: [1, 2], data: new Int32Array(2) });
      const [result] = await model.infer([{ dtype: 'f32', shape: [1, 2], data: new Float32Array(2) }]);
      expectTypeOf(result).toEqualTypeOf<Tensor>();
      // Where fields are not known, any array.
      const other: CompiledModel = await compile(source);
      await other.step({ index: new Int32Array(1) });
      const one: Model = model;
      void one;
    };
    void use;
    expectTypeOf<Batch<typeof data>>().toEqualTypeOf<{ readonly x: Float32Array; readonly y: Int32Array }>();
  });
});
