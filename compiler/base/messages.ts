/**
 * Every sentence the compiler says to a user, by code. Holes are typed; a sentence speaks the user's words, never the
 * compiler's. (Type rules in `ops/` bring their own sentences; the grammar says what it expected.)
 */

export const messages = {
  // Text and modules
  syntax: (h: { problem: string }) => h.problem,
  'unknown-module': (h: { module: string }) => `There is no module \`${h.module}\`.`,
  'unknown-export': (h: { module: string; name: string }) => `\`${h.module}\` has no \`${h.name}\`.`,
  'module-cycle': (h: { path: string }) => `These files use each other in a circle: ${h.path}.`,
  'duplicate-name': (h: { name: string }) => `\`${h.name}\` is already defined here.`,
  'unknown-name': (h: { name: string }) => `I cannot find \`${h.name}\`.`,
  'unused-name': (h: { what: string; name: string }) => `The ${h.what} \`${h.name}\` is never used.`,
  'not-a-value': (h: { name: string; what: string }) =>
    `\`${h.name}\` is ${h.what}, which cannot be used as a value here.`,
  'constant-cycle': (h: { name: string }) => `The value of \`${h.name}\` depends on itself.`,
  recursion: (h: { name: string }) => `\`${h.name}\` calls itself without an end: definitions here cannot recurse.`,
  'too-deep': (h: { limit: number }) => `This nests more than ${h.limit} levels deep.`,
  'too-large': (h: { what: string }) => `${h.what}`,

  // Arguments
  'missing-argument': (h: { callee: string; name: string }) => `\`${h.callee}\` needs \`${h.name}\`.`,
  'unknown-argument': (h: { callee: string; name: string }) => `\`${h.callee}\` has nothing called \`${h.name}\`.`,
  'too-many-arguments': (h: { callee: string; takes: number; given: number }) =>
    `\`${h.callee}\` takes ${h.takes === 0 ? 'nothing' : h.takes === 1 ? 'one argument' : `${h.takes} arguments`}, and ${h.given === 1 ? 'one was' : `${h.given} were`} given.`,
  'repeated-argument': (h: { name: string }) => `\`${h.name}\` is given twice.`,
  'wrong-kind': (h: { what: string; wanted: string; found: string }) =>
    `${h.what} should be ${h.wanted}, but this is ${h.found}.`,
  'not-callable': (h: { found: string }) => `This is ${h.found}, which cannot be called.`,
  'not-made': (h: { name: string }) => `\`${h.name}\` is a layer that was not made yet.`,
  'missing-shape': (h: { name: string; signature: string }) => `\`${h.name}\` needs a shape: \`${h.signature}\`.`,
  'cannot-make': (h: { found: string }) =>
    `This is ${h.found}: braces only make layers and optimizers, or fix hyperparameters.`,
  'no-application': (h: { name: string }) => `\`${h.name}\` says nowhere how it is applied.`,
  'weights-in-body': (h: { name: string }) =>
    `\`${h.name}\` owns parameters, and made here it would get new ones each time.`,
  'unknown-member': (h: { name: string; of: string }) =>
    `${h.of.charAt(0).toUpperCase()}${h.of.slice(1)} has no \`${h.name}\`.`,
  requirement: (h: { name: string; condition: string; found: string }) =>
    `\`${h.name}\` expects \`${h.condition}\`, but ${h.found}.`,
  'inexact-requirement': () => 'What a definition expects is true or not, not nearly.',
  'not-a-choice': (h: { name: string; choices: string; found: string }) =>
    `\`${h.name}\` is one of ${h.choices}, not ${h.found}.`,

  // Types and sizes
  'size-mismatch': (h: { what: string; axis: number; wanted: string; found: string }) =>
    `Axis ${h.axis} of ${h.what} should be ${h.wanted}, but it is ${h.found}.`,
  'rank-mismatch': (h: { what: string; wanted: string; found: string }) =>
    `${h.what} should be ${h.wanted}, but it is ${h.found}.`,
  'rest-mismatch': (h: { what: string; wanted: string; found: string }) =>
    `The leading axes (\`...\`) of ${h.what} should be ${h.wanted}, but they are ${h.found}.`,
  'dtype-mismatch': (h: { what: string; wanted: string; found: string }) =>
    `${h.what} should hold ${h.wanted}, but it holds ${h.found}.`,
  'result-mismatch': (h: { name: string; wanted: string; found: string }) =>
    `\`${h.name}\` says it returns ${h.wanted}, but its body is ${h.found}.`,
  'operands-mismatch': (h: { operator: string; left: string; right: string; axisFromRight: number }) =>
    `\`${h.operator}\` cannot combine ${h.left} and ${h.right}: they differ in axis −${h.axisFromRight}.`,
  'product-mismatch': (h: { left: string; right: string; inner: string; outer: string }) =>
    `\`@\` cannot multiply ${h.left} by ${h.right}: ${h.inner} and ${h.outer} should be equal.`,
  'mixed-dtypes': (h: { operator: string; left: string; right: string }) =>
    `\`${h.operator}\` needs one element type, but has ${h.left} and ${h.right}.`,
  narrowing: (h: { value: string; dtype: string }) => `${h.value} does not fit into ${h.dtype} without rounding.`,
  'not-boolean': (h: { found: string }) => `A condition must be true or false, but this is ${h.found}.`,
  'not-numeric': (h: { operator: string; found: string }) =>
    `\`${h.operator}\` works on numbers and tensors, not on ${h.found}.`,
  'branches-differ': (h: { left: string; right: string }) =>
    `Both sides of this \`if\` must be of one type, but they are ${h.left} and ${h.right}.`,
  'unknown-type': (h: { name: string }) => `There is no type \`${h.name}\`.`,
  'unknown-size': (h: { name: string }) => `The size \`${h.name}\` is bound nowhere.`,
  'unsolved-size': (h: { name: string; size: string }) => `\`${h.name}\` cannot be told from \`${h.size}\` alone.`,
  'size-without-factor': (h: { size: string; name: string; value: number }) =>
    `Nothing has the size \`${h.size}\` where \`${h.name}\` is ${h.value}.`,
  'not-a-size': (h: { found: string }) => `A size must be a whole number, but this is ${h.found}.`,
  'negative-size': (h: { size: string }) => `A size cannot be negative, but this is ${h.size}.`,
  'empty-parameter': (h: { name: string; type: string }) =>
    `The parameter \`${h.name}\` would have no elements: it would be ${h.type}.`,
  'list-changes-type': (h: { before: string; after: string }) =>
    `Layers in a list of any length must return what they get, but this turns ${h.before} into ${h.after}.`,
  'division-by-zero': () => 'This divides by zero.',

  // Indexing
  'axis-out-of-range': (h: { axis: number; type: string }) => `There is no axis ${h.axis} in ${h.type}.`,
  'too-many-indices': (h: { type: string; given: number }) => `${h.type} cannot be indexed with ${h.given} positions.`,
  'missing-indices': (h: { type: string; given: number; rank: number }) =>
    `${h.type} has ${h.rank} axes, but index notation gives ${h.given} here.`,
  'index-out-of-range': (h: { index: string; size: string; axis: number }) =>
    `Position ${h.index} is outside axis ${h.axis}, which has size ${h.size}.`,
  'index-range-clash': (h: { name: string; first: string; second: string }) =>
    `The index \`${h.name}\` runs over ${h.first} in one place and over ${h.second} in another.`,
  'index-range-unknown': (h: { name: string }) => `I cannot tell how far the index \`${h.name}\` runs.`,
  'index-unused': (h: { name: string }) => `The index \`${h.name}\` is not used.`,
  'index-missing': (h: { type: string }) => `This is a whole tensor, ${h.type}, inside index notation.`,
  'index-not-affine': () =>
    'A position must be whole multiples of indices plus a number, or i32 elements read from a tensor.',
  'not-indexable': (h: { found: string }) => `This is ${h.found}, which cannot be indexed.`,
  'bad-index': (h: { found: string }) =>
    `A position must be a whole number, a range, or i32 elements, but this is ${h.found}.`,
  'gather-mismatch': (h: { source: string; ids: string; axis: number; wanted: string }) =>
    `Positions ${h.ids} cannot choose from ${h.source}: axis ${h.axis} should be ${h.wanted} in both.`,
  'reshape-mismatch': (h: { from: string; to: string; count: string }) =>
    `${h.from} cannot become ${h.to}: it has ${h.count} elements.`,
  'split-mismatch': (h: { type: string; axis: number; size: string; parts: string }) =>
    `Axis ${h.axis} of ${h.type} has size ${h.size} and cannot be split into ${h.parts}.`,
  'parts-differ': (h: { callee: string; first: string; other: string; but: string }) =>
    `\`${h.callee}\` joins tensors that agree in everything${h.but}, not ${h.first} and ${h.other}.`,
  'ragged-list': (h: { wanted: string; found: string }) =>
    `The lists of a tensor must be equally long: here ${h.wanted} and ${h.found} meet.`,
  'not-whole': (h: { callee: string }) =>
    `\`${h.callee}\` works on whole tensors, and this is one element of index notation.`,

  // Statements
  'not-assignable': (h: { name: string }) =>
    `\`${h.name}\` cannot be assigned: \`<-\` gives a buffer, a state or a carried value its next value.`,
  'assigned-type': (h: { name: string; wanted: string; found: string }) =>
    `\`${h.name}\` is ${h.wanted} and cannot become ${h.found}.`,
  'assign-in-branch': (h: { name: string }) =>
    `\`${h.name}\` is assigned under a condition that is only known while running.`,
  'misplaced-statement': (h: { what: string; where: string }) => `\`${h.what}\` belongs ${h.where}.`,
  'no-value': () => 'This block ends without a value.',
  destructure: (h: { names: number; found: string }) => `${h.names} names cannot be taken from ${h.found}.`,
  'scan-axis': (h: { name: string; type: string; over: string }) =>
    `\`${h.name}\` is ${h.type} and has no axis of size ${h.over} to walk along.`,
  'scan-lengths': (h: { first: string; second: string }) =>
    `All sequences of a scan must be equally long, but these are ${h.first} and ${h.second}.`,
  'scan-empty': () => 'This scan carries nothing and yields nothing.',
  'not-random-here': () => 'Random numbers are drawn in layers, tests and initializers, where there is a seed.',

  // Data, training
  'unknown-field': (h: { name: string }) => `The data has no field \`${h.name}\`.`,
  'not-data': (h: { callee: string; found: string }) => `\`${h.callee}\` works on data, not on ${h.found}.`,
  'unknown-data-source': (h: { name: string }) => `There is no data source \`${h.name}\`.`,
  'unknown-data-stage': (h: { name: string }) => `There is no stage \`${h.name}\` for data.`,
  'bad-data': (h: { problem: string }) => h.problem,
  'selector-matches-nothing': (h: { selector: string }) => `The selector \`${h.selector}\` matches no parameter.`,
  'selector-means-no-layer': (h: { selector: string }) => `The selector \`${h.selector}\` means no layer.`,
  'unknown-setting': (h: { name: string }) => `A train block has no setting \`${h.name}\`.`,
  'missing-setting': (h: { train: string; name: string }) => `The train block \`${h.train}\` needs \`${h.name}\`.`,
  'repeated-setting': (h: { name: string }) => `\`${h.name}\` is set twice.`,
  'bad-setting': (h: { name: string; wanted: string; found: string }) =>
    `\`${h.name}\` should be ${h.wanted}, but it is ${h.found}.`,
  'nothing-to-train': (h: { train: string }) =>
    `The train block \`${h.train}\` trains no parameter: all are frozen, or there are none.`,
  'unreached-parameter': (h: { path: string }) =>
    `The parameter \`${h.path}\` has no influence on the loss, so it cannot be trained.`,
  'no-gradient': (h: { paths: string }) =>
    `No gradient reaches ${h.paths}: the loss sees it through \`stop_gradient\` alone.`,
  'prunes-nothing': (h: { selector: string }) => `\`prune ${h.selector}\` means no parameter.`,
  'pruned-twice': (h: { path: string }) => `\`${h.path}\` is pruned by two lines.`,
  'rewinds-nowhere': (h: { rewind: number }) =>
    `The weights cannot go back to what they were after step ${h.rewind}: this prunes once, before the first step.`,
  'rewinds-too-late': (h: { rewind: number; every: number }) =>
    `The first pruning is after step ${h.every}: what the weights are after step ${h.rewind} is not known before it.`,
  'prunes-after-the-end': (h: { every: number; steps: number }) =>
    `This prunes for the first time after step ${h.every}, and the run ends after step ${h.steps}.`,
  'cannot-compact': (h: { why: string }) => `What this removes runs into an axis that has to stay whole: ${h.why}.`,
  'keeps-no-column': (h: { name: string; path: string; columns: number }) =>
    `\`${h.name}\` keeps none of the ${h.columns} columns of \`${h.path}\`.`,
  'removes-no-column': (h: { name: string; paths: string }) => `\`${h.name}\` removes no column of ${h.paths}.`,
  'columns-once': (h: { word: string }) =>
    `Whole channels are removed once, before the first step, each weight by itself: \`${h.word}\` does not go with it.`,
  'not-a-mask': (h: { name: string; wanted: string; found: string }) =>
    `The pruner \`${h.name}\` should say what is kept as ${h.wanted}, but it is ${h.found}.`,
  'quantizes-nothing': (h: { selector: string }) => `\`quantize ${h.selector}\` means no matrix of weights.`,
  'quantizes-untrained': (h: { train: string }) =>
    `\`${h.train}\` quantizes weights as they are first made: it loads none and trains none.`,
  'quantized-twice': (h: { path: string }) => `\`${h.path}\` is quantized by two lines.`,
  'calibrates-nothing': () => 'Weights alone are quantized here, so there are no ranges to calibrate.',
  'cannot-quantize': (h: { path: string; why: string }) => `\`${h.path}\` cannot be multiplied in 8 bits: ${h.why}.`,
  'unknown-metric': (h: { name: string }) => `No \`eval\` computes a metric \`${h.name}\`.`,
  'repeated-metric': (h: { name: string }) => `Two \`eval\` lines compute a metric \`${h.name}\`.`,
  'not-a-metric': (h: { found: string }) => `A metric is a number or a sum per a count, but this is ${h.found}.`,

  // Tests
  'checks-nothing': (h: { name: string }) => `The test \`${h.name}\` checks nothing.`,
  'unknown-code': (h: { code: string }) => `Nothing is rejected with the code \`${h.code}\`.`,
  'unknown-train': (h: { name: string }) => `There is no train block \`${h.name}\` in this file.`,
  'not-testable': (h: { what: string; found: string }) =>
    `${h.what} should be a tensor or a number, but it is ${h.found}.`,
} satisfies Record<string, (holes: never) => string>;

export type Code = keyof typeof messages;
export type Holes<C extends Code> = Parameters<(typeof messages)[C]> extends [infer H] ? H : Record<never, never>;
