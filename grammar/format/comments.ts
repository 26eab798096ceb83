/**
 * Gives every comment to the node of the tree that it speaks of, so that the printer can keep it.
 *
 * A comment on a line of its own belongs to what follows, one at the end of a line to what stands before it; never across a bracket.
 * Where brackets hold nothing but a comment it is left to the node around them.
 */
import { tokenMatcher } from 'chevrotain';
import type { IToken } from 'chevrotain';
import type { Span } from '../../compiler/base/source.ts';
import type { Comment, Expression, Module } from '../ast.ts';
import { BraceClose, BraceOpen, ParenClose, ParenOpen, SquareClose, SquareOpen } from '../tokens.ts';
import { chain } from './chain.ts';

/** Anything of the tree that has a place. */
export interface Node {
  readonly span: Span;
}

export interface Attached {
  readonly before: Comment[];
  readonly after: Comment[];
  readonly inside: Comment[];
}

export type Comments = Map<Node, Attached>;

const isNode = (value: object): value is Node => 'span' in value;
const isExpressionChain = (value: object): value is Expression =>
  'kind' in value && (value.kind === 'binary' || value.kind === 'pipe' || value.kind === 'if');

/** The nodes directly below one, in the order of the text. A row of operators is one node, as the printer sees it. */
function childrenOf(node: Node): Node[] {
  const found: Node[] = [];
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(visit);
    else if (typeof value === 'object' && value !== null) {
      if (isNode(value)) found.push(value);
      else Object.entries(value).forEach(([key, inner]) => key !== 'source' && visit(inner));
    }
  };
  if (isExpressionChain(node)) visit(chain(node).operands);
  else Object.entries(node).forEach(([key, value]) => key !== 'span' && key !== 'comments' && visit(value));
  const unique = [...new Set(found)];
  return unique.sort((a, b) => a.span.start - b.span.start || a.span.end - b.span.end);
}

/** Every comment of a module at its node. */
export function attachComments(module: Module, tokens: readonly IToken[]): Comments {
  const attached: Comments = new Map();
  const children = new Map<Node, Node[]>();
  const { text } = module.span.source;
  for (const comment of module.comments) {
    let around: Node = module;
    let previous: Node | undefined;
    let next: Node | undefined;
    for (;;) {
      let list = children.get(around);
      if (list === undefined) children.set(around, (list = childrenOf(around)));
      const at = firstEndingAfter(list, comment.span.start);
      const candidate = list[at];
      if (candidate !== undefined && candidate.span.start <= comment.span.start) {
        around = candidate;
        continue;
      }
      previous = list[at - 1];
      next = candidate;
      break;
    }
    const behind = previous === undefined ? undefined : crossings(tokens, previous.span.end, comment.span.start);
    const ahead = next === undefined ? undefined : crossings(tokens, comment.span.end, next.span.start);
    const canFollow = behind !== undefined && behind.opened === 0;
    const canPrecede = ahead !== undefined && ahead.closed === 0;
    const lineStart = text.lastIndexOf('\n', comment.span.start - 1) + 1;
    const isOwnLine = text.slice(lineStart, comment.span.start).trim() === '';
    const isLineEnd = /^[^\S\n]*(?:\n|$)/.test(text.slice(comment.span.end, comment.span.end + 200));
    const touchesPrevious = behind?.tokens === 0 && ahead?.tokens !== 0;
    const prefersNext = isOwnLine || (isLineEnd ? behind !== undefined && behind.closed > 0 : !touchesPrevious);
    if (next !== undefined && canPrecede && (prefersNext || !canFollow)) at(attached, next).before.push(comment);
    else if (previous !== undefined && canFollow) at(attached, previous).after.push(comment);
    else at(attached, around).inside.push(comment);
  }
  return attached;
}

function at(comments: Comments, node: Node): Attached {
  let entry = comments.get(node);
  if (entry === undefined) comments.set(node, (entry = { before: [], after: [], inside: [] }));
  return entry;
}

function firstEndingAfter(nodes: readonly Node[], offset: number): number {
  let low = 0;
  let high = nodes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((nodes[middle]?.span.end ?? 0) > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** How many tokens stand between two places, and how many brackets close and open, those that match each other left out. */
function crossings(
  tokens: readonly IToken[],
  from: number,
  to: number,
): { tokens: number; closed: number; opened: number } {
  let low = 0;
  let high = tokens.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((tokens[middle]?.startOffset ?? 0) >= from) high = middle;
    else low = middle + 1;
  }
  const first = low;
  let closed = 0;
  let opened = 0;
  for (let token = tokens[low]; token !== undefined && token.startOffset < to; token = tokens[++low]) {
    const one = token;
    if ([ParenOpen, SquareOpen, BraceOpen].some((type) => tokenMatcher(one, type))) opened += 1;
    else if ([ParenClose, SquareClose, BraceClose].some((type) => tokenMatcher(one, type))) {
      if (opened > 0) opened -= 1;
      else closed += 1;
    }
  }
  return { tokens: low - first, closed, opened };
}
