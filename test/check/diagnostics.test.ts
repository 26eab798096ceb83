import { describe, expect, test } from 'vitest';
import { diagnose, Diagnostics, renderDiagnostic } from '../../compiler/base/diagnostics.ts';
import { nearest } from '../../common/nearest.ts';

const source = { name: 'a.model', text: 'let x = 1\n\tlet yy = x + 2\n' };
const span = (start: number, end: number) => ({ source, start, end });

describe('diagnostics', () => {
  test('what was probably meant', () => {
    expect(nearest('rleu', ['relu', 'elu', 'gelu'])).toBe('relu');
    expect(nearest('linear', ['Linear', 'linea'])).toBe('Linear');
    expect(nearest('y', ['x', 'Y'])).toBe('Y');
    expect(nearest('something', ['other', 'thing'])).toBeUndefined();
  });

  test('both places, in colour or not, tabs kept', () => {
    const found = diagnose(
      'duplicate-name',
      { name: 'x' },
      [
        { span: span(15, 17), text: 'here' },
        { span: span(4, 5), text: 'first here' },
      ],
      { notes: ['a note'], hint: 'a hint' },
    );
    expect(renderDiagnostic(found, { color: false })).toBe(
      [
        'error[duplicate-name]: `x` is already defined here.',
        ' --> a.model:2:6',
        '2 | \tlet yy = x + 2',
        '  | \t    ^^ here',
        '1 | let x = 1',
        '  |     - first here',
        '  = a note',
        '  hint: a hint',
      ].join('\n'),
    );
    expect(renderDiagnostic(found, { color: true })).toContain('\u001b[');
  });

  test('each once, fifty at most, sorted for reading', () => {
    const all = new Diagnostics();
    for (let i = 99; i >= 0; i--)
      for (let twice = 0; twice < 2; twice++)
        all.report(diagnose('unknown-name', { name: `n${i}` }, [{ span: span(i, i + 1), text: '' }]));
    expect(all.all).toHaveLength(50);
    expect(all.sorted()[0].labels[0].span.start).toBe(50);
  });
});
