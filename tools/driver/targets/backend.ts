/** What a target is to the tools: where a trainer runs, and for those with code, what prints it and keeps it in files. */
import { showPlace } from '../../../compiler/base/source.ts';
import type { Graph } from '../../../compiler/graph/graph.ts';
import { compileFor } from '../../../compiler/pipeline.ts';
import { narrowInputs } from '../../../compiler/targets/narrow-inputs.ts';
import type { Capabilities, Compiler } from '../../../compiler/targets/target.ts';
import type { BuiltProgram, OpenBuilt } from '../../../runtime/artefact.ts';
import type { Room, RoomySession } from '../../../runtime/devices/room.ts';
import { DeviceError, type Executable, type Session } from '../../../runtime/program.ts';

/** A target that is open: a session that holds the weights, and how a graph becomes something it executes. */
export interface Target {
  readonly session: Session;
  /** Throws NoRoom where the program does not fit. */
  load(graph: Graph): Promise<Executable>;
  /** What loading would take of the memories of the device, where it has limits. */
  rooms?(graph: Graph): readonly Room[];
  /** What `auto` took, what would be faster here, and how to get it. */
  readonly notice?: string;
}

export interface TargetOptions {
  /** CPU threads. */
  readonly threads: number;
  /** Passes of the compiler to leave out. */
  readonly without: readonly string[];
  /** CUDA: products by 128 threads, where the GPU has them and they are right. */
  readonly wide: boolean;
}

export interface Backend {
  /** Native libraries load here and nowhere else. Throws DeviceError. */
  open(options: TargetOptions): Promise<Target>;
}

/** A file of a built folder. */
export interface BuiltFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A program in files: what the trainer's list says of it, and the files. */
export interface ProgramInFiles {
  readonly program: BuiltProgram;
  readonly files: readonly BuiltFile[];
}

/** Compiles a program into files that are named after `key`. */
export type BuildProgram = (graph: Graph, key: string) => Promise<ProgramInFiles>;

export interface CodeBackend extends Backend {
  /** For this machine, where code is not the same for all. */
  compiler(threads: number): Promise<Compiler<unknown>>;
  builder(threads: number): Promise<BuildProgram>;
  readonly openBuilt: OpenBuilt;
}

/** Compiles a graph, or says where it is in an element type that the target has no code for, which is the user's to change. */
export function compileOn<Program>(
  target: string,
  compiler: Compiler<Program>,
  graph: Graph,
  without: readonly string[] = [],
): Program {
  return compileFor(compiler, asTaken(graph, compiler.capabilities, target), without);
}

/** A graph as a target takes it: data come in types that it has. Throws DeviceError where something else does not. */
export function asTaken(given: Graph, { dtypes }: Capabilities, target: string): Graph {
  const graph = narrowInputs(given);
  for (const { name, role, value } of graph.inputs)
    if (role === 'batch' && !dtypes.includes(value.type.dtype))
      throw new DeviceError(
        `\`${name}\` of the data is ${value.type.dtype}, which the ${target} target does not compute in: round it once, where it comes in (\`|> map(${name}: f32(${name}))\`), or use \`--target reference\`.`,
      );
  for (const { outputs, origin } of graph.nodes)
    for (const { type } of outputs)
      if (!dtypes.includes(type.dtype))
        throw new DeviceError(
          `${origin.span === undefined ? graph.name : showPlace(origin.span)} computes in ${type.dtype}, which the ${target} target does not: use \`--target reference\`, or f32.`,
        );
  return graph;
}

/** A session that is given programs of graphs. */
export const compiling = <Program>(
  session: RoomySession<Program>,
  compiler: Compiler<Program>,
  without: readonly string[],
  load: (program: Program) => Promise<Executable>,
): Target => {
  const compiled = (graph: Graph): Program => compileOn(session.target, compiler, graph, without);
  return { session, load: async (graph) => load(compiled(graph)), rooms: (graph) => session.rooms(compiled(graph)) };
};
