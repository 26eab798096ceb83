/** Where this runs. */

/** In a page or in a worker of one: files are fetched, threads are web workers. Else in Node. */
export const inBrowser = 'document' in globalThis || 'WorkerGlobalScope' in globalThis;
