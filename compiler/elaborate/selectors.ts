/**
 * Which parameters a selector means: `model.head.*`, `*.bias`, `model.*.{query, value}`, `role(norm)`.
 *
 * `*` stands for any text, dots included; a path that names an instance means everything in it.
 */
import type { Selector } from '../../grammar/ast.ts';
import { nearest } from '../../common/nearest.ts';
import { diagnose, Problem, refuse } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import { slotPath, type Slot } from './value.ts';

/** The slots a selector means, in their order; a selector that means none is an error that names the nearest. */
export function select(selector: Selector, slots: readonly Slot[]): Slot[] {
  const chosen = slots.filter((slot) => means(selector, slot));
  if (chosen.length > 0) return chosen;
  const near =
    selector.kind === 'role'
      ? nearest(
          selector.text,
          new Set(slots.flatMap(({ declaration: { tag } }) => (tag === undefined ? [] : [tag.name]))),
        )
      : nearestPath(selector.text, slots.map(slotPath));
  throw new Problem(
    diagnose('selector-matches-nothing', { selector: showSelector(selector) }, [{ span: selector.span, text: '' }], {
      ...(near === undefined ? {} : { hint: `The nearest there is: \`${near}\`.` }),
      notes: slots.length === 0 ? [] : [`The parameters are ${listed(slots.map(slotPath))}.`],
    }),
  );
}

/** A line with selectors that means each of its slots for itself. */
interface Claim {
  readonly selectors: readonly Selector[];
  readonly span: Span;
}

/** Gives the slots that a line means, of those that count; a line that means none, or one of a line before, is refused. */
export function claims(
  nothing: 'prunes-nothing' | 'quantizes-nothing',
  twice: 'pruned-twice' | 'quantized-twice',
  counts: (slot: Slot) => boolean,
  hint: string,
): (line: Claim, slots: readonly Slot[]) => Slot[] {
  const first = new Map<Slot, Span>();
  return ({ selectors, span }, slots) => {
    const meant = new Set(selectors.flatMap((selector) => select(selector, slots)).filter(counts));
    if (meant.size === 0) refuse(nothing, { selector: selectors.map(showSelector).join(', ') }, [span], { hint });
    for (const slot of meant) {
      const before = first.get(slot);
      if (before !== undefined) refuse(twice, { path: slotPath(slot) }, [span, before]);
      first.set(slot, span);
    }
    return [...meant];
  };
}

/** The instances a selector means, and all inside them, by path. One that means none is an error that names the nearest. */
export function selectInstances(selector: Selector, paths: readonly string[]): string[] {
  const chosen = selector.kind === 'role' ? [] : paths.filter((path) => matches(selector.text, path));
  if (chosen.length > 0) return chosen;
  const near = selector.kind === 'role' ? undefined : nearestPath(selector.text, paths);
  throw new Problem(
    diagnose('selector-means-no-layer', { selector: showSelector(selector) }, [{ span: selector.span, text: '' }], {
      ...(near === undefined ? {} : { hint: `The nearest there is: \`${near}\`.` }),
      notes: [`The layers are ${listed(paths)}.`],
    }),
  );
}

/** The paths that lie within no other of them: `model.blocks.*` means every block, not what is inside them. */
export const outermost = (paths: readonly string[]): string[] =>
  [...new Set(paths)].filter((path) => !paths.some((other) => path.startsWith(`${other}.`)));

const listed = (paths: readonly string[]): string =>
  `${paths
    .slice(0, 8)
    .map((path) => `\`${path}\``)
    .join(', ')}${paths.length > 8 ? ', …' : ''}`;

export const showSelector = (selector: Selector): string =>
  selector.kind === 'role' ? `role(${selector.text})` : selector.text;

function means(selector: Selector, slot: Slot): boolean {
  if (selector.kind === 'role') return slot.declaration.tag?.name === selector.text;
  return matches(selector.text, slotPath(slot));
}

function matches(text: string, path: string): boolean {
  const pattern = toPattern(text);
  return prefixes(path).some((prefix) => pattern.test(prefix));
}

/** The selector with each misspelt part corrected, or with what it should begin with, that means something. */
function nearestPath(text: string, paths: readonly string[]): string | undefined {
  const names = new Set(paths.flatMap((path) => path.split('.')));
  const corrected = text
    .split('.')
    .map((part) => (/[*{}]/.test(part) || names.has(part) ? part : (nearest(part, names) ?? part)))
    .join('.');
  for (const candidate of [corrected, `*.${text}`, `*.${corrected}`]) {
    const meant = paths.filter((path) => matches(candidate, path));
    if (meant.length === 1 && !text.includes('*')) return meant[0];
    if (meant.length > 0) return candidate;
  }
  return nearest(text, new Set(paths.flatMap(prefixes)));
}

/** `a.b.c` → `a`, `a.b`, `a.b.c` */
function prefixes(path: string): string[] {
  const parts = path.split('.');
  return parts.map((_, count) => parts.slice(0, count + 1).join('.'));
}

function toPattern(text: string): RegExp {
  const pattern = text
    .replace(/[.+?^$()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(
      /\{([^}]*)\}/g,
      (_, choices: string) =>
        `(?:${choices
          .split(',')
          .map((choice) => choice.trim())
          .join('|')})`,
    );
  return new RegExp(`^${pattern}$`);
}
