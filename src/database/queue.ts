// One after the other, in the order of asking.

export function createQueue(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(work);
    // Whoever asked hears of a failure; the next in the queue only waits for the end.
    last = result.catch(() => {});
    return result;
  };
}
