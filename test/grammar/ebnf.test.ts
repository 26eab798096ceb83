/** The EBNF in the parser's comments is the grammar's one home; `model.ebnf` is made of it (BLESS=1 rewrites the file). */
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ModelParser } from '../../grammar/parser.ts';

const files = ['parser', 'train-parser', 'statement-parser', 'expression-parser', 'type-parser'];
const target = new URL('../../grammar/model.ebnf', import.meta.url);

/** Name and text of each rule, and the remark behind it. */
function rulesOf(file: string): { name: string; text: string; remark: string }[] {
  const code = readFileSync(new URL(`../../grammar/${file}.ts`, import.meta.url), 'utf8');
  return [...code.matchAll(/`((\w+) = [^`]+ ;)`(?: \(([^\n]*?)\)(?= \*\/|\n))?/g)].map(
    ([, text = '', name = '', remark = '']) => ({ name, text, remark }),
  );
}

const rules = files.flatMap(rulesOf);

it('model.ebnf is what the comments say', () => {
  const header = '(* The grammar of .model files. Made of the comments in the parser: do not edit. *)\n\n';
  const text = `${header}${rules.map((rule) => `${rule.text}${rule.remark === '' ? '' : ` (* ${rule.remark} *)`}\n`).join('')}`;
  if (process.env['BLESS'] === '1') writeFileSync(target, text);
  expect(readFileSync(target, 'utf8')).toBe(text);
});

it('each comment names the rules and words that its rule reads', () => {
  // With validations: chevrotain itself looks for ambiguities and left recursion here.
  type Part = { readonly type: string; readonly name?: string; readonly label?: string; readonly definition?: unknown };
  const productions: readonly Part[] = new ModelParser(false).getSerializedGastProductions();
  const namesIn = (part: Part): string[] => {
    if (part.type === 'NonTerminal') return [part.name ?? ''];
    if (part.type === 'Terminal') {
      const kinds: Record<string, string> = {
        Name: 'name',
        Number: 'number',
        Text: 'text',
        TextHead: 'textHead',
        TextMiddle: 'textMiddle',
        TextTail: 'textTail',
      };
      return [kinds[part.name ?? ''] ?? `"${(part.label ?? '').replaceAll('`', '')}"`];
    }
    return Array.isArray(part.definition) ? part.definition.flatMap((inner: Part) => namesIn(inner)) : [];
  };
  const inComment = new Map(rules.map((rule) => [rule.name, rule.text.slice(rule.name.length + 2)]));
  // `infix` is a row of tokens inside `expression`, and a string may always be cut by holes.
  const infix = inComment.get('infix') ?? '';
  inComment.delete('infix');
  inComment.set('expression', `${inComment.get('expression') ?? ''}${infix}`);
  expect([...inComment.keys()].sort()).toEqual(productions.map((one) => one.name).sort());
  const written = productions.map(({ name = '' }) => {
    const words = (inComment.get(name) ?? '').match(/"[^"]+"|\w+/g) ?? [];
    return [name, ...[...new Set(words.filter((word) => word !== 'infix'))].sort()];
  });
  expect(written).toEqual(productions.map((one) => [one.name, ...[...new Set(namesIn(one))].sort()]));
});
