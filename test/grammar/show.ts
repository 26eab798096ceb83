/** A syntax tree on one line, for tests. */
import { parse } from '../../grammar/index.ts';

/** Reads a text that must be right. */
export function read(text: string) {
  const { module, errors } = parse({ name: 'test.model', text });
  if (errors.length > 0) throw new Error(errors.map((error) => error.message).join('\n'));
  return module;
}

/** `(+ a (* b c))` for an expression; `[kind field=…]` for all else. */
export function show(node: unknown): string {
  if (Array.isArray(node)) return `[${node.map(show).join(' ')}]`;
  if (typeof node !== 'object' || node === null) return JSON.stringify(node);
  const fields = Object.entries(node).filter(([key, value]) => key !== 'span' && key !== 'kind' && value !== undefined);
  const get = (name: string): string => show(fields.find(([key]) => key === name)?.[1]);
  const kind = 'kind' in node ? String(node.kind) : '';
  if (kind === 'identifier') return get('name').slice(1, -1);
  if (kind === 'number') return get('text').slice(1, -1);
  if (kind === 'binary') return `(${get('operator').slice(1, -1)} ${get('left')} ${get('right')})`;
  if (kind === 'named-type') return get('name');
  if (kind === 'unary') return `(${get('operator').slice(1, -1)} ${get('operand')})`;
  if (kind === 'pipe') return `(|> ${get('value')} ${get('into')})`;
  if (kind === 'range') return `(.. ${get('from')} ${get('to')})`;
  if (kind === 'at' || kind === 'dim') return get('value');
  if (kind === '' && fields.length === 1) return show(fields[0]?.[1]);
  return `<${[kind, ...fields.map(([key, value]) => `${key}=${show(value)}`)].filter((part) => part !== '').join(' ')}>`;
}

/** The tree of one expression. */
export function showExpression(text: string): string {
  const [declaration] = read(`let it = ${text}`).declarations;
  return declaration?.kind === 'constant' ? show(declaration.value) : 'not a constant';
}
