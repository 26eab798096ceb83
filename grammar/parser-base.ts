/**
 * What the grammar's rules share: places, names, lists, looking ahead, and going on after an error.
 *
 * Recovery is by item: an error inside a declaration, a member, an entry or a statement drops that item and goes on with the next one
 * of the same brackets, found by line and indentation. One mistake gives one message.
 */
import { EmbeddedActionsParser, EOF, isRecognitionException, tokenMatcher } from 'chevrotain';
import type { IToken, ParserMethod, TokenType } from 'chevrotain';
import type { Source, Span } from '../compiler/base/source.ts';
import type { Comment, Identifier } from './ast.ts';
import { explain } from './explain.ts';
import type { SyntaxError } from './syntax-error.ts';
import {
  allTokens,
  BraceClose,
  BraceOpen,
  Comma,
  declarationWords,
  Let,
  ParenClose,
  Semicolon,
  SquareClose,
} from './tokens.ts';

export type Rule<T> = ParserMethod<[], T>;

interface Alternative<T> {
  readonly ALT: () => T;
  /** Where the next token does not decide. */
  readonly GATE?: () => boolean;
  readonly IGNORE_AMBIGUITIES?: true;
}

const declarationStarts = new Set<TokenType>([...Object.values(declarationWords), Let]);

export abstract class ParserBase extends EmbeddedActionsParser {
  protected source: Source = { name: '', text: '' };
  protected problems: SyntaxError[] = [];
  private comments: readonly Comment[] = [];

  protected constructor(skipValidations: boolean) {
    super(allTokens, { maxLookahead: 1, recoveryEnabled: false, skipValidations, errorMessageProvider: explain });
  }

  /** Sets what is parsed next. */
  protected open(source: Source, tokens: IToken[], comments: readonly Comment[]): void {
    this.input = tokens;
    this.source = source;
    this.comments = comments;
    this.problems = [];
  }

  // ---------------------------------------------------------------------------------------------- places

  /** Where the next token begins. */
  protected start(): number {
    const next = this.LA(1);
    return Number.isNaN(next.startOffset) ? this.source.text.length : next.startOffset;
  }

  /** From there to the end of the token just read. */
  protected spanFrom(start: number): Span {
    const last = this.LA(0);
    const end = Number.isNaN(last.startOffset) ? start : last.startOffset + last.image.length;
    return { source: this.source, start, end: Math.max(start, end) };
  }

  protected tokenSpan(token: IToken): Span {
    return { source: this.source, start: token.startOffset, end: token.startOffset + token.image.length };
  }

  protected identifier(token: IToken): Identifier {
    return this.ACTION((): Identifier => ({ kind: 'identifier', name: token.image, span: this.tokenSpan(token) }));
  }

  protected allComments(): readonly Comment[] {
    return this.comments;
  }

  /** The `///` lines directly above an offset, without their slashes. */
  protected docBefore(offset: number): { doc?: string } {
    const { text } = this.source;
    const lines: string[] = [];
    let index = this.commentBefore(offset);
    let end = offset;
    for (; index >= 0; index--) {
      const comment = this.comments[index];
      if (comment === undefined || !comment.text.startsWith('///') || text.slice(comment.span.end, end).trim() !== '')
        break;
      const lineStart = text.lastIndexOf('\n', comment.span.start - 1) + 1;
      if (text.slice(lineStart, comment.span.start).trim() !== '') break;
      if (/\n\s*\n/.test(text.slice(comment.span.end, end))) break;
      lines.unshift(comment.text.replace(/^\/\/\/ ?/, '').trimEnd());
      end = comment.span.start;
    }
    return lines.length === 0 ? {} : { doc: lines.join('\n') };
  }

  /** The last comment that ends before an offset. */
  private commentBefore(offset: number): number {
    let low = 0;
    let high = this.comments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.comments[middle]?.span.end ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  // ---------------------------------------------------------------------------------------------- looking ahead

  protected isNext(ahead: number, ...types: TokenType[]): boolean {
    const token = this.LA(ahead);
    return types.some((type) => tokenMatcher(token, type));
  }

  /** Whether the next token stands on the line where the last one ended. */
  protected isSameLine(ahead = 1): boolean {
    return this.LA(ahead).startLine === this.LA(ahead - 1).endLine;
  }

  /** A comma with another item behind it (a last comma may stand before the closing bracket). */
  protected hasMoreItems(): boolean {
    return this.isNext(1, Comma) && !this.isNext(2, ParenClose, SquareClose, BraceClose);
  }

  // ---------------------------------------------------------------------------------------------- pieces of rules

  /** A rule of the grammar. */
  protected rule<T>(name: string, read: () => T): Rule<T> {
    return this.RULE(name, read);
  }

  /** One of several, told apart by the next token and by what a gate sees. */
  protected choose<T>(at: number, alternatives: Alternative<T>[]): T {
    return this.or(at, alternatives);
  }

  /** `item { "," item } [ "," ]`, possibly nothing; once in a rule. */
  protected list<T>(item: Rule<T>): T[] {
    const items: T[] = [];
    this.option(9, () => {
      items.push(this.subrule(8, item));
      this.many(9, {
        GATE: () => this.hasMoreItems(),
        DEF: () => {
          this.consume(9, Comma);
          items.push(this.subrule(9, item));
        },
      });
      this.option(8, () => this.consume(8, Comma));
    });
    return items;
  }

  /**
   * `{ item [ ";" ] }` up to the closing brace or the end of the file; once in a rule. An error in one item does not take the others.
   */
  protected items<T>(item: Rule<T>): T[] {
    const items: T[] = [];
    const one = (): void => {
      items.push(this.subrule(7, item));
      this.option(7, () => this.consume(7, Semicolon));
    };
    if (this.RECORDING_PHASE) {
      this.many(7, one);
      return items;
    }
    const depth = this.isNext(0, BraceOpen) ? depthOf(this.LA(0)) + 1 : 0;
    while (!this.isNext(1, EOF, BraceClose)) {
      const begin = this.LA(1);
      try {
        one();
      } catch (error) {
        if (!(error instanceof Error) || !isRecognitionException(error)) throw error;
        this.skipToNextItem(begin, depth);
      }
    }
    return items;
  }

  /** Goes to the next token that seems to begin an item at `depth`, or to the end of the items. */
  private skipToNextItem(begin: IToken, depth: number): void {
    if (this.LA(1) === begin) this.SKIP_TOKEN();
    for (let next = this.LA(1); !this.isNext(1, EOF); next = this.LA(1)) {
      if (depthOf(next) < depth) return;
      if (depthOf(next) === depth && this.seemsItem(next, begin, depth)) return;
      this.SKIP_TOKEN();
    }
  }

  private seemsItem(next: IToken, begin: IToken, depth: number): boolean {
    if (depth === 0) return declarationStarts.has(next.tokenType) && !(next.tokenType === Let && this.isSameLine());
    if (this.isNext(0, Semicolon)) return true;
    const isIndentedLess = (next.startColumn ?? 1) <= (begin.startColumn ?? 1);
    return !this.isSameLine() && isIndentedLess && /^[\w"([*]/.test(next.image);
  }
}

const depthOf = (token: IToken): number => (typeof token.payload === 'number' ? token.payload : 0);
