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
  const [old, now] = [before, after].map(({ steps }) => kernelsIn(steps));
  const left = new Map<string, number>();
  for (const kernel of old) left.set(essence(kernel), (left.get(essence(kernel)) ?? 0) + 1);
  const added = now.filter((kernel) => {
    const count = left.get(essence(kernel)) ?? 0;
    if (count > 0) left.set(essence(kernel), count - 1);
    return count === 0;
  });
  const gone = old.filter((kernel) => {
    const count = left.get(essence(kernel)) ?? 0;
    if (count > 0) left.set(essence(kernel), count - 1);
    return count > 0;
  });
  return { same: now.length - added.length, gone, added };
}

const kernelsIn = (steps: readonly Step[]): Kernel[] =>
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
