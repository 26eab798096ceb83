/** A program at any level as text: of a train block, or of a text at a higher level that is read back. */
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildEvaluation, buildInit, buildStep } from '../../compiler/elaborate/step.ts';
import { modelTree, printModelTree } from '../../compiler/elaborate/model-text.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { GraphTextError, parseGraph } from '../../compiler/graph/parse-text.ts';
import { printGraph } from '../../compiler/graph/text.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import type { LoopProgram } from '../../compiler/loop/loop.ts';
import { LoopSyntaxError, parseLoop } from '../../compiler/loop/parse.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { optimize, passes } from '../../compiler/optimize/index.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import { capabilitiesOf } from '../../compiler/targets/llvm/features.ts';
import { emitLlvm } from '../../compiler/targets/llvm/step.ts';
import { parseTile, TileSyntaxError } from '../../compiler/tile/parse.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import { printTile } from '../../compiler/tile/text.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import { nearestName, UserError } from '../../runtime/errors.ts';
import type { RunnableTrain } from './project.ts';

export const stages = ['model', 'tensor', 'loop', 'tile', 'llvm'] as const;
export type Stage = (typeof stages)[number];
export const programs = ['step', 'init', 'eval'] as const;

export interface IrOptions {
  readonly stage: Stage;
  /** Stop after this pass over Tensor IR; 'none' is the graph as it was elaborated. */
  readonly after?: string;
  readonly threads: number;
}

/** A program somewhere on its way down. */
type Program =
  | { readonly stage: 'tensor'; readonly graph: Graph }
  | { readonly stage: 'loop'; readonly loop: LoopProgram }
  | { readonly stage: 'tile'; readonly tile: TileProgram };

/** The text of a train block's program at a stage. */
export async function irOfTrain({ block, data }: RunnableTrain, which: (typeof programs)[number], options: IrOptions): Promise<string> {
  if (options.stage === 'model') return [...block.roots.values()].map((root) => printModelTree(modelTree(root))).join('\n');
  const diagnostics = new Diagnostics();
  if (which === 'eval' && block.evaluations.length === 0) throw new UserError('no-evaluation', `The train block ${block.name} has no eval line.`);
  const graph = which === 'init' ? buildInit(block, diagnostics)
    : which === 'eval' ? buildEvaluation(block, 0, data.evaluations[0], block.batch, diagnostics)
    : buildStep(block, data.train, block.batch, block.accumulate > 1 ? 'last' : 'only', diagnostics);
  return descend({ stage: 'tensor', graph }, options);
}

/** Whether a text is IR rather than a `.model` file: every level's text begins with its own word. */
export const isIr = (text: string): boolean => /^\s*(?:\/\/[^\n]*\n\s*)*(?:graph|program) /.test(text);

/** Reads a text of Tensor, Loop or Tile IR and prints it at the same or a lower stage. */
export async function irOfText(text: string, path: string, options: IrOptions): Promise<string> {
  return descend(read(text, path), options);
}

function read(text: string, path: string): Program {
  try {
    if (/^\s*(?:\/\/[^\n]*\n\s*)*graph /.test(text)) {
      const graph = parseGraph(text);
      const problems = verifyGraph(graph);
      if (problems.length > 0) throw new UserError('bad-ir', `${path} is not a valid graph: ${problems[0]}.`);
      return { stage: 'tensor', graph };
    }
    return /^[^{]*\barena\b/.test(text) ? { stage: 'tile', tile: parseTile(text) } : { stage: 'loop', loop: parseLoop(text) };
  } catch (error) {
    if (error instanceof GraphTextError || error instanceof LoopSyntaxError || error instanceof TileSyntaxError) throw new UserError('bad-ir', `${path}: ${error.message}`);
    throw error;
  }
}

async function descend(from: Program, { stage, after, threads }: IrOptions): Promise<string> {
  if (stages.indexOf(from.stage) > stages.indexOf(stage))
    throw new UserError('bad-ir', `This is ${from.stage} IR; it cannot be raised to ${stage}.`, `Ask for ${stages.slice(stages.indexOf(from.stage)).join(', ')}.`);
  if (stage === 'tensor' && from.stage === 'tensor') return printGraph(after === 'none' ? from.graph : optimize(from.graph, passOption(after)));
  const loop = from.stage === 'tensor' ? fuse(optimize(from.graph)).program : from.stage === 'loop' ? from.loop : undefined;
  if (stage === 'loop' && loop !== undefined) return printLoop(loop);
  const { architecture = 'x86_64', features = '' } = await describeCpu();
  const tile = from.stage === 'tile' ? from.tile : planMemory(schedule(loop ?? unreachable(), capabilitiesOf({ architecture, features }, threads)));
  return stage === 'tile' ? printTile(tile) : emitLlvm(tile).text;
}

function passOption(after: string | undefined): { after?: string } {
  if (after === undefined) return {};
  const names = passes.map(({ name }) => name);
  if (names.includes(after)) return { after };
  const near = nearestName(after, names);
  throw new UserError('unknown-pass', `There is no pass \`${after}\`; the passes are ${names.join(', ')}, and none.`, near === undefined ? undefined : `Did you mean \`${near}\`?`);
}

function unreachable(): never {
  throw new Error('a program without a loop stage');
}
