/**
 * Loads and stores: four elements at once where they lie side by side, else one by one. What is masked off is not touched. Half
 * precisions are their bits in two bytes; bool is a byte, 0 or 1.
 */
import type { Memory } from '../../tile/tile.ts';
import { type Dtype, dtypeBytes } from '../../types/dtype.ts';
import { fromHalfBits, halfBits } from './cast.ts';
import { type Code, get, i32, lane, memory, plain, set } from './code.ts';
import { type FunctionWriter, isFloat, literal, wasmType } from './writer.ts';

/** Where an access goes. */
export interface Place {
  readonly memory: Memory;
  /** The address of its first element. */
  readonly base: Code;
  /** In elements; a vector where `gathered`. */
  readonly offset: Code;
  /** Added to it; not negative. */
  readonly constant: number;
  /** The offset is never below 0: more may be added by the instruction, to an address that does not wrap around. */
  readonly natural: boolean;
  readonly gathered: boolean;
  readonly stride: number;
  readonly lanes: number;
  readonly mask?: Code;
}

const alignOf = (dtype: Dtype): number => Math.log2(dtypeBytes[dtype]);

/** The address of an element, less its constant part. */
function addressOf({ base, memory: { dtype } }: Place, offset: Code): Code {
  if (offset.kind === 'const')
    return offset.value === 0 ? base : plain('i32.add', base, i32(offset.value * dtypeBytes[dtype]));
  const align = alignOf(dtype);
  return plain('i32.add', base, align === 0 ? offset : plain('i32.shl', offset, i32(align)));
}

const scalarLoads: Record<Exclude<Dtype, 'f64'>, string> = {
  f32: 'f32.load',
  f16: 'i32.load16_u',
  bf16: 'i32.load16_u',
  i32: 'i32.load',
  u32: 'i32.load',
  i8: 'i32.load8_s',
  u8: 'i32.load8_u',
  bool: 'i32.load8_u',
};

function elementOf({ memory: { dtype, name } }: Place): Exclude<Dtype, 'f64'> {
  if (dtype === 'f64') throw new Error(`${name} is f64: the wasm target computes in f32`);
  return dtype;
}

const isHalf = (dtype: Dtype): dtype is 'f16' | 'bf16' => dtype === 'f16' || dtype === 'bf16';

function loadScalar(writer: FunctionWriter, place: Place, address: Code, constant: number): Code {
  const dtype = elementOf(place);
  const loaded = memory(scalarLoads[dtype], alignOf(dtype), constant * dtypeBytes[dtype], address);
  if (!isHalf(dtype)) return loaded;
  return lane('f32x4.extract_lane', 0, fromHalfBits(writer, dtype, plain('i32x4.splat', loaded)));
}

function loadVector(writer: FunctionWriter, place: Place, address: Code): Code {
  const dtype = elementOf(place);
  const at = place.constant * dtypeBytes[dtype];
  switch (dtype) {
    case 'f32':
    case 'i32':
    case 'u32':
      return memory('v128.load', 2, at, address);
    case 'f16':
    case 'bf16':
      return fromHalfBits(writer, dtype, memory('v128.load16x4_u', 1, at, address));
    default: {
      const sign = dtype === 'i8' ? 's' : 'u';
      const bytes = memory('v128.load32_zero', 0, at, address);
      const words = plain(`i32x4.extend_low_i16x8_${sign}`, plain(`i16x8.extend_low_i8x16_${sign}`, bytes));
      return dtype === 'bool' ? plain('i32x4.ne', words, literal('i32', 4, 0)) : words;
    }
  }
}

const sideBySide = ({ gathered, stride }: Place): boolean => !gathered && stride === 1;

/** The address of one lane, to which `constant` is still added. */
function laneAddress(place: Place, offset: Code, at: number): { address: Code; constant: number } {
  if (place.gathered)
    return { address: addressOf(place, lane('i32x4.extract_lane', at, offset)), constant: place.constant };
  const apart = at * place.stride;
  if (apart >= 0 && place.natural) return { address: addressOf(place, offset), constant: place.constant + apart };
  return { address: addressOf(place, plain('i32.add', offset, i32(place.constant + apart))), constant: 0 };
}

const extractWord = (value: Code, at: number): Code => lane('i32x4.extract_lane', at, value);

export function emitLoad(writer: FunctionWriter, place: Place): Code {
  const { lanes, mask, memory: of } = place;
  const type = wasmType(of.dtype, lanes);
  if (lanes === 1) {
    if (mask === undefined) return loadScalar(writer, place, addressOf(place, place.offset), place.constant);
    return masked(writer, type, mask, literal(of.dtype, 1, 0), () =>
      loadScalar(writer, place, addressOf(place, place.offset), place.constant),
    );
  }
  const offset = writer.define(place.gathered ? 'v128' : 'i32', place.offset);
  if (place.stride === 0 && !place.gathered && mask === undefined)
    if (of.dtype === 'f32') return memory('v128.load32_splat', 2, 4 * place.constant, addressOf(place, offset));
    else return splatOf(of.dtype, loadScalar(writer, place, addressOf(place, offset), place.constant));
  const whole = (): Code => loadVector(writer, place, addressOf(place, offset));
  if (sideBySide(place) && mask === undefined) return whole();
  const result = writer.variable('v128');
  const each = (): void => {
    writer.push(set(result, literal(of.dtype, 4, 0)));
    for (let at = 0; at < 4; at++) {
      const { address, constant } = laneAddress(place, offset, at);
      const put = (): void =>
        writer.push(set(result, replaced(of.dtype, at, get(result), loadScalar(writer, place, address, constant))));
      if (mask === undefined) put();
      else writer.push({ kind: 'if', condition: extractWord(mask, at), then: writer.inside(put), else: [] });
    }
  };
  if (mask === undefined || !sideBySide(place)) each();
  else
    // As a rule nothing is masked off.
    writer.push({
      kind: 'if',
      condition: plain('i32x4.all_true', mask),
      then: writer.inside(() => writer.push(set(result, whole()))),
      else: writer.inside(each),
    });
  return get(result);
}

const splatOf = (dtype: Dtype, value: Code): Code =>
  dtype === 'bool'
    ? plain('i32x4.ne', plain('i32x4.splat', value), literal('i32', 4, 0))
    : plain(isFloat(dtype) ? 'f32x4.splat' : 'i32x4.splat', value);

/** One lane, given as a scalar register has it. */
const replaced = (dtype: Dtype, at: number, vector: Code, value: Code): Code =>
  lane(
    isFloat(dtype) ? 'f32x4.replace_lane' : 'i32x4.replace_lane',
    at,
    vector,
    dtype === 'bool' ? plain('i32.sub', i32(0), value) : value,
  );

function masked(
  writer: FunctionWriter,
  type: ReturnType<typeof wasmType>,
  mask: Code,
  otherwise: Code,
  load: () => Code,
): Code {
  const result = writer.variable(type);
  writer.push({
    kind: 'if',
    condition: mask,
    then: writer.inside(() => writer.push(set(result, load()))),
    else: [set(result, otherwise)],
  });
  return get(result);
}

export function emitStore(writer: FunctionWriter, place: Place, value: Code): void {
  const { lanes, mask } = place;
  const dtype = elementOf(place);
  if (lanes === 1) {
    const store = (): void => storeScalar(writer, place, addressOf(place, place.offset), value);
    if (mask === undefined) return store();
    return writer.push({ kind: 'if', condition: mask, then: writer.inside(store), else: [] });
  }
  const offset = writer.define(place.gathered ? 'v128' : 'i32', place.offset);
  const given = writer.define('v128', stored(writer, dtype, value));
  const whole = (): void => storeVector(writer, place, addressOf(place, offset), given);
  if (sideBySide(place) && mask === undefined) return whole();
  const each = (): void => {
    for (let at = 0; at < 4; at++) {
      const { address, constant } = laneAddress(place, offset, at);
      const put = (): void => storeLane(writer, place, address, constant, given, at);
      if (mask === undefined) put();
      else writer.push({ kind: 'if', condition: extractWord(mask, at), then: writer.inside(put), else: [] });
    }
  };
  if (mask === undefined || !sideBySide(place)) return each();
  writer.push({
    kind: 'if',
    condition: plain('i32x4.all_true', mask),
    then: writer.inside(whole),
    else: writer.inside(each),
  });
}

/** A vector as words of which memory takes the lower bytes. */
function stored(writer: FunctionWriter, dtype: Dtype, value: Code): Code {
  if (isHalf(dtype)) return halfBits(writer, dtype, value);
  return dtype === 'bool' ? plain('v128.and', value, literal('i32', 4, 1)) : value;
}

function storeScalar(writer: FunctionWriter, place: Place, address: Code, value: Code): void {
  const dtype = elementOf(place);
  const bytes = dtypeBytes[dtype];
  const op = dtype === 'f32' ? 'f32.store' : bytes === 4 ? 'i32.store' : `i32.store${8 * bytes}`;
  const bits = isHalf(dtype)
    ? extractWord(halfBits(writer, dtype, writer.define('v128', plain('f32x4.splat', value))), 0)
    : value;
  writer.push(memory(op, alignOf(dtype), place.constant * bytes, address, bits));
}

function storeLane(
  writer: FunctionWriter,
  place: Place,
  address: Code,
  constant: number,
  value: Code,
  at: number,
): void {
  const dtype = elementOf(place);
  const bytes = dtypeBytes[dtype];
  if (dtype === 'f32')
    return writer.push(memory('f32.store', 2, 4 * constant, address, lane('f32x4.extract_lane', at, value)));
  const op = bytes === 4 ? 'i32.store' : `i32.store${8 * bytes}`;
  writer.push(memory(op, alignOf(dtype), bytes * constant, address, extractWord(value, at)));
}

function storeVector(writer: FunctionWriter, place: Place, address: Code, value: Code): void {
  const bytes = dtypeBytes[elementOf(place)];
  const at = place.constant * bytes;
  if (bytes === 4) return writer.push(memory('v128.store', 2, at, address, value));
  const low = writer.define('v128', plain('v128.and', value, literal('i32', 4, 2 ** (8 * bytes) - 1)));
  const halves = plain('i16x8.narrow_i32x4_u', low, low);
  const store =
    bytes === 2
      ? memory('v128.store64_lane', 1, at, address, halves)
      : memory('v128.store32_lane', 0, at, address, plain('i8x16.narrow_i16x8_u', halves, halves));
  writer.push({ ...store, lane: 0 });
}
