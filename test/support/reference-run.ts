/** A train block from its text, with programs on the reference interpreter: what training tests drive. */
import { writeFileSync } from 'node:fs';
import type { Graph } from '../../compiler/graph/graph.ts';
import type { Files } from '../../runtime/files.ts';
import type { Programs, TrainPlan } from '../../runtime/program.ts';
import { createPrograms } from '../../tools/driver/programs.ts';
import { openProject } from '../../tools/driver/project.ts';
import { openReferenceSession } from '../../tools/driver/targets/reference-session.ts';

export interface ReferenceRun {
  readonly plan: TrainPlan;
  readonly programs: Programs;
  readonly files: Files;
}

/** Writes the text to `path` and opens its only train block; `data`: folders that may be read. */
export async function openOnReference(path: string, text: string, data: readonly string[] = []): Promise<ReferenceRun> {
  writeFileSync(path, text);
  const project = await openProject(path, { data });
  const { block, data: bound, plan } = await project.train();
  const session = openReferenceSession();
  const target = { session, load: (graph: Graph) => Promise.resolve(session.load(graph)) };
  return { plan, programs: createPrograms(block, bound, target), files: project.files };
}

/** Every param and state of a session. */
export async function everythingIn({ session }: Programs): Promise<Map<string, readonly number[]>> {
  const found = new Map<string, readonly number[]>();
  for (const name of session.fields.keys()) found.set(name, [...(await session.read(name))]);
  return found;
}
