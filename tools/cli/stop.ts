/** Ctrl-C: the first asks to stop after the step, the second stops at once. Nobody reading any more asks to stop, too. */
import { exit, type Terminal } from './terminal.ts';

export interface Stop {
  readonly signal: AbortSignal;
  /** What the process should exit with when it was asked to stop. */
  readonly code: () => number;
  readonly release: () => void;
}

/** One Ctrl-C may arrive twice: from the terminal, and passed on by `npx`. */
const sameWish = 500;

export function listenForStop(terminal: Terminal, tell: (text: string) => void): Stop {
  const controller = new AbortController();
  let code: number = exit.interrupted;
  let askedAt = 0;
  const asked = (signal: 'SIGINT' | 'SIGTERM') => (): void => {
    code = signal === 'SIGINT' ? exit.interrupted : exit.terminated;
    if (controller.signal.aborted) {
      if (performance.now() - askedAt > sameWish) process.exit(code);
      return;
    }
    askedAt = performance.now();
    tell('stopping after this step; once more stops at once');
    controller.abort();
  };
  const listeners = [
    ['SIGINT', asked('SIGINT')],
    ['SIGTERM', asked('SIGTERM')],
  ] as const;
  for (const [name, listener] of listeners) process.on(name, listener);
  terminal.whenClosed?.(() => {
    if (!controller.signal.aborted) code = exit.failed;
    controller.abort();
  });
  return {
    signal: controller.signal,
    code: () => code,
    release: () => {
      for (const [name, listener] of listeners) process.off(name, listener);
    },
  };
}
