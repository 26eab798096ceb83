/** What the runtime says to a person when something is wrong that they can put right. */
import { nearest } from '../common/nearest.ts';

/** An error with a stable code, one clear sentence and, where there is one, what to do about it. Never shown with a stack. */
export class UserError extends Error {
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, hint?: string) {
    super(message);
    this.name = 'UserError';
    this.code = code;
    this.hint = hint;
  }
}

/** The error with the place in the file that led to it; what is no UserError stays as it is. */
export const placed = (error: unknown, place: string | undefined): unknown =>
  error instanceof UserError && place !== undefined
    ? new UserError(error.code, `${place}: ${error.message}`, error.hint)
    : error;

/** The candidate that a person most likely meant. Paths and tensor names are long, so half of the letters may differ. */
export const nearestName = (name: string, candidates: Iterable<string>): string | undefined =>
  nearest(name, candidates, 0.5);
