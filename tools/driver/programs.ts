/** The programs of a train block, compiled on a target when the trainer first asks for them. */
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { showPlace } from '../../compiler/base/source.ts';
import { buildPrune, buildSnapshot } from '../../compiler/elaborate/masks.ts';
import { buildCalibration, buildQuantize } from '../../compiler/elaborate/quantize.ts';
import { buildEvaluation, buildInit, buildStep, type BoundData } from '../../compiler/elaborate/step.ts';
import type { TrainBlock } from '../../compiler/elaborate/train.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import { probeCasts, type Probe } from '../../compiler/optimize/probe-casts.ts';
import { NoRoom, type Executable, type Programs } from '../../runtime/program.ts';
import { chooseInputs } from '../../runtime/step.ts';
import { diagnosed } from './diagnosed.ts';
import { fittingBatch } from './fitting-batch.ts';
import type { Target } from './targets/backend.ts';

type Build = (diagnostics: Diagnostics) => Graph;

export function createPrograms(block: TrainBlock, data: BoundData, target: Target): Programs {
  const loaded = new Map<string, Promise<Executable>>();
  const once = (key: string, load: () => Promise<Executable>): Promise<Executable> => {
    const executable = loaded.get(key) ?? load();
    loaded.set(key, executable);
    return executable;
  };
  const load = (build: Build): Promise<Executable> => target.load(built(build));
  /** Where it has no room, it says which batch would. */
  const loadFor = (batch: number, build: (batch: number) => Build): Promise<Executable> =>
    load(build(batch)).catch((error: unknown) => {
      const { rooms } = target;
      if (!(error instanceof NoRoom) || rooms === undefined) throw error;
      const fitting = fittingBatch(batch, (size) => rooms(built(build(size))));
      throw new NoRoom(
        `${error.message} ${fitting === 0 ? 'Not even a batch of 1 fits.' : `A batch of ${fitting} fits.`}`,
      );
    });
  return {
    session: target.session,
    init: () => once('init', () => load((diagnostics) => buildInit(block, diagnostics))),
    step: (batch, phase) =>
      once(`step ${batch} ${phase}`, () =>
        loadFor(batch, (size) => (diagnostics) => buildStep(block, data.train, size, phase, diagnostics)),
      ),
    evaluate(name, batch) {
      const index = block.evaluations.findIndex((evaluation) => evaluation.name === name);
      return once(`${name} ${batch}`, () =>
        loadFor(
          batch,
          (size) => (diagnostics) => buildEvaluation(block, index, data.evaluations[index], size, diagnostics),
        ),
      );
    },
    prune: (index) => once(`prune ${index}`, () => load((diagnostics) => buildPrune(block, index, diagnostics))),
    calibrate: (batch) =>
      once(`calibrate ${batch}`, () =>
        loadFor(batch, (size) => (diagnostics) => buildCalibration(block, data.train, size, diagnostics)),
      ),
    quantize: () => once('quantize', () => load(() => buildQuantize(block))),
    snapshot: () => once('snapshot', () => load(() => buildSnapshot(block))),
    async explainSkip(batch, phase, inputs) {
      const step = optimize(
        built((diagnostics) => buildStep(block, data.train, batch, phase, diagnostics)),
        { after: 'remove-casts' },
      );
      const { graph, probes } = probeCasts(step);
      const program = await target.load(graph);
      const peaks = await program.run(chooseInputs(program, inputs, new Map()));
      await program.close();
      for (const probe of probes) {
        const size = peaks.get(probe.name)?.[0] ?? 0;
        if (!(size <= largest[probe.dtype])) return explainOverflow(probe, size);
      }
      return undefined;
    },
  };
}

/** The largest finite numbers. */
const largest = { f16: 65_504, bf16: 3.3895313892515355e38 } as const;

function explainOverflow({ dtype, origin: { path, span } }: Probe, size: number): { text: string; hint: string } {
  const where = span === undefined ? '' : ` (${showPlace(span)})`;
  const what = path === undefined ? `A value of the loss${where}` : `\`${path}\`${where}`;
  const found = Number.isFinite(size) ? `reaches ${Math.round(size).toLocaleString('en')}` : 'is not finite';
  // The model itself is not an exception but everything.
  const hints = [
    ...(path?.includes('.') === true ? [`Keep it in f32: \`precision = … except ${path}\`.`] : []),
    ...(dtype === 'f16' ? ['bf16 goes as far as f32: `precision = mixed(bf16)`.'] : []),
  ];
  return {
    text: `${what} ${found}, and ${dtype} ends at ${largest[dtype].toLocaleString('en')}.`,
    hint: hints.join(' '),
  };
}

/** A batch of another size than the one that was checked (the last of an epoch) may be what a file does not allow. */
function built(build: Build): Graph {
  const diagnostics = new Diagnostics();
  return diagnosed(diagnostics, () => build(diagnostics));
}
