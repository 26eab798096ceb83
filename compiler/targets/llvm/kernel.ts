/**
 * A kernel as one LLVM function over a slice of its grid:
 * void @name(i64 first, i64 last, arguments…, parameters…, scratch…, flag). `let` registers are SSA values, `var`
 * registers stack slots that the passes promote. Names in the text depend on nothing but the structure, so that equal
 * kernels have equal text.
 */
import type { Register, Statement, TileExpression, TileKernel } from '../../tile/tile.ts';
import { emitCast } from './cast.ts';
import type { Place } from './memory.ts';
import { emitLoad, emitPrefetch, emitSplat, emitStore } from './memory.ts';
import { emitOp } from './scalar.ts';
import type { FunctionWriter, ModuleWriter } from './writer.ts';
import { functionWriter, literal, llvmType, mangled, vectorOf } from './writer.ts';

interface Scope {
  readonly writer: FunctionWriter;
  readonly registers: Map<Register, { readonly kind: 'value' | 'slot'; readonly text: string }>;
  readonly pointers: Map<object, string>;
  /** What this statement has computed so far: an expression used twice is written once. */
  written: Map<TileExpression, string>;
}

/** A function that still needs a name and a linkage. */
export interface KernelText {
  /** The types of its parameters, for a declaration. */
  readonly types: string;
  /** From the parameters on. */
  readonly definition: string;
}

/** `shared[i]`: parameter i may overlap another. */
export function emitKernel(module: ModuleWriter, kernel: TileKernel, shared: readonly boolean[]): KernelText {
  if (kernel.workgroup !== 1)
    throw new Error(`kernel ${kernel.name} has workgroups of ${kernel.workgroup}: the CPU runs workgroups of one`);
  const writer = functionWriter(module);
  const scope: Scope = { writer, registers: new Map(), pointers: new Map(), written: new Map() };
  const signature = ['i64 %first', 'i64 %last'];
  kernel.arguments.forEach((argument, place) => {
    signature.push(`i64 %g${place}`);
    scope.registers.set(argument, { kind: 'value', text: `%g${place}` });
  });
  kernel.parameters.forEach((memory, place) => {
    signature.push(
      `ptr ${shared[place] === true ? '' : 'noalias '}nocapture ${memory.access === 'read' ? 'readonly ' : ''}align 64 %p${place}`,
    );
    scope.pointers.set(memory, `%p${place}`);
  });
  kernel.scratch.forEach((memory, place) => {
    signature.push(`ptr noalias nocapture align 64 %t${place}`);
    scope.pointers.set(memory, `%t${place}`);
  });
  signature.push('ptr %flag');
  scope.registers.set(kernel.thread, { kind: 'value', text: '0' });
  emitLoop(scope, kernel.item, '%first', '%last', 1, kernel.body);
  writer.line('ret void');
  return {
    types: signature.map((parameter) => parameter.split(' ')[0]).join(', '),
    definition: `(${signature.join(', ')}) #0 {\n${writer.body()}\n}`,
  };
}

/** for index = from; index < to; index += step — tested once before, then at the end of each round. */
function emitLoop(
  scope: Scope,
  index: Register,
  from: string,
  to: string,
  step: number,
  body: readonly Statement[],
): void {
  const { writer } = scope;
  const round = writer.label('loop');
  const done = writer.label('done');
  const before = writer.current();
  if (Number.isInteger(Number(from)) && Number.isInteger(Number(to))) {
    if (Number(from) >= Number(to)) return;
    writer.line(`br label %${round}`);
  } else {
    writer.line(`br i1 ${writer.define(`icmp slt i64 ${from}, ${to}`)}, label %${round}, label %${done}`);
  }
  writer.begin(round);
  const counter = `%i.${round}`;
  const next = `%n.${round}`;
  const latch = writer.label('latch');
  writer.line(`${counter} = phi i64 [ ${from}, %${before} ], [ ${next}, %${latch} ]`);
  scope.registers.set(index, { kind: 'value', text: counter });
  body.forEach((statement) => emitStatement(scope, statement));
  writer.line(`br label %${latch}`);
  writer.begin(latch);
  writer.line(`${next} = add nsw i64 ${counter}, ${step}`);
  writer.line(`br i1 ${writer.define(`icmp slt i64 ${next}, ${to}`)}, label %${round}, label %${done}`);
  writer.begin(done);
}

function emitStatement(scope: Scope, statement: Statement): void {
  const { writer } = scope;
  scope.written = new Map();
  switch (statement.kind) {
    case 'let':
      scope.registers.set(statement.register, { kind: 'value', text: emit(scope, statement.value) });
      return;
    case 'var': {
      const type = llvmType(statement.register.type.dtype, statement.register.type.lanes);
      const slot = writer.slot(type);
      writer.line(`store ${type} ${emit(scope, statement.value)}, ptr ${slot}`);
      scope.registers.set(statement.register, { kind: 'slot', text: slot });
      return;
    }
    case 'assign': {
      const target = scope.registers.get(statement.register);
      if (target?.kind !== 'slot')
        throw new Error(`register ${statement.register.name} is assigned but is not a variable`);
      const { type } = statement.register;
      writer.line(`store ${llvmType(type.dtype, type.lanes)} ${emit(scope, statement.value)}, ptr ${target.text}`);
      return;
    }
    case 'store':
      emitStore(writer, place(scope, statement, statement.value.type.lanes), emit(scope, statement.value));
      return;
    case 'for':
      emitLoop(
        scope,
        statement.index,
        emit(scope, statement.from),
        emit(scope, statement.to),
        statement.step,
        statement.body,
      );
      return;
    case 'if':
      return emitIf(scope, emit(scope, statement.condition), statement.then, statement.else);
    case 'prefetch':
      return emitPrefetch(writer, place(scope, { ...statement, stride: 1 }, 1));
    case 'multiply':
      throw new Error('a matrix instruction on a machine without');
    case 'fetch':
    case 'exchange':
      throw new Error(`${statement.kind} on a machine with one thread per workgroup`);
    case 'barrier':
      return; // One thread per workgroup.
    case 'flag': {
      const { lanes } = statement.condition.type;
      const raised = emit(scope, statement.condition);
      const any =
        lanes === 1
          ? raised
          : writer.intrinsic(`llvm.vector.reduce.or.${mangled('i1', lanes)}`, 'i1', [vectorOf('i1', lanes)], [raised]);
      const raise = writer.label('raise');
      const on = writer.label('on');
      writer.line(`br i1 ${any}, label %${raise}, label %${on}`);
      writer.begin(raise);
      writer.line('store atomic i32 1, ptr %flag monotonic, align 4');
      writer.line(`br label %${on}`);
      writer.begin(on);
    }
  }
}

function emitIf(scope: Scope, condition: string, then: readonly Statement[], otherwise: readonly Statement[]): void {
  const { writer } = scope;
  const yes = writer.label('then');
  const no = otherwise.length === 0 ? undefined : writer.label('else');
  const on = writer.label('on');
  writer.line(`br i1 ${condition}, label %${yes}, label %${no ?? on}`);
  writer.begin(yes);
  then.forEach((statement) => emitStatement(scope, statement));
  writer.line(`br label %${on}`);
  if (no !== undefined) {
    writer.begin(no);
    otherwise.forEach((statement) => emitStatement(scope, statement));
    writer.line(`br label %${on}`);
  }
  writer.begin(on);
}

type Access = Pick<Extract<TileExpression, { kind: 'load' }>, 'memory' | 'offset' | 'stride' | 'mask'>;

function place(scope: Scope, access: Access, lanes: number): Place {
  const pointer = scope.pointers.get(access.memory);
  if (pointer === undefined)
    throw new Error(`memory ${access.memory.name} is neither a parameter nor scratch of its kernel`);
  const offset = emit(scope, access.offset);
  const mask = access.mask === undefined ? {} : { mask: emit(scope, access.mask) };
  return {
    memory: access.memory,
    pointer,
    offset,
    offsetLanes: access.offset.type.lanes,
    stride: access.stride,
    lanes,
    ...mask,
  };
}

function emit(scope: Scope, expression: TileExpression): string {
  const known = scope.written.get(expression);
  if (known !== undefined) return known;
  const text = emitNew(scope, expression);
  scope.written.set(expression, text);
  return text;
}

function emitNew(scope: Scope, expression: TileExpression): string {
  const { writer } = scope;
  const { dtype, lanes } = expression.type;
  const element = llvmType(dtype, 1);
  switch (expression.kind) {
    case 'number':
      return literal(element, lanes, expression.value);
    case 'register': {
      const held = scope.registers.get(expression.register);
      if (held === undefined) throw new Error(`register ${expression.register.name} is used before it is defined`);
      return held.kind === 'value' ? held.text : writer.define(`load ${vectorOf(element, lanes)}, ptr ${held.text}`);
    }
    case 'apply': {
      const values = expression.operands.map((operand) => emit(scope, operand));
      const of = expression.operands[expression.op === 'where' ? 1 : 0] ?? expression;
      return emitOp(writer, expression.op, of.type.dtype, lanes, values);
    }
    case 'cast':
      return emitCast(writer, expression.operand.type.dtype, dtype, lanes, emit(scope, expression.operand));
    case 'splat':
      return emitSplat(writer, element, lanes, emit(scope, expression.operand));
    case 'ramp': {
      const values = Array.from(
        { length: lanes },
        (_, lane) => (lanes === 1 ? '' : `${element} `) + literal(element, 1, lane),
      );
      return lanes === 1 ? values.join('') : `<${values.join(', ')}>`;
    }
    case 'combine': {
      const op = ({ sum: 'add', prod: 'mul', max: 'max', min: 'min' } as const)[expression.monoid];
      let value = emit(scope, expression.operand);
      for (let width = expression.operand.type.lanes; width > 1; width /= 2) {
        const half = width / 2;
        const type = vectorOf(element, width);
        const part = (start: number): string => {
          const picks = Array.from({ length: half }, (_, lane) => `i32 ${start + lane}`).join(', ');
          return half === 1
            ? writer.define(`extractelement ${type} ${value}, i64 ${start}`)
            : writer.define(`shufflevector ${type} ${value}, ${type} poison, <${half} x i32> <${picks}>`);
        };
        value = emitOp(writer, op, dtype, half, [part(0), part(half)]);
      }
      return value;
    }
    case 'shuffle': {
      const [a, b] = expression.operands;
      const type = vectorOf(element, a.type.lanes);
      const picks = expression.picks.map((pick) => `i32 ${pick}`).join(', ');
      return writer.define(
        `shufflevector ${type} ${emit(scope, a)}, ${type} ${emit(scope, b)}, <${lanes} x i32> <${picks}>`,
      );
    }
    case 'load':
      return emitLoad(writer, place(scope, expression, lanes));
  }
}
