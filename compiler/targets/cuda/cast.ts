/**
 * Conversions between dtypes, and rounding to what a dtype holds. Float to integer truncates, saturates and takes NaN to 0;
 * anything to bool asks whether it is not zero.
 */
import type { TileDtype } from '../../tile/build.ts';
import { cudaType, type UnitWriter } from './writer.ts';

/** The result of arithmetic in a register, as the dtype holds it. */
export function roundTo(writer: UnitWriter, dtype: TileDtype, value: string): string {
  switch (dtype) {
    case 'f16':
      return `${writer.use('round_f16')}(${value})`;
    case 'bf16':
      return `${writer.use('round_bf16')}(${value})`;
    case 'u8':
      return `(${value} & 255u)`;
    case 'i8':
      return `((int)(signed char)(${value}))`;
    default:
      return value;
  }
}

export function emitCast(writer: UnitWriter, from: TileDtype, to: TileDtype, value: string): string {
  if (from === to) return value;
  const [source, target] = [cudaType(from), cudaType(to)];
  if (target === 'bool') return `(${value} != 0)`;
  if (source === 'float' && target !== 'float') {
    const whole = writer.use(target === 'unsigned' ? 'whole_unsigned' : 'whole_int');
    // The ends of a byte's range, before it becomes a whole number; fminf would take a NaN for the end.
    if (to === 'u8') return `${whole}(${value} > 255.0f ? 255.0f : ${value})`;
    if (to === 'i8') return `${whole}(${value} > 127.0f ? 127.0f : ${value} < -128.0f ? -128.0f : ${value})`;
    return `${whole}(${value})`;
  }
  const converted = source === target ? value : `((${target})${value})`;
  return source === 'bool' ? converted : roundTo(writer, to, converted);
}
