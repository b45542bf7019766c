// Rounds in alternation, and the median of each contender: what src/measure.rs does natively.

/**
 * Nanoseconds per operation of each contender, the median over so many rounds. The first round of each warms up and does
 * not count.
 *
 * @param {{ prepare(): void, run(): number }[]} contenders
 * @param {number} rounds
 * @returns {number[]}
 */
export function nanoseconds(contenders, rounds) {
  const samples = contenders.map(() => []);
  for (let round = 0; round <= rounds; round += 1) {
    for (const [at, contender] of contenders.entries()) {
      contender.prepare();
      const started = performance.now();
      const operations = contender.run();
      const took = performance.now() - started;
      if (round > 0) samples[at].push((took * 1e6) / operations);
    }
  }
  return samples.map((all) => all.sort((a, b) => a - b)[all.length >> 1]);
}
