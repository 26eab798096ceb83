/**
 * The tokens of a `.model` file.
 *
 * Few words are reserved. All others (`model`, `loss`, `param`, `over`, `sum` …) are ordinary names that the parser reads as
 * keywords where the grammar asks for them: each is a token type of its own that also counts as `Name`.
 */
import { createToken, Lexer } from 'chevrotain';
import type { CustomPatternMatcherReturn, IToken, TokenType } from 'chevrotain';

export const Name = createToken({ name: 'Name', pattern: /[A-Za-z_][A-Za-z0-9_]*/, label: 'a name' });

// ------------------------------------------------------------------------------------------------ words

const reserved = (text: string): TokenType =>
  createToken({ name: `Reserved_${text}`, pattern: text, longer_alt: Name, label: `\`${text}\`` });

const contextual = (text: string): TokenType =>
  createToken({ name: `Word_${text}`, pattern: text, longer_alt: Name, categories: [Name], label: `\`${text}\`` });

/** Words that are never names. */
export const Let = reserved('let');
export const If = reserved('if');
export const Then = reserved('then');
export const Else = reserved('else');
export const For = reserved('for');
export const And = reserved('and');
export const Or = reserved('or');
export const Not = reserved('not');
export const Per = reserved('per');
export const True = reserved('true');
export const False = reserved('false');
export const Scan = reserved('scan');
export const Yield = reserved('yield');
export const Expect = reserved('expect');
export const GradCheck = reserved('gradcheck');
const reservedWords = [Let, If, Then, Else, For, And, Or, Not, Per, True, False, Scan, Yield, Expect, GradCheck];

/** Words that are keywords in one place and names elsewhere. */
export const In = contextual('in');
export const As = contextual('as');
export const Over = contextual('over');
export const With = contextual('with');
export const At = contextual('at');
export const On = contextual('on');
export const Within = contextual('within');
export const Reverse = contextual('reverse');
export const Param = contextual('param');
export const Buffer = contextual('buffer');
export const State = contextual('state');
export const Rejects = contextual('rejects');
export const TrainWord = contextual('train');
export const BatchWord = contextual('batch');
export const BatchesWord = contextual('batches');
export const StepsWord = contextual('steps');
export const StepWord = contextual('step');
export const Eval = contextual('eval');
export const Save = contextual('save');
export const Best = contextual('best');
export const Every = contextual('every');
export const Last = contextual('last');
export const Load = contextual('load');
export const Skip = contextual('skip');
export const Fresh = contextual('fresh');
export const Freeze = contextual('freeze');
export const All = contextual('all');
export const Except = contextual('except');
export const Clip = contextual('clip');
export const Norm = contextual('norm');
export const Value = contextual('value');
export const Accumulate = contextual('accumulate');
export const Checkpoint = contextual('checkpoint');
export const Prune = contextual('prune');
export const Globally = contextual('globally');
export const Rewind = contextual('rewind');
export const Quantize = contextual('quantize');
export const To = contextual('to');
export const Weights = contextual('weights');
export const Group = contextual('group');
export const Calibrate = contextual('calibrate');
export const Precision = contextual('precision');
export const Mixed = contextual('mixed');
export const Storing = contextual('storing');
export const Role = contextual('role');
export const Sum = contextual('sum');
export const Max = contextual('max');
export const Min = contextual('min');
export const Mean = contextual('mean');
export const Prod = contextual('prod');
const contextualWords = [
  In,
  As,
  Over,
  With,
  At,
  On,
  Within,
  Reverse,
  Param,
  Buffer,
  State,
  Rejects,
  TrainWord,
  BatchWord,
  BatchesWord,
  StepsWord,
  StepWord,
  Eval,
  Save,
  Best,
  Every,
  Last,
  Load,
  Skip,
  Fresh,
  Freeze,
  All,
  Except,
  Clip,
  Norm,
  Value,
  Accumulate,
  Checkpoint,
  Prune,
  Globally,
  Rewind,
  Quantize,
  To,
  Weights,
  Group,
  Calibrate,
  Precision,
  Mixed,
  Storing,
  Role,
  Sum,
  Max,
  Min,
  Mean,
  Prod,
];

/**
 * Words that begin a declaration. The lexer never makes them: a name becomes one where it stands outside all brackets and before
 * another name or a string (see `mark-declarations.ts`), so that `model(x)` and `data = …` stay ordinary.
 */
const declaration = (text: string): TokenType =>
  createToken({ name: `Declare_${text}`, pattern: Lexer.NA, label: `\`${text}\`` });

export const declarationWords = {
  use: declaration('use'),
  fn: declaration('fn'),
  loss: declaration('loss'),
  metric: declaration('metric'),
  schedule: declaration('schedule'),
  init: declaration('init'),
  layer: declaration('layer'),
  model: declaration('model'),
  optimizer: declaration('optimizer'),
  data: declaration('data'),
  train: declaration('train'),
  test: declaration('test'),
};

// ------------------------------------------------------------------------------------------------ literals

export const NumberToken = createToken({
  name: 'Number',
  pattern: /\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d[\d_]*)?/,
  label: 'a number',
});

// Strings and block comments are scanned by hand: linear time, no regular expression stack, whatever the text.

const match = (text: string, start: number, end: number): CustomPatternMatcherReturn => [text.slice(start, end)];

function scanString(text: string, start: number): CustomPatternMatcherReturn | null {
  if (text[start] !== '"') return null;
  let at = start + 1;
  while (at < text.length) {
    const character = text[at];
    if (character === '"') return match(text, start, at + 1);
    if (character === '\n' || character === '\r') break;
    at += character === '\\' && text[at + 1] !== '\n' && text[at + 1] !== '\r' ? 2 : 1;
  }
  return match(text, start, Math.min(at, text.length));
}

function scanBlockComment(text: string, start: number): CustomPatternMatcherReturn | null {
  if (text[start] !== '/' || text[start + 1] !== '*') return null;
  const end = text.indexOf('*/', start + 2);
  return match(text, start, end < 0 ? text.length : end + 2);
}

/** `"…"` with no hole in it; an unterminated one ends with its line. */
export const Text = createToken({
  name: 'Text',
  pattern: scanString,
  line_breaks: false,
  start_chars_hint: ['"'],
  label: 'a string',
});
/** `"ab{`, `}cd{` and `}ef"`: the pieces of a string around its holes, cut after lexing. */
export const TextHead = createToken({ name: 'TextHead', pattern: Lexer.NA, label: 'a string' });
export const TextMiddle = createToken({ name: 'TextMiddle', pattern: Lexer.NA, label: 'the rest of the string' });
export const TextTail = createToken({ name: 'TextTail', pattern: Lexer.NA, label: 'the end of the string' });

// ------------------------------------------------------------------------------------------------ signs

const sign = (name: string, text: string): TokenType => createToken({ name, pattern: text, label: `\`${text}\`` });

export const Rest = sign('Rest', '...');
export const DotDot = sign('DotDot', '..');
export const Dot = sign('Dot', '.');
export const Comma = sign('Comma', ',');
export const Semicolon = sign('Semicolon', ';');
export const Colon = sign('Colon', ':');
export const PipeSign = sign('PipeSign', '|>');
export const Bar = sign('Bar', '|');
export const Into = sign('Into', '<-');
export const Arrow = sign('Arrow', '->');
export const LessEqual = sign('LessEqual', '<=');
export const GreaterEqual = sign('GreaterEqual', '>=');
export const EqualEqual = sign('EqualEqual', '==');
export const NotEqual = sign('NotEqual', '!=');
export const Nearly = createToken({ name: 'Nearly', pattern: /≈|~=/, label: '`≈`' });
export const Less = sign('Less', '<');
export const Greater = sign('Greater', '>');
export const Equal = sign('Equal', '=');
export const Plus = sign('Plus', '+');
export const Minus = sign('Minus', '-');
export const Star = sign('Star', '*');
export const Slash = sign('Slash', '/');
export const Percent = sign('Percent', '%');
export const Caret = sign('Caret', '^');
export const AtSign = sign('AtSign', '@');
export const ParenOpen = sign('ParenOpen', '(');
export const ParenClose = sign('ParenClose', ')');
export const SquareOpen = sign('SquareOpen', '[');
export const SquareClose = sign('SquareClose', ']');
export const BraceOpen = sign('BraceOpen', '{');
export const BraceClose = sign('BraceClose', '}');
/** A `{` that directly follows a name: `Linear{…}` makes, `x {…}` does not. Set after lexing. */
export const MakeOpen = createToken({ name: 'MakeOpen', pattern: Lexer.NA, categories: [BraceOpen], label: '`{`' });

export const LineComment = createToken({ name: 'LineComment', pattern: /\/\/[^\n\r]*/, group: 'comments' });
export const BlockComment = createToken({
  name: 'BlockComment',
  pattern: scanBlockComment,
  line_breaks: true,
  start_chars_hint: ['/'],
  group: 'comments',
});
const Space = createToken({ name: 'Space', pattern: /[\s\uFEFF]+/, group: Lexer.SKIPPED, line_breaks: true });

/** Longest first: a word that only begins like another (`with`, `within`) must not be taken for a plain name. */
const words = [...reservedWords, ...contextualWords].sort(
  (a, b) => String(b.PATTERN).length - String(a.PATTERN).length,
);

/** Everything the lexer makes, in the order it tries. */
export const lexedTokens: TokenType[] = [
  Space,
  LineComment,
  BlockComment,
  ...words,
  Name,
  NumberToken,
  Text,
  Rest,
  DotDot,
  Dot,
  Comma,
  Semicolon,
  Colon,
  PipeSign,
  Bar,
  Into,
  Arrow,
  LessEqual,
  GreaterEqual,
  EqualEqual,
  NotEqual,
  Nearly,
  Less,
  Greater,
  Equal,
  Plus,
  Minus,
  Star,
  Slash,
  Percent,
  Caret,
  AtSign,
  ParenOpen,
  ParenClose,
  SquareOpen,
  SquareClose,
  BraceOpen,
  BraceClose,
];

/** The tokens that stand between two operands. */
export const infixTokens = [
  PipeSign,
  Per,
  Or,
  And,
  EqualEqual,
  NotEqual,
  LessEqual,
  GreaterEqual,
  Less,
  Greater,
  DotDot,
  Plus,
  Minus,
  Star,
  Slash,
  Percent,
  AtSign,
  Caret,
];

/** Everything the parser may meet. */
export const allTokens: TokenType[] = [
  ...lexedTokens,
  ...Object.values(declarationWords),
  TextHead,
  TextMiddle,
  TextTail,
  MakeOpen,
];

/** Changes what a token counts as. */
export function retype(token: IToken, type: TokenType): void {
  token.tokenType = type;
  token.tokenTypeIdx = type.tokenTypeIdx ?? 0;
}
