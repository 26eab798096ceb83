/**
 * Tile IR: a kernel with its schedule made explicit — a grid of independent work items, loops, vectors, registers,
 * scratch memory. The targets print it; nothing is decided below it.
 */
import type { BinaryOp, Monoid, UnaryOp } from '../graph/graph.ts';
import type { Dtype } from '../types/dtype.ts';
import type { MatrixThreads } from './matrix.ts';

/** `index` is the target's address arithmetic type (i64 on the CPU, i32 on GPUs). lanes = 1: a scalar. */
export interface TileType {
  readonly dtype: Dtype | 'index';
  readonly lanes: number;
}

/** Memory a kernel touches. `global`: a parameter. `private`: scratch of one work item. `workgroup`: shared by a workgroup. */
export interface Memory {
  readonly name: string;
  readonly space: 'global' | 'private' | 'workgroup';
  readonly dtype: Dtype;
  /** Elements; for a parameter, what the kernel may touch. */
  readonly size: number;
  /** Parameters only. */
  readonly access: 'read' | 'write' | 'read-write';
}

/** A register: assigned by `let` once, or by `var` and `assign` many times. Compared by identity. */
export interface Register {
  readonly name: string;
  readonly type: TileType;
}

/** `dot4(a, b, c)`: c and the products of the four bytes of words (i32), those of a unsigned, those of b signed. */
export type TileOp = UnaryOp | BinaryOp | 'where' | 'fma' | 'dot4' | 'philox';

export type TileExpression =
  | { readonly kind: 'number'; readonly type: TileType; readonly value: number }
  | { readonly kind: 'register'; readonly type: TileType; readonly register: Register }
  /** Operands have the same lanes; `where`'s condition is bool. Integer division of `index` rounds toward zero. */
  | {
      readonly kind: 'apply';
      readonly type: TileType;
      readonly op: TileOp;
      readonly operands: readonly TileExpression[];
    }
  | { readonly kind: 'cast'; readonly type: TileType; readonly operand: TileExpression }
  /** One scalar in every lane. */
  | { readonly kind: 'splat'; readonly type: TileType; readonly operand: TileExpression }
  /** 0, 1, 2, … */
  | { readonly kind: 'ramp'; readonly type: TileType }
  /** All lanes combined into one scalar, pairwise, in a fixed order. */
  | { readonly kind: 'combine'; readonly type: TileType; readonly monoid: Monoid; readonly operand: TileExpression }
  /** Lane i is lane picks[i] of the two operands' lanes one after the other. */
  | {
      readonly kind: 'shuffle';
      readonly type: TileType;
      readonly picks: readonly number[];
      readonly operands: readonly [TileExpression, TileExpression];
    }
  /**
   * memory[offset], or memory[offset + lane·stride]; masked-off lanes are not read and give 0. A vector offset (lanes of
   * index) reads each lane at its own place.
   */
  | {
      readonly kind: 'load';
      readonly type: TileType;
      readonly memory: Memory;
      readonly offset: TileExpression;
      readonly stride: number;
      readonly mask?: TileExpression;
    };

/**
 * Workgroup memory of a half precision, or of f32 as TF32: element (line, k) at offset + line·pitch + k, or `turned` at offset + k·pitch +
 * line. 32 threads round f32 as they read it; 128 threads pass over the digits that TF32 has not, so it is rounded already, and not turned.
 */
export interface MatrixOperand {
  readonly memory: Memory;
  readonly offset: TileExpression;
  readonly pitch: number;
  readonly turned: boolean;
}

export type Statement =
  | { readonly kind: 'let'; readonly register: Register; readonly value: TileExpression }
  | { readonly kind: 'var'; readonly register: Register; readonly value: TileExpression }
  | { readonly kind: 'assign'; readonly register: Register; readonly value: TileExpression }
  | {
      readonly kind: 'store';
      readonly memory: Memory;
      readonly offset: TileExpression;
      readonly stride: number;
      readonly value: TileExpression;
      readonly mask?: TileExpression;
    }
  /** for index = from; index < to; index += step */
  | {
      readonly kind: 'for';
      readonly index: Register;
      readonly from: TileExpression;
      readonly to: TileExpression;
      readonly step: number;
      readonly body: readonly Statement[];
    }
  | {
      readonly kind: 'if';
      readonly condition: TileExpression;
      readonly then: readonly Statement[];
      readonly else: readonly Statement[];
    }
  /** Asks for the cache line at memory[offset]; may do nothing. */
  | { readonly kind: 'prefetch'; readonly memory: Memory; readonly offset: TileExpression }
  /**
   * memory[offset + i] = from[at + i] for the `count` elements i, or 0 where the mask is false; they are there when the threads have
   * met at a barrier that does not leave them, and until then nobody touches them. 16 bytes from global to workgroup memory, both
   * places multiples of 16.
   */
  | {
      readonly kind: 'fetch';
      readonly memory: Memory;
      readonly offset: TileExpression;
      readonly from: Memory;
      readonly at: TileExpression;
      readonly count: number;
      readonly mask?: TileExpression;
    }
  /**
   * All threads of a workgroup arrive before one goes on. What was fetched is there then; with `leaves` n, what was fetched since
   * the n-th barrier before this one may be on its way still.
   */
  | { readonly kind: 'barrier'; readonly leaves?: number }
  /**
   * register = `value` as the thread has it whose number differs in this one bit: of those that a subgroup is sure to hold together.
   * All threads arrive, as at a barrier; memory is not waited for.
   */
  | {
      readonly kind: 'exchange';
      readonly register: Register;
      readonly value: TileExpression;
      readonly distance: number;
    }
  /**
   * Matrix instructions of 32 or 128 threads together: sums[rows × columns] += Σ over depth of left[row, k]·right[column, k].
   * Of each 16 × 8 of the sums thread l of a subgroup of 32 holds four: rows
   * l/4 and l/4 + 8, columns 2·(l mod 4) and the next; blocks row by row, in a block row by row. Offsets are the same for all.
   * Of 128 threads each subgroup in turn has 16 of the 64 rows, and operands lie in panels (matrix.ts): `pitch` from one to the next,
   * rows of 64 bytes, line by line, or turned k by k; in row r the chunk of 16 bytes with number c lies where r/2 mod 4, xor c, says.
   */
  | {
      readonly kind: 'multiply';
      readonly threads: MatrixThreads;
      readonly rows: number;
      readonly columns: number;
      readonly depth: number;
      readonly left: MatrixOperand;
      readonly right: MatrixOperand;
      readonly sums: readonly Register[];
    }
  /** Raises the program's flag where the (scalar or vector) condition holds: an index was out of range. */
  | { readonly kind: 'flag'; readonly condition: TileExpression };

/** One function body; `grid` independent items, item number in `item`. */
export interface TileKernel {
  readonly name: string;
  readonly parameters: readonly Memory[];
  /** Extra scalar arguments of type index (the axes of enclosing repeats), in order. */
  readonly arguments: readonly Register[];
  readonly scratch: readonly Memory[];
  readonly grid: number;
  readonly item: Register;
  /** Threads per workgroup; 1 on the CPU. `thread` is the number within it. */
  readonly workgroup: number;
  readonly thread: Register;
  readonly body: readonly Statement[];
}

/** Launches in order; inside a repeat, kernels get its axis as an argument. */
export type TileStep =
  | {
      readonly kind: 'launch';
      readonly kernel: TileKernel;
      readonly buffers: readonly string[];
      readonly arguments: readonly Register[];
    }
  | {
      readonly kind: 'repeat';
      readonly index: Register;
      readonly trips: number;
      readonly reverse: boolean;
      readonly body: readonly TileStep[];
    };

/** A place in memory: `arena` temporaries share one allocation by the memory plan; everything else has its own. */
export interface TileBuffer {
  readonly name: string;
  readonly role: 'batch' | 'scalar' | 'param' | 'state' | 'constant' | 'result' | 'temporary';
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data?: readonly number[];
  /** Byte offset in its arena (temporaries only). */
  readonly offset?: number;
  /** Of the largest temporary, in a program that is handed to a device: where it comes from, for people. */
  readonly source?: string;
}

export interface TileProgram {
  readonly name: string;
  readonly buffers: readonly TileBuffer[];
  /** Bytes of the arena that holds all temporaries. */
  readonly arena: number;
  /** Where f16 lies apart from all else: bytes of the arena that holds the temporaries of f16. */
  readonly halves?: number;
  readonly steps: readonly TileStep[];
}
