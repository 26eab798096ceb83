/**
 * WebAssembly as trees of instructions: what the emitter builds, what `encode.ts` makes bytes of and `text.ts` prints. A tree is
 * an instruction after the trees of its operands; a list of trees runs in order.
 */

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export type Code =
  /** An instruction of `opcodes.ts` without immediates. */
  | { readonly kind: 'plain'; readonly op: string; readonly operands: readonly Code[] }
  | { readonly kind: 'const'; readonly type: 'i32' | 'f32' | 'f64'; readonly value: number }
  | { readonly kind: 'const64'; readonly value: bigint }
  /** Four words. */
  | { readonly kind: 'const128'; readonly words: readonly number[] }
  | { readonly kind: 'get'; readonly local: string }
  | { readonly kind: 'set'; readonly local: string; readonly value: Code }
  /** Loads, stores, atomic ones too: the address (and what is stored), a constant added to the address, the lane of lane accesses. */
  | {
      readonly kind: 'memory';
      readonly op: string;
      readonly offset: number;
      /** log₂ of the bytes accessed. */
      readonly align: number;
      readonly lane?: number;
      readonly operands: readonly Code[];
    }
  /** extract_lane and replace_lane. */
  | { readonly kind: 'lane'; readonly op: string; readonly lane: number; readonly operands: readonly Code[] }
  /** Of 16 bytes each. */
  | { readonly kind: 'shuffle'; readonly bytes: readonly number[]; readonly operands: readonly [Code, Code] }
  | { readonly kind: 'call'; readonly name: string; readonly operands: readonly Code[] }
  | {
      readonly kind: 'if';
      readonly condition: Code;
      readonly result?: ValueType;
      readonly then: readonly Code[];
      readonly else: readonly Code[];
    }
  /** Runs again while the condition at its end holds; at least once. */
  | { readonly kind: 'loop'; readonly body: readonly Code[]; readonly again: Code };

export interface FunctionCode {
  readonly name: string;
  readonly parameters: readonly (readonly [name: string, type: ValueType])[];
  readonly result?: ValueType;
  readonly locals: readonly (readonly [name: string, type: ValueType])[];
  readonly body: readonly Code[];
  readonly exported?: boolean;
}

/** Its memory is imported as `nacre.memory`. */
export interface ModuleCode {
  readonly functions: readonly FunctionCode[];
}

export const plain = (op: string, ...operands: readonly Code[]): Code => ({ kind: 'plain', op, operands });
export const i32 = (value: number): Code => ({ kind: 'const', type: 'i32', value: value | 0 });
export const f32 = (value: number): Code => ({ kind: 'const', type: 'f32', value });
export const f64 = (value: number): Code => ({ kind: 'const', type: 'f64', value });
export const i64 = (value: bigint): Code => ({ kind: 'const64', value });
export const get = (local: string): Code => ({ kind: 'get', local });
export const set = (local: string, value: Code): Code => ({ kind: 'set', local, value });
export const lane = (op: string, at: number, ...operands: readonly Code[]): Code => ({
  kind: 'lane',
  op,
  lane: at,
  operands,
});
export const call = (name: string, ...operands: readonly Code[]): Code => ({ kind: 'call', name, operands });
/** A load or store of 2^align bytes. */
export const memory = (
  op: string,
  align: number,
  offset: number,
  ...operands: readonly Code[]
): Extract<Code, { kind: 'memory' }> => ({
  kind: 'memory',
  op,
  align,
  offset,
  operands,
});
export const v128 = (words: readonly number[]): Code => ({ kind: 'const128', words });

const bits = new DataView(new ArrayBuffer(4));
export function bitsOf(value: number): number {
  bits.setFloat32(0, value);
  return bits.getInt32(0);
}
