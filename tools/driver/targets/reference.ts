/** The interpreter of Tensor IR. */
import type { Backend } from './backend.ts';
import { openReferenceSession } from './reference-session.ts';

export const reference: Backend = {
  async open() {
    const session = openReferenceSession();
    return { session, load: (graph) => Promise.resolve(session.load(graph)) };
  },
};
