/**
 * A `train` block, resolved: which instances, which data, which loss, which optimizer for which parameter. What its programs
 * compute is in step.ts; how it is driven is the runtime's.
 */
import type {
  LoadRule,
  Parameter,
  Selector,
  TrainDeclaration,
  TrainEntry,
  TrainEval,
  TrainFunction,
  TrainSave,
  TrainSetting,
} from '../../grammar/ast.ts';
import type { LoadRule as PlannedLoadRule, TrainPlan } from '../../runtime/program.ts';
import type { Kept } from '../compact/compact.ts';
import { didYouMean, Problem, refuse, type Diagnostics, type Extra } from '../base/diagnostics.ts';
import type { Code, Holes } from '../base/messages.ts';
import { showPlace, type Span } from '../base/source.ts';
import type { Precision } from '../graph/graph.ts';
import { createBuilder } from '../ops/builder.ts';
import type { CutOff } from './cut-off.ts';
import { planData, type Pipeline } from './data.ts';
import { createContext, evaluate } from './evaluate.ts';
import { instancesOf, slotsOf } from './instances.ts';
import { added, applyOverrides, numberSettings, type Override } from './overrides.ts';
import { resolvePrecision } from './precision.ts';
import { resolvePrunes, type PlannedPrune } from './prune.ts';
import { resolveQuantizes, type PlannedQuantize } from './quantize.ts';
import { bind, createScope, type Scope } from './scope.ts';
import { outermost, select, selectInstances } from './selectors.ts';
import {
  callData,
  describe,
  pathOf,
  slotPath,
  unknown,
  type Fixed,
  type InstanceValue,
  type OptimizerValue,
  type Slot,
  type Value,
} from './value.ts';

/** A parameter, how it is updated, or that it stays as it is (`optimizer` undefined: frozen). */
export interface PlannedParameter {
  readonly slot: Slot;
  readonly path: string;
  readonly optimizer: OptimizerValue | undefined;
}

export interface PlannedEvaluation {
  readonly name: string;
  readonly declaration: TrainEval;
  readonly data: Pipeline;
}

export interface TrainBlock {
  readonly name: string;
  readonly declaration: TrainDeclaration;
  /** The module's names and the block's settings. */
  readonly scope: Scope;
  /** Instances by the name that their paths begin with. */
  readonly roots: ReadonlyMap<string, InstanceValue>;
  readonly parameters: readonly PlannedParameter[];
  readonly buffers: readonly Slot[];
  readonly data: Pipeline;
  readonly batch: number;
  readonly loss: TrainFunction;
  readonly evaluations: readonly PlannedEvaluation[];
  readonly clip: { readonly by: 'norm' | 'value'; readonly limit: number } | undefined;
  readonly seed: number;
  readonly epochs: number | undefined;
  readonly steps: number | undefined;
  readonly evalEvery: number | undefined;
  readonly accumulate: number;
  /** Undefined: f32 throughout. */
  readonly precision: Precision | undefined;
  /** Paths of instances whose activations are computed again for the backward pass. */
  readonly recompute: readonly string[];
  readonly prunes: readonly PlannedPrune[];
  readonly quantizes: readonly PlannedQuantize[];
  /** Parameters and buffers that are no part of the run. */
  readonly cutOff: readonly CutOff[];
  /** What structured pruning left, by path; empty before it happened. */
  readonly kept: ReadonlyMap<string, Kept>;
  readonly saves: TrainPlan['saves'];
  readonly loads: TrainPlan['loads'];
}

/** Settings that are not instances. */
const settings: readonly string[] = ['data', 'optimizer', ...numberSettings];

/** For a setting that there is not: the nearest there is. Scaling the loss is nothing to be set. */
const hintForSetting = (name: string): { readonly hint?: string } =>
  /^(loss|grad(ient)?)_?scal(e|ing|er)$/.test(name)
    ? { hint: "Leave it out: wherever gradients are stored in f16 the loss is scaled, as by PyTorch's GradScaler." }
    : didYouMean(name, settings);

/**
 * Resolves a train block in the scope of its module. What is wrong is collected; `undefined` if the block cannot be run.
 */
export function resolveTrain(
  declaration: TrainDeclaration,
  moduleScope: Scope,
  diagnostics: Diagnostics,
  overrides: readonly Override[] = [],
): TrainBlock | undefined {
  const before = diagnostics.all.length;
  const collect = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      diagnostics.report(error.diagnostic);
      return undefined;
    }
  };
  const block = collect(() => resolve(declaration, moduleScope, diagnostics, overrides, collect));
  return diagnostics.all.length === before ? block : undefined;
}

type Collect = <T>(work: () => T) => T | undefined;

function resolve(
  declaration: TrainDeclaration,
  moduleScope: Scope,
  diagnostics: Diagnostics,
  overrides: readonly Override[],
  collect: Collect,
): TrainBlock | undefined {
  const name = declaration.name.name;
  // Nothing is computed while settings are read: instances are made, numbers folded.
  const context = createContext(createBuilder(name), diagnostics);
  const scope = createScope(moduleScope);
  const entries = <Kind extends TrainEntry['kind']>(kind: Kind) =>
    declaration.entries.filter((entry): entry is Extract<TrainEntry, { kind: Kind }> => entry.kind === kind);

  const values = new Map<string, { value: Value; entry: TrainSetting }>();
  const roots = new Map<string, InstanceValue>();
  for (const entry of [...entries('setting'), ...added(declaration, overrides)]) {
    const key = entry.name.name;
    collect(() => {
      if (values.has(key)) wrong('repeated-setting', { name: key }, entry.name.span);
      // What cannot be evaluated is reported as that, not as missing.
      values.set(key, { value: unknown, entry });
      const value = evaluate(context, scope, applyOverrides(entry, overrides).value);
      values.set(key, { value, entry });
      if (value.kind === 'instance') {
        value.name = key;
        roots.set(key, value);
        bind(scope, key, value);
      } else if (value.kind !== 'unknown' && !settings.includes(key))
        wrong('unknown-setting', { name: key }, entry.name.span, hintForSetting(key));
    });
  }
  const required = (key: string): { value: Value; entry: TrainSetting } =>
    values.get(key) ?? wrong('missing-setting', { train: name, name: key }, declaration.name.span);
  const whole = (key: string): number | undefined => {
    const found = values.get(key);
    return found === undefined ? undefined : positive(key, found.value, found.entry.value.span);
  };

  const slots = [...roots.values()].flatMap((root) => slotsOf(root));
  /** As `collect`, but where a model could not be made it is no fault of a selector that it finds nothing. */
  const isWhole = [...values.values()].every(({ value }) => value.kind !== 'unknown');
  const select: Collect = (work) =>
    collect(() => {
      try {
        return work();
      } catch (error) {
        const finds = !(error instanceof Problem && error.diagnostic.code === 'selector-matches-nothing');
        if (isWhole || finds) throw error;
        return undefined;
      }
    });
  const data = collect(() => {
    const { value, entry } = required('data');
    if (value.kind === 'unknown') return undefined;
    return value.kind === 'data'
      ? planData(value)
      : wrong(
          'bad-setting',
          { name: 'data', wanted: 'data', found: describe(value) },
          entry.value.span,
          callData(value),
        );
  });
  // Without an optimizer and a number of steps nothing is learned: weights are quantized as they are.
  const isQuantizedOnly =
    entries('quantize').length > 0 && !['optimizer', 'epochs', 'steps'].some((key) => values.has(key));
  const loss = collect(() => {
    const found = entries('train-function').find((entry) => entry.name.name === 'loss');
    for (const other of entries('train-function'))
      if (other.name.name !== 'loss')
        wrong('unknown-setting', { name: other.name.name }, other.name.span, didYouMean(other.name.name, ['loss']));
    return found ?? wrong('missing-setting', { train: name, name: 'loss(…) = …' }, declaration.name.span);
  });
  const parameters = select(() => {
    if (isQuantizedOnly) return frozenWhole(slots);
    const { value, entry } = required('optimizer');
    if (value.kind === 'unknown') return undefined;
    if (value.kind !== 'optimizer')
      return wrong(
        'bad-setting',
        { name: 'optimizer', wanted: 'an optimizer', found: describe(value) },
        entry.value.span,
      );
    const frozen = frozenSlots(entries('freeze'), slots);
    return planParameters(value, entry, slots, frozen, (argument) => evaluate(context, scope, argument));
  });
  const evaluations = entries('eval').flatMap((entry, index) => {
    const pipeline = collect(() => {
      const over = evaluate(context, scope, entry.over);
      if (over.kind === 'unknown') return undefined;
      return over.kind === 'data'
        ? planData(over)
        : wrong(
            'bad-setting',
            { name: 'over', wanted: 'data', found: describe(over) },
            entry.over.span,
            callData(over),
          );
    });
    const label = entries('eval').length === 1 ? 'eval' : `eval${index + 1}`;
    return pipeline === undefined ? [] : [{ name: label, declaration: entry, data: pipeline }];
  });
  const numbers = {
    seed: collect(() => nonNegative('seed', values.get('seed'))) ?? 0,
    epochs: isQuantizedOnly ? 0 : collect(() => whole('epochs')),
    steps: collect(() => whole('steps')),
    evalEvery: collect(() => whole('eval_every')),
    accumulate:
      collect(() =>
        entries('accumulate')
          .map((entry) => positive('accumulate', evaluate(context, scope, entry.steps), entry.span))
          .at(0),
      ) ?? 1,
  };
  if (!isQuantizedOnly && !values.has('epochs') && !values.has('steps'))
    collect(() =>
      wrong('missing-setting', { train: name, name: 'epochs' }, declaration.name.span, {
        hint: 'Say `epochs = 10`, or `steps = 1000`.',
      }),
    );
  const clip = collect(() =>
    entries('clip')
      .map((entry) => ({
        by: entry.by,
        limit: clipLimit(`clip ${entry.by}`, evaluate(context, scope, entry.limit), entry.limit.span),
      }))
      .at(0),
  );
  const precision = select(() => {
    const [entry, again] = entries('precision');
    if (again !== undefined) wrong('repeated-setting', { name: 'precision' }, again.span);
    return entry === undefined ? undefined : resolvePrecision(entry, slots);
  });
  const paths = [...roots.values()].flatMap(instancesOf).flatMap((instance) => pathOf(instance) ?? []);
  const recompute = entries('checkpoint').flatMap(
    (entry) => select(() => entry.selectors.flatMap((selector) => selectInstances(selector, paths))) ?? [],
  );
  const prunes =
    select(() =>
      resolvePrunes(
        entries('prune'),
        slots,
        (expression) => evaluate(context, scope, expression),
        (name, expression, least) => wholeNumber(name, evaluate(context, scope, expression), expression.span, least),
      ),
    ) ?? [];
  const quantizes =
    select(() =>
      resolveQuantizes(entries('quantize'), slots, (name, expression) =>
        positive(name, evaluate(context, scope, expression), expression.span),
      ),
    ) ?? [];
  const saves = entries('save').flatMap(
    (entry) =>
      collect(() => planSave(entry, (value) => positive('save every', evaluate(context, scope, value), entry.span))) ??
      [],
  );
  const loads = entries('load').flatMap(
    (entry) =>
      collect(() => {
        const path = evaluate(context, scope, entry.path);
        if (path.kind !== 'string')
          return wrong('bad-setting', { name: 'load', wanted: 'a file name', found: describe(path) }, entry.path.span);
        return {
          path: path.value,
          rules: entry.rules.map((rule) => planLoadRule(rule, slots)),
          place: showPlace(entry.span),
        };
      }) ?? [],
  );

  if (isQuantizedOnly && loads.length === 0)
    collect(() =>
      wrong('quantizes-untrained', { train: name }, entries('quantize')[0].span, {
        hint: 'Load trained weights: `load "best.safetensors"`. Or give it an optimizer and epochs: it then trains through the rounding.',
      }),
    );

  if (data === undefined || loss === undefined || parameters === undefined || !diagnostics.isEmpty) return undefined;
  if (!isQuantizedOnly && parameters.every((parameter) => parameter.optimizer === undefined))
    return wrong('nothing-to-train', { train: name }, declaration.name.span);
  markFrozen(roots, parameters);
  return {
    name,
    declaration,
    scope,
    roots,
    parameters,
    data,
    loss,
    evaluations,
    clip,
    precision,
    recompute: outermost(recompute),
    prunes,
    quantizes,
    cutOff: [],
    kept: new Map(),
    saves,
    loads,
    ...numbers,
    buffers: slots.filter((slot) => slot.declaration.role === 'buffer'),
    batch: data.batch ?? 32,
  };
}

/** `freeze model.encoder.*`, `freeze all except model.head.*` */
function frozenSlots(entries: readonly Extract<TrainEntry, { kind: 'freeze' }>[], slots: readonly Slot[]): Set<Slot> {
  const frozen = new Set<Slot>();
  for (const entry of entries) {
    const chosen =
      entry.selectors.length === 0 ? slots : entry.selectors.flatMap((selector) => select(selector, slots));
    const kept = new Set(entry.except.flatMap((selector) => select(selector, slots)));
    for (const slot of chosen) if (!kept.has(slot)) frozen.add(slot);
  }
  return frozen;
}

const frozenWhole = (slots: readonly Slot[]): PlannedParameter[] =>
  slots
    .filter((slot) => slot.declaration.role === 'param')
    .map((slot) => ({ slot, path: slotPath(slot), optimizer: undefined }));

/** A model of the block that is frozen whole, as the teacher of a distillation, is applied as in an evaluation. */
function markFrozen(roots: ReadonlyMap<string, InstanceValue>, parameters: readonly PlannedParameter[]): void {
  for (const root of roots.values()) {
    const slots = new Set(slotsOf(root));
    const own = parameters.filter(({ slot }) => slots.has(slot));
    root.isFrozen = own.length > 0 && own.every(({ optimizer }) => optimizer === undefined);
  }
}

/** Gives each trained parameter the optimizer with the settings of the groups that mean it, later groups winning. */
function planParameters(
  optimizer: OptimizerValue,
  entry: TrainSetting,
  slots: readonly Slot[],
  frozen: ReadonlySet<Slot>,
  value: (expression: TrainSetting['value']) => Value,
): PlannedParameter[] {
  const overrides = new Map<Slot, Map<string, Fixed>>();
  const known = optimizer.declaration.hyper.map((parameter: Parameter) => parameter.name.name);
  for (const group of entry.groups) {
    const chosen = group.selectors.flatMap((selector) => select(selector, slots));
    for (const { name, value: expression, span } of group.settings) {
      if (name === undefined || !known.includes(name.name))
        wrong(
          'unknown-argument',
          { callee: optimizer.declaration.name.name, name: name?.name ?? '' },
          span,
          didYouMean(name?.name ?? '', known),
        );
      else {
        const fixed = { value: value(expression), span };
        for (const slot of chosen) overrides.set(slot, new Map([...(overrides.get(slot) ?? []), [name.name, fixed]]));
      }
    }
  }
  return slots
    .filter((slot) => slot.declaration.role === 'param')
    .map((slot) => {
      const own = overrides.get(slot);
      const chosen = own === undefined ? optimizer : { ...optimizer, hyper: new Map([...optimizer.hyper, ...own]) };
      return { slot, path: slotPath(slot), optimizer: frozen.has(slot) ? undefined : chosen };
    });
}

function planSave(entry: TrainSave, steps: (value: TrainSetting['value']) => number): TrainPlan['saves'][number] {
  switch (entry.when.kind) {
    case 'best':
      return { kind: 'best', metric: entry.when.metric.name, order: entry.when.order };
    case 'every':
      return { kind: 'every', steps: steps(entry.when.steps) };
    case 'last':
      return { kind: 'last' };
  }
}

function planLoadRule(rule: LoadRule, slots: readonly Slot[]): PlannedLoadRule {
  switch (rule.kind) {
    case 'skip':
      return { kind: 'skip', from: rule.from };
    case 'fresh':
      return fresh(rule.to, slots);
    case 'map':
      return { kind: 'map', from: rule.from, to: rule.to.text };
  }
}

function fresh(selector: Selector, slots: readonly Slot[]): PlannedLoadRule {
  select(selector, slots);
  return { kind: 'fresh', to: selector.text };
}

function plainNumber(name: string, value: Value, span: Span): number {
  if ((value.kind === 'int' || value.kind === 'float') && typeof value.value === 'number') return value.value;
  return wrong('bad-setting', { name, wanted: 'a number', found: describe(value) }, span);
}

function clipLimit(name: string, value: Value, span: Span): number {
  const limit = plainNumber(name, value, span);
  return limit > 0
    ? limit
    : wrong('bad-setting', { name, wanted: 'a number greater than 0', found: describe(value) }, span);
}

const positive = (name: string, value: Value, span: Span): number => wholeNumber(name, value, span, 1);

function wholeNumber(name: string, value: Value, span: Span, least: 0 | 1): number {
  const number = value.kind === 'int' ? plainNumber(name, value, span) : -1;
  return number >= least
    ? number
    : wrong('bad-setting', { name, wanted: `a whole number of at least ${least}`, found: describe(value) }, span);
}

function nonNegative(name: string, found: { value: Value; entry: TrainSetting } | undefined): number {
  if (found === undefined) return 0;
  const number = found.value.kind === 'int' ? plainNumber(name, found.value, found.entry.value.span) : -1;
  return number >= 0
    ? number
    : wrong('bad-setting', { name, wanted: 'a whole number', found: describe(found.value) }, found.entry.value.span);
}

const wrong = <C extends Code>(code: C, holes: Holes<C>, span: Span, extra: Extra = {}): never =>
  refuse(code, holes, [span], extra);
