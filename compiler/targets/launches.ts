/** The steps of a Tile program as a GPU's runtime is told them: kernels by number, counters by name. */
import type { ProgramStep } from '../../runtime/program.ts';
import type { TileKernel, TileProgram, TileStep } from '../tile/tile.ts';

export interface Launches {
  /** Each once, in order of first use. */
  readonly kernels: readonly TileKernel[];
  readonly steps: readonly ProgramStep[];
}

export function launchesOf(program: TileProgram): Launches {
  const places = new Map<TileKernel, number>();
  const stepOf = (step: TileStep): ProgramStep => {
    if (step.kind === 'repeat') {
      const { index, trips, reverse, body } = step;
      return { kind: 'repeat', index: index.name, trips, reverse, body: body.map(stepOf) };
    }
    const place = places.get(step.kernel) ?? places.size;
    places.set(step.kernel, place);
    return {
      kind: 'launch',
      kernel: place,
      buffers: step.buffers,
      arguments: step.arguments.map(({ name }) => name),
    };
  };
  const steps = program.steps.map(stepOf);
  return { kernels: [...places.keys()], steps };
}
