/** The Prettier plugin: `prettier --plugin nacre/prettier file.model`. Its printer is the grammar's own. */
import type { Parser, Printer, SupportLanguage } from 'prettier';
import type { Module } from '../../grammar/ast.ts';
import { printModule, UnreadableSource } from '../../grammar/format.ts';
import { parse } from '../../grammar/index.ts';

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
    parse: (text) => {
      const { module, errors } = parse({ name: 'input.model', text });
      if (errors.length > 0) throw new UnreadableSource(errors);
      return { module };
    },
    locStart: ({ module }) => module.span.start,
    locEnd: ({ module }) => module.span.end,
  },
};

export const printers: Record<'nacre', Printer<Wrapped>> = {
  nacre: { print: (path) => printModule(path.node.module) },
};

export const options = {};

export const defaultOptions = { printWidth: 100, tabWidth: 2 };
