/** The one printer of `.model` files: behind `nacre fmt`, behind the Prettier plugin, in the browser. */
import { printer } from 'prettier/doc';
import type { Doc } from 'prettier';
import type { Module } from './ast.ts';
import { attachComments } from './format/comments.ts';
import { ModelPrinter } from './format/declarations.ts';
import { nestsTooDeep, parse } from './index.ts';
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

/** The document of a module that was read without errors. Throws `UnreadableSource` where it nests deeper than the stack. */
export function printModule(module: Module): Doc {
  return orTooDeep(module, () => documentOf(module));
}

/** The stack is the only thing that may run out. */
function orTooDeep<Result>(module: Module, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (error instanceof RangeError) throw new UnreadableSource([nestsTooDeep(module.span.source)]);
    throw error;
  }
}

function documentOf(module: Module): Doc {
  const modelPrinter = new ModelPrinter(attachComments(module, lex(module.span.source).tokens));
  const doc = modelPrinter.module(module);
  if (modelPrinter.printedComments !== module.comments.length) throw new Error('the printer lost a comment');
  return doc;
}

export interface Layout {
  readonly printWidth: number;
  readonly tabWidth: number;
  readonly useTabs: boolean;
}

const usualLayout: Layout = { printWidth: 100, tabWidth: 2, useTabs: false };

/**
 * The text as `nacre fmt` writes it; formatting that again changes nothing. Rejects with `UnreadableSource` where it does not parse.
 */
export async function formatSource(text: string, name: string, layout: Layout = usualLayout): Promise<string> {
  // A comment in an odd place may move twice before it rests.
  for (let times = 0; times < 4; times++) {
    const { module, errors } = parse({ name, text });
    if (errors.length > 0) throw new UnreadableSource(errors);
    const doc = printModule(module);
    const { formatted } = orTooDeep(module, () => printer.printDocToString(doc, layout));
    if (formatted === text) break;
    text = formatted;
  }
  return text;
}
