/**
 * Finds the words that begin declarations.
 *
 * `model`, `loss`, `data` … are ordinary names too. Outside all brackets two names (or a name and a string) stand side by side only
 * where a declaration begins, so that is where they are keywords, and where an unknown word is a misspelled one.
 */
import { tokenMatcher } from 'chevrotain';
import type { IToken } from 'chevrotain';
import { nearest } from '../common/nearest.ts';
import type { Source } from '../compiler/base/source.ts';
import { syntaxError } from './syntax-error.ts';
import type { SyntaxError } from './syntax-error.ts';
import {
  BraceClose,
  declarationWords,
  False,
  Name,
  NumberToken,
  ParenClose,
  retype,
  SquareClose,
  Text,
  TextHead,
  TextTail,
  True,
} from './tokens.ts';

const words = new Map(Object.entries(declarationWords));

/** Can an expression or type end with this token? */
const endsDeclaration = [Name, NumberToken, Text, TextTail, True, False, ParenClose, SquareClose, BraceClose];

/** Whether `token` could be a declaration word by what stands behind it: another name, or a string. */
export function isBeforeName(token: IToken, next: IToken | undefined): boolean {
  return (
    next !== undefined &&
    tokenMatcher(token, Name) &&
    (tokenMatcher(next, Name) ||
      (next.tokenType.name.startsWith('Reserved_') && token.image in declarationWords) ||
      ((next.tokenType === Text || next.tokenType === TextHead) && /^(use|test)$/.test(token.image)))
  );
}

/** Retypes declaration words in place; misspelled ones as well, with an error. */
export function markDeclarations(source: Source, tokens: readonly IToken[]): SyntaxError[] {
  const errors: SyntaxError[] = [];
  tokens.forEach((token, at) => {
    if (token.payload !== 0) return;
    const previous = tokens[at - 1];
    const isAtStart =
      previous === undefined || token.startColumn === 1 || endsDeclaration.some((type) => tokenMatcher(previous, type));
    if (!isAtStart || !isBeforeName(token, tokens[at + 1])) return;
    const word = words.get(token.image);
    if (word !== undefined) return retype(token, word);
    if (previous !== undefined && previous.endLine === token.startLine) return;
    const meant = nearest(token.image, words.keys());
    const type = meant === undefined ? undefined : words.get(meant);
    if (type === undefined) return;
    const end = token.startOffset + token.image.length;
    const message = `I don't know the declaration \`${token.image}\`.`;
    errors.push(
      syntaxError('unknown-declaration', message, source, token.startOffset, end, `Did you mean \`${meant}\`?`),
    );
    retype(token, type);
  });
  return errors;
}
