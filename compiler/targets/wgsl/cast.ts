/**
 * Conversions between dtypes, and rounding to what a dtype holds. Float to integer truncates, saturates and takes NaN to 0;
 * anything to bool asks whether it is not zero.
 */
import type { TileDtype } from '../../tile/build.ts';
import { type ModuleWriter, wgslType } from './writer.ts';

/** The result of arithmetic in a register, as the dtype holds it. */
export function roundTo(writer: ModuleWriter, dtype: TileDtype, value: string): string {
  switch (dtype) {
    case 'f16':
      return `${writer.use('round_f16')}(${value})`;
    case 'bf16':
      return `${writer.use('round_bf16')}(${value})`;
    case 'u8':
      return `(${value} & 255u)`;
    case 'i8':
      return `((${value} << 24u) >> 24u)`;
    default:
      return value;
  }
}

export function emitCast(writer: ModuleWriter, from: TileDtype, to: TileDtype, value: string): string {
  if (from === to) return value;
  const [source, target] = [wgslType(from), wgslType(to)];
  if (target === 'bool') {
    if (source === 'f32') return `!${writer.use('equal')}(${value}, 0.0f)`;
    return `(${value} != ${source === 'u32' ? '0u' : '0'})`;
  }
  if (source === 'f32' && target !== 'f32') {
    // The ends of a byte's range, before it becomes a whole number.
    const held = to === 'u8' ? `min(${value}, 255.0f)` : to === 'i8' ? `clamp(${value}, -128.0f, 127.0f)` : value;
    const whole = `${writer.use(target === 'u32' ? 'whole_u32' : 'whole_i32')}`;
    return held === value
      ? `${whole}(${value})`
      : `select(${whole}(${held}), ${target === 'u32' ? '0u' : '0'}, ${writer.use('is_nan')}(${value}))`;
  }
  const converted = source === target ? value : `${target}(${value})`;
  return source === 'bool' ? converted : roundTo(writer, to, converted);
}
