/**
 * Tensor IR as text. Views and contractions are written in index notation:
 *
 *   graph step {
 *     %0: f32[64, 784] = batch image
 *     %1: f32[784, 128] = param model.fc.weight
 *     %2: f32[128] = param model.fc.bias
 *     %3[i, j]: f32[64, 128] = sum[k: 784] %0[i, k] * %1[k, j]  // model.fc @ mnist.model:10:5
 *     %4[i, j]: f32[64, 128] = %2[j]
 *     %5: f32[64, 128] = add(%3, %4)
 *     %6: f32[64] = reduce.max(%5, axes: [1])
 *     result peak = %6
 *   }
 *
 * What is read at a place outside the tensor is 0. parse-text.ts reads it back.
 */
import { showPlace } from '../base/source.ts';
import type { Dim } from '../types/dim.ts';
import { show, showShape } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import { forms } from './forms.ts';
import type { CallOp, Field } from './forms.ts';
import type { AffineIndex, Graph, Node, NodeOf, Origin, Precision, Value } from './graph.ts';

/** The graph as text. Origins follow as comments unless turned off. */
export function printGraph(graph: Graph, { origins = true }: { readonly origins?: boolean } = {}): string {
  return `graph ${printBlock(graph, '', origins)}\n`;
}

/** A name as it is where it can be read back, quoted otherwise. */
const printName = (name: string): string => (/^[A-Za-z_][\w.]*$/.test(name) ? name : JSON.stringify(name));

function printBlock(graph: Graph, indent: string, origins: boolean): string {
  const inner = `${indent}  `;
  const lines = [
    ...graph.inputs.map(({ name, role, value }) => `${printResult(value)} = ${role} ${printName(name)}`),
    ...graph.nodes.map((node) => printNode(node, inner, origins)),
    ...graph.outputs.map(({ name, role, value }) => `${role} ${printName(name)} = %${value.id}`),
  ];
  return `${printName(graph.name)}${printPrecision(graph.precision)}${printRecompute(graph.recompute)} {\n${lines.map((line) => `${inner}${line}\n`).join('')}${indent}}`;
}

function printPrecision(precision: Precision | undefined): string {
  if (precision === undefined) return '';
  const except = precision.except.length === 0 ? '' : ` except ${precision.except.map(printName).join(', ')}`;
  return ` precision ${precision.products} storing ${precision.storage}${except}`;
}

const printRecompute = (paths: readonly string[] = []): string =>
  paths.length === 0 ? '' : ` recompute ${paths.map(printName).join(', ')}`;

const printType = ({ dtype, shape }: TensorType): string => `${dtype}${showShape(shape)}`;
const printResult = ({ id, type }: Value): string => `%${id}: ${printType(type)}`;

function printNode(node: Node, indent: string, origins: boolean): string {
  const comment = origins ? printOrigin(node.origin) : '';
  return `${printMeaning(node, indent, origins)}${comment}`;
}

function printMeaning(node: Node, indent: string, origins: boolean): string {
  const results = node.outputs.map(printResult).join(', ');
  const [result] = node.outputs;
  switch (node.op) {
    case 'view': {
      const { shape, index } = node.attributes;
      const names = axisNames(shape.length);
      return `%${result.id}[${names.join(', ')}]: ${printType(result.type)} = ${printRead(node.inputs[0], index, names)}`;
    }
    case 'contract': {
      const { shape, reduce, indices, bytes } = node.attributes;
      const names = axisNames(shape.length + reduce.length);
      const axes = reduce.map((size, place) => `${names[shape.length + place]}: ${show(size)}`).join(', ');
      const product = node.inputs.map((value, place) => printRead(value, indices[place], names)).join(' * ');
      return `%${result.id}[${names.slice(0, shape.length).join(', ')}]: ${printType(result.type)} = ${bytes === true ? 'dot4' : 'sum'}[${axes}] ${product}`;
    }
    case 'loop': {
      const { trips, carried, scanned, reverse, body } = node.attributes;
      const operands = node.inputs.map(({ id }) => `%${id}`);
      const fields = [
        `trips: ${show(trips)}`,
        `carried: ${carried}`,
        `scanned: ${scanned}`,
        ...(reverse ? ['reverse: true'] : []),
      ];
      return `${results} = loop(${[...operands, ...fields].join(', ')}) ${printBlock(body, indent, origins)}`;
    }
    default:
      return `${results} = ${printCall(node)}`;
  }
}

function printCall<Name extends CallOp>(node: NodeOf<Name>): string {
  const { suffix, fields } = forms[node.op].write(node.attributes);
  const named = Object.entries(fields).map(([name, value]) => `${name === '' ? '' : `${name}: `}${printField(value)}`);
  return `${node.op}${suffix === undefined ? '' : `.${suffix}`}(${[...node.inputs.map(({ id }) => `%${id}`), ...named].join(', ')})`;
}

const printField = (value: Field): string =>
  typeof value === 'boolean'
    ? String(value)
    : typeof value === 'number'
      ? printNumber(value)
      : `[${value.map(printNumber).join(', ')}]`;

/** Shortest text that reads back as the same number. */
export function printNumber(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  return Object.is(value, -0) ? '-0' : String(value);
}

/** i, j, k, … for the axes of the result and then those summed over. */
function axisNames(count: number): string[] {
  const letters = 'ijklmnopqrstuvwxyzabcdefgh';
  return Array.from({ length: count }, (_, place) => (place < letters.length ? letters[place] : `axis${place}`));
}

const printRead = (value: Value, index: readonly AffineIndex[], names: readonly string[]): string =>
  `%${value.id}[${index.map((coordinate) => printIndex(coordinate, names)).join(', ')}]`;

function printIndex({ terms, offset, divisor }: AffineIndex, names: readonly string[]): string {
  let text = '';
  const append = (amount: Dim, name: string): void => {
    const negative = typeof amount === 'number' && amount < 0;
    const size = negative ? -amount : amount;
    const factor = typeof size === 'number' ? String(size) : `(${show(size)})`;
    const shown = name === '' ? factor : size === 1 ? name : `${factor}*${name}`;
    text += text === '' ? `${negative ? '-' : ''}${shown}` : ` ${negative ? '-' : '+'} ${shown}`;
  };
  for (const { axis, scale } of terms) append(scale, names[axis]);
  if (text === '' || offset !== 0) append(offset, '');
  return divisor === 1 ? text : `(${text})/${show(divisor)}`;
}

function printOrigin({ path, span, place = span && showPlace(span) }: Origin): string {
  const parts = [...(path === undefined ? [] : [path]), ...(place === undefined ? [] : [`@ ${place}`])];
  return parts.length === 0 ? '' : `  // ${parts.join(' ')}`;
}
