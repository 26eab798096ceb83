/**
 * The compiler on one page: which level follows which. A graph comes from `elaborate/`; a Tile program goes to a target.
 *
 *   Tensor IR ── optimize ──▶ Tensor IR ── fuse ──▶ Loop IR ── schedule ──▶ Tile IR ── planMemory ──▶ Tile IR ──▶ target
 */
import { explainLargest } from './analyze/largest-buffer.ts';
import { fuse, type FuseOptions, type FusionDecision } from './fuse/fuse.ts';
import type { Graph } from './graph/graph.ts';
import type { LoopProgram } from './loop/loop.ts';
import { verifyLoop } from './loop/verify.ts';
import { optimize } from './optimize/index.ts';
import { packBytes } from './optimize/pack-bytes.ts';
import { schedule } from './schedule/schedule.ts';
import type { Capabilities, Compiler } from './targets/target.ts';
import { planMemory } from './tile/plan-memory.ts';
import type { TileProgram } from './tile/tile.ts';
import { verifyTile } from './tile/verify.ts';

/** A program at every level it went through. */
export interface Stages {
  readonly optimized: Graph;
  readonly loop: LoopProgram;
  readonly decisions: readonly FusionDecision[];
  readonly tile: TileProgram;
}

export interface CompileOptions {
  /** Check every level, and the graph after every pass: for tests and for finding the guilty pass. */
  readonly verify?: boolean;
  /** Passes to leave out, `fuse` among them (every operation is a kernel): to see what they are worth. */
  readonly without?: readonly string[];
}

/** The passes that a machine with these capabilities gains nothing by. */
export const passesLeft = (capabilities: Capabilities): string[] => [
  ...(capabilities.dotsBytes ? [] : [packBytes.name]),
];

/** How kernels are made for such a machine. */
export const fuseOptionsFor = ({ workgroupThreads, matrices }: Capabilities): FuseOptions => ({
  wholeChains: workgroupThreads > 1,
  asItLies: matrices.length > 0,
});

/** Compiles one graph for a machine with these capabilities. */
export function compile(
  graph: Graph,
  capabilities: Capabilities,
  { verify = false, without = [] }: CompileOptions = {},
): Stages {
  const left = without.filter((name) => name !== 'fuse');
  const optimized = optimize(graph, { verify, without: [...left, ...passesLeft(capabilities)] });
  const apart = without.includes('fuse');
  const { program: loop, decisions } = fuse(optimized, { ...fuseOptionsFor(capabilities), apart });
  const tile = planMemory(schedule(loop, capabilities), capabilities.smallestElement, capabilities.halvesApart);
  if (verify) complain([...verifyLoop(loop), ...verifyTile(tile, capabilities.smallestElement)]);
  return { optimized, loop, decisions, tile };
}

/** The program that a target's device takes. `without`: passes to leave out. */
export function compileFor<Program>(
  { capabilities, program }: Compiler<Program>,
  graph: Graph,
  without: readonly string[] = [],
): Program {
  const { loop, tile } = compile(graph, capabilities, { without });
  return program(explainLargest(tile, loop, capabilities.smallestElement));
}

function complain(violations: readonly string[]): void {
  if (violations.length > 0) throw new Error(`the compiler made an invalid program:\n${violations.join('\n')}`);
}
