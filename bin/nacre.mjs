#!/usr/bin/env node
// Runs the built program; in a fresh checkout builds it first, once.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`error: Nacre needs Node 20.19 or newer; this is ${process.version}.\n`);
  process.exit(2);
}
const root = fileURLToPath(new URL('../', import.meta.url));
const program = new URL('../dist/tools/cli/main.js', import.meta.url);
if (!existsSync(program)) {
  process.stderr.write('building nacre, once …\n');
  const compiler = `${root}node_modules/typescript/bin/tsc`;
  const build = existsSync(compiler) ? spawnSync(process.execPath, [compiler, '-p', `${root}tsconfig.json`], { stdio: ['ignore', 2, 2] }) : undefined;
  if (!existsSync(program)) {
    const what = build === undefined ? `run \`npm install\` in ${root} first` : 'its messages stand above';
    process.stderr.write(`error: nacre could not be built: ${what}.\n`);
    process.exit(2);
  }
}
const { main, systemTerminal } = await import(program.href);
process.exitCode = await main(process.argv.slice(2), systemTerminal());
