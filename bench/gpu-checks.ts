/** What `npm run bench:gpu` holds for right: losses beside those of a processor, and kernels that compute-sanitizer has seen run. */
import type { Precision } from '../compiler/graph/graph.ts';

/** As the examples are written, and through tensor cores; f16 in halves where WebGPU has them. */
export const precisions: Readonly<Record<string, Precision | undefined>> = {
  f32: undefined,
  'mixed(tf32)': { products: 'tf32', storage: 'f32', except: [] },
  'mixed(bf16)': { products: 'bf16', storage: 'bf16', except: [] },
  'mixed(f16)': { products: 'f16', storage: 'f16', except: [] },
};

/** How far a loss may be from the processor's, relative to it. */
const mostOff = (precision: string): number => (precision === 'f32' ? 1e-4 : 1e-2);

/** The losses of the first steps of an example. */
export type Losses = (example: string, precision: string) => Promise<readonly number[]>;

export interface Comparison {
  readonly examples: readonly string[];
  readonly precisions: readonly string[];
  readonly steps: number;
  readonly found: Losses;
  /** On another target, which is known to be right. */
  readonly wanted: Losses;
  say(result: object): void;
}

export interface Compared {
  /** Pairs of an example and a precision that were trained on both targets. */
  readonly compared: number;
  /** One sentence for each pair that is not as it should be. */
  readonly problems: readonly string[];
}

export async function compareLosses(comparison: Comparison): Promise<Compared> {
  const problems: string[] = [];
  let compared = 0;
  for (const example of comparison.examples) {
    for (const precision of comparison.precisions) {
      const { problem, ...result } = await compareOne(comparison, example, precision);
      if ('steps' in result) compared++;
      if (problem !== undefined) problems.push(`${example} in ${precision}: ${problem}`);
      comparison.say({ example, precision, ...result, ...(problem !== undefined && { problem }) });
    }
  }
  return { compared, problems };
}

async function compareOne(
  { steps, found: find, wanted: want }: Comparison,
  example: string,
  precision: string,
): Promise<{ readonly problem?: string; readonly steps?: number; readonly largest_difference?: number }> {
  try {
    const [wanted, found] = [await want(example, precision), await find(example, precision)];
    for (const { length } of [wanted, found])
      if (length !== steps) return { problem: `${length} steps of ${steps} were done` };
    const largest = farthest(found, wanted);
    const most = mostOff(precision);
    // A difference that is no number is not small.
    return {
      steps,
      largest_difference: largest,
      ...(!(largest <= most) && { problem: `a loss is ${largest} off, more than ${most}` }),
    };
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

const farthest = (found: readonly number[], wanted: readonly number[]): number =>
  Math.max(...found.map((loss, step) => Math.abs(loss / wanted[step] - 1)));

/** The last line of a program's output that is JSON. */
export function lastJson(output: string): Readonly<Record<string, unknown>> | undefined {
  const line = output
    .trim()
    .split('\n')
    .findLast((one) => one.startsWith('{'));
  try {
    return line === undefined ? undefined : JSON.parse(line);
  } catch {
    return undefined;
  }
}

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly error?: Error;
}

/**
 * Whether a run under compute-sanitizer found nothing although there was something to find: it counted no error, and the program
 * below it, which fails where losses do, says that it compared as many as it should have.
 */
export function sanitized(
  { status, stdout, stderr, error }: Ended,
  wanted: number,
): { readonly clean: boolean; readonly compared: number; readonly problem?: string } {
  const compared = Number(lastJson(stdout)?.['compared'] ?? 0);
  const summary = /ERROR SUMMARY: (\d+) errors?/.exec(stdout);
  const problem =
    error?.message ??
    (summary === null
      ? 'compute-sanitizer gave no summary'
      : summary[1] !== '0'
        ? summary[0]
        : status !== 0
          ? `the program under compute-sanitizer ended with ${status}: ${stderr.trim().split('\n').at(-1)}`
          : compared !== wanted
            ? `${compared} of ${wanted} trainings were done under compute-sanitizer`
            : undefined);
  return { clean: problem === undefined, compared, ...(problem !== undefined && { problem }) };
}
