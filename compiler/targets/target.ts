/**
 * What a target is: a name, what its machine can do, and how a Tile program becomes something that runs.
 * Nothing above `targets/` asks which target it is compiling for; it asks for capabilities.
 */
import type { TileProgram } from '../tile/tile.ts';
import type { Dtype } from '../types/dtype.ts';

/** What each target's `compiler.ts` makes: Tile programs for its machine become what its device in `runtime/devices/` takes. */
export interface Compiler<Program> {
  readonly capabilities: Capabilities;
  program(tile: TileProgram): Program;
  /** The code for people to read. */
  text(tile: TileProgram): string;
}

/** What programs of all targets take over from the Tile program. */
export const memoryOf = ({
  name,
  buffers,
  arena,
  halves,
}: TileProgram): Pick<TileProgram, 'name' | 'buffers' | 'arena' | 'halves'> => ({
  name,
  buffers,
  arena,
  ...(halves !== undefined && { halves }),
});

/** What matrix instructions multiply: TF32 is f32 of which they take 11 digits. */
export const matrixDtypes = ['bf16', 'f16', 'tf32'] as const;
export type MatrixDtype = (typeof matrixDtypes)[number];

export interface Capabilities {
  /** f32 lanes of one vector register; 1 where the target has no vectors. */
  readonly vectorLanes: number;
  /** Vector registers a micro-kernel may fill. */
  readonly vectorRegisters: number;
  /** Threads that share a workgroup at most; 1 on a CPU. */
  readonly workgroupThreads: number;
  /** Threads next to each other that are sure to be of one subgroup, a power of two; 1 where they cannot hand each other values. */
  readonly subgroupThreads: number;
  /** Bytes of workgroup memory, or of the L1 data cache on a CPU. */
  readonly nearMemory: number;
  /** Bytes of the L2 cache a core may count on (CPU), else 0. */
  readonly cache: number;
  /** CPU threads, or compute units. */
  readonly units: number;
  /** Bytes that the smallest element takes in memory: 1, or a word where nothing less can be stored by itself. */
  readonly smallestElement: number;
  /** f16 takes its two bytes all the same, in an array of its own. */
  readonly halvesApart: boolean;
  readonly dtypes: readonly Dtype[];
  /** Whose products a matrix instruction sums in f32 (16 × 8 by 32 bytes, 32 threads together). */
  readonly matrices: readonly MatrixDtype[];
  /** Those of them that 128 threads multiply together too, from panels of workgroup memory (64 × 8n by 32 bytes); TF32 rounded before. */
  readonly wideMatrices: readonly MatrixDtype[];
  /** Four products of bytes are summed in one instruction. */
  readonly dotsBytes: boolean;
}
