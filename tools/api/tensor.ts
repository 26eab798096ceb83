/** Arrays with their types, as callers give and get them. */
import type { ElementType, Field, TypedArray } from '../../runtime/program.ts';

/** The array that holds elements of a type: halves are their bits, and truth is 0 or 1. */
export interface ArrayOf {
  readonly f32: Float32Array;
  readonly f16: Uint16Array;
  readonly bf16: Uint16Array;
  readonly f64: Float64Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly bool: Uint8Array;
}

/** Elements with their type and shape, the batch included. */
export type Tensor = {
  readonly [Dtype in ElementType]: {
    readonly dtype: Dtype;
    readonly shape: readonly number[];
    readonly data: ArrayOf[Dtype];
  };
}[ElementType];

/** One sample of a field of the data: its element type, and its shape without the batch. */
export interface SampleType {
  readonly dtype: ElementType;
  readonly shape: readonly number[];
}

/** The fields that data have. */
export type SampleTypes = Readonly<Record<string, SampleType>>;

/** Arrays by the names of the data's fields: samples one after the other. */
export type Batch<Data extends SampleTypes = SampleTypes> = {
  readonly [Name in keyof Data]: ArrayOf[Data[Name]['dtype']];
};

/** What a device gave for a field, which is of the field's type. */
export const tensorOf = ({ dtype, shape }: Field, data: TypedArray): Tensor => ({ dtype, shape, data }) as Tensor;
