/** A text as character numbers, cut into windows: the input, and the same one character later as the target. */
import { UserError } from '../errors.ts';
import type { Files } from '../files.ts';
import type { DataPlan } from '../program.ts';
import { readWhole } from './gzip.ts';
import type { Source, StoredColumn } from './source.ts';

type TextPlan = Extract<DataPlan, { kind: 'text' }>;

const longestText = 256 * 2 ** 20;

/** Reads the text whole: its vocabulary is the characters that occur in it, in the order of their code points. */
export function loadText(files: Files, plan: TextPlan): Source {
  const file = files.open(plan.path);
  let text: string;
  try {
    const bytes = readWhole(file, undefined, longestText);
    if (bytes.length > longestText) {
      throw new UserError(
        'file-too-large',
        `${plan.path} has ${bytes.length} bytes; texts up to ${longestText} are read.`,
      );
    }
    text = decodeUtf8(plan.path, bytes);
  } finally {
    file.close();
  }
  const vocabulary = [...new Set(text)].sort((a, b) => (a.codePointAt(0) ?? 0) - (b.codePointAt(0) ?? 0));
  const numbers = new Map(vocabulary.map((character, number) => [character, number]));
  // An astral character is two units of the string and one entry here, so the array may be longer than needed.
  const ids = vocabulary.length <= 256 ? new Uint8Array(text.length) : new Int32Array(text.length);
  let length = 0;
  for (const character of text) ids[length++] = numbers.get(character) ?? 0;
  const count = Math.floor((length - plan.length - 1) / plan.stride) + 1;
  if (count < 1) {
    throw new UserError(
      'data-empty',
      `${plan.path} has ${length} characters; one window of ${plan.length} and its target need ${plan.length + 1}.`,
    );
  }
  const column = (name: string, offset: number): StoredColumn => ({
    kind: 'stored',
    field: { name, dtype: 'i32', shape: [plan.length] },
    size: plan.length,
    data: ids,
    step: plan.stride,
    offset,
  });
  const columns = [column(plan.input, 0), column(plan.target, 1)];
  return { description: { count, fields: columns.map(({ field }) => field), vocabulary }, columns };
}

function decodeUtf8(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new UserError(
      'data-format',
      `${path} is not a text in UTF-8.`,
      'Convert it, for example with: iconv -f latin1 -t utf-8.',
    );
  }
}
