/**
 * The Model level as text: instances with their paths, hyperparameters, parameters, shapes and roles.
 *
 *   model: MLP { hidden = 128 }
 *     fc1: Linear { in = 784, out = 128 }
 *       param weight: f32[784, 128]
 *       param bias: f32[128]
 *
 * It parses back to the same tree.
 */
import { show } from '../types/dim.ts';
import { children } from './instances.ts';
import { describe, type InstanceValue, type Value } from './value.ts';

export interface ModelTree {
  /** The last part of its path. */
  readonly name: string;
  readonly layer: string;
  /** Each as it is shown. */
  readonly hyper: readonly { readonly name: string; readonly value: string }[];
  readonly slots: readonly ModelSlot[];
  readonly children: readonly ModelTree[];
}

export interface ModelSlot {
  readonly role: 'param' | 'buffer';
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly string[];
  /** What selectors call it. */
  readonly tag?: string;
}

/** The tree of an instance and everything it owns. */
export function modelTree(instance: InstanceValue): ModelTree {
  return {
    name: instance.name ?? instance.declaration.name.name,
    layer: instance.declaration.name.name,
    hyper: [...instance.hyper].map(([name, { value }]) => ({ name, value: showHyper(value) })),
    slots: instance.slots.map(({ declaration: { role, name, tag }, type }) => ({
      role,
      name: name.name,
      dtype: type.dtype,
      shape: type.shape.map(show),
      ...(tag === undefined ? {} : { tag: tag.name }),
    })),
    children: children(instance).map(modelTree),
  };
}

/** Without commas and braces, which the text itself uses. */
function showHyper(value: Value): string {
  if (value.kind === 'string') return JSON.stringify(value.value);
  if (value.kind === 'int') return show(value.value);
  if (value.kind === 'float' || value.kind === 'bool') return value.value === undefined ? '?' : String(value.value);
  return `<${describe(value).replace(/[{},<>]/g, ' ')}>`;
}

export function printModelTree(tree: ModelTree): string {
  const lines: string[] = [];
  const print = (node: ModelTree, depth: number): void => {
    const indent = '  '.repeat(depth);
    const hyper = node.hyper.map(({ name, value }) => `${name} = ${value}`).join(', ');
    lines.push(`${indent}${node.name}: ${node.layer}${hyper === '' ? '' : ` { ${hyper} }`}`);
    for (const { role, name, dtype, shape, tag } of node.slots)
      lines.push(
        `${indent}  ${role} ${name}: ${dtype}${shape.length === 0 ? '' : `[${shape.join(', ')}]`}${tag === undefined ? '' : ` as ${tag}`}`,
      );
    for (const child of node.children) print(child, depth + 1);
  };
  print(tree, 0);
  return `${lines.join('\n')}\n`;
}

const slotLine = /^(param|buffer) (\w+): (\w+)(?:\[(.*)\])?(?: as (\w+))?$/;
const nodeLine = /^([\w.]+): (\w+)(?: \{ (.*) \})?$/;

/** Reads what `printModelTree` wrote; says which line it cannot read. */
export function parseModelTree(text: string): ModelTree | { readonly problem: string; readonly line: number } {
  interface Open extends ModelTree {
    readonly slots: ModelSlot[];
    readonly children: Open[];
  }
  const path: Open[] = [];
  let root: Open | undefined;
  const lines = text.split('\n');
  for (const [place, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const depth = (line.length - line.trimStart().length) / 2;
    const problem = (what: string) => ({ problem: what, line: place + 1 });
    const slot = slotLine.exec(line.trim());
    const parent = path[depth - 1];
    if (slot !== null) {
      const [, role, name, dtype, shape, tag] = slot;
      if (parent === undefined) return problem('a parameter needs an instance above it');
      path.length = depth;
      parent.slots.push({
        role: role === 'param' ? 'param' : 'buffer',
        name,
        dtype,
        shape: splitOutside(shape ?? ''),
        ...(tag === undefined ? {} : { tag }),
      });
      continue;
    }
    const node = nodeLine.exec(line.trim());
    if (node === null) return problem('this is neither an instance nor a parameter');
    const [, name, layer, hyper] = node;
    const open: Open = {
      name,
      layer,
      slots: [],
      children: [],
      hyper: splitOutside(hyper ?? '').map((entry) => {
        const at = entry.indexOf(' = ');
        return { name: entry.slice(0, at), value: entry.slice(at + 3) };
      }),
    };
    if (depth === 0 && root === undefined) root = open;
    else if (parent === undefined) return problem('this stands too deep');
    else parent.children.push(open);
    path.length = depth;
    path.push(open);
  }
  return root ?? { problem: 'there is nothing here', line: 1 };
}

/** At commas that are not inside a text. */
function splitOutside(text: string): string[] {
  if (text === '') return [];
  const found = [''];
  let quoted = false;
  for (let place = 0; place < text.length; place++) {
    const character = text[place];
    if (character === '"' && text[place - 1] !== '\\') quoted = !quoted;
    if (character === ',' && !quoted) {
      found.push('');
      if (text[place + 1] === ' ') place++;
    } else found[found.length - 1] += character;
  }
  return found;
}
