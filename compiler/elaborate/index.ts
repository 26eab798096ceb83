/** The evaluator's public face. */
export { builtins, builtinValues } from './builtins/index.ts';
export type { Builtin } from './builtins/builtin.ts';
export { attempt, type Context, type ContextOptions } from './context.ts';
export { applyValue, createContext, evaluate } from './evaluate.ts';
export { checkModule } from './generic.ts';
export { initialize } from './initialize.ts';
export { slotsOf } from './instances.ts';
export { modelTree, parseModelTree, printModelTree, type ModelTree } from './model-text.ts';
export { loadProgram, type Program, type ProgramModule } from './modules.ts';
export { applyOptimizer, optimizerStates } from './optimizer.ts';
export type { Value } from './value.ts';
