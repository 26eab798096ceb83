/**
 * The runtime: trains, evaluates, saves and continues compiled programs. It knows nothing of the compiler beyond the
 * artefact's type (program.ts).
 */
export { DeviceError, programVersion } from './program.ts';
export type {
  DataPlan,
  ElementType,
  Executable,
  Field,
  LoadRule,
  Programs,
  Session,
  StepPhase,
  TrainPlan,
  TypedArray,
} from './program.ts';
export { nearestName, UserError } from './errors.ts';
export { grantFiles } from './files.ts';
export type { Files, Grants, InputFile } from './files.ts';
export { openData } from './data/dataset.ts';
export type { Batch, Dataset, DatasetOptions } from './data/dataset.ts';
export { describeData } from './data/load.ts';
export type { DataDescription } from './data/source.ts';
export { train } from './trainer.ts';
export type { TrainEvent, TrainOptions, TrainResult } from './train-options.ts';
export { evaluateRun, restoreWeights } from './evaluate.ts';
export type { EvaluateOptions } from './evaluate.ts';
export { openRun } from './run-folder.ts';
export type { MetricsLine, Progress, RunConfig, RunFolder } from './run-folder.ts';
export { applyLoadRules } from './weights.ts';
export type { LoadRequest, Placement } from './weights.ts';
export { encodeWeights, readTensor, readWeightsHeader } from './safetensors.ts';
export type { StoredTensor, WeightsHeader } from './safetensors.ts';
