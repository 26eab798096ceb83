/** CSV tables: named columns become fields. Errors say file:row:column. */
import { nearestName, UserError } from '../errors.ts';
import type { Files } from '../files.ts';
import type { DataPlan, TypedArray } from '../program.ts';
import { readWhole } from './gzip.ts';
import { allocate, type DataDescription, type Source, type StoredColumn } from './source.ts';

type CsvPlan = Extract<DataPlan, { kind: 'csv' }>;
type CsvField = CsvPlan['columns'][number];

const largestFile = 512 * 2 ** 20;
const largestRow = 2 ** 20;

/** The cells of one field, row after row. */
interface Cells {
  readonly field: CsvField;
  readonly places: readonly number[];
  readonly numbers: number[];
  readonly texts: string[];
}

/** Reads a table. Loads the CSV parser only now, since most runs need none. */
export async function loadCsv(files: Files, plan: CsvPlan): Promise<Source> {
  const { parse, CsvError } = await import('csv-parse/sync');
  const file = files.open(plan.path);
  let bytes: Uint8Array;
  try {
    if (file.size > largestFile) {
      throw new UserError(
        'file-too-large',
        `${plan.path} has ${file.size} bytes; tables up to ${largestFile} are read.`,
        'Convert it once with numpy.save and read the .npy file.',
      );
    }
    bytes = readWhole(file, undefined, largestFile);
  } finally {
    file.close();
  }
  let cells: Cells[] | undefined;
  let width = 0;
  let count = 0;
  try {
    parse(inputOf(bytes), {
      bom: true,
      skip_empty_lines: true,
      relax_column_count: true,
      max_record_size: largestRow,
      on_record: (record: readonly string[], { lines }: { readonly lines: number }) => {
        const row = lines - record.reduce((breaks, cell) => breaks + cell.split('\n').length - 1, 0);
        if (cells === undefined) {
          width = record.length;
          cells = bindColumns(
            plan,
            plan.header ? record.map((name) => name.trim()) : record.map((_, i) => String(i + 1)),
          );
          if (plan.header) return null;
        }
        if (record.length !== width) {
          throw new UserError(
            'csv-row',
            `${plan.path}:${row}: this row has ${record.length} cells; the first has ${width}.`,
          );
        }
        for (const column of cells) readCells(plan.path, row, column, record);
        count++;
        return null;
      },
    });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const line = typeof error['lines'] === 'number' ? error['lines'] : 1;
    throw new UserError(
      'csv-row',
      `${plan.path}:${line}: ${csvReasons.get(error.code) ?? 'the row cannot be read as CSV'}.`,
    );
  }
  if (cells === undefined) throw new UserError('data-empty', `${plan.path} is empty.`);
  return assemble(cells, count);
}

const csvReasons = new Map<string, string>([
  ['CSV_QUOTE_NOT_CLOSED', 'a quote is opened and never closed'],
  ['INVALID_OPENING_QUOTE', 'a quote stands in the middle of a cell; quote the whole cell and double the quotes in it'],
  ['CSV_INVALID_CLOSING_QUOTE', 'something other than a comma follows a closing quote'],
  ['CSV_MAX_RECORD_SIZE', `a row is longer than ${largestRow} characters`],
]);

function bindColumns(plan: CsvPlan, names: readonly string[]): Cells[] {
  return plan.columns.map((field) => {
    const places = field.columns.map((name) => {
      const place = names.indexOf(name);
      if (place >= 0 && names.indexOf(name, place + 1) < 0) return place;
      if (place >= 0) throw new UserError('csv-column', `${plan.path} has two columns named "${name}".`);
      const near = nearestName(name, names);
      throw new UserError(
        'csv-column',
        `${plan.path} has no column "${name}", which the field \`${field.name}\` is read from; it has ${names.slice(0, 12).join(', ')}${names.length > 12 ? ', …' : ''}.`,
        near === undefined ? undefined : `Did you mean "${near}"?`,
      );
    });
    return { field, places, numbers: [], texts: [] };
  });
}

function readCells(path: string, row: number, column: Cells, record: readonly string[]): void {
  for (let k = 0; k < column.places.length; k++) {
    const place = column.places[k];
    const cell = record[place].trim();
    if (column.field.dtype === 'category') {
      column.texts.push(cell);
      continue;
    }
    const value = cell === '' ? NaN : Number(cell);
    const where = `${path}:${row}:${place + 1}`;
    if (!Number.isFinite(value)) {
      throw new UserError(
        'csv-cell',
        `${where}: ${cell === '' ? 'an empty cell' : JSON.stringify(cell.slice(0, 40))} is not a number (column "${column.field.columns[k]}").`,
      );
    }
    if (column.field.dtype === 'i32' && (value | 0) !== value) {
      throw new UserError(
        'csv-cell',
        `${where}: ${cell} is not a whole number of 32 bits (column "${column.field.columns[k]}").`,
      );
    }
    column.numbers.push(value);
  }
}

function assemble(cells: readonly Cells[], count: number): Source {
  const categories = new Map<string, readonly string[]>();
  const columns = cells.map(({ field, places, numbers, texts }): StoredColumn => {
    const size = places.length;
    const dtype = field.dtype === 'f32' ? 'f32' : 'i32';
    const data: TypedArray = allocate(dtype, count * size);
    if (field.dtype === 'category') {
      const names = [...new Set(texts)].sort();
      const numbersOf = new Map(names.map((name, number) => [name, number]));
      texts.forEach((text, i) => {
        data[i] = numbersOf.get(text) ?? 0;
      });
      categories.set(field.name, names);
    } else {
      data.set(numbers);
    }
    return {
      kind: 'stored',
      field: { name: field.name, dtype, shape: size === 1 ? [] : [size] },
      size,
      step: size,
      offset: 0,
      data,
    };
  });
  const description: DataDescription = {
    count,
    fields: columns.map((column) => column.field),
    ...(categories.size > 0 ? { categories } : {}),
  };
  return { description, columns };
}

/** What the parser takes: in Node the bytes as they are, in a page, which has no Buffer, their text. */
const inputOf = (bytes: Uint8Array): Buffer | string =>
  'Buffer' in globalThis
    ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new TextDecoder().decode(bytes);
