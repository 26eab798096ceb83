/** Text to tokens: forbidden characters, strings with holes, balanced brackets, declaration words. Everything that is not grammar. */
import { Lexer } from 'chevrotain';
import type { IToken, TokenType } from 'chevrotain';
import type { Source } from '../compiler/base/source.ts';
import type { Comment } from './ast.ts';
import { balanceBrackets } from './brackets.ts';
import { markDeclarations } from './mark-declarations.ts';
import { syntaxError } from './syntax-error.ts';
import type { SyntaxError } from './syntax-error.ts';
import {
  BraceOpen,
  lexedTokens,
  MakeOpen,
  Name,
  NumberToken,
  retype,
  Text,
  TextHead,
  TextMiddle,
  TextTail,
} from './tokens.ts';

export interface Lexed {
  readonly tokens: IToken[];
  readonly comments: Comment[];
  readonly errors: SyntaxError[];
  /** Ranges that the errors above already speak for. */
  readonly swallowed: readonly { readonly start: number; readonly end: number }[];
}

/** A file may be this long (in UTF-16 units); nobody writes more by hand, and everything behind stays bounded. */
const maximumLength = 8 * 1024 * 1024;

const lexer = new Lexer(lexedTokens, { deferDefinitionErrorsHandling: false });

/** The tokens of a source, ready for the parser: brackets always balance, also when the text's do not. */
export function lex(source: Source): Lexed {
  const { text } = source;
  if (text.length > maximumLength) {
    const message = `This file has ${text.length} characters; I read at most ${maximumLength}.`;
    return { tokens: [], comments: [], errors: [syntaxError('file-too-large', message, source, 0, 0)], swallowed: [] };
  }
  const errors = forbiddenCharacters(source);
  const result = lexer.tokenize(text);
  for (const error of result.errors) {
    const shown = text.slice(error.offset, error.offset + Math.min(error.length, 20));
    if (/[\0\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069\uD800-\uDBFF\uDC00-\uDFFF]/.test(shown) && errors.length > 0)
      continue;
    errors.push(unknownCharacter(source, error.offset, error.length, shown));
  }
  const comments = (result.groups['comments'] ?? []).map((token): Comment => {
    const span = { source, start: token.startOffset, end: token.startOffset + token.image.length };
    if (token.image.startsWith('/*') && (token.image.length < 4 || !token.image.endsWith('*/'))) {
      errors.push(
        syntaxError(
          'unterminated-comment',
          'This comment never ends: I expected a closing `*/`.',
          source,
          span.start,
          span.start + 2,
        ),
      );
    }
    return { text: token.image, span };
  });
  const broken = errors.map(({ span }) => ({ start: span.start, end: endOfLine(text, span.end) }));
  const pieces = cutStrings(source, result.tokens, errors);
  markMakes(pieces);
  const balanced = balanceBrackets(source, pieces);
  errors.push(...balanced.errors);
  errors.push(...markDeclarations(source, balanced.tokens));
  return { tokens: balanced.tokens, comments, errors, swallowed: [...broken, ...balanced.swallowed] };
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

/** Characters that could make a text look different from what it says, or that no tool handles well. */
function forbiddenCharacters(source: Source): SyntaxError[] {
  const errors: SyntaxError[] = [];
  const pattern = /[\0\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]|[\uD800-\uDFFF]/gu;
  for (const found of source.text.matchAll(pattern)) {
    const code = found[0].codePointAt(0) ?? 0;
    const name =
      code === 0
        ? 'a NUL character'
        : code >= 0xd800 && code <= 0xdfff
          ? 'half of a surrogate pair'
          : 'an invisible character that changes the direction of the text';
    const message = `There is ${name} here (U+${code.toString(16).toUpperCase().padStart(4, '0')}), which is not allowed anywhere in a file.`;
    errors.push(syntaxError('forbidden-character', message, source, found.index, found.index + 1, 'Remove it.'));
    if (errors.length >= 20) break;
  }
  return errors;
}

function unknownCharacter(source: Source, offset: number, length: number, shown: string): SyntaxError {
  const hints: Record<string, string> = {
    '&': 'Write `and`.',
    '!': 'Write `not`.',
    "'": 'Strings are written with double quotes: "…".',
    '#': 'A comment begins with `//`.',
    $: 'Inside a string a name in braces stands for its value: "{name}".',
    '~': 'Write `≈` or `~=` for "nearly equal".',
  };
  const message = /[^\0-\x7f]/.test(shown)
    ? `I don't know what to do with \`${shown}\`. Names use the letters a to z, digits and \`_\`.`
    : `I don't know what to do with \`${shown}\` here.`;
  return syntaxError('unknown-character', message, source, offset, offset + length, hints[shown[0] ?? '']);
}

/** A `{` that touches the name before it. */
function markMakes(tokens: readonly IToken[]): void {
  for (let at = 1; at < tokens.length; at++) {
    const token = tokens[at];
    const before = tokens[at - 1];
    if (token?.tokenType !== BraceOpen || before === undefined) continue;
    const isName = before.tokenType === Name || before.tokenType.CATEGORIES?.includes(Name) === true;
    if (isName && before.startOffset + before.image.length === token.startOffset) retype(token, MakeOpen);
  }
}

/** A token that covers a part of the line on which `origin` stands. */
function piece(origin: IToken, type: TokenType, image: string, offset: number): IToken {
  const line = origin.startLine ?? 1;
  const column = (origin.startColumn ?? 1) + offset - origin.startOffset;
  return {
    image,
    startOffset: offset,
    endOffset: offset + image.length - 1,
    startLine: line,
    endLine: line,
    startColumn: column,
    endColumn: column + image.length - 1,
    tokenType: type,
    tokenTypeIdx: type.tokenTypeIdx ?? 0,
  };
}

const holeEnd = (image: string, from: number): number => {
  for (let at = from; at < image.length; at++) {
    if (image[at] === '}') return at;
    if (image[at] === '{') return -1;
  }
  return -1;
};

/** Checks strings and numbers, and cuts `"a{b}c"` into `"a{`, b and `}c"`. */
function cutStrings(source: Source, tokens: readonly IToken[], errors: SyntaxError[]): IToken[] {
  const result: IToken[] = [];
  for (const token of tokens) {
    if (
      token.tokenType === NumberToken &&
      !token.image.match(/[.eE]/) &&
      !Number.isSafeInteger(Number(token.image.replaceAll('_', '')))
    ) {
      const message = `The whole number ${token.image} is too large to be exact (the largest is ${Number.MAX_SAFE_INTEGER}).`;
      errors.push(
        syntaxError('number-too-large', message, source, token.startOffset, token.startOffset + token.image.length),
      );
    }
    if (token.tokenType === Text) cutString(source, token, result, errors);
    else result.push(token);
  }
  return result;
}

function cutString(source: Source, token: IToken, result: IToken[], errors: SyntaxError[]): void {
  const { image, startOffset } = token;
  const isClosed = image.length >= 2 && image.endsWith('"') && !endsInEscape(image);
  if (!isClosed) {
    const message = 'This string is not closed: I expected a `"` before the end of the line.';
    errors.push(syntaxError('unterminated-string', message, source, startOffset, startOffset + image.length));
    result.push(token);
    return;
  }
  const escapes = /\\(?:u\{[0-9a-fA-F]{1,6}\}|[^])/g;
  for (const found of image.matchAll(escapes)) {
    if (/^\\(?:["\\{}nt]|u\{)/.test(found[0]) && decodeText(found[0]) !== undefined) continue;
    const message = `\`${found[0]}\` is not an escape I know.`;
    const hint = 'Escapes are \\" \\\\ \\{ \\} \\n \\t and \\u{1F600}.';
    const start = startOffset + found.index;
    errors.push(syntaxError('bad-escape', message, source, start, start + found[0].length, hint));
  }
  let from = 0;
  let hasHole = false;
  for (let at = 1; at < image.length - 1; at++) {
    if (image[at] === '\\') {
      if (image[at + 1] === 'u' && image[at + 2] === '{')
        at = image.indexOf('}', at) < 0 ? at + 1 : image.indexOf('}', at);
      else at += 1;
      continue;
    }
    if (image[at] !== '{') continue;
    const end = holeEnd(image, at + 1);
    const inner = end < 0 ? [] : lexHole(source, token, image.slice(at + 1, end), startOffset + at + 1, errors);
    if (inner.length === 0) {
      const message = end < 0 ? 'This `{` in a string has no `}`.' : 'There is nothing between these braces.';
      const hint = 'Braces in a string hold an expression, as in "{split}.csv"; for a brace itself write `\\{`.';
      const stop = end < 0 ? at + 1 : end + 1;
      errors.push(syntaxError('bad-hole', message, source, startOffset + at, startOffset + stop, hint));
      continue;
    }
    result.push(piece(token, hasHole ? TextMiddle : TextHead, image.slice(from, at + 1), startOffset + from), ...inner);
    hasHole = true;
    from = end;
    at = end;
  }
  if (hasHole) result.push(piece(token, TextTail, image.slice(from), startOffset + from));
  else result.push(token);
}

function endsInEscape(image: string): boolean {
  let slashes = 0;
  while (image[image.length - 2 - slashes] === '\\') slashes++;
  return slashes % 2 === 1;
}

function lexHole(source: Source, token: IToken, text: string, offset: number, errors: SyntaxError[]): IToken[] {
  const result = lexer.tokenize(text);
  for (const error of result.errors) {
    errors.push(
      unknownCharacter(
        source,
        offset + error.offset,
        error.length,
        text.slice(error.offset, error.offset + error.length),
      ),
    );
  }
  return result.tokens.map((inner) => piece(token, inner.tokenType, inner.image, offset + inner.startOffset));
}

/** The characters that the inside of a string stands for; undefined when an escape is not one. */
export function decodeText(inner: string): string | undefined {
  const simple: Record<string, string> = { '"': '"', '\\': '\\', '{': '{', '}': '}', n: '\n', t: '\t' };
  let isRight = true;
  const text = inner.replace(
    /\\(?:u\{([0-9a-fA-F]{1,6})\}|([^]))/g,
    (_, code: string | undefined, letter: string | undefined) => {
      if (code !== undefined) {
        const value = Number.parseInt(code, 16);
        if (value <= 0x10ffff && (value < 0xd800 || value > 0xdfff)) return String.fromCodePoint(value);
      } else if (letter !== undefined && simple[letter] !== undefined) return simple[letter];
      isRight = false;
      return '';
    },
  );
  return isRight ? text : undefined;
}
