/** Several texts in one file of a built program. */
import type { Piece } from '../../../runtime/artefact.ts';

/** The texts one after the other, and where each lies. */
export function joined(texts: readonly string[]): { readonly text: string; readonly pieces: readonly Piece[] } {
  let at = 0;
  const pieces = texts.map((text): Piece => [at, (at += text.length)]);
  return { text: texts.join(''), pieces };
}
