/**
 * How the attributes of each op are written in the text form, apart from what the result's type already says. `suffix` is
 * the part of the name after a dot (`reduce.sum`). view, contract and loop have notations of their own (text.ts).
 */
import { binaryOps, unaryOps, type Attributes, type Monoid, type OpName } from './graph.ts';
import type { TensorType } from '../types/tensor.ts';

export type Field = number | readonly number[] | boolean;
export type CallOp = Exclude<OpName, 'view' | 'contract' | 'loop'>;

export interface Written {
  readonly suffix?: string;
  readonly fields: Readonly<Record<string, Field>>;
}

/** What a reader gets: the fields by kind (each complains when absent), the suffix and the type of the result. */
export interface Fields {
  readonly type: TensorType;
  monoid(): Monoid;
  number(name: string): number;
  numbers(name: string): readonly number[];
  flag(name: string): boolean;
  /** The unnamed field of a constant. */
  value(): number | readonly number[];
}

interface Form<Name extends OpName> {
  write(attributes: Attributes[Name]): Written;
  read(fields: Fields): Attributes[Name];
}

const bare = { write: () => ({ fields: {} }), read: () => ({}) };
const plain = Object.fromEntries([...unaryOps, ...binaryOps].map((op) => [op, bare])) as Record<
  (typeof unaryOps)[number] | (typeof binaryOps)[number],
  typeof bare
>;

const extreme = (fields: Fields): 'max' | 'min' => (fields.monoid() === 'min' ? 'min' : 'max');
const whenSet = (name: string, flag: boolean): Record<string, boolean> => (flag ? { [name]: true } : {});

export const forms: { readonly [Name in CallOp]: Form<Name> } = {
  ...plain,
  constant: {
    write: ({ value }) => ({ fields: { '': value } }),
    read: ({ type, value }) => ({ dtype: type.dtype, shape: type.shape, value: value() }),
  },
  iota: {
    write: ({ axis }) => ({ fields: { axis } }),
    read: ({ type, number }) => ({ shape: type.shape, axis: number('axis') }),
  },
  random: {
    write: ({ stream }) => ({ fields: { stream } }),
    read: ({ type, number }) => ({ shape: type.shape, stream: number('stream') }),
  },
  where: bare,
  detach: bare,
  after: bare,
  cast: { write: () => ({ fields: {} }), read: ({ type }) => ({ dtype: type.dtype }) },
  reshape: { write: () => ({ fields: {} }), read: ({ type }) => ({ shape: type.shape }) },
  concat: { write: ({ axis }) => ({ fields: { axis } }), read: ({ number }) => ({ axis: number('axis') }) },
  reduce: {
    write: ({ monoid, axes }) => ({ suffix: monoid, fields: { axes } }),
    read: ({ monoid, numbers }) => ({ monoid: monoid(), axes: numbers('axes') }),
  },
  argreduce: {
    write: ({ monoid, axis }) => ({ suffix: monoid, fields: { axis } }),
    read: (fields) => ({ monoid: extreme(fields), axis: fields.number('axis') }),
  },
  cumulative: {
    write: ({ monoid, axis, reverse }) => ({ suffix: monoid, fields: { axis, ...whenSet('reverse', reverse) } }),
    read: ({ monoid, number, flag }) => ({ monoid: monoid(), axis: number('axis'), reverse: flag('reverse') }),
  },
  gather: { write: ({ batch }) => ({ fields: { batch } }), read: ({ number }) => ({ batch: number('batch') }) },
  scatter: {
    write: ({ batch }) => ({ fields: { batch } }),
    read: ({ type, number }) => ({ batch: number('batch'), size: type.shape[number('batch')] }),
  },
};

export const isCallOp = (name: string): name is CallOp => Object.hasOwn(forms, name);
