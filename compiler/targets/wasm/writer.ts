/** What functions and modules are written with. Values are trees; one that is needed twice gets a local. */
import type { TileDtype } from '../../tile/build.ts';
import { bitsOf, type Code, f32, type FunctionCode, get, i32, set, v128, type ValueType } from './code.ts';

export interface ModuleWriter {
  /** f32x4.relaxed_madd may be used. */
  readonly relaxed: boolean;
  /** The name of a helper function, made when it is first asked for. */
  helper(name: string, make: () => FunctionCode): string;
  readonly functions: readonly FunctionCode[];
}

export function moduleWriter(relaxed: boolean): ModuleWriter {
  const functions: FunctionCode[] = [];
  const known = new Set<string>();
  return {
    relaxed,
    functions,
    helper(name, make) {
      if (!known.has(name)) {
        known.add(name);
        functions.push(make());
      }
      return name;
    },
  };
}

export interface FunctionWriter {
  readonly module: ModuleWriter;
  readonly locals: readonly (readonly [string, ValueType])[];
  readonly body: readonly Code[];
  push(code: Code): void;
  /** A local with this name, made when it is first asked for. */
  local(name: string, type: ValueType): string;
  /** A local of its own name. */
  variable(type: ValueType): string;
  /** The value, in a local unless it is one or a constant. */
  define(type: ValueType, code: Code): Code;
  /** What `act` pushes. */
  inside(act: () => void): readonly Code[];
}

export function functionWriter(module: ModuleWriter): FunctionWriter {
  const locals: (readonly [string, ValueType])[] = [];
  const named = new Set<string>();
  const body: Code[] = [];
  let current = body;
  const local = (name: string, type: ValueType): string => {
    if (!named.has(name)) {
      named.add(name);
      locals.push([name, type]);
    }
    return name;
  };
  // Registers of Tile IR have names of letters and digits.
  const variable = (type: ValueType): string => local(`x.${locals.length}`, type);
  return {
    module,
    locals,
    body,
    local,
    push: (code) => void current.push(code),
    variable,
    define(type, code) {
      if (code.kind === 'get' || code.kind === 'const' || code.kind === 'const128') return code;
      const name = variable(type);
      current.push(set(name, code));
      return get(name);
    },
    inside(act) {
      const outer = current;
      const inner: Code[] = [];
      current = inner;
      act();
      current = outer;
      return inner;
    },
  };
}

const floats: ReadonlySet<TileDtype> = new Set<TileDtype>(['f32', 'f16', 'bf16']);
const unsigned: ReadonlySet<TileDtype> = new Set<TileDtype>(['u32', 'u8', 'bool']);

/** Half precisions are computed with in f32 and rounded; bytes are words whose upper bits are kept right. */
export const isFloat = (dtype: TileDtype): boolean => floats.has(dtype);
export const isUnsigned = (dtype: TileDtype): boolean => unsigned.has(dtype);

/** A bool is 0 or 1, in a vector 0 or all bits. */
export function wasmType(dtype: TileDtype, lanes: number): ValueType {
  if (dtype === 'f64') throw new Error('the wasm target computes in f32');
  if (lanes !== 1 && lanes !== 4) throw new Error(`a vector of ${lanes} lanes, on a machine whose vectors have 4`);
  return lanes === 4 ? 'v128' : isFloat(dtype) ? 'f32' : 'i32';
}

/** The same number in every lane. */
export function literal(dtype: TileDtype, lanes: number, value: number): Code {
  const type = wasmType(dtype, lanes);
  if (type === 'f32') return f32(Math.fround(value));
  if (type === 'i32') return i32(dtype === 'bool' ? Number(value !== 0) : value);
  const word = isFloat(dtype) ? bitsOf(value) : dtype === 'bool' ? -Number(value !== 0) : value;
  return v128([word, word, word, word]);
}
