import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { UserError } from '../../runtime/errors.ts';
import { grantFiles } from '../../runtime/files.ts';
import { createRunDirectory, openRunDirectory } from '../../runtime/run-directory.ts';
import { readWeightsHeader } from '../../runtime/safetensors.ts';
import { describeData, openData } from '../../runtime/index.ts';
import { scratch } from './fake.ts';

// outside/secret.txt must never be reached; inside/ is what is granted.
const root = scratch();
const inside = join(root, 'inside');
mkdirSync(join(inside, 'sub'), { recursive: true });
mkdirSync(join(root, 'outside'));
mkdirSync(join(root, 'inside-not'));
writeFileSync(join(root, 'outside/secret.txt'), 'secret');
writeFileSync(join(root, 'inside-not/secret.txt'), 'secret');
writeFileSync(join(inside, 'plain.txt'), 'plain');
writeFileSync(join(inside, 'sub/deep.txt'), 'deep');
symlinkSync(join(root, 'outside/secret.txt'), join(inside, 'link-out.txt'));
symlinkSync(join(root, 'outside'), join(inside, 'folder-out'));
symlinkSync('/etc', join(inside, 'sub/etc'));
symlinkSync(join(root, 'inside-not'), join(inside, 'almost'));
symlinkSync('plain.txt', join(inside, 'link-in.txt'));
symlinkSync('loop-b', join(inside, 'loop-a'));
symlinkSync('loop-a', join(inside, 'loop-b'));
symlinkSync('nowhere', join(inside, 'dangling'));
symlinkSync('/proc/self/environ', join(inside, 'environ'));
symlinkSync('/dev/zero', join(inside, 'zero'));
linkSync(join(root, 'outside/secret.txt'), join(inside, 'hard.txt'));
execFileSync('mkfifo', [join(inside, 'pipe')]);

const attacks = [
  '',
  '.',
  './plain.txt',
  'sub/./deep.txt',
  'sub//deep.txt',
  'sub/',
  '..',
  '../outside/secret.txt',
  'sub/../../outside/secret.txt',
  'sub/../plain.txt',
  'sub/..',
  '/etc/passwd',
  '//etc/passwd',
  join(root, 'outside/secret.txt'),
  join(inside, 'plain.txt'),
  '~/.ssh/id_rsa',
  '~root/x',
  'C:\\windows\\win.ini',
  'C:/windows/win.ini',
  'c:plain.txt',
  '\\\\server\\share\\x',
  '//server/share/x',
  'sub\\deep.txt',
  '..\\outside\\secret.txt',
  'plain.txt\0.csv',
  'plain.txt\n',
  '\u0001plain.txt',
  '%2e%2e/outside/secret.txt',
  '..%2foutside%2fsecret.txt',
  'plain%2Etxt',
  'file:///etc/passwd',
  'file:plain.txt',
  'http://example.com/x',
  'data:text/plain,x',
  'link-out.txt',
  'folder-out/secret.txt',
  'sub/etc/passwd',
  'almost/secret.txt',
  'environ',
  'zero',
  'loop-a',
  'dangling',
  'pipe',
  'sub',
  'folder-out',
  'plain.txt/x',
  'NUL',
  'sub/con.txt',
  'plain.txt.',
  'plain.txt ',
  '. ./plain.txt',
  'x'.repeat(5000),
];

test.each([true, false])('every attack on a path is refused (granted by --data: %s)', (trusted) => {
  const files = grantFiles(trusted ? { data: [inside] } : { data: [], modelFolder: inside });
  expect(new TextDecoder().decode(files.read('plain.txt'))).toBe('plain');
  expect(new TextDecoder().decode(files.read('sub/deep.txt'))).toBe('deep');
  for (const path of attacks) {
    expect(() => files.read(path), JSON.stringify(path)).toThrow(UserError);
    try {
      files.read(path);
    } catch (error) {
      expect(String(error), JSON.stringify(path)).not.toMatch(/ENO|EACC|at Object|node:/);
    }
  }
});

test('links: followed inside a --data folder, never beside a .model file', () => {
  const own = grantFiles({ data: [], modelFolder: inside });
  const data = grantFiles({ data: [inside] });
  expect(() => own.read('link-in.txt')).toThrow('links are not followed');
  expect(() => own.read('hard.txt')).toThrow('hard link');
  expect(new TextDecoder().decode(data.read('link-in.txt'))).toBe('plain');
  expect(new TextDecoder().decode(data.read('hard.txt'))).toBe('secret');
  expect(() => data.read('link-out.txt')).toThrow('leads out of');
});

test('--data folders come first, then the model folder; a missing file names its neighbour', () => {
  const other = scratch();
  writeFileSync(join(other, 'plain.txt'), 'other');
  const both = grantFiles({ data: [other], modelFolder: inside });
  expect(new TextDecoder().decode(both.read('plain.txt'))).toBe('other');
  expect(new TextDecoder().decode(both.read('sub/deep.txt'))).toBe('deep');
  expect(() => both.read('plian.txt')).toThrow(
    expect.objectContaining({ code: 'file-not-found', hint: 'Did you mean plain.txt?' }),
  );
  expect(() => grantFiles({ data: [join(root, 'none')] })).toThrow('it does not exist');
  expect(() => grantFiles({ data: [join(inside, 'plain.txt')] })).toThrow('is not a folder');
  expect(() => grantFiles({ data: [] }).read('plain.txt')).toThrow('any folder granted');
});

test('a read past the end or past the limit is an error', () => {
  const files = grantFiles({ data: [inside] });
  const file = files.open('plain.txt');
  expect(() => file.read(3, 4)).toThrow('ends at byte 5');
  file.close();
  expect(() => files.read('plain.txt', 4)).toThrow('at most 4');
});

test('every entry point goes through the guard', async () => {
  const files = grantFiles({ data: [inside] });
  const paths = ['../outside/secret.txt', 'link-out.txt', '/etc/passwd'];
  for (const path of paths) {
    const plans = [
      { kind: 'idx', fields: [{ name: 'x', path }] },
      { kind: 'npy', fields: [{ name: 'x', path }] },
      { kind: 'csv', path, columns: [], header: true },
      { kind: 'text', path, length: 2, stride: 1, input: 'x', target: 'y' },
    ] as const;
    for (const plan of plans) {
      await expect(describeData(plan, files)).rejects.toMatchObject({ code: expect.stringMatching(/^path-/) });
      await expect(openData(plan, files, { batch: 1 })).rejects.toMatchObject({
        code: expect.stringMatching(/^path-/),
      });
    }
    expect(() => readWeightsHeader(files.open(path))).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^path-/) }),
    );
  }
});

test('only files.ts and run-directory.ts open files', () => {
  const opening =
    /\b(open|openSync|readFile|readFileSync|writeFile|writeFileSync|createReadStream|createWriteStream|appendFile|appendFileSync)\(/;
  const folder = new URL('../../runtime/', import.meta.url);
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts') || name === 'files.ts' || name === 'run-directory.ts' || name.startsWith('devices'))
      continue;
    const text = readFileSync(new URL(name, folder), 'utf8');
    expect(/from 'node:fs(\/promises)?'/.test(text) && opening.test(text), name).toBe(false);
  }
});

test('run folders are numbered and writes stay below them', () => {
  const parent = join(scratch(), 'deep/runs');
  const first = createRunDirectory(parent, 'line');
  expect(first.path).toBe(join(parent, 'line-1'));
  expect(createRunDirectory(parent, 'line').path).toBe(join(parent, 'line-2'));
  expect(createRunDirectory(parent, '../../evil').path).toBe(join(parent, '______evil-1'));
  const bytes = new TextEncoder().encode('x');
  for (const name of ['../x', '/tmp/x', 'checkpoints/../../x', ''])
    expect(() => first.write(name, [bytes])).toThrow(UserError);
  first.write('a.txt', [bytes, bytes]);
  first.append('a.txt', 'y');
  expect(new TextDecoder().decode(first.read('a.txt'))).toBe('xxy');
  // A link planted in place of a file is replaced, not followed; one in place of a folder is refused.
  const victim = join(scratch(), 'victim');
  writeFileSync(victim, 'safe');
  symlinkSync(victim, join(first.path, 'b.txt'));
  first.write('b.txt', [bytes]);
  symlinkSync(victim, join(first.path, 'c.txt'));
  expect(() => first.append('c.txt', 'y')).toThrow(UserError);
  expect(readFileSync(victim, 'utf8')).toBe('safe');
  symlinkSync(scratch(), join(first.path, 'elsewhere'));
  expect(() => first.write('elsewhere/x', [bytes])).toThrow('is a link');
});

test('opening a run that is none says what is near', () => {
  const parent = scratch();
  createRunDirectory(parent, 'line').write('config.json', [new TextEncoder().encode('{}')]);
  expect(openRunDirectory(join(parent, 'line-1')).has('config.json')).toBe(true);
  expect(() => openRunDirectory(join(parent, 'lime-1'))).toThrow(
    expect.objectContaining({ hint: `Did you mean ${join(parent, 'line-1')}?` }),
  );
  expect(() => openRunDirectory(parent)).toThrow('is not a run folder');
});
