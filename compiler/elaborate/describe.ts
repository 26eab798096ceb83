/** What is known of a data source before anything runs: how many samples, and what each consists of. */
import type { Field } from '../../runtime/program.ts';

export interface DataDescription {
  readonly count: number;
  /** Fields of one sample. */
  readonly fields: readonly Field[];
}
