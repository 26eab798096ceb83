/** What a WGSL module is written with: types, literals, and the helper functions it turns out to need. */
import type { TileDtype } from '../../tile/build.ts';
import { f32, type HelperName } from './math.ts';

export interface ModuleWriter {
  /** The name of a helper function, which is then part of the module. */
  use(name: HelperName): string;
  readonly helpers: ReadonlySet<HelperName>;
}

export function moduleWriter(): ModuleWriter {
  const helpers = new Set<HelperName>();
  return {
    helpers,
    use(name) {
      helpers.add(name);
      return name;
    },
  };
}

/** Half precisions are computed with in f32 and rounded; bytes are words whose upper bits are kept right. */
const types: Record<Exclude<TileDtype, 'f64'>, 'f32' | 'i32' | 'u32' | 'bool'> = {
  f32: 'f32',
  f16: 'f32',
  bf16: 'f32',
  i32: 'i32',
  i8: 'i32',
  index: 'i32',
  u32: 'u32',
  u8: 'u32',
  bool: 'bool',
};

export function wgslType(dtype: TileDtype): 'f32' | 'i32' | 'u32' | 'bool' {
  if (dtype === 'f64') throw new Error('WGSL has no f64');
  return types[dtype];
}

export function literal(writer: ModuleWriter, dtype: TileDtype, value: number): string {
  switch (wgslType(dtype)) {
    case 'bool':
      return value === 0 ? 'false' : 'true';
    case 'u32':
      return `${value >>> 0}u`;
    case 'i32':
      return value === -(2 ** 31) ? '(-2147483647 - 1)' : value < 0 ? `(${value})` : String(value);
    case 'f32': {
      const single = Math.fround(value);
      if (Number.isNaN(single)) return `bitcast<f32>(${writer.use('nan')}_bits)`;
      if (!Number.isFinite(single))
        return `bitcast<f32>(${writer.use('infinity')}_bits${single < 0 ? ' | 0x80000000u' : ''})`;
      return single < 0 || Object.is(single, -0) ? `(${f32(single)})` : f32(single);
    }
  }
}
