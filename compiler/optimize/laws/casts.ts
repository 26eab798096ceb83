/** Laws of conversion between element types. Only what cancels exactly: through a narrower type numbers are rounded. */
import { isFloat, isInteger } from '../../types/dtype.ts';
import type { Dtype } from '../../types/dtype.ts';
import { rule } from '../law.ts';
import type { Law } from '../law.ts';

/** Element types that hold every value of another exactly. */
const wider: Record<Dtype, readonly Dtype[]> = {
  bool: ['i8', 'u8', 'i32', 'u32', 'f16', 'bf16', 'f32', 'f64'],
  i8: ['i32', 'f16', 'bf16', 'f32', 'f64'],
  u8: ['i32', 'u32', 'f16', 'bf16', 'f32', 'f64'],
  i32: ['f64'],
  u32: ['f64'],
  f16: ['f32', 'f64'],
  bf16: ['f32', 'f64'],
  f32: ['f64'],
  f64: [],
};

const holds = (type: Dtype, values: Dtype): boolean => type === values || wider[values].includes(type);

export const castLaws: readonly Law[] = [
  rule({
    says: 'a cast to the type it has is nothing',
    op: 'cast',
    to: ([x], { dtype }) => (x.type.dtype === dtype ? x : undefined),
  }),
  rule({
    says: 'a cast through a wider type goes straight',
    op: 'cast',
    to([x], { dtype }, build) {
      const node = build.producer(x);
      const from = node?.op === 'cast' ? node.inputs[0] : undefined;
      if (from === undefined || !wider[from.type.dtype].includes(x.type.dtype)) return undefined;
      // From a float, what an integer type cannot hold saturates; from another integer it wraps.
      const integer = from.type.dtype;
      const wraps = isFloat(x.type.dtype) && isInteger(integer) && isInteger(dtype) && !holds(dtype, integer);
      return wraps ? undefined : build.cast(from, dtype);
    },
  }),
];
