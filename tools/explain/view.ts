/** What the page shows, gathered: every kernel with its layer, its source lines, its predicted and its measured time. */
import { layerOf } from '../../compiler/analyze/layer.ts';
import type { KernelAnalysis } from '../../compiler/analyze/analyze.ts';
import { position, type Span } from '../../compiler/base/source.ts';
import { children } from '../../compiler/elaborate/instances.ts';
import type { InstanceValue } from '../../compiler/elaborate/value.ts';
import type { TrainAnalysis } from '../driver/analysis.ts';
import type { Measured, MeasuredStep } from '../driver/measure-kernels.ts';
import type { Project, RunnableTrain } from '../driver/project.ts';

export interface Explained {
  readonly project: Project;
  readonly runnable: RunnableTrain;
  readonly analysis: TrainAnalysis;
  readonly measured?: MeasuredStep;
}

export interface KernelView extends KernelAnalysis {
  readonly layer: string;
  /** The file's own lines first: what was computed, and where the layers that compute it are made. */
  readonly sources: readonly SourceLine[];
  /** What was computed alone. */
  readonly work: readonly SourceLine[];
  readonly measured?: Measured;
}

/** A line of a `.model` file; what stands between the columns is what was compiled. */
export interface SourceLine {
  readonly file: string;
  readonly line: number;
  readonly text: string;
  readonly marks: readonly (readonly [number, number])[];
}

export function viewKernels({ project, runnable, analysis, measured }: Explained): KernelView[] {
  const made = new Map<string, Span>();
  const note = ({ path, instance, children: inside }: LayerView): void => {
    made.set(path, instance.span);
    inside.forEach(note);
  };
  viewLayers(runnable.block).forEach(note);
  return analysis.main.analysis.kernels.map((of) => {
    const time = measured?.kernels.get(of.kernel);
    // What was computed, and where the layers that computed it were made.
    const spans = of.kernel.origins
      .flatMap(({ span, path }) => [span, path === undefined ? undefined : made.get(path)])
      .filter((span) => span !== undefined);
    const sources = linesOf(spans);
    const own = (line: SourceLine): boolean => line.file === project.source.name;
    return {
      ...of,
      layer: layerOf(of.kernel),
      sources: [...sources.filter(own), ...sources.filter((line) => !own(line))],
      work: linesOf(of.kernel.origins.flatMap(({ span }) => (span === undefined ? [] : [span]))),
      ...(time && { measured: time }),
    };
  });
}

/** The lines spans begin on, each once, in the order of the files. */
export function linesOf(spans: readonly Span[]): SourceLine[] {
  const lines = new Map<string, { file: string; line: number; text: string; marks: [number, number][] }>();
  for (const { source, start, end } of spans) {
    const { line, column } = position(source, start);
    const text = source.text.split('\n')[line - 1];
    const key = `${source.name}:${line}`;
    const entry = lines.get(key) ?? { file: source.name, line, text, marks: [] };
    lines.set(key, entry);
    entry.marks.push([column - 1, Math.min(text.length, column - 1 + end - start)]);
  }
  return [...lines.values()]
    .map((entry) => ({ ...entry, marks: merged(entry.marks) }))
    .sort((a, b) => a.file.localeCompare(b.file) || a.line - b.line);
}

function merged(marks: readonly [number, number][]): [number, number][] {
  const result: [number, number][] = [];
  for (const [start, end] of [...marks].sort((a, b) => a[0] - b[0])) {
    const last = result.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
    else result.push([start, end]);
  }
  return result;
}

/** An instance with its path, and those it owns. */
export interface LayerView {
  readonly path: string;
  readonly instance: InstanceValue;
  readonly children: readonly LayerView[];
}

export function viewLayers(block: RunnableTrain['block']): LayerView[] {
  const view = (instance: InstanceValue, path: string): LayerView => ({
    path,
    instance,
    children: children(instance).map((child) => view(child, `${path}.${child.name ?? ''}`)),
  });
  return [...block.roots].map(([name, instance]) => view(instance, name));
}

/** Seconds of all runs of a kernel in a step, or in a batch of what is shown instead: measured where it was, else predicted. */
export function secondsOf({ measured, prediction, runs }: KernelView): number | undefined {
  if (measured !== undefined) return measured.seconds / measured.together;
  return prediction === undefined ? undefined : prediction.seconds * runs;
}
