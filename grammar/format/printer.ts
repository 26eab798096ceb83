/** What every printed node has in common: its comments, blank lines between items, lists in brackets. */
import { builders } from 'prettier/doc';
import type { Doc } from 'prettier';
import type { Comment } from '../ast.ts';
import { lex } from '../lex.ts';
import type { Comments, Node } from './comments.ts';

const { breakParent, group, hardline, indent, join, line, lineSuffix, literalline, softline } = builders;

/** One of several things that stand below each other. */
export interface Item {
  readonly node: Node;
  readonly doc: Doc;
}

export abstract class PrinterBase {
  private readonly comments: Comments;
  private printed = 0;

  constructor(comments: Comments) {
    this.comments = comments;
  }

  /** How many comments have been printed; all of them must be. */
  get printedComments(): number {
    return this.printed;
  }

  /** A node's own text between the comments that belong to it; as it was written, below `// prettier-ignore`. */
  protected with(node: Node, print: () => Doc): Doc {
    const own = this.comments.get(node);
    if (own === undefined) return print();
    const { text } = node.span.source;
    const parts: Doc[] = [];
    for (const comment of own.before) {
      const isBroken = comment.text.startsWith('//') || /^[^\S\n]*\n/.test(text.slice(comment.span.end));
      parts.push(this.comment(comment), isBroken ? hardline : ' ');
      if (isBroken && /^[^\S\n]*\n[^\S\n]*\r?\n/.test(text.slice(comment.span.end))) parts.push(hardline);
    }
    const isIgnored = own.before.some((comment) => /^\/\/\s*prettier-ignore\s*$/.test(comment.text));
    parts.push(isIgnored ? join(literalline, text.slice(node.span.start, node.span.end).split(/\r?\n/)) : print());
    if (isIgnored) this.printed += this.countInside(node);
    // Brackets that hold something leave no room for these: they go behind.
    else if (own.inside.length > 0) parts.push(lineSuffix([' ', this.inside(node)]), breakParent);
    for (const comment of own.after) {
      const lineStart = text.lastIndexOf('\n', comment.span.start - 1);
      const isLast = /^(?:\s|\/\/[^\n]*|\/\*[^]*?\*\/)*(?:[)\]}]|$)/.test(text.slice(comment.span.end));
      const isOwnLine = isLast && text.slice(lineStart + 1, comment.span.start).trim() === '';
      const isBlankBefore =
        isOwnLine &&
        /\n[^\S\n]*\n[^\S\n]*$/.test(text.slice(Math.max(0, lineStart - 200), comment.span.start).replaceAll('\r', ''));
      const printed = this.comment(comment);
      if (isOwnLine) parts.push(lineSuffix([hardline, isBlankBefore ? hardline : '', printed]), breakParent);
      else if (comment.text.startsWith('//')) parts.push(lineSuffix([' ', printed]), breakParent);
      else parts.push(' ', printed);
    }
    return parts;
  }

  /** The comments that stand in a node's brackets with nothing else; once for each node. */
  protected inside(node: Node): Doc {
    const own = this.comments.get(node);
    if (own === undefined || own.inside.length === 0) return '';
    const comments = own.inside
      .splice(0)
      .map((comment): Doc => [this.comment(comment), comment.text.startsWith('//') ? breakParent : '']);
    return join(hardline, comments);
  }

  /** A node's text with all its comments behind it: where a new line would change what the text means. */
  protected withBehind(node: Node, printed: Doc): Doc {
    const own = this.comments.get(node);
    if (own === undefined) return printed;
    const comments = [...own.before, ...own.inside.splice(0), ...own.after];
    return [
      printed,
      comments.map((comment) => [
        lineSuffix([' ', this.comment(comment)]),
        comment.text.startsWith('//') ? breakParent : '',
      ]),
    ];
  }

  private comment(comment: Comment): Doc {
    this.printed += 1;
    const lines = comment.text.trimEnd().split(/\r?\n/);
    return join(literalline, lines);
  }

  /** Comments within an ignored node are in its text. */
  private countInside(node: Node): number {
    let count = 0;
    const all = new Set([...this.comments.values()].flatMap((own) => [...own.before, ...own.after, ...own.inside]));
    for (const comment of all)
      if (comment.span.start >= node.span.start && comment.span.end <= node.span.end) count += 1;
    return count;
  }

  /** `(a, b)`; broken, each on its line with a comma at the end. `around` is whose brackets these are. */
  protected list(open: string, items: Doc[], close: string, around: Node, padding: Doc = softline): Doc {
    if (items.length === 0) {
      const comments = this.inside(around);
      return comments === '' ? [open, close] : group([open, indent([softline, comments]), softline, close]);
    }
    const lastComma = builders.ifBreak(',', '');
    return group([open, indent([padding, join([',', line], items)]), lastComma, padding, close]);
  }

  /** Items of a block, each on its line, with the blank lines that were between them (never more than one). */
  protected lines(items: readonly Item[]): Doc[] {
    return items.flatMap(({ node, doc }, at): Doc[] => {
      const next = items[at + 1];
      if (next === undefined) return [doc];
      return [doc, hardline, this.hasBlankLine(node, next.node) ? hardline : ''];
    });
  }

  private hasBlankLine(first: Node, second: Node): boolean {
    const { text } = first.span.source;
    const after = this.comments.get(first)?.after ?? [];
    const start = Math.max(first.span.end, ...after.map((comment) => comment.span.end));
    const end = Math.min(second.span.start, ...this.beforeOf(second).map((comment) => comment.span.start));
    return /\n[^\S\n]*\n/.test(text.slice(start, Math.max(start, end)).replaceAll('\r', ''));
  }

  /** The printed ones have left `inside`, but those before a node stay. */
  private beforeOf(node: Node): readonly Comment[] {
    return this.comments.get(node)?.before ?? [];
  }

  /** `{ … }` around items; on one line only if there is one item and it was written so. */
  protected braces(node: Node, items: readonly Item[], openAt: number): Doc {
    if (items.length === 0) {
      const comments = this.inside(node);
      return comments === '' ? '{}' : ['{', indent([hardline, comments]), hardline, '}'];
    }
    const [first] = items;
    const gap = node.span.source.text.slice(openAt, first?.node.span.start);
    const isOneLine = items.length === 1 && !gap.includes('\n');
    const edge = isOneLine ? line : hardline;
    return group(['{', indent([edge, this.lines(items)]), edge, '}']);
  }
}

/** A string in which braces are only braces, written with as few escapes as can be. */
export function quotePlain(text: string): string {
  const quoted = `"${text.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\t', '\\t')}"`;
  return lex({ name: '', text: quoted }).errors.length === 0 ? quoted : quoted.replace(/[{}]/g, '\\$&');
}

/** The text part of a string with holes. */
export function quotePart(text: string): string {
  return text
    .replace(/[\\"{}]/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\t', '\\t');
}
