/** Programs that nobody asks for any more are closed. */
import { expect, test } from 'vitest';
import type { Executable } from '../../runtime/program.ts';
import { recentPrograms } from '../../tools/api/recent.ts';

test('the programs asked for last are kept, the others give back what they have', async () => {
  const events: string[] = [];
  const programFor = recentPrograms(2);
  const ask = (key: string): Promise<Executable> =>
    programFor(key, async () => {
      if (key === 'broken') throw new Error('no such program');
      events.push(`load ${key}`);
      return {
        inputs: [],
        results: [],
        run: () => Promise.resolve(new Map()),
        close: () => Promise.resolve(void events.push(`close ${key}`)),
      };
    });
  const a = await ask('a');
  await ask('b');
  expect(await ask('a')).toBe(a);
  await expect(ask('broken')).rejects.toThrow('no such program');
  await ask('c');
  expect(await ask('a')).toBe(a);
  await ask('b');
  expect(events).toEqual(['load a', 'load b', 'load c', 'close b', 'load b', 'close c']);
});
