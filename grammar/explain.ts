/** Turns what chevrotain noticed into sentences. */
import { EOF, tokenMatcher } from 'chevrotain';
import type { IParserErrorMessageProvider, IRecognitionException, IToken, TokenType } from 'chevrotain';
import { nearest } from '../common/nearest.ts';
import type { Source } from '../compiler/base/source.ts';
import { syntaxError } from './syntax-error.ts';
import type { SyntaxError } from './syntax-error.ts';
import { declarationWords, Dot, Name, NumberToken, Semicolon, Text, TextHead, TextMiddle, TextTail } from './tokens.ts';

/** What a rule reads, for "While reading …". Rules that are not here speak for the rule that called them. */
const things: Record<string, string> = {
  use: 'a `use`',
  constant: 'a `let`',
  function: 'a function',
  layer: 'a layer',
  parameters: 'a list of parameters',
  parameter: 'a parameter',
  hyperparameters: 'the hyperparameters in `{…}`',
  member: 'a member of a layer',
  param: 'a parameter of a layer',
  bind: 'a member of a layer',
  application: 'how a layer is applied',
  optimizer: 'an optimizer',
  data: 'a data definition',
  train: 'a `train` block',
  trainEntry: 'an entry of a `train` block',
  setting: 'an entry of a `train` block',
  trainFunction: 'a function in a `train` block',
  eval: 'an `eval`',
  save: 'a `save`',
  load: 'a `load`',
  loadRule: 'a rule of a `load`',
  freeze: 'a `freeze`',
  clip: 'a `clip`',
  group: 'a group of parameters',
  selector: 'a selector',
  test: 'a test',
  block: 'a block',
  statement: 'a statement',
  let: 'a `let`',
  expect: 'an `expect`',
  gradcheck: 'a `gradcheck`',
  trainStatement: 'a training test',
  type: 'a type',
  expression: 'an expression',
  arguments: 'the arguments in `(…)`',
  make: 'the arguments in `{…}`',
  parenthesized: 'an expression in brackets',
  listOrComprehension: 'a list',
  record: 'a record',
  conditional: 'an `if`',
  scan: 'a `scan`',
  string: 'a string',
};

/** What a rule hopes for when none of its alternatives begins with the token found. */
const hopes: Record<string, string> = {
  declaration:
    'a declaration (`use`, `let`, `fn`, `layer`, `model`, `loss`, `metric`, `optimizer`, `schedule`, `init`, `data`, `train` or `test`)',
  member: 'a member (`param name: …`, `name = …`) or how the layer is applied (`(x: …) -> … = …`)',
  trainEntry: 'an entry such as `model = …`, `loss(…) = …`, `save best …` or `freeze …`',
  statement: '`let …`, `expect …`, `gradcheck …`, `train …`, `yield …`, `name = …` or a value',
  loadRule: 'a rule: `"from" -> to`, `skip "from"` or `fresh to`',
  body: '`=` and an expression, or a block `{ … }`',
  type: 'a type',
  dim: 'a size, `...` or `_`',
  operand: 'an expression',
  expression: 'an expression',
  selector: 'a path such as `model.head.*`, or `role(…)`',
  pathPart: 'a name, `*` or `{…}` in this path',
  precision: '`mixed(bf16)`, `mixed(f16)`, `mixed(tf32)` or an element type',
  save: '`best`, `every` or `last`',
  clip: '`norm` or `value`',
  string: 'a string',
};

/** Words with a meaning where items of this kind stand, for "did you mean". */
const wordsIn: Record<string, readonly string[]> = {
  member: ['param', 'buffer'],
  trainEntry: [
    'save',
    'load',
    'freeze',
    'clip',
    'accumulate',
    'checkpoint',
    'prune',
    'quantize',
    'precision',
    'eval',
    'loss',
  ],
  loadRule: ['skip', 'fresh'],
  statement: ['let', 'yield', 'expect', 'gradcheck', 'train'],
  save: ['best', 'every', 'last'],
  clip: ['norm', 'value'],
  optimizer: ['state'],
  scan: ['over', 'with', 'reverse'],
  declaration: Object.keys(declarationWords),
  module: Object.keys(declarationWords),
};

const label = (type: TokenType): string => type.LABEL ?? type.name;

/** Given to chevrotain: only what was hoped for; the sentence around it is made when the parse is over. */
export const explain: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected }) => label(expected),
  buildNotAllInputParsedMessage: () => 'the end of the file',
  buildNoViableAltMessage: ({ ruleName }) => hopes[ruleName] ?? 'something else',
  buildEarlyExitMessage: ({ ruleName }) => hopes[ruleName] ?? 'something else',
};

/** The error of a chevrotain exception. */
export function explainException(exception: IRecognitionException, source: Source): SyntaxError {
  const { token } = exception;
  const previousToken = 'previousToken' in exception ? (exception.previousToken as IToken | undefined) : undefined;
  const isEnd = token.tokenType === EOF || Number.isNaN(token.startOffset);
  const start = isEnd ? source.text.length : token.startOffset;
  const end = isEnd ? start : start + token.image.length;
  const rules = exception.context.ruleStack;
  const reading = rules.findLast((name) => things[name] !== undefined);
  const where = reading === undefined ? '' : `While reading ${things[reading]}, `;
  const message = `${where}I expected ${exception.message}, but found ${describe(token, isEnd)}.`;
  return syntaxError(
    'unexpected-token',
    message,
    source,
    start,
    end,
    hint(token, previousToken, rules, exception.message),
  );
}

function describe(token: IToken, isEnd: boolean): string {
  if (isEnd) return 'the end of the file';
  if (token.image === '') return 'the end of these brackets';
  const shown = token.image.length > 30 ? `${token.image.slice(0, 30)}…` : token.image;
  if (tokenMatcher(token, Name)) return `the name \`${shown}\``;
  if (token.tokenType === NumberToken) return `the number \`${shown}\``;
  if ([Text, TextHead].includes(token.tokenType)) return `the string ${shown}`;
  if ([TextMiddle, TextTail].includes(token.tokenType)) return 'the end of a hole in a string';
  return `\`${shown}\``;
}

function hint(
  token: IToken,
  previous: IToken | undefined,
  rules: readonly string[],
  expected: string,
): string | undefined {
  if (previous?.tokenType === Dot && token.tokenType === NumberToken) {
    return 'The parts of a tuple are taken by name: `let (a, b) = …`.';
  }
  if (token.tokenType === Semicolon)
    return 'Items need no `;` between them, and inside brackets they are divided by `,`.';
  if (token.image === 'for' && rules.at(-1) === 'statement')
    return 'An index has its range where it is named: `let y[i in 0..8] = …`. A list is made in brackets: `[… for i in 0..8]`.';
  const isReserved = token.tokenType.name.startsWith('Reserved_');
  if (expected === label(Name) && isReserved)
    return `\`${token.image}\` is a word of the language and cannot be a name.`;
  const isName = tokenMatcher(token, Name);
  const words = rules.findLast((name) => wordsIn[name] !== undefined);
  const candidates = words === undefined ? [] : (wordsIn[words] ?? []);
  // `parm weight: …` is read as a name with another name behind it: the first is the misspelled word.
  for (const suspect of isName && previous !== undefined && tokenMatcher(previous, Name)
    ? [previous, token]
    : [token]) {
    const wanted = expected.match(/`([a-z]+)`/g)?.map((word) => word.slice(1, -1)) ?? [];
    const meant = tokenMatcher(suspect, Name) ? nearest(suspect.image, [...wanted, ...candidates]) : undefined;
    if (meant !== undefined && meant !== suspect.image) return `Did you mean \`${meant}\`?`;
  }
  return undefined;
}
