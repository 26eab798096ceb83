/** The reference pages say what the code says: they are written from the records and doc comments (BLESS=1 rewrites them). */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { builtins, builtinValues } from '../../compiler/elaborate/index.ts';
import { ops } from '../../compiler/ops/index.ts';
import type { Declaration } from '../../grammar/ast.ts';
import { parse } from '../../grammar/index.ts';

const root = resolve(import.meta.dirname, '../..');

function agrees(page: string, text: string): void {
  const path = join(root, page);
  if (process.env['BLESS'] !== undefined) writeFileSync(path, text);
  expect(readFileSync(path, 'utf8')).toBe(text);
}

const escaped = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const table = (heads: readonly string[], rows: readonly (readonly string[])[]): string =>
  [heads, heads.map(() => '---'), ...rows].map((row) => `| ${row.map(escaped).join(' | ')} |`).join('\n');

it('docs/builtins.md lists every builtin', () => {
  const sorted = [...builtins].sort((a, b) => (a.name < b.name ? -1 : 1));
  agrees(
    'docs/builtins.md',
    `# Builtins

What the language has without \`use\`, besides the [standard library's prelude](stdlib.md). Written from the compiler's records.

${table(
  ['name', 'what it computes'],
  sorted.map(({ signature, doc }) => [`\`${signature}\``, doc]),
)}

Values:

${table(
  ['name', 'what it is'],
  builtinValues.map(({ name, doc }) => [`\`${name}\``, doc]),
)}

## Operations of the Tensor IR

What \`nacre ir --stage tensor\` shows. Every one has a gradient unless it says otherwise.

${table(
  ['op', 'what it computes'],
  Object.values(ops).map(({ name, doc }) => [`\`${name}\``, doc]),
)}
`,
  );
});

type Documented = Extract<Declaration, { kind: 'function' | 'layer' | 'optimizer' }>;

/** A definition's head as it is written, up to its body. */
function headOf(declaration: Documented): string {
  const { text } = declaration.span.source;
  const written = text.slice(declaration.span.start, declaration.span.end).replace(/^(\s*\/\/\/.*\n)+/, '');
  const end = declaration.kind === 'function' ? declaration.body.span.start - declaration.span.end : undefined;
  const head =
    end === undefined ? written.slice(0, written.search(/\{\s*\n|\{\s*(param|state|\()/)) : written.slice(0, end);
  return head.replace(/[\s={]*$/, '').replace(/\s+/g, ' ');
}

it('docs/stdlib.md lists every definition of the standard library, and every one has a doc comment', () => {
  const modules = readdirSync(join(root, 'stdlib'))
    .filter((name) => name.endsWith('.model') && name !== 'prelude.model')
    .sort();
  const sections = modules.map((file) => {
    const source = { name: file, text: readFileSync(join(root, 'stdlib', file), 'utf8') };
    const definitions = parse(source).module.declarations.filter((declaration): declaration is Documented =>
      ['function', 'layer', 'optimizer'].includes(declaration.kind),
    );
    const rows = definitions.map((definition) => {
      expect(definition.doc, `${file}: ${definition.name.name}`).toBeTruthy();
      return [`\`${headOf(definition)}\``, definition.doc ?? ''];
    });
    return `## std.${file.replace('.model', '')}\n\n${table(['definition', 'what it is'], rows)}\n`;
  });
  agrees(
    'docs/stdlib.md',
    `# The standard library\n\nWritten from the doc comments in \`stdlib/\`.\n\n${sections.join('\n')}`,
  );
});
