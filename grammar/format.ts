/** The one printer of `.model` files: behind `nacre fmt`, behind the Prettier plugin, in the browser. */
import { printer } from 'prettier/doc';
import type { Doc } from 'prettier';
import type { Module } from './ast.ts';
import { attachComments } from './format/comments.ts';
import { ModelPrinter } from './format/declarations.ts';
import { parse } from './index.ts';
import { lex } from './lex.ts';
import type { SyntaxError } from './syntax-error.ts';

/** A text with errors in it cannot be printed without losing something. */
export class UnreadableSource extends Error {
  override readonly name = 'UnreadableSource';
  readonly errors: readonly SyntaxError[];

  constructor(errors: readonly SyntaxError[]) {
    super(errors.map((error) => error.message).join('\n'));
    this.errors = errors;
  }
}

/** The document of a module that was read without errors. */
export function printModule(module: Module): Doc {
  const modelPrinter = new ModelPrinter(attachComments(module, lex(module.span.source).tokens));
  const doc = modelPrinter.module(module);
  if (modelPrinter.printedComments !== module.comments.length) throw new Error('the printer lost a comment');
  return doc;
}

/**
 * The text as `nacre fmt` writes it; formatting that again changes nothing. Rejects with `UnreadableSource` where it does not parse.
 */
export async function formatSource(text: string, name: string): Promise<string> {
  // A comment in an odd place may move twice before it rests.
  for (let times = 0; times < 4; times++) {
    const { module, errors } = parse({ name, text });
    if (errors.length > 0) throw new UnreadableSource(errors);
    const { formatted } = printer.printDocToString(printModule(module), { printWidth: 100, tabWidth: 2, useTabs: false });
    if (formatted === text) break;
    text = formatted;
  }
  return text;
}
