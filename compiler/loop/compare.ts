/** What became of kernels: which are the same in two programs, whatever their values are called. */
import type { Kernel, LoopProgram, Step } from './loop.ts';
import { printStep } from './text.ts';

export interface KernelDiff {
  readonly same: number;
  readonly gone: readonly Kernel[];
  readonly added: readonly Kernel[];
}

/** Kernels by what they compute; each is recognized once for each time it is there. */
export function compareKernels(before: LoopProgram, after: LoopProgram): KernelDiff {
  const left = new Map<string, Kernel[]>();
  for (const kernel of kernelsIn(before.steps))
    left.set(essence(kernel), [...(left.get(essence(kernel)) ?? []), kernel]);
  const now = kernelsIn(after.steps);
  const added = now.filter((kernel) => left.get(essence(kernel))?.pop() === undefined);
  const unseen = new Set([...left.values()].flat());
  return {
    same: now.length - added.length,
    gone: kernelsIn(before.steps).filter((kernel) => unseen.has(kernel)),
    added,
  };
}

/** All kernels, in order, those in loops too. */
export const kernelsIn = (steps: readonly Step[]): Kernel[] =>
  steps.flatMap((step) => (step.kind === 'kernel' ? [step] : kernelsIn(step.body)));

/** Its lines as `nacre ir` prints them. */
export function linesOfKernel(kernel: Kernel): string[] {
  const lines: string[] = [];
  printStep(kernel, '', lines);
  return lines;
}

/** Its text with temporaries and results numbered as they come. */
export function essence(kernel: Kernel): string {
  const [, ...body] = linesOfKernel(kernel);
  const numbers = new Map<string, string>();
  return body.join('\n').replace(/%v\d+[\w.]*|\b(?:max|min|sum|prod|dot|argmax|argmin)\d+\b/g, (name) => {
    const known = numbers.get(name) ?? `%${numbers.size}`;
    numbers.set(name, known);
    return known;
  });
}
