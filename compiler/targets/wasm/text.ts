/** A module as WebAssembly text (WAT), operands inside their instruction. */
import type { Code, FunctionCode, ModuleCode } from './code.ts';
import { mostPages } from './encode.ts';

/** Characters of a line before operands get lines of their own. */
const width = 110;

export function printModule({ functions }: ModuleCode): string {
  const memory = `  (import "nacre" "memory" (memory 1 ${mostPages} shared))`;
  return ['(module', memory, ...functions.map(printFunction), ')'].join('\n') + '\n';
}

function printFunction({ name, parameters, result, locals, body, exported }: FunctionCode): string {
  const signature = [
    `(func $${name}`,
    ...(exported === true ? [`(export "${name}")`] : []),
    ...parameters.map(([local, type]) => `(param $${local} ${type})`),
    ...(result === undefined ? [] : [`(result ${result})`]),
  ];
  const kinds = [...new Set(locals.map(([, type]) => type))];
  const declared = kinds.flatMap((kind) =>
    locals.filter(([, type]) => type === kind).map(([local]) => `(local $${local} ${kind})`),
  );
  const lines: string[] = [];
  for (let at = 0; at < declared.length; at += 4) lines.push(`    ${declared.slice(at, at + 4).join(' ')}`);
  return [`  ${signature.join(' ')}`, ...lines, ...body.flatMap((code) => print(code, 2)), '  )'].join('\n');
}

const indent = (depth: number): string => '  '.repeat(depth);

function print(code: Code, depth: number): string[] {
  if (code.kind === 'if') {
    const head = `${indent(depth)}(if${code.result === undefined ? '' : ` (result ${code.result})`} ${flat(code.condition)}`;
    const part = (name: string, body: readonly Code[]): string[] =>
      body.length === 0
        ? []
        : [`${indent(depth + 1)}(${name}`, ...body.flatMap((of) => print(of, depth + 2)), `${indent(depth + 1)})`];
    return [head, ...part('then', code.then), ...part('else', code.else), `${indent(depth)})`];
  }
  if (code.kind === 'loop')
    return [
      `${indent(depth)}(loop`,
      ...code.body.flatMap((of) => print(of, depth + 1)),
      `${indent(depth + 1)}(br_if 0 ${flat(code.again)})`,
      `${indent(depth)})`,
    ];
  const line = flat(code);
  const operands = operandsOf(code);
  if (line.length + 2 * depth <= width || operands.length === 0) return [indent(depth) + line];
  return [`${indent(depth)}(${head(code)}`, ...operands.flatMap((of) => print(of, depth + 1)), `${indent(depth)})`];
}

function operandsOf(code: Code): readonly Code[] {
  if (code.kind === 'set') return [code.value];
  return 'operands' in code ? code.operands : [];
}

function head(code: Code): string {
  switch (code.kind) {
    case 'plain':
      return code.op;
    case 'const':
      return `${code.type}.const ${number(code.value)}`;
    case 'const64':
      return `i64.const ${code.value}`;
    case 'const128':
      return `v128.const i32x4 ${code.words.map((word) => `0x${(word >>> 0).toString(16)}`).join(' ')}`;
    case 'get':
      return `local.get $${code.local}`;
    case 'set':
      return `local.set $${code.local}`;
    case 'memory':
      return `${code.op}${code.offset === 0 ? '' : ` offset=${code.offset}`}${code.lane === undefined ? '' : ` ${code.lane}`}`;
    case 'lane':
      return `${code.op} ${code.lane}`;
    case 'shuffle':
      return `i8x16.shuffle ${code.bytes.join(' ')}`;
    case 'call':
      return `call $${code.name}`;
    case 'if':
    case 'loop':
      return code.kind;
  }
}

const number = (value: number): string =>
  Number.isNaN(value) ? 'nan' : Object.is(value, -0) ? '-0' : String(value).replace('Infinity', 'inf');

function flat(code: Code): string {
  if (code.kind === 'if' || code.kind === 'loop')
    return print(code, 0)
      .map((line) => line.trim())
      .join(' ');
  return `(${[head(code), ...operandsOf(code).map(flat)].join(' ')})`;
}
