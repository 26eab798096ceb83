#!/usr/bin/env node
// Runs the built program; in a checkout builds it first where it is older than its sources.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const [major, minor] = process.versions.node.split('.').map(Number);
// What a few in between do not have.
const isOld = process.getBuiltinModule === undefined;
if (major < 20 || (major === 20 && minor < 19) || isOld) {
  process.stderr.write(`error: Nacre needs Node 20.19, or 22.3 or newer; this is ${process.version}.\n`);
  process.exit(2);
}
const root = fileURLToPath(new URL('../', import.meta.url));
const program = new URL('../dist/tools/cli/main.js', import.meta.url);
const isBuilt = existsSync(program);
if (!isBuilt || isStale()) {
  const compiler = `${root}node_modules/typescript/bin/tsc`;
  const problem = compilerProblem(compiler);
  if (problem === undefined) {
    process.stderr.write(isBuilt ? 'building nacre again: its sources have changed …\n' : 'building nacre, once …\n');
    // Built aside and put in place whole: another command may be starting at this moment.
    const fresh = `${root}.cache/build-${process.pid}`;
    mkdirSync(fresh, { recursive: true });
    const { status } = spawnSync(
      process.execPath,
      [compiler, '-p', `${root}tsconfig.json`, '--outDir', `${fresh}/dist`],
      { stdio: ['ignore', 2, 2] },
    );
    if (existsSync(`${fresh}/dist/tools/cli/main.js`)) {
      if (existsSync(`${root}dist`)) renameSync(`${root}dist`, `${fresh}/old`);
      renameSync(`${fresh}/dist`, `${root}dist`);
    }
    rmSync(fresh, { recursive: true });
    if (status !== 0 && existsSync(program))
      process.stderr.write('the build has errors; this is what could be built\n');
  }
  if (!existsSync(program)) {
    process.stderr.write(`error: nacre could not be built: ${problem ?? 'its messages stand above'}.\n`);
    process.exit(2);
  }
}
const { main, systemTerminal } = await import(program.href);
process.exitCode = await main(process.argv.slice(2), systemTerminal());

/** Why TypeScript's compiler cannot run; undefined where it can. */
function compilerProblem(compiler) {
  if (!existsSync(compiler)) return `run \`npm install\` in ${root} first`;
  try {
    // The compiler itself, a program for this machine, is an optional package of the package typescript.
    createRequire(compiler).resolve(`@typescript/typescript-${process.platform}-${process.arch}/package.json`);
    return undefined;
  } catch {
    return `TypeScript's compiler is among the optional packages, which are not here: run \`npm install --include=optional\` in ${root}`;
  }
}

/** Whether a source is newer than what was built from it. An installed package has no sources. */
function isStale() {
  if (!existsSync(`${root}tsconfig.json`)) return false;
  const built = statSync(program).mtimeMs;
  return ['common', 'grammar', 'compiler', 'runtime', 'tools'].some((folder) =>
    readdirSync(`${root}${folder}`, { recursive: true }).some(
      (name) => name.endsWith('.ts') && statSync(`${root}${folder}/${name}`).mtimeMs > built,
    ),
  );
}
