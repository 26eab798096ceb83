/**
 * The syntax tree of a `.model` file: what was written, nothing resolved.
 *
 * Every node has a span; comments are kept on the module for the formatter. Names are as written.
 */
import type { Span } from '../compiler/base/source.ts';
import type { Base, Documented, Identifier, LoadRule, Selector } from './ast-parts.ts';

export type { Identifier, LoadRule, Selector } from './ast-parts.ts';

export interface Comment extends Base {
  /** The text with its slashes: `// …`, `/// …` or `/* … *​/`. */
  readonly text: string;
}

export interface Module extends Base {
  readonly kind: 'module';
  readonly uses: readonly Use[];
  readonly declarations: readonly Declaration[];
  /** All comments, doc comments included, in order. */
  readonly comments: readonly Comment[];
}

/** `use std.layers { Linear, Conv2d as Conv }` — a module path and what is taken from it; or `use "./blocks.model" { Block }`. */
export interface Use extends Base {
  readonly kind: 'use';
  /** `std.layers`, or a relative file path when it was written as a string. */
  readonly module: { readonly text: string; readonly isFile: boolean; readonly span: Span };
  readonly names: readonly { readonly name: Identifier; readonly alias?: Identifier }[];
}

export type Declaration =
  | FunctionDeclaration
  | LayerDeclaration
  | OptimizerDeclaration
  | DataDeclaration
  | TrainDeclaration
  | TestDeclaration
  | ConstantDeclaration;

/** `let answer = 42` at the top of a file: a compile-time constant. */
export interface ConstantDeclaration extends Documented {
  readonly kind: 'constant';
  readonly name: Identifier;
  readonly value: Expression;
}

/**
 * `fn name{hyper: int = 1}(x: f32[B, D], y) -> f32[B] = body` — also `loss`, `metric`, `schedule` and `init`
 * (an initializer), which differ in what may call them. Hyperparameters and parameters may each be absent:
 * `schedule cosine{peak, total}(step) = …`, `fn relu(x) = max(x, 0)`.
 */
export interface FunctionDeclaration extends Documented {
  readonly kind: 'function';
  readonly role: 'fn' | 'loss' | 'metric' | 'schedule' | 'init';
  readonly name: Identifier;
  readonly hyper: readonly Parameter[];
  readonly signature: Signature;
  readonly body: Expression;
}

/** `layer` or `model`: makes an instance that owns parameters, and says how it is applied. */
export interface LayerDeclaration extends Documented {
  readonly kind: 'layer';
  readonly role: 'layer' | 'model';
  readonly name: Identifier;
  readonly hyper: readonly Parameter[];
  readonly members: readonly LayerMember[];
  /** The applications `(x: f32[B, D]) -> f32[B] = …`: one, as a rule. Absent for a bag of parameters. */
  readonly apply?: Application;
}

export interface Application extends Base {
  readonly kind: 'application';
  readonly signature: Signature;
  readonly body: Expression;
}

/** `(x: f32[B, D], scale = 1) -> f32[B]` */
export interface Signature extends Base {
  readonly parameters: readonly Parameter[];
  readonly result?: TypeExpression;
}

/** A parameter of a function or a hyperparameter: `in: int`, `lr = 1e-3`, `x: f32[B, T]`. */
export interface Parameter extends Base {
  readonly name: Identifier;
  readonly type?: TypeExpression;
  readonly default?: Expression;
}

export type LayerMember = ParamMember | BindMember;

/** `param weight: f32[in, out] = uniform(-1, 1) as norm` — `buffer` is state that is not trained (running means). */
export interface ParamMember extends Documented {
  readonly kind: 'param';
  readonly role: 'param' | 'buffer';
  readonly name: Identifier;
  readonly type: TypeExpression;
  readonly init: Expression;
  /** `as norm`: what selectors call this parameter. */
  readonly tag?: Identifier;
}

/** `fc1 = Linear{784, hidden}`: a named sub-instance, or a compile-time value. */
export interface BindMember extends Documented {
  readonly kind: 'bind';
  readonly name: Identifier;
  readonly value: Expression;
}

/** An optimizer: `optimizer Adam{lr: schedule, beta1 = 0.9} { state m = 0  (param, grad, step) { m <- …  param <- … } }`. */
export interface OptimizerDeclaration extends Documented {
  readonly kind: 'optimizer';
  readonly name: Identifier;
  readonly hyper: readonly Parameter[];
  /** Per parameter, of its shape, in f32. */
  readonly states: readonly { readonly name: Identifier; readonly init: Expression }[];
  /** The names given to the parameter, its gradient and the step (1 at the first update). */
  readonly parameters: readonly Parameter[];
  readonly body: Block;
}

/** `data mnist(split: "train" | "test") = idx(…) |> map(image: f32(image) / 255)`. */
export interface DataDeclaration extends Documented {
  readonly kind: 'data';
  readonly name: Identifier;
  readonly parameters: readonly Parameter[];
  readonly body: Expression;
}

/** `train mlp { … }` */
export interface TrainDeclaration extends Documented {
  readonly kind: 'train';
  readonly name: Identifier;
  readonly entries: readonly TrainEntry[];
}

export type TrainEntry =
  | TrainSetting
  | TrainFunction
  | TrainEval
  | TrainSave
  | TrainLoad
  | TrainFreeze
  | TrainClip
  | TrainAccumulate
  | TrainPrecision
  | TrainPrune
  | TrainQuantize
  | TrainCheckpoint;

/**
 * `model = MLP{}`, `data = …`, `epochs = 10`, `steps = 500`, `seed = 1`. An optimizer may carry groups:
 * `optimizer = AdamW{lr: 1e-3} { role(norm), *.bias : decay = 0 }`.
 */
export interface TrainSetting extends Base {
  readonly kind: 'setting';
  readonly name: Identifier;
  readonly value: Expression;
  readonly groups: readonly ParameterGroup[];
}

/** `model.head.*, role(norm) : lr = 1e-3, decay = 0` */
export interface ParameterGroup extends Base {
  readonly selectors: readonly Selector[];
  readonly settings: readonly Argument[];
}

/** `loss(image, label) = cross_entropy(model(image), label)`: its parameters are fields of the data. */
export interface TrainFunction extends Base {
  readonly kind: 'train-function';
  readonly name: Identifier;
  readonly parameters: readonly Parameter[];
  readonly body: Expression;
}

/** `eval(image, label) over mnist("test") = { accuracy: … }` */
export interface TrainEval extends Base {
  readonly kind: 'eval';
  readonly parameters: readonly Parameter[];
  readonly over: Expression;
  readonly body: Expression;
}

/** `save best accuracy`, `save best min loss`, `save every 100`, `save last`. */
export interface TrainSave extends Base {
  readonly kind: 'save';
  readonly when:
    | { readonly kind: 'best'; readonly metric: Identifier; readonly order: 'max' | 'min' }
    | { readonly kind: 'every'; readonly steps: Expression }
    | { readonly kind: 'last' };
}

/** `load "pretrained.safetensors" { "bert.*" -> model.encoder.*; skip "cls.*"; fresh model.head.* }` */
export interface TrainLoad extends Base {
  readonly kind: 'load';
  readonly path: Expression;
  readonly rules: readonly LoadRule[];
}

/** `freeze model.encoder.*` (parameters that are not trained). */
export interface TrainFreeze extends Base {
  readonly kind: 'freeze';
  /** None: all. */
  readonly selectors: readonly Selector[];
  /** `freeze all except model.head.*` */
  readonly except: readonly Selector[];
}

/** `clip norm 1.0` or `clip value 0.5` */
export interface TrainClip extends Base {
  readonly kind: 'clip';
  readonly by: 'norm' | 'value';
  readonly limit: Expression;
}

/** `accumulate 4` */
export interface TrainAccumulate extends Base {
  readonly kind: 'accumulate';
  readonly steps: Expression;
}

/** `precision = mixed(bf16) except role(norm), model.head.*` or `precision = f32 storing bf16`. */
export interface TrainPrecision extends Base {
  readonly kind: 'precision';
  readonly mixed: boolean;
  /** What is multiplied in; without `mixed` and `storing` the whole of it. */
  readonly dtype: Identifier;
  readonly storing: Identifier | undefined;
  readonly except: readonly Selector[];
}

/** `checkpoint model.blocks.*`: instances whose activations are computed again for the backward pass. */
export interface TrainCheckpoint extends Base {
  readonly kind: 'checkpoint';
  readonly selectors: readonly Selector[];
}

/** `prune *.weight with magnitude{sparsity: 0.8} globally every 50 rewind 0`; without `every` once, before the first step. */
export interface TrainPrune extends Base {
  readonly kind: 'prune';
  readonly selectors: readonly Selector[];
  /** A function of a weight and the step: which of its elements are kept. */
  readonly pruner: Expression;
  readonly globally: boolean;
  readonly every: Expression | undefined;
  readonly rewind: Expression | undefined;
}

/** `quantize *.weight to int8 calibrate 20`, `quantize *.weight to int4 weights group 32`. */
export interface TrainQuantize extends Base {
  readonly kind: 'quantize';
  readonly selectors: readonly Selector[];
  /** `int8` or `int4`. */
  readonly dtype: Identifier;
  /** Weights alone, so many rows to a scale; undefined: what they are multiplied with as well. */
  readonly weights: { readonly group: Expression | undefined } | undefined;
  /** Batches. */
  readonly calibrate: Expression | undefined;
}

/**
 * `test "name" { … }`, `test "name" for n in 1..8, m in [1, 3] { … }` (a property over sizes),
 * `test rejects "size-mismatch" { … }` (the body must not compile, with that code).
 */
export interface TestDeclaration extends Documented {
  readonly kind: 'test';
  readonly name: string;
  readonly rejects: boolean;
  readonly over: readonly { readonly name: Identifier; readonly range: Expression }[];
  readonly body: Block;
}

// ---------------------------------------------------------------------------------------------------------- types

export type TypeExpression =
  TensorTypeExpression | NamedTypeExpression | ChoiceTypeExpression | TupleTypeExpression | RecordTypeExpression;

/** `f32[B, T, D]`, `i32[...]`, `f32[..., in]`, `f32[B, _, 4*H]`. `f32` alone is a scalar tensor. */
export interface TensorTypeExpression extends Base {
  readonly kind: 'tensor-type';
  readonly dtype: Identifier;
  /** Absent for a scalar written without brackets. */
  readonly dims?: readonly DimExpression[];
}

export type DimExpression =
  | (Base & { readonly kind: 'rest' })
  | (Base & { readonly kind: 'any' })
  | (Base & { readonly kind: 'dim'; readonly value: Expression });

/** `int`, `float`, `bool`, `str`, `schedule`, `layer`, or anything the checker will not know. */
export interface NamedTypeExpression extends Base {
  readonly kind: 'named-type';
  readonly name: Identifier;
}

/** `"train" | "test"` */
export interface ChoiceTypeExpression extends Base {
  readonly kind: 'choice-type';
  readonly choices: readonly string[];
}

export interface TupleTypeExpression extends Base {
  readonly kind: 'tuple-type';
  readonly elements: readonly TypeExpression[];
}

export interface RecordTypeExpression extends Base {
  readonly kind: 'record-type';
  readonly fields: readonly { readonly name: Identifier; readonly type: TypeExpression }[];
}

// ---------------------------------------------------------------------------------------------------- expressions

export type Expression =
  | NumberLiteral
  | StringLiteral
  | BoolLiteral
  | Identifier
  | Unary
  | Binary
  | Pipe
  | Call
  | Make
  | Index
  | Member
  | Reduction
  | Conditional
  | TupleExpression
  | ListExpression
  | Comprehension
  | RangeExpression
  | RecordExpression
  | Block
  | Scan;

/** `64`, `1e-3`, `50_000`; `isInteger` when it was written without `.` or exponent. */
export interface NumberLiteral extends Base {
  readonly kind: 'number';
  readonly value: number;
  readonly isInteger: boolean;
  /** As written, for the formatter. */
  readonly text: string;
}

/** `"{split}-images.gz"`: pieces of text and holes with an expression. */
export interface StringLiteral extends Base {
  readonly kind: 'string';
  readonly parts: readonly (string | Expression)[];
}

export interface BoolLiteral extends Base {
  readonly kind: 'bool';
  readonly value: boolean;
}

export interface Unary extends Base {
  readonly kind: 'unary';
  readonly operator: '-' | 'not';
  readonly operand: Expression;
}

export type BinaryOperator =
  '+' | '-' | '*' | '/' | '%' | '^' | '@' | '==' | '!=' | '<' | '<=' | '>' | '>=' | 'and' | 'or' | 'per';

/** `a per b` is a loss: a sum and a count; it binds loosest of all. `^` is power and binds tightest (right-associative, above unary minus); `@` is matrix product, with `*`. */
export interface Binary extends Base {
  readonly kind: 'binary';
  readonly operator: BinaryOperator;
  readonly left: Expression;
  readonly right: Expression;
}

/** `x |> f |> g(2)`: `x |> f` is `f(x)`, `x |> g(2)` is `g(x, 2)`; a list of layers is applied in order. */
export interface Pipe extends Base {
  readonly kind: 'pipe';
  readonly value: Expression;
  readonly into: Expression;
}

/** An argument, by position or by name. `map(image: …)` uses names that the callee gives meaning to. */
export interface Argument extends Base {
  readonly name?: Identifier;
  readonly value: Expression;
}

/** `f(x, eps: 1e-5)` */
export interface Call extends Base {
  readonly kind: 'call';
  readonly callee: Expression;
  readonly arguments: readonly Argument[];
}

/** `Linear{784, 10}`, `Adam{lr: 1e-3}`, `cosine{peak: 1, total: 10}`: makes an instance or fixes hyperparameters. */
export interface Make extends Base {
  readonly kind: 'make';
  readonly callee: Expression;
  readonly arguments: readonly Argument[];
}

/** `x[..., 0]`, `x[b, 2*i + u]`, `zeros[B, hidden]`, `logits[..., target]`, `x[1..4, :]`, `uniform[64, 28]`. */
export interface Index extends Base {
  readonly kind: 'index';
  readonly target: Expression;
  readonly items: readonly IndexItem[];
}

export type IndexItem =
  | (Base & { readonly kind: 'rest' })
  | (Base & { readonly kind: 'all' })
  | (Base & { readonly kind: 'at'; readonly value: Expression });

/** `a.weight`, `batch.image`, `mlp.fc1` */
export interface Member extends Base {
  readonly kind: 'member';
  readonly target: Expression;
  readonly name: Identifier;
}

/** `sum[u, v, c] x[…] * w[…]` — extends as far right as a product does: `sum[d] a[d] * b[d] / 2` reduces all of it; `+` ends it. */
export interface Reduction extends Base {
  readonly kind: 'reduction';
  readonly monoid: 'sum' | 'max' | 'min' | 'mean' | 'prod';
  /** `sum[d]`, or with an explicit range where it cannot be inferred: `sum[u in 0..k]`. */
  readonly indices: readonly IndexVariable[];
  readonly body: Expression;
}

/** The name is `...` for the leading axes that `...` stands for in the reads: `let y[..., d] = x[..., d] * w[d]`. */
export interface IndexVariable extends Base {
  readonly name: Identifier;
  readonly range?: Expression;
}

/** `if c then a else b`: on a compile-time condition only one side is elaborated; else both must agree (`where`). */
export interface Conditional extends Base {
  readonly kind: 'if';
  readonly condition: Expression;
  readonly then: Expression;
  readonly else: Expression;
}

export interface TupleExpression extends Base {
  readonly kind: 'tuple';
  readonly elements: readonly Expression[];
}

export interface ListExpression extends Base {
  readonly kind: 'list';
  readonly elements: readonly Expression[];
}

/** `[Block{d} for i in 0..depth if i > 0]` */
export interface Comprehension extends Base {
  readonly kind: 'comprehension';
  readonly element: Expression;
  readonly name: Identifier;
  readonly over: Expression;
  readonly condition?: Expression;
}

/** `0..depth`: half-open. */
export interface RangeExpression extends Base {
  readonly kind: 'range';
  readonly from: Expression;
  readonly to: Expression;
}

/** `{ accuracy: a, loss }` (a name alone stands for itself). */
export interface RecordExpression extends Base {
  readonly kind: 'record';
  readonly fields: readonly { readonly name: Identifier; readonly value: Expression }[];
}

/** `{ let a = …  state <- …  expect …  result }`: statements, then (except where only effects are wanted) a value. */
export interface Block extends Base {
  readonly kind: 'block';
  readonly statements: readonly Statement[];
  readonly result?: Expression;
}

/** `scan x over T with h = zeros[B, H], c = zeros[B, H] { … h <- …  yield h }`, also `scan reverse x over T …`. */
export interface Scan extends Base {
  readonly kind: 'scan';
  /** What is taken apart, one slice a step, under its own name in the body. Several: `scan (x, mask) over T`. */
  readonly sequences: readonly Identifier[];
  /** The dimension (a name bound by the signature) or the axis number that is walked. */
  readonly over: Expression;
  readonly reverse: boolean;
  readonly carried: readonly { readonly name: Identifier; readonly init: Expression }[];
  readonly body: Block;
}

export type Statement = Let | Assign | Yield | Expect | GradCheck | TrainStatement;

/**
 * `let y = …`, `let (a, b) = split(x, 2)`, or index notation `let s[b, h, t, u] = sum[d] q[b, t, h, d] * k[b, u, h, d]`
 * (`indices` present, exactly one name).
 */
export interface Let extends Base {
  readonly kind: 'let';
  readonly names: readonly Identifier[];
  readonly indices?: readonly IndexVariable[];
  readonly value: Expression;
}

/** `m <- beta * m + grad`: the next value of a state, a carried value or a parameter. */
export interface Assign extends Base {
  readonly kind: 'assign';
  readonly target: Identifier | Member;
  readonly value: Expression;
}

export interface Yield extends Base {
  readonly kind: 'yield';
  readonly value: Expression;
}

/** `expect loss ≈ ln(10) within 0.3` (also `~=`), or any comparison: `expect accuracy > 0.9`. */
export interface Expect extends Base {
  readonly kind: 'expect';
  readonly left: Expression;
  /** Absent: `left` must be true. */
  readonly comparison?: { readonly operator: '≈' | '==' | '!=' | '<' | '<=' | '>' | '>='; readonly right: Expression };
  readonly within?: Expression;
}

/** `gradcheck MLP{hidden: 8} at f32[3, 28, 28]`: the gradient of a function or layer at random inputs of these types. */
export interface GradCheck extends Base {
  readonly kind: 'gradcheck';
  readonly target: Expression;
  readonly at: readonly TypeExpression[];
}

/**
 * `train mlp on 1 batch for 200 steps { loss < 0.01 }`: runs a train block inside a test; its final loss and eval metrics are
 * names in the conditions. `on N batches` repeats the first N batches.
 */
export interface TrainStatement extends Base {
  readonly kind: 'train';
  readonly name: Identifier;
  readonly batches?: Expression;
  readonly steps: Expression;
  readonly expects: readonly Expect[];
}
