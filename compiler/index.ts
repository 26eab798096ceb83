/**
 * The compiler's public functions: everything that turns text into programs, without Node. `tools/driver` shows them at work
 * on files and devices.
 */
export type { Source, Span } from './base/source.ts';
export { Diagnostics, renderDiagnostic, type Diagnostic } from './base/diagnostics.ts';
export { parse } from '../grammar/index.ts';
export { checkModule, loadProgram, type Program } from './elaborate/index.ts';
export type { Override } from './elaborate/overrides.ts';
export { resolveTrain, type TrainBlock } from './elaborate/train.ts';
export { checkTrain } from './elaborate/check-train.ts';
export { buildEvaluation, buildInit, buildStep, planTrain, type BoundData } from './elaborate/step.ts';
export { elaborateTest, type TestCase } from './elaborate/tests.ts';
export { createBuilder } from './ops/builder.ts';
export { ops } from './ops/index.ts';
export { differentiate } from './differentiate/differentiate.ts';
export { interpretGraph } from './graph/interpret.ts';
export { optimize, passes } from './optimize/index.ts';
export { compile, type Stages } from './pipeline.ts';
export { capabilitiesOf } from './targets/llvm/features.ts';
export { emitLlvm } from './targets/llvm/step.ts';
