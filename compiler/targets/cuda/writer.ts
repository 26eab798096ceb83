/** What a CUDA translation unit is written with: types, literals, and the helper functions it turns out to need. */
import type { TileDtype } from '../../tile/build.ts';
import type { HelperName } from './math.ts';

export interface UnitWriter {
  /** The name of a helper function, which is then part of the unit. */
  use(name: HelperName): string;
  readonly helpers: ReadonlySet<HelperName>;
}

export function unitWriter(): UnitWriter {
  const helpers = new Set<HelperName>();
  return {
    helpers,
    use(name) {
      helpers.add(name);
      return name;
    },
  };
}

export type CudaType = 'float' | 'int' | 'unsigned' | 'bool';

/** In registers half precisions are floats, rounded after every operation; bytes are words whose upper bits are kept right. */
const types: Record<Exclude<TileDtype, 'f64'>, CudaType> = {
  f32: 'float',
  f16: 'float',
  bf16: 'float',
  i32: 'int',
  i8: 'int',
  index: 'int',
  u32: 'unsigned',
  u8: 'unsigned',
  bool: 'bool',
};

export function cudaType(dtype: TileDtype): CudaType {
  if (dtype === 'f64') throw new Error('the cuda target computes in f32');
  return types[dtype];
}

export function literal(dtype: TileDtype, value: number): string {
  switch (cudaType(dtype)) {
    case 'bool':
      return value === 0 ? 'false' : 'true';
    case 'unsigned':
      return `${value >>> 0}u`;
    case 'int':
      return value === -(2 ** 31) ? '(-2147483647 - 1)' : value < 0 ? `(${value})` : String(value);
    case 'float': {
      const single = Math.fround(value);
      if (Number.isNaN(single)) return '__int_as_float(0x7fc00000)';
      if (!Number.isFinite(single)) return single > 0 ? '__int_as_float(0x7f800000)' : '(-__int_as_float(0x7f800000))';
      const text = Object.is(single, -0) ? '-0.0' : String(single);
      const float = `${/[.e]/.test(text) ? text : `${text}.0`}f`;
      return float.startsWith('-') ? `(${float})` : float;
    }
  }
}
