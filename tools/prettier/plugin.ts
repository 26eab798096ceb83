/** The Prettier plugin: `prettier --plugin nacre/prettier file.model`. Its printer is the grammar's own. */
import type { Parser, Printer, SupportLanguage } from 'prettier';
import { position } from '../../compiler/base/source.ts';
import type { Module } from '../../grammar/ast.ts';
import { formatSource, printModule, UnreadableSource } from '../../grammar/format.ts';
import { parse } from '../../grammar/index.ts';

const name = 'input.model';

export const languages: SupportLanguage[] = [
  { name: 'Nacre', parsers: ['nacre'], extensions: ['.model'], vscodeLanguageIds: ['nacre'] },
];

/** What Prettier carries from parser to printer; the module is wrapped so that Prettier leaves its comments to us. */
interface Wrapped {
  readonly module: Module;
}

export const parsers: Record<'nacre', Parser<Wrapped>> = {
  nacre: {
    astFormat: 'nacre',
    // Prettier prints once, so it is given a text that printing does not change any more.
    parse: async (text, { printWidth, tabWidth, useTabs }) => {
      try {
        return parse({
          name,
          text: await formatSource(text, name, { printWidth, tabWidth, useTabs: useTabs ?? false }),
        });
      } catch (error) {
        throw error instanceof UnreadableSource ? located(error) : error;
      }
    },
    locStart: ({ module }) => module.span.start,
    locEnd: ({ module }) => module.span.end,
  },
};

/** The error as Prettier shows it: with the lines around it, and without a stack. */
function located({ errors, message }: UnreadableSource): SyntaxError {
  const { source, start, end } = errors[0].span;
  return Object.assign(new SyntaxError(message), {
    loc: { start: position(source, start), end: position(source, end) },
  });
}

export const printers: Record<'nacre', Printer<Wrapped>> = {
  nacre: { print: (path) => printModule(path.node.module) },
};

export const options = {};

export const defaultOptions = { printWidth: 100, tabWidth: 2 };
