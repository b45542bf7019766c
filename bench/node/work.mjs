// The work that other CRDTs share with the core, as src/ours/work.rs has it: batches of 64 operations on keys picked at
// random, after each of which a contender hands out what another replica needs.

const BATCH = 64;
const BATCHES = 16;

/** The benches that are such work, by the name that the core gives them. */
export const WORK = {
  'INCR with delta': 'counters',
  'SADD with delta': 'sets',
  'SADD to one set with delta': 'one set',
  'HSET with delta': 'hashes',
};

/** An endless course of operations. */
export class Course {
  constructor(work, size) {
    this.work = work;
    this.size = size;
    this.items = size;
    this.seed = 0x2545f491;
  }

  *initial() {
    for (let at = 0; at < this.size; at += 1) yield { key: name('key', at), item: name('item', at) };
  }

  round() {
    const batch = () => Array.from({ length: BATCH }, () => this.next());
    return Array.from({ length: BATCHES }, batch);
  }

  next() {
    // Xorshift; each contender has the same seed.
    this.seed ^= this.seed << 13;
    this.seed ^= this.seed >>> 17;
    this.seed ^= this.seed << 5;
    const operation = { key: name('key', (this.seed >>> 0) % this.size), item: name('item', this.items) };
    this.items += 1;
    return operation;
  }
}

/** A contender that works through a course; `batch` does one batch and returns the bytes of its update. */
export function contender(course, batch) {
  let input = [];
  return {
    prepare() {
      input = course.round();
    },
    run() {
      let operations = 0;
      for (const each of input) {
        if (!(batch(each).length > 0)) throw new Error('a batch makes an update');
        operations += each.length;
      }
      return operations;
    },
  };
}

function name(prefix, at) {
  return `${prefix}:${String(at).padStart(6, '0')}`;
}
