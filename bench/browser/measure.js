// Rounds in alternation, and the median of each contender, as node/measure.mjs has it. A browser's clock is coarse, so a round
// has many operations.

/** Nanoseconds per operation of each contender; `run` gives how many it did. The first round warms up. */
export function nanoseconds(contenders, rounds) {
  const samples = contenders.map(() => []);
  for (let round = 0; round <= rounds; round += 1) {
    for (const [at, run] of contenders.entries()) {
      const started = performance.now();
      const operations = run();
      const took = performance.now() - started;
      if (round > 0) samples[at].push((took * 1e6) / operations);
    }
  }
  return samples.map((all) => all.sort((a, b) => a - b)[all.length >> 1]);
}
