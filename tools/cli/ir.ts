/** `nacre ir`: a program at any level, as text or as a picture, and what a pass did to it. */
import { readFileSync } from 'node:fs';
import { analyze } from '../../compiler/analyze/analyze.ts';
import { dotOfGraph, dotOfLoop } from '../../compiler/analyze/dot.ts';
import { modelTree, parseModelTree, printModelTree } from '../../compiler/elaborate/model-text.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { printGraph } from '../../compiler/graph/text.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { passes } from '../../compiler/optimize/index.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import { emitLlvm } from '../../compiler/targets/llvm/step.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import { printTile } from '../../compiler/tile/text.ts';
import { nearest } from '../../common/nearest.ts';
import { UserError } from '../../runtime/errors.ts';
import { writeBitcode } from '../driver/bitcode.ts';
import { asTrained } from '../driver/compact.ts';
import { drawSvg } from '../driver/draw.ts';
import {
  compilerFor,
  graphOfTrain,
  isLanguage,
  isStep,
  levelAfter,
  lower,
  readProgram,
  steps,
  type Found,
  type Level,
  type LowerOptions,
  type Step,
} from '../driver/ir.ts';
import { graphAsJson, loopAsJson, tileAsJson } from '../driver/ir-json.ts';
import { hostCapabilities } from '../driver/host.ts';
import { mainKind, type ProgramKind } from '../driver/program-kind.ts';
import { openProject } from '../driver/project.ts';
import { diffOf, jsonOfDiff, textOfDiff } from './ir-diff.ts';
import { checkSettings, parseSettings } from './settings.ts';
import { exit, type Terminal } from './terminal.ts';

export interface IrCommand {
  /** Tensor IR, where nothing else is said. */
  readonly stage?: 'model' | Level;
  readonly format: 'text' | 'json' | 'dot' | 'svg';
  readonly after?: string;
  readonly diff?: string;
  readonly without: readonly string[];
  readonly only?: readonly string[];
  readonly passes: boolean;
  /** Where LLVM's bitcode is written. */
  readonly bitcode?: string;
  /** What the block runs over and over, where nothing else is said. */
  readonly program?: ProgramKind;
  readonly set: readonly string[];
  readonly data: readonly string[];
}

export async function ir(
  file: string,
  name: string | undefined,
  options: IrCommand,
  terminal: Terminal,
): Promise<number> {
  checkPassNames(options);
  checkTogether(options);
  if (!file.endsWith('.model')) {
    const text = readText(file);
    checkText(options);
    const tree = parseModelTree(text);
    terminal.out('layer' in tree ? printModelTree(tree) : await show(readProgram(text, file), options));
    return exit.ok;
  }
  const overrides = parseSettings(options.set);
  const project = await openProject(file, { data: options.data, overrides });
  const runnable = asTrained(await project.train(name));
  checkSettings(overrides, project, runnable.block.name);
  if (options.stage === 'model') {
    const trees = [...runnable.block.roots.values()].map(modelTree);
    if (options.format === 'dot' || options.format === 'svg')
      throw new UserError(
        'ir-format',
        'The model is a tree of text or json.',
        'A picture of its work: --stage tensor --format svg.',
      );
    terminal.out(options.format === 'json' ? written(trees) : trees.map(printModelTree).join('\n'));
    return exit.ok;
  }
  const graph = graphOfTrain(runnable, options.program ?? mainKind(runnable.plan));
  terminal.out(await show({ level: 'tensor', graph }, options));
  return exit.ok;
}

/** What is asked of a train block, and means nothing of a text that was made of one. */
function checkText({ program, set, data }: IrCommand): void {
  const asked = [
    ...(program === undefined ? [] : ['--program']),
    ...(set.length === 0 ? [] : ['--set']),
    ...(data.length === 0 ? [] : ['--data']),
  ];
  if (asked.length > 0)
    throw new UserError(
      'ir-stage',
      `${asked.join(' and ')} ${asked.length === 1 ? 'is' : 'are'} about a .model file, and this is text of a program that was made of one.`,
      'Leave it out, or name the .model file.',
    );
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    throw new UserError('no-file', `There is no file ${file}.`);
  }
}

function checkPassNames({ after, diff, without, only }: IrCommand): void {
  const known = [...passes.map((pass) => pass.name), 'fuse'];
  const check = (name: string, names: readonly string[]): void => {
    if (names.includes(name)) return;
    if (isStep(name))
      throw new UserError(
        'unknown-pass',
        `${name} cannot be left out or compared: every program needs it. ${steps[name]}`,
        `--after ${name} shows what it leaves.`,
      );
    const near = nearest(name, names);
    throw new UserError(
      'unknown-pass',
      `There is no pass ${name}.`,
      near === undefined ? `Passes are ${names.join(', ')}.` : `Did you mean ${near}?`,
    );
  };
  if (after !== undefined) check(after, ['none', ...passes.map(({ name }) => name), ...Object.keys(steps)]);
  for (const name of [...(diff === undefined ? [] : [diff]), ...without, ...(only ?? [])]) check(name, known);
}

/** What is asked for twice, or of a level that has it not. */
function checkTogether({ stage, format, after, diff, without, passes: list }: IrCommand): void {
  const option = diff !== undefined ? '--diff' : list ? '--passes' : after !== undefined ? '--after' : undefined;
  if (stage === 'model' && option !== undefined)
    throw new UserError(
      'ir-stage',
      `${option} is about what passes make of a graph, and the model is what was written.`,
      'Leave out --stage model.',
    );
  if (diff !== undefined && (list || after !== undefined))
    throw new UserError(
      'ir-stage',
      `--diff compares before and after one pass; ${list ? '--passes' : '--after'} asks for something else.`,
      'Ask for one at a time.',
    );
  if (diff === 'fuse' && without.includes('fuse'))
    throw new UserError('unknown-pass', 'The pass fuse is left out here, so there is nothing to compare.');
  if ((diff !== undefined || list) && (format === 'dot' || format === 'svg'))
    throw new UserError('ir-format', `${option} is written as text or json, not as ${format}.`, 'Say --format json.');
  if (stage !== undefined && isStep(after) && !list && stage !== levelAfter[after] && !isLanguage(stage))
    throw new UserError(
      'ir-stage',
      `What ${after} leaves is the ${levelAfter[after]} level, not ${stage}.`,
      after === 'emit' ? 'Say --stage llvm, wgsl, cuda or wasm.' : 'Leave out --stage.',
    );
}

async function show(found: Found, options: IrCommand): Promise<string> {
  const { format, after, without, only, diff } = options;
  const until = isStep(after) ? after : undefined;
  const { stage = until === undefined ? found.level : levelAfter[until] } = options;
  const level = stage === 'model' ? found.level : stage;
  const lowering: LowerOptions = {
    capabilities: async () => (isLanguage(level) ? (await compilerFor(level)).capabilities : hostCapabilities()),
    without: without.filter((name) => name !== 'fuse'),
    ...(only !== undefined && { only: only.filter((name) => name !== 'fuse') }),
    apart: without.includes('fuse'),
    ...(until !== undefined ? { until } : after === 'none' ? { raw: true } : after !== undefined && { after }),
  };
  if (diff !== undefined) {
    const made = await diffOf(graphOf(found, '--diff'), diff, level, lowering);
    return format === 'json' ? written(jsonOfDiff(made)) : textOfDiff(made);
  }
  if (options.passes) {
    const rows = await passesOf(graphOf(found, '--passes'), lowering);
    return format === 'json' ? written(rows) : textOfPasses(rows);
  }
  if (without.length > 0) graphOf(found, '--without');
  if (only !== undefined) graphOf(found, '--only');
  if (after !== undefined && (until === undefined || isPast(found, until))) graphOf(found, `--after ${after}`);
  const program = await lower(found, level, lowering);
  const reached = until === undefined || until === 'emit' ? level : levelAfter[until];
  if (options.bitcode !== undefined) return saveBitcode(program, reached, options.bitcode);
  switch (format) {
    case 'text':
      return textOf(program, reached);
    case 'json':
      return written(await jsonOf(program, reached));
    case 'dot':
      return dotOf(program, reached);
    case 'svg':
      return drawSvg(drawable(dotOf(program, reached)));
  }
}

const written = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

/** More boxes than this take Graphviz minutes, and nobody can read what comes out. */
const mostBoxes = 1200;

function drawable(dot: string): string {
  const boxes = dot.match(/^ +"[^"]+" \[/gm)?.length ?? 0;
  if (boxes > mostBoxes)
    throw new UserError(
      'ir-format',
      `${boxes} boxes are too many for a picture.`,
      '--format dot writes what Graphviz draws; nacre explain folds it by layer.',
    );
  return dot;
}

/** Ahead of time, for LLVM's own tools. */
function saveBitcode(program: Found, level: Level, path: string): string {
  if (program.level !== 'tile' || level !== 'llvm')
    throw new UserError('ir-stage', 'Bitcode is of the llvm level.', 'Say --stage llvm.');
  writeBitcode(emitLlvm(program.tile).text, path);
  return '';
}

async function textOf(program: Found, level: Level): Promise<string> {
  if (program.level === 'tensor') return printGraph(program.graph);
  if (program.level === 'loop') return printLoop(program.loop);
  return isLanguage(level) ? (await compilerFor(level)).text(program.tile) : printTile(program.tile);
}

async function jsonOf(program: Found, level: Level): Promise<unknown> {
  if (isLanguage(level))
    throw new UserError(
      'ir-format',
      `${level} has a text of its own, not json.`,
      `Without --format, --stage ${level} prints it.`,
    );
  if (program.level === 'tensor') return graphAsJson(program.graph);
  if (program.level === 'tile') return tileAsJson(program.tile);
  const capabilities = await hostCapabilities();
  return loopAsJson(
    program.loop,
    analyze(program.loop, planMemory(schedule(program.loop, capabilities)), capabilities),
  );
}

function dotOf(program: Found, level: Level): string {
  if (program.level === 'tensor') return dotOfGraph(program.graph);
  if (program.level === 'loop') return dotOfLoop(program.loop);
  throw new UserError(
    'ir-format',
    `There are pictures of the tensor and the loop level, not of ${level}.`,
    'The kernels and what they take are drawn by --stage loop, and by `nacre explain`.',
  );
}

/** Text that a step made, or one behind it. */
const isPast = ({ level }: Found, step: Step): boolean =>
  (level === 'loop' && step === 'fuse') || (level === 'tile' && step !== 'emit');

function graphOf(found: Found, what: string): Graph {
  if (found.level !== 'tensor')
    throw new UserError('ir-stage', `This is text of the ${found.level} level: ${what} is about what comes before it.`);
  return found.graph;
}

/** What a pass over Tensor IR or a step below it does, and what it took and left on this program. */
interface PassRow {
  readonly pass: string;
  readonly doc: string;
  readonly milliseconds: number;
  readonly operations?: { readonly before: number; readonly after: number };
}

async function passesOf(graph: Graph, options: LowerOptions): Promise<readonly PassRow[]> {
  const rows: PassRow[] = [];
  const observeStep = (pass: Step, milliseconds: number): void =>
    void rows.push({ pass, doc: steps[pass], milliseconds });
  const program = await lower({ level: 'tensor', graph }, 'llvm', {
    ...options,
    observe: ({ name, doc }, before, after, milliseconds) =>
      rows.push({
        pass: name,
        doc,
        milliseconds,
        operations: { before: before.nodes.length, after: after.nodes.length },
      }),
    observeStep,
  });
  if (program.level === 'tile' && (options.until === undefined || options.until === 'emit')) {
    const started = performance.now();
    emitLlvm(program.tile);
    observeStep('emit', performance.now() - started);
  }
  return rows;
}

function textOfPasses(passes: readonly PassRow[]): string {
  const rows = passes.map(({ pass, doc, milliseconds: time, operations }) => [
    pass,
    `${time.toFixed(time < 10 ? 1 : 0)} ms`,
    operations === undefined ? '' : `${operations.before} → ${operations.after} operations`,
    doc,
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map(
      ([name, time, effect, doc]) =>
        `${name.padEnd(widths[0])}  ${time.padStart(widths[1])}  ${effect.padEnd(widths[2])}  ${doc}\n`,
    )
    .join('');
}
