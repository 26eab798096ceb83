/** A program somewhere on its way down: read from text or taken from a train block, and lowered to the level asked for. */
import { availableParallelism } from 'node:os';
import { kernelsOf } from '../../compiler/analyze/cost.ts';
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildPrune, maskingOf } from '../../compiler/elaborate/masks.ts';
import { buildCalibration, buildQuantize } from '../../compiler/elaborate/quantize.ts';
import { buildEvaluation, buildInit, buildStep } from '../../compiler/elaborate/step.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Graph, Node } from '../../compiler/graph/graph.ts';
import { GraphTextError, parseGraph } from '../../compiler/graph/parse-text.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import type { LoopProgram, Segment } from '../../compiler/loop/loop.ts';
import { LoopSyntaxError, parseLoop } from '../../compiler/loop/parse.ts';
import { verifyLoop } from '../../compiler/loop/verify.ts';
import { optimize, type OptimizeOptions } from '../../compiler/optimize/index.ts';
import { fuseOptionsFor, passesLeft } from '../../compiler/pipeline.ts';
import { isWhole } from '../../compiler/schedule/chain-sides.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import type { Capabilities, Compiler } from '../../compiler/targets/target.ts';
import { parseTile, TileSyntaxError } from '../../compiler/tile/parse.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import { verifyTile } from '../../compiler/tile/verify.ts';
import { UserError } from '../../runtime/errors.ts';
import { phaseOf } from '../../runtime/step.ts';
import { Diagnosed } from './diagnosed.ts';
import type { ProgramKind } from './program-kind.ts';
import type { RunnableTrain } from './project.ts';
import { asTaken } from './targets/backend.ts';
import { type Language, targetOf, targets } from './targets/index.ts';

/** Levels that hold a program, from the top; the last ones are the languages that Tile IR is printed in. */
export type Level = 'tensor' | 'loop' | 'tile' | Language;
const depthOf = (level: Level): number => (isLanguage(level) ? 3 : ['tensor', 'loop', 'tile'].indexOf(level));

export const isLanguage = (level: string): level is Language => targetOf(level) !== undefined;

/** The steps below Tensor IR, in their order. */
export const steps = {
  fuse: 'Tensor IR to Loop IR: values that need no memory of their own are computed where they are used.',
  schedule: 'Loop IR to Tile IR: loops, vectors and work items for this machine.',
  'plan-memory': 'Gives every temporary its place in the arena.',
  emit: 'Tile IR to LLVM text.',
};
export type Step = keyof typeof steps;

export const isStep = (name: string | undefined): name is Step => name !== undefined && Object.hasOwn(steps, name);

/** The level that a step leaves; emitting leaves the text of a language. */
export const levelAfter: Readonly<Record<Step, Level>> = {
  fuse: 'loop',
  schedule: 'tile',
  'plan-memory': 'tile',
  emit: 'llvm',
};

/** For the machine this runs on, where the language is not one for many. */
export async function compilerFor(language: Language): Promise<Compiler<unknown>> {
  const backend = await targets[targetOf(language)].backend();
  return backend.compiler(availableParallelism());
}

/** A program at the level where it was found. */
export type Found =
  | { readonly level: 'tensor'; readonly graph: Graph }
  | { readonly level: 'loop'; readonly loop: LoopProgram }
  | { readonly level: 'tile'; readonly tile: TileProgram };

export function graphOfTrain({ block, plan, data }: RunnableTrain, program: ProgramKind): Graph {
  const diagnostics = new Diagnostics();
  const build = (): Graph => {
    if (program === 'init') return buildInit(block, diagnostics);
    if (program === 'prune') {
      if (maskingOf(block).length === 0)
        throw new UserError('no-prune', `The train block ${plan.name} has no prune line.`);
      return buildPrune(block, 0, diagnostics);
    }
    if (program === 'calibrate' || program === 'quantize') {
      if (block.quantizes.length === 0)
        throw new UserError('no-quantize', `The train block ${plan.name} has no quantize line.`);
      return program === 'quantize'
        ? buildQuantize(block)
        : buildCalibration(block, data.train, plan.batch, diagnostics);
    }
    if (program === 'step' && plan.epochs === 0)
      throw new UserError(
        'no-step',
        `The train block ${plan.name} takes no step.`,
        'Leave --program out: it shows what runs.',
      );
    if (program === 'step')
      return buildStep(block, data.train, plan.batch, phaseOf(plan.accumulate - 1, plan.accumulate), diagnostics);
    const [evaluation] = plan.evaluations;
    const [description] = data.evaluations;
    if (evaluation === undefined || description === undefined)
      throw new UserError('no-evaluation', `The train block ${plan.name} has no eval line.`);
    return buildEvaluation(block, 0, description, evaluation.batch, diagnostics);
  };
  const graph = build();
  if (!diagnostics.isEmpty) throw new Diagnosed(diagnostics.sorted());
  return graph;
}

/** Text of a level begins with `graph`, or with `program`; a Tile program says how large its arena is. */
export function readProgram(text: string, file: string): Found {
  const found = parseProgram(text, file);
  const problems =
    found.level === 'tensor'
      ? verifyGraph(found.graph)
      : found.level === 'loop'
        ? verifyLoop(found.loop)
        : verifyTile(found.tile);
  if (problems.length === 0) return found;
  const more = problems.length === 1 ? '' : ` (and ${problems.length - 1} more)`;
  throw new UserError('ir-invalid', `${file} is no valid ${found.level} program: ${problems[0]}${more}.`);
}

function parseProgram(text: string, file: string): Found {
  try {
    const start = text.replace(/^(?:\s|\/\/[^\n]*)*/, '');
    if (start.startsWith('graph')) return { level: 'tensor', graph: parseGraph(text) };
    if (/^program\s+("[^"\n]*"|\S+)\s+arena\b/.test(start)) return { level: 'tile', tile: parseTile(text) };
    if (start.startsWith('program')) return { level: 'loop', loop: parseLoop(text) };
  } catch (error) {
    if (!(error instanceof GraphTextError || error instanceof LoopSyntaxError || error instanceof TileSyntaxError))
      throw error;
    throw new UserError('ir-text', `${file}: ${error.message}`);
  }
  throw new UserError(
    'ir-text',
    `${file} is neither a .model file nor the text of a model tree, a graph, a loop or a tile program.`,
  );
}

export interface LowerOptions extends OptimizeOptions {
  /** No pass over Tensor IR at all. */
  readonly raw?: boolean;
  /** A kernel for every operation. */
  readonly apart?: boolean;
  readonly capabilities: () => Promise<Capabilities>;
  /** Stop after this step, for the machine of the level asked for. */
  readonly until?: Step;
  /** Told of every step below Tensor IR, with the milliseconds it took. */
  readonly observeStep?: (name: Step, milliseconds: number) => void;
}

const usesBytes = ({ inputs, outputs }: Node): boolean =>
  [...inputs, ...outputs].some(({ type }) => type.dtype === 'i8');

const isPlanned = ({ buffers }: TileProgram): boolean =>
  buffers.every(({ role, offset }) => role !== 'temporary' || offset !== undefined);

/** The program at a level at or below the one it was found at; of a language, the tile program that is printed. */
export async function lower(found: Found, to: Level, options: LowerOptions): Promise<Found> {
  if (depthOf(to) < depthOf(found.level))
    throw new UserError('ir-stage', `This is text of the ${found.level} level; there is no way back up to ${to}.`);
  const timed = <Made>(name: Step, make: () => Made): Made => {
    const started = performance.now();
    const made = make();
    options.observeStep?.(name, performance.now() - started);
    return made;
  };
  let at = found;
  if (at.level === 'tensor') {
    // Above the languages only products of bytes are done another way on another machine: it has to be found out which this is.
    const isAsked = isLanguage(to) || at.graph.nodes.some(usesBytes);
    const machine = isAsked ? await options.capabilities() : undefined;
    const without = [...(options.without ?? []), ...(machine === undefined ? [] : passesLeft(machine))];
    const graph = options.raw === true ? at.graph : optimize(at.graph, { ...options, without });
    at = { level: 'tensor', graph };
    if (to === 'tensor') return at;
    const taken = isLanguage(to) && machine !== undefined ? asTaken(graph, machine, targetOf(to)) : graph;
    const fuseOptions = { ...(machine && fuseOptionsFor(machine)), apart: options.apart ?? false };
    at = { level: 'loop', loop: timed('fuse', () => fuse(taken, fuseOptions).program) };
  }
  if (at.level === 'loop') {
    const { loop } = at;
    if (to === 'loop' || options.until === 'fuse') return at;
    const capabilities = await options.capabilities();
    const { wholeChains } = fuseOptionsFor(capabilities);
    const isForOthers = (segment: Segment): boolean =>
      wholeChains === true && segment.kind === 'chain' && !isWhole(segment);
    if (kernelsOf(loop.steps).some(({ kernel }) => kernel.segments.some(isForOthers)))
      throw new UserError(
        'ir-stage',
        `This program has a chain that was made for machines of another kind than ${to}.`,
        'Start from the model or from tensor text: its chains are made anew there.',
      );
    at = { level: 'tile', tile: timed('schedule', () => schedule(loop, capabilities)) };
    if (options.until === 'schedule') return at;
  }
  const { tile } = at;
  if (found.level === 'tile' && isPlanned(tile)) return at;
  const { smallestElement, halvesApart } = await options.capabilities();
  return { level: 'tile', tile: timed('plan-memory', () => planMemory(tile, smallestElement, halvesApart)) };
}
