/**
 * Balances brackets before the parser runs.
 *
 * The parser then never meets a stray or missing bracket and can recover inside one declaration without losing the next. Where the
 * text's brackets do not balance, indentation says what was meant: a declaration at the start of a line ends everything open, and a
 * closing bracket belongs to the opening one whose line is indented like its own.
 */
import type { IToken, TokenType } from 'chevrotain';
import type { Source } from '../compiler/base/source.ts';
import { isBeforeName } from './mark-declarations.ts';
import { syntaxError } from './syntax-error.ts';
import type { SyntaxError } from './syntax-error.ts';
import {
  BraceClose,
  BraceOpen,
  Else,
  If,
  MakeOpen,
  ParenClose,
  ParenOpen,
  SquareClose,
  SquareOpen,
  TextHead,
  TextTail,
  declarationWords,
} from './tokens.ts';

/** What a person could write, and far below what the parser's stack could take. */
const deepest = 128;

const closers = new Map<TokenType, TokenType>([
  [ParenOpen, ParenClose],
  [SquareOpen, SquareClose],
  [BraceOpen, BraceClose],
  [MakeOpen, BraceClose],
]);
const closingTypes = new Set(closers.values());
const closingImage = (type: TokenType | undefined): string =>
  type === ParenClose ? ')' : type === SquareClose ? ']' : '}';

interface Balanced {
  /** Each token's `payload` is the number of brackets it stands in (its own not counted). */
  readonly tokens: IToken[];
  readonly errors: SyntaxError[];
  /** What an unclosed `(` or `[` swallowed: errors of the parser in there would only repeat that. */
  readonly swallowed: readonly { readonly start: number; readonly end: number }[];
}

/** The tokens with every bracket closed, and an error for each that was not; no tokens at all if they nest too deep. */
export function balanceBrackets(source: Source, tokens: readonly IToken[]): Balanced {
  const tooDeep = findTooDeep(tokens);
  if (tooDeep !== undefined) {
    const message = `Brackets nest more than ${deepest} deep here; I read at most ${deepest}.`;
    const hint = 'Give a part a name with `let`, or move it into a function.';
    const end = tooDeep.startOffset + tooDeep.image.length;
    return {
      tokens: [],
      errors: [syntaxError('nesting-too-deep', message, source, tooDeep.startOffset, end, hint)],
      swallowed: [],
    };
  }
  const depths = new Balancer(source, tokens, false).run();
  return depths.errors.length === 0 ? depths : new Balancer(source, tokens, true).run();
}

/** The first token beyond the limit. An `if` without its `else` counts as a bracket: it nests in the same way. */
function findTooDeep(tokens: readonly IToken[]): IToken | undefined {
  const open: boolean[] = [];
  for (const token of tokens) {
    const type = token.tokenType;
    if (type === If) open.push(false);
    else if (type === Else) {
      if (open[open.length - 1] === false) open.pop();
    } else if (closers.has(type) || type === TextHead) open.push(true);
    else if (closingTypes.has(type) || type === TextTail) {
      while (open.pop() === false);
    }
    if (open.length > deepest) return token;
  }
  return undefined;
}

const describeDeclaration = (token: IToken): string =>
  `the ${token.image in declarationWords ? token.image : 'declaration'} that starts at line ${token.startLine}`;

interface Open {
  readonly token: IToken;
  readonly closer: TokenType | undefined;
  /** The column where the line of this bracket begins. */
  readonly indent: number;
  /** Words for an error: "the layer `Foo` that starts at line 3". */
  readonly what: string;
}

class Balancer {
  private readonly source: Source;
  private readonly input: readonly IToken[];
  private readonly usesLayout: boolean;
  private readonly tokens: IToken[] = [];
  private readonly errors: SyntaxError[] = [];
  private readonly swallowed: { start: number; end: number }[] = [];
  private readonly open: Open[] = [];
  private indent = 1;
  private declaration: string | undefined;

  constructor(source: Source, input: readonly IToken[], usesLayout: boolean) {
    this.source = source;
    this.input = input;
    this.usesLayout = usesLayout;
  }

  run(): Balanced {
    let line = -1;
    this.input.forEach((token, at) => {
      const startsLine = token.startLine !== line;
      if (startsLine) this.indent = token.startColumn ?? 1;
      line = token.endLine ?? line;
      const next = this.input[at + 1];
      const startsDeclaration =
        startsLine && token.startColumn === 1 && isBeforeName(token, next) && token.image in declarationWords;
      if (startsDeclaration && this.usesLayout && this.open.length > 0) this.closeAll(token);
      if (this.open.length === 0 && isBeforeName(token, next)) this.declaration = describeDeclaration(token);
      if (closingTypes.has(token.tokenType)) this.close(token, startsLine);
      else this.add(token);
      const closer = closers.get(token.tokenType);
      if (closer !== undefined) this.open.push({ token, closer, indent: this.indent, what: this.describe(token) });
    });
    this.closeAll(undefined);
    return { tokens: this.tokens, errors: this.errors, swallowed: this.swallowed };
  }

  private add(token: IToken): void {
    token.payload = this.open.length;
    this.tokens.push(token);
  }

  private describe(token: IToken): string {
    const outer = this.open.length === 0 && token.image === '{' ? this.declaration : undefined;
    return outer ?? `the \`${token.image}\` at line ${token.startLine}, column ${token.startColumn}`;
  }

  private close(token: IToken, startsLine: boolean): void {
    let index = this.open.length - 1;
    while (index >= 0 && this.open[index]?.closer !== token.tokenType) index--;
    if (this.usesLayout && startsLine && index >= 0 && this.open[index]?.indent !== token.startColumn) {
      const aligned = this.open.findLastIndex(
        (one) => one.closer === token.tokenType && one.indent === token.startColumn,
      );
      if (aligned >= 0) index = aligned;
    }
    if (index < 0) {
      const message = `There is no open bracket for this \`${token.image}\`.`;
      const end = token.startOffset + token.image.length;
      this.errors.push(
        syntaxError('stray-bracket', message, this.source, token.startOffset, end, 'Remove it, or open one before.'),
      );
      return;
    }
    if (index < this.open.length - 1) this.reportUnclosed(this.open[index + 1], token);
    while (this.open.length > index + 1) this.insertCloser();
    this.open.pop();
    this.add(token);
  }

  private closeAll(before: IToken | undefined): void {
    if (this.open.length > 0) this.reportUnclosed(this.open[0], before);
    while (this.open.length > 0) this.insertCloser();
  }

  private reportUnclosed(opening: Open | undefined, found: IToken | undefined): void {
    if (opening === undefined) return;
    const closer = closingImage(opening.closer);
    const last = this.tokens[this.tokens.length - 1];
    const start = found?.startOffset ?? (last === undefined ? 0 : last.startOffset + last.image.length);
    const where = found === undefined ? 'but the file ends' : `but found \`${found.image}\``;
    const message = `I expected a closing \`${closer}\` for ${opening.what}, ${where}.`;
    const end = start + (found?.image.length ?? 0);
    if (closer !== '}') this.swallowed.push({ start: opening.token.startOffset, end });
    this.errors.push(
      syntaxError(
        'unclosed-bracket',
        message,
        this.source,
        start,
        end,
        found === undefined ? `Add a \`${closer}\`.` : `Add a \`${closer}\` before it.`,
      ),
    );
  }

  private insertCloser(): void {
    const opening = this.open.pop();
    const last = this.tokens[this.tokens.length - 1];
    if (opening?.closer === undefined || last === undefined) return;
    const offset = last.startOffset + last.image.length;
    this.add({
      ...last,
      image: '',
      startOffset: offset,
      endOffset: offset - 1,
      startLine: last.endLine ?? 1,
      startColumn: (last.endColumn ?? 0) + 1,
      tokenType: opening.closer,
      tokenTypeIdx: opening.closer.tokenTypeIdx ?? 0,
    });
  }
}
