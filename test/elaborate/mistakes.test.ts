import { join } from 'node:path';
import { describe } from 'vitest';
import { runCases } from '../support/cases.ts';
import { complaints } from './support.ts';

describe('what people get wrong, and what they are told', () => {
  runCases(join(import.meta.dirname, 'mistakes.case'), (text) => complaints(text));
});
describe('what people get wrong in a train block', () => {
  runCases(join(import.meta.dirname, 'train-mistakes.case'), (text) => complaints(text));
});
