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
import { nearestName, UserError } from '../../runtime/errors.ts';
import { writeBitcode } from '../driver/bitcode.ts';
import { asTrained } from '../driver/compact.ts';
import { drawSvg } from '../driver/draw.ts';
import {
  compilerFor,
  graphOfTrain,
  isLanguage,
  lower,
  readProgram,
  type Found,
  type Level,
  type LowerOptions,
} from '../driver/ir.ts';
import { graphAsJson, loopAsJson, tileAsJson } from '../driver/ir-json.ts';
import { hostCapabilities } from '../driver/host.ts';
import type { ProgramKind } from '../driver/program-kind.ts';
import { openProject } from '../driver/project.ts';
import { below, showDiff } from './ir-diff.ts';
import { checkSettings, parseSettings } from './settings.ts';
import { exit, type Terminal } from './terminal.ts';

export interface IrCommand {
  readonly stage: 'model' | Level;
  readonly format: 'text' | 'json' | 'dot' | 'svg';
  readonly after?: string;
  readonly diff?: string;
  readonly without: readonly string[];
  readonly only?: readonly string[];
  readonly passes: boolean;
  /** Where LLVM's bitcode is written. */
  readonly bitcode?: string;
  readonly program: ProgramKind;
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
  if (!file.endsWith('.model')) {
    const text = readText(file);
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
    terminal.out(
      options.format === 'json' ? `${JSON.stringify(trees, undefined, 2)}\n` : trees.map(printModelTree).join('\n'),
    );
    return exit.ok;
  }
  terminal.out(await show({ level: 'tensor', graph: graphOfTrain(runnable, options.program) }, options));
  return exit.ok;
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
    if (name === 'fuse')
      throw new UserError('unknown-pass', 'After fuse there is no graph any more.', 'Its kernels: --stage loop.');
    if (below[name] !== undefined)
      throw new UserError(
        'unknown-pass',
        `${name} cannot be left out or compared: every program needs it. ${below[name]}`,
        'Look at --stage loop, --stage tile and --stage llvm.',
      );
    const near = nearestName(name, names);
    throw new UserError(
      'unknown-pass',
      `There is no pass ${name}.`,
      near === undefined ? `Passes are ${names.join(', ')}.` : `Did you mean ${near}?`,
    );
  };
  if (after !== undefined) check(after, ['none', ...passes.map(({ name }) => name)]);
  for (const name of [...(diff === undefined ? [] : [diff]), ...without, ...(only ?? [])]) check(name, known);
}

async function show(found: Found, options: IrCommand): Promise<string> {
  const { stage, format, after, without, only, diff } = options;
  const level = stage === 'model' ? found.level : stage;
  const lowering: LowerOptions = {
    capabilities: async () => (isLanguage(level) ? (await compilerFor(level)).capabilities : hostCapabilities()),
    without: without.filter((name) => name !== 'fuse'),
    ...(only !== undefined && { only: only.filter((name) => name !== 'fuse') }),
    apart: without.includes('fuse'),
    ...(after === 'none' ? { raw: true } : after !== undefined && { after }),
  };
  if (format !== 'text' && (diff !== undefined || options.passes))
    throw new UserError(
      'ir-format',
      `${diff === undefined ? '--passes' : '--diff'} is written as text, not as ${format}.`,
      'Leave --format out.',
    );
  if (diff === 'fuse' && without.includes('fuse'))
    throw new UserError('unknown-pass', 'The pass fuse is left out here, so there is nothing to compare.');
  if (diff !== undefined) return showDiff(graphOf(found, '--diff'), diff, level, lowering);
  if (options.passes) return showPasses(found, lowering);
  const program = await lower(found, level, lowering);
  if (options.bitcode !== undefined) return saveBitcode(program, options.bitcode);
  switch (format) {
    case 'text':
      return textOf(program, level);
    case 'json':
      return `${JSON.stringify(await jsonOf(program, level), undefined, 2)}\n`;
    case 'dot':
      return dotOf(program, level);
    case 'svg':
      return drawSvg(drawable(dotOf(program, level)));
  }
}

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
function saveBitcode(program: Found, path: string): string {
  if (program.level !== 'tile') throw new UserError('ir-stage', 'Bitcode is of the llvm level.', 'Say --stage llvm.');
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

function graphOf(found: Found, what: string): Graph {
  if (found.level !== 'tensor')
    throw new UserError(
      'ir-stage',
      `${what} is about passes over graphs, and this is text of the ${found.level} level.`,
    );
  return found.graph;
}

/** Every pass and every step below, what it does, and what it took and left on this program. */
async function showPasses(found: Found, options: LowerOptions): Promise<string> {
  const rows: string[][] = [];
  const milliseconds = (time: number): string => `${time.toFixed(time < 10 ? 1 : 0)} ms`;
  const graph = graphOf(found, '--passes');
  const program = await lower({ level: 'tensor', graph }, 'llvm', {
    ...options,
    observe: (pass, before, after, time) =>
      rows.push([pass.name, milliseconds(time), `${before.nodes.length} → ${after.nodes.length} operations`, pass.doc]),
    observeStep: (name, time) => rows.push([name, milliseconds(time), '', below[name] ?? '']),
  });
  if (program.level === 'tile') {
    const started = performance.now();
    emitLlvm(program.tile);
    rows.push(['emit', milliseconds(performance.now() - started), '', below['emit'] ?? '']);
  }
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map(
      ([name, time, effect, doc]) =>
        `${name.padEnd(widths[0])}  ${time.padStart(widths[1])}  ${effect.padEnd(widths[2])}  ${doc}\n`,
    )
    .join('');
}
