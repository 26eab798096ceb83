/** Things that are done one after the other, each when those before it are, whether they went well or not. */
export function takingTurns(): <Result>(act: () => Result | Promise<Result>) => Promise<Result> {
  let before: Promise<unknown> = Promise.resolve();
  return (act) => {
    const done = before.then(act);
    before = done.catch(() => {});
    return done;
  };
}
