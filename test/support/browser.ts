/** Debian's Chromium without a window, driven over its debugging pipe; and a server of static files for its pages. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import type { Readable, Writable } from 'node:stream';

export const chromium = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
);

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

export interface StaticServer {
  readonly url: string;
  close(): void;
}

/** `isolated`: with the headers that let pages share memory between threads. */
export async function serve(folder: string, isolated = false): Promise<StaticServer> {
  const server = createServer(({ url = '/' }, answer) => {
    const path = join(folder, normalize(decodeURIComponent(url.split('?')[0])));
    const file = path.endsWith('/') ? join(path, 'index.html') : path;
    if (!existsSync(file)) return answer.writeHead(404).end();
    answer.writeHead(200, {
      'content-type': types[extname(file)] ?? 'application/octet-stream',
      ...(isolated && {
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-embedder-policy': 'require-corp',
      }),
    });
    answer.end(readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, close: () => void server.close() };
}

export interface Page {
  /** The value of an expression in the page; promises are waited for. */
  evaluate(expression: string): Promise<unknown>;
  screenshot(path: string): Promise<void>;
  /** What the page wrote to its console, errors included. */
  readonly messages: readonly string[];
  close(): Promise<void>;
}

export async function openPage(url: string): Promise<Page> {
  if (chromium === undefined) throw new Error('there is no Chromium here');
  const profile = mkdtempSync(join(tmpdir(), 'nacre-browser-'));
  const browser = spawn(
    chromium,
    [
      '--headless=new',
      '--no-sandbox',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--enable-unsafe-webgpu',
      '--enable-features=Vulkan',
      '--use-webgpu-adapter=swiftshader',
      '--window-size=900,900',
      `--user-data-dir=${profile}`,
      '--remote-debugging-pipe',
      'about:blank',
    ],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
  );
  const [, , , input, output] = browser.stdio as unknown as [null, null, null, Writable, Readable];
  const waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
  const messages: string[] = [];
  let rest = '';
  output.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split('\0');
    rest = parts.pop() ?? '';
    for (const part of parts) {
      const { id, result, error, method, params } = JSON.parse(part);
      if (method === 'Runtime.consoleAPICalled')
        messages.push(
          params.args.map((one: { value?: unknown; description?: string }) => one.value ?? one.description).join(' '),
        );
      if (method === 'Runtime.exceptionThrown')
        messages.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
      const waiter = waiting.get(id);
      waiting.delete(id);
      if (error !== undefined) waiter?.reject(new Error(error.message));
      else waiter?.resolve(result as never);
    }
  });
  let count = 0;
  let sessionId: string | undefined;
  const send = <Result = unknown>(method: string, params: object = {}): Promise<Result> =>
    new Promise<Result>((resolve, reject) => {
      waiting.set(++count, { resolve, reject });
      input.write(`${JSON.stringify({ id: count, method, params, ...(sessionId !== undefined && { sessionId }) })}\0`);
    });
  const { targetId } = await send<{ targetId: string }>('Target.createTarget', { url: 'about:blank' });
  ({ sessionId } = await send<{ sessionId: string }>('Target.attachToTarget', { targetId, flatten: true }));
  await send('Runtime.enable');
  await send('Page.enable');
  await send('Page.navigate', { url });
  const evaluate = async (expression: string): Promise<unknown> => {
    const { result, exceptionDetails } = await send<{
      result: { value?: unknown };
      exceptionDetails?: { exception?: { description?: string }; text: string };
    }>('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails !== undefined)
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  await evaluate("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))");
  return {
    evaluate,
    messages,
    async screenshot(path) {
      const { data } = await send<{ data: string }>('Page.captureScreenshot', { format: 'png' });
      writeFileSync(path, Buffer.from(data, 'base64'));
    },
    async close() {
      const ended = new Promise((resolve) => browser.once('exit', resolve));
      await send('Browser.close').catch(() => browser.kill());
      await ended;
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}
