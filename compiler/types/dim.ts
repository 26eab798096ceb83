/**
 * Sizes of tensor axes: a number, or — while a definition is checked before anything is bound — an integer polynomial
 * over named symbols and floor divisions, kept in one normal form so that equal sizes are equal keys.
 *
 *   B*T + 2·H      (S + 2*pad - k)//stride + 1
 */

/** A size. Everything below elaboration sees numbers only (`concrete` says so when one is not). */
export type Dim = number | SymbolicDim;

/** Sum of terms: key of a monomial (atoms joined by `*`, sorted) → its coefficient. Never constant, never zero terms. */
export interface SymbolicDim {
  readonly terms: ReadonlyMap<string, Term>;
  readonly constant: number;
  /** The normal form; two sizes are equal exactly when these are. */
  readonly key: string;
}

interface Term {
  readonly atoms: readonly Atom[];
  readonly coefficient: number;
}

/** A symbol (`B`), or a floor division of two sizes that does not come out even. */
export type Atom =
  | { readonly kind: 'symbol'; readonly key: string }
  | {
      readonly kind: 'quotient';
      readonly key: string;
      readonly dividend: Dim;
      readonly divisor: Dim;
      readonly exact: boolean;
    };

export const symbol = (name: string): Dim =>
  make(new Map([[name, { atoms: [{ kind: 'symbol', key: name }], coefficient: 1 }]]), 0);

export function add(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  const terms = new Map(termsOf(a));
  for (const [key, term] of termsOf(b)) accumulate(terms, key, term.atoms, term.coefficient);
  return make(terms, constantOf(a) + constantOf(b));
}

export function multiply(a: Dim, b: Dim): Dim {
  // + 0 turns −0 into 0.
  if (typeof a === 'number' && typeof b === 'number') return a * b + 0;
  const terms = new Map<string, Term>();
  let constant = 0;
  let cancelled: Dim = 0;
  const all = (d: Dim): Term[] => [...termsOf(d).values(), { atoms: [], coefficient: constantOf(d) }];
  for (const x of all(a))
    for (const y of all(b)) {
      const coefficient = x.coefficient * y.coefficient;
      const atoms = [...x.atoms, ...y.atoms].sort((p, q) => (p.key < q.key ? -1 : p.key > q.key ? 1 : 0));
      const whole = cancelQuotient(atoms, coefficient);
      if (whole !== undefined) cancelled = add(cancelled, whole);
      else if (atoms.length === 0) constant += coefficient;
      else accumulate(terms, atoms.map((atom) => atom.key).join('*'), atoms, coefficient);
    }
  return add(make(terms, constant), cancelled);
}

/** (dim/heads)·heads is dim again, where the division was said to come out even. */
function cancelQuotient(atoms: readonly Atom[], coefficient: number): Dim | undefined {
  for (const [place, atom] of atoms.entries()) {
    if (atom.kind !== 'quotient' || !atom.exact) continue;
    const rest = atoms.filter((_, other) => other !== place);
    const factor = divideExactly(monomial(rest, coefficient), atom.divisor);
    if (factor !== undefined) return multiply(atom.dividend, factor);
  }
  return undefined;
}

export const subtract = (a: Dim, b: Dim): Dim => add(a, multiply(-1, b));

/** Floor division. Whole multiples of the divisor come out: (H − size)/size is H/size − 1. */
export function floorDivide(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return Math.floor(a / b);
  const exact = divideExactly(a, b);
  if (exact !== undefined) return exact;
  let whole: Dim = 0;
  let rest: Dim = 0;
  for (const term of termsAndConstant(a)) {
    const own = monomial(term.atoms, term.coefficient);
    const multiple =
      divideExactly(own, b) ?? (typeof b === 'number' ? monomial(term.atoms, Math.floor(term.coefficient / b)) : 0);
    whole = add(whole, multiple);
    rest = add(rest, subtract(own, multiply(multiple, b)));
  }
  if (typeof rest === 'number' && typeof b === 'number') return add(whole, Math.floor(rest / b));
  // (a//b + k)//c is (a + k·b)//(b·c)
  const [term, ...more] = termsOf(rest).values();
  const [inner, ...others] = term?.atoms ?? [];
  if (more.length === 0 && others.length === 0 && inner?.kind === 'quotient' && !inner.exact && term.coefficient === 1)
    return add(
      whole,
      floorDivide(add(inner.dividend, multiply(constantOf(rest), inner.divisor)), multiply(inner.divisor, b)),
    );
  return add(whole, quotient(rest, b, false));
}

/** Division that has to come out even once the sizes are known (`dim / heads`): (dim/heads)·heads is dim. */
export function divide(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a / b;
  return divideExactly(a, b) ?? quotient(a, b, true);
}

function quotient(dividend: Dim, divisor: Dim, exact: boolean): Dim {
  const key = `(${keyOf(dividend)})//(${keyOf(divisor)})`;
  return monomial([{ kind: 'quotient', key, dividend, divisor, exact }], 1);
}

/** `a / b` when it comes out even for every value of the symbols, otherwise undefined. */
export function divideExactly(a: Dim, b: Dim): Dim | undefined {
  if (typeof a === 'number' && typeof b === 'number') return a % b === 0 ? a / b : undefined;
  const [divisor, ...more] = termsAndConstant(b);
  if (equal(a, b)) return 1;
  if (more.length > 0 || divisor === undefined) return undefined;
  let result: Dim = 0;
  for (const term of termsAndConstant(a)) {
    if (term.coefficient % divisor.coefficient !== 0) return undefined;
    const left = [...term.atoms];
    for (const atom of divisor.atoms) {
      const at = left.findIndex((candidate) => candidate.key === atom.key);
      if (at < 0) return undefined;
      left.splice(at, 1);
    }
    result = add(result, monomial(left, term.coefficient / divisor.coefficient));
  }
  return result;
}

export const product = (dims: readonly Dim[]): Dim => dims.reduce(multiply, 1);

export const equal = (a: Dim, b: Dim): boolean =>
  typeof a === 'number' || typeof b === 'number' ? a === b : a.key === b.key;

export const sameShape = (a: readonly Dim[], b: readonly Dim[]): boolean =>
  a.length === b.length && a.every((dim, axis) => equal(dim, b[axis]));

/** Replaces symbols by sizes; what has no binding stays. */
export function substitute(dim: Dim, bindings: ReadonlyMap<string, Dim>): Dim {
  if (typeof dim === 'number') return dim;
  let result: Dim = dim.constant;
  for (const term of dim.terms.values()) {
    const factors = term.atoms.map((atom): Dim => {
      if (atom.kind === 'symbol') return bindings.get(atom.key) ?? symbol(atom.key);
      const [dividend, divisor] = [substitute(atom.dividend, bindings), substitute(atom.divisor, bindings)];
      return atom.exact ? divide(dividend, divisor) : floorDivide(dividend, divisor);
    });
    result = add(result, multiply(term.coefficient, product(factors)));
  }
  return result;
}

/** The size if all its divisions come out even: what a definition is given the benefit of, until its sizes are known. */
export function evenly(dim: Dim): Dim {
  if (typeof dim === 'number') return dim;
  let result: Dim = dim.constant;
  for (const term of dim.terms.values()) {
    const factors = term.atoms.map((atom) =>
      atom.kind === 'symbol' ? symbol(atom.key) : divide(evenly(atom.dividend), evenly(atom.divisor)),
    );
    result = add(result, multiply(term.coefficient, product(factors)));
  }
  return result;
}

/** The symbols a size depends on. */
export function symbolsOf(dim: Dim): Set<string> {
  const found = new Set<string>();
  if (typeof dim === 'number') return found;
  for (const term of dim.terms.values())
    for (const atom of term.atoms) {
      if (atom.kind === 'symbol') found.add(atom.key);
      else for (const inner of [atom.dividend, atom.divisor]) for (const name of symbolsOf(inner)) found.add(name);
    }
  return found;
}

/** The shape as plain numbers; for everything below elaboration, where a symbol left over is a bug of the compiler. */
export function concrete(shape: readonly Dim[]): number[] {
  return shape.map((dim) => {
    if (typeof dim !== 'number') throw new Error(`the size ${show(dim)} was never bound`);
    return dim;
  });
}

const keyOf = (dim: Dim): string => (typeof dim === 'number' ? String(dim) : dim.key);

/** As it is written: `2*N`, `N / 2`, `(H - 1) / 2 + 1`. */
export const show = (dim: Dim): string =>
  typeof dim === 'number'
    ? String(dim)
    : sum(
        [...dim.terms.values()].map(({ atoms, coefficient }) => [factors(atoms, coefficient), coefficient] as const),
        dim.constant,
      );

function factors(atoms: readonly Atom[], coefficient: number): string {
  const alone = atoms.length === 1 && Math.abs(coefficient) === 1;
  return atoms.map((atom) => (atom.kind === 'symbol' ? atom.key : alone ? ratio(atom) : `(${ratio(atom)})`)).join('*');
}

function ratio({ dividend, divisor }: Extract<Atom, { kind: 'quotient' }>): string {
  const [upper, lower] = [show(dividend), show(divisor)];
  return `${/ [-+] /.test(upper) ? `(${upper})` : upper} / ${/[^\w.]/.test(lower) ? `(${lower})` : lower}`;
}

/** Terms without their coefficients, each with its coefficient, and a number. */
function sum(terms: readonly (readonly [string, number])[], constant: number): string {
  let text = '';
  for (const [name, coefficient] of terms) {
    const size = Math.abs(coefficient);
    text += text === '' ? (coefficient < 0 ? '-' : '') : coefficient < 0 ? ' - ' : ' + ';
    text += size === 1 ? name : `${size}*${name}`;
  }
  return constant === 0 ? text : `${text}${constant < 0 ? ` - ${-constant}` : ` + ${constant}`}`;
}
export const showShape = (shape: readonly Dim[]): string => `[${shape.map(show).join(', ')}]`;

const none: ReadonlyMap<string, Term> = new Map();
const termsOf = (dim: Dim): ReadonlyMap<string, Term> => (typeof dim === 'number' ? none : dim.terms);
const constantOf = (dim: Dim): number => (typeof dim === 'number' ? dim : dim.constant);

/** The product of some atoms, sorted, and a number. */
function monomial(atoms: readonly Atom[], coefficient: number): Dim {
  if (atoms.length === 0) return coefficient;
  return make(new Map([[atoms.map((atom) => atom.key).join('*'), { atoms, coefficient }]]), 0);
}

function termsAndConstant(dim: Dim): Term[] {
  const constant = constantOf(dim);
  return [...termsOf(dim).values(), ...(constant === 0 ? [] : [{ atoms: [], coefficient: constant }])];
}

function accumulate(terms: Map<string, Term>, key: string, atoms: readonly Atom[], coefficient: number): void {
  const sum = (terms.get(key)?.coefficient ?? 0) + coefficient;
  if (sum === 0) terms.delete(key);
  else terms.set(key, { atoms, coefficient: sum });
}

/**
 * Where q = D/2 comes out even, 2·q is D and D − q is q: of q and D together as many D as possible are kept.
 */
function settleQuotients(terms: ReadonlyMap<string, Term>): ReadonlyMap<string, Term> {
  const settled = new Map(terms);
  for (const [key, { atoms, coefficient }] of terms) {
    const place = atoms.findIndex((atom) => atom.kind === 'quotient' && atom.exact && typeof atom.divisor === 'number');
    const atom = atoms[place];
    if (atom?.kind !== 'quotient' || typeof atom.divisor !== 'number' || typeof atom.dividend === 'number') continue;
    const [dividend, ...more] = termsAndConstant(atom.dividend);
    if (more.length > 0 || dividend.coefficient !== 1) continue;
    const whole = [...atoms.filter((_, other) => other !== place), ...dividend.atoms].sort((p, q) =>
      p.key < q.key ? -1 : 1,
    );
    const wholeKey = whole.map((part) => part.key).join('*');
    const count = (settled.get(wholeKey)?.coefficient ?? 0) * atom.divisor + coefficient;
    const wholes = Math.floor(count / atom.divisor);
    settled.set(wholeKey, { atoms: whole, coefficient: wholes });
    settled.set(key, { atoms, coefficient: count - wholes * atom.divisor });
  }
  return settled;
}

function make(terms: ReadonlyMap<string, Term>, constant: number): Dim {
  const kept = [...settleQuotients(terms)].filter(([, term]) => term.coefficient !== 0);
  if (kept.length === 0) return constant;
  kept.sort(([a], [b]) => (a < b ? -1 : 1));
  const key = sum(
    kept.map(([name, { coefficient }]) => [name, coefficient] as const),
    constant,
  );
  return { terms: new Map(kept), constant, key };
}
