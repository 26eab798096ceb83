/** `nacre ir`: a program at any level, as text. Text of a level is taken as input again and carried on from there. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildEvaluation, buildInit, buildStep } from '../../compiler/elaborate/step.ts';
import type { TrainBlock } from '../../compiler/elaborate/train.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { GraphTextError, parseGraph } from '../../compiler/graph/parse-text.ts';
import { printGraph } from '../../compiler/graph/text.ts';
import type { LoopProgram } from '../../compiler/loop/loop.ts';
import { LoopSyntaxError, parseLoop } from '../../compiler/loop/parse.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { optimize, passes } from '../../compiler/optimize/index.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import { capabilitiesOf } from '../../compiler/targets/llvm/features.ts';
import { emitLlvm } from '../../compiler/targets/llvm/step.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { parseTile, TileSyntaxError } from '../../compiler/tile/parse.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import { printTile } from '../../compiler/tile/text.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import { showShape } from '../../compiler/types/dim.ts';
import { nearestName, UserError } from '../../runtime/errors.ts';
import { Diagnosed } from '../driver/diagnosed.ts';
import { openProject, type RunnableTrain } from '../driver/project.ts';
import { parseSettings, checkSettings } from './settings.ts';
import { exit, type Terminal } from './terminal.ts';

const stages = ['model', 'tensor', 'loop', 'tile', 'llvm'] as const;
type Stage = (typeof stages)[number];

export interface IrCommand {
  readonly stage: Stage;
  readonly after?: string;
  readonly program: 'step' | 'init' | 'eval';
  readonly set: readonly string[];
  readonly data: readonly string[];
}

/** A program at the level where it was found. */
type Found =
  | { readonly level: 'tensor'; readonly graph: Graph }
  | { readonly level: 'loop'; readonly loop: LoopProgram }
  | { readonly level: 'tile'; readonly tile: TileProgram };

export async function ir(file: string, name: string | undefined, options: IrCommand, terminal: Terminal): Promise<number> {
  const known = ['none', ...passes.map((pass) => pass.name)];
  if (options.after !== undefined && !known.includes(options.after)) {
    const near = nearestName(options.after, known);
    throw new UserError('unknown-pass', `There is no pass ${options.after}.`, near === undefined ? `Passes are ${known.join(', ')}.` : `Did you mean ${near}?`);
  }
  if (!file.endsWith('.model')) {
    terminal.out(await show(readText(file), options));
    return exit.ok;
  }
  const overrides = parseSettings(options.set);
  const project = await openProject(file, { data: options.data, overrides });
  const runnable = await project.train(name);
  checkSettings(overrides, project, runnable.block.name);
  terminal.out(options.stage === 'model' ? printModel(runnable.block) : await show({ level: 'tensor', graph: graphOf(runnable, options.program) }, options));
  return exit.ok;
}

function graphOf({ block, plan, data }: RunnableTrain, program: IrCommand['program']): Graph {
  const diagnostics = new Diagnostics();
  const build = (): Graph => {
    if (program === 'init') return buildInit(block, diagnostics);
    if (program === 'step') return buildStep(block, data.train, plan.batch, plan.accumulate > 1 ? 'last' : 'only', diagnostics);
    const [evaluation] = plan.evaluations;
    const [description] = data.evaluations;
    if (evaluation === undefined || description === undefined) throw new UserError('no-evaluation', `The train block ${plan.name} has no eval line.`);
    return buildEvaluation(block, 0, description, evaluation.batch, diagnostics);
  };
  const graph = build();
  if (!diagnostics.isEmpty) throw new Diagnosed(diagnostics.sorted());
  return graph;
}

/** Text of a level begins with `graph`, or with `program`; a Tile program says how large its arena is. */
function readText(file: string): Found {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    throw new UserError('no-file', `There is no file ${file}.`);
  }
  try {
    const start = text.replace(/^(?:\s|\/\/[^\n]*)*/, '');
    if (start.startsWith('graph')) return { level: 'tensor', graph: parseGraph(text) };
    if (/^program\s+("[^"\n]*"|\S+)\s+arena\b/.test(start)) return { level: 'tile', tile: parseTile(text) };
    if (start.startsWith('program')) return { level: 'loop', loop: parseLoop(text) };
  } catch (error) {
    if (!(error instanceof GraphTextError || error instanceof LoopSyntaxError || error instanceof TileSyntaxError)) throw error;
    throw new UserError('ir-text', `${file}: ${error.message}`);
  }
  throw new UserError('ir-text', `${file} is neither a .model file nor the text of a graph, loop or tile program.`);
}

async function show(found: Found, { stage, after }: IrCommand): Promise<string> {
  if (stages.indexOf(stage) < stages.indexOf(found.level)) {
    throw new UserError('ir-stage', `This is text of the ${found.level} level; there is no way back up to ${stage}.`);
  }
  if (found.level === 'tensor') {
    const graph = after === 'none' ? found.graph : optimize(found.graph, after === undefined ? {} : { after });
    if (stage === 'tensor') return printGraph(graph);
    return show({ level: 'loop', loop: fuse(graph).program }, { ...defaults, stage });
  }
  if (found.level === 'loop') {
    if (stage === 'loop') return printLoop(found.loop);
    return show({ level: 'tile', tile: planMemory(schedule(found.loop, await hostCapabilities())) }, { ...defaults, stage });
  }
  return stage === 'tile' ? printTile(found.tile) : emitLlvm(found.tile).text;
}

const defaults = { program: 'step', set: [], data: [] } as const;

/** Of this machine; of a common one with AVX2 where libLLVM cannot tell. */
async function hostCapabilities(): Promise<Capabilities> {
  const { describeCpu } = await import('../../runtime/devices/cpu.ts');
  const { features = '+avx2,+fma', architecture = 'x86_64', l1, l2 } = await describeCpu();
  return capabilitiesOf({ architecture, features, l1, l2 }, availableParallelism());
}

/** The model tree: every parameter with its path, type, tag and what happens to it. */
function printModel(block: TrainBlock): string {
  const rows = block.parameters.map(({ slot, path, optimizer }) => [
    `${path}:`, `${slot.type.dtype}${showShape(slot.type.shape)}`,
    optimizer === undefined ? 'frozen' : optimizer.declaration.name.name,
    slot.declaration.tag === undefined ? '' : `as ${slot.declaration.tag.name}`,
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) => `  ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  ')}`.trimEnd());
  const roots = [...block.roots].map(([name, instance]) => `  ${name} = ${instance.declaration.name.name}`);
  return [`train ${block.name} {`, ...roots, '', ...lines, '}', ''].join('\n');
}
