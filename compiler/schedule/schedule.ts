/**
 * Loop IR → Tile IR: every segment becomes one or a few kernels for the given machine. The shapes decide everything,
 * never the number of threads: a program computes the same bits on any machine with the same vectors. Segments that
 * differ in their buffers only share a kernel.
 */
import type { Axis, Buffer, LoopProgram, Segment, Step } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { register } from '../tile/build.ts';
import type { Register, TileBuffer, TileKernel, TileProgram, TileStep } from '../tile/tile.ts';
import { type Numbers, segmentKey } from './fingerprint.ts';
import { buffersOf, makeKernel } from './kernel.ts';
import { type Launch, launchTogether, type Merged } from './launch-together.ts';
import { simplify } from './simplify.ts';
import { splitPhases } from './split-phases.ts';
import { splitReductions } from './split-reduction.ts';

interface Repeated {
  readonly axis: Axis;
  readonly index: Register;
}

/** The program with every kernel's loops, vectors and grid decided. Temporaries have no places yet: see plan-memory. */
export function schedule(program: LoopProgram, capabilities: Capabilities): TileProgram {
  const buffers: Buffer[] = [...program.buffers];
  const names = new Set(buffers.map((buffer) => buffer.name));
  const temporary = (dtype: Buffer['dtype'], shape: readonly number[]): Buffer => {
    let number = buffers.length;
    while (names.has(`partial${number}`)) number++;
    const made: Buffer = { name: `partial${number}`, role: 'temporary', dtype, shape };
    names.add(made.name);
    buffers.push(made);
    return made;
  };
  const teams = capabilities.workgroupThreads > 1;
  // Rows and columns of what a chain hands on stay apart, to be cut in tiles.
  const simpler = (segment: Segment): Segment => (teams && segment.kind === 'chain' ? segment : simplify(segment));
  const numbers: Numbers = new Map();
  const made = new Map<string, TileKernel | undefined>();
  const merged: Merged = new Map();
  const kernelNames = new Set<string>();
  const named = (name: string): string => {
    let unique = name;
    for (let number = 2; kernelNames.has(unique); number++) unique = `${name}_${number}`;
    kernelNames.add(unique);
    return unique;
  };
  const stepsOf = (step: Step, repeats: readonly Repeated[]): readonly TileStep[] => {
    if (step.kind === 'repeat') {
      const index = register(`t${repeats.length}`, 'index');
      const body = step.body.flatMap((inner) => stepsOf(inner, [...repeats, { axis: step.axis, index }]));
      return [{ kind: 'repeat', index, trips: step.axis.size, reverse: step.reverse, body }];
    }
    const launches = step.segments
      .flatMap((segment) => splitPhases(segment))
      .map((segment) =>
        splitReductions(simpler(segment), capabilities, temporary).flatMap((part): Launch[] => {
          const simple = simpler(part);
          const key = segmentKey(
            simple,
            repeats.map(({ axis }) => axis),
            numbers,
          );
          if (!made.has(key)) {
            const inside = repeats.map(({ axis, index }): Repeated => ({ axis, index: register(index.name, 'index') }));
            made.set(key, makeKernel(named(step.name), simple, inside, capabilities));
          }
          const kernel = made.get(key);
          const names = [...buffersOf(simple).keys()].map((buffer) => buffer.name);
          return kernel === undefined
            ? []
            : [{ kind: 'launch', kernel, buffers: names, arguments: repeats.map(({ index }) => index) }];
        }),
      );
    return teams ? launchTogether(launches, merged, capabilities) : launches.flat();
  };
  const steps = program.steps.flatMap((step) => stepsOf(step, []));
  return { name: program.name, buffers: buffers.map(placed), arena: 0, steps };
}

const placed = ({ name, role, dtype, shape, data }: Buffer): TileBuffer => ({
  name,
  role,
  dtype,
  shape,
  ...(data && { data }),
});
