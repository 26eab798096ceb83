/**
 * The small parts that nodes of the syntax tree are made of; they refer to no other nodes.
 */
import type { Span } from '../compiler/base/source.ts';

export interface Base {
  readonly span: Span;
}

export interface Documented extends Base {
  /** The text of the `///` lines above, without the slashes. */
  readonly doc?: string;
}

/** A name with the place where it stands. */
export interface Identifier extends Base {
  readonly kind: 'identifier';
  readonly name: string;
}

/** Which parameters: a path with `*` wildcards and `{a, b}` alternatives, or `role(name)`. */
export interface Selector extends Base {
  readonly kind: 'path' | 'role';
  /** As written, without spaces: `model.encoder.*.{query,value}`; for a role, its name. */
  readonly text: string;
}

export type LoadRule =
  | (Base & { readonly kind: 'map'; readonly from: string; readonly to: Selector })
  | (Base & { readonly kind: 'skip'; readonly from: string })
  | (Base & { readonly kind: 'fresh'; readonly to: Selector });
