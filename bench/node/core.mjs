// Runs the benches of the wasm module beside their peers in Node, and prints what it measured, one JSON object per line:
// `node core.mjs MODULE [--quick] [--only TEXT]`. The module is what wasm-bindgen made for Node of headwater-bench.

import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { nanoseconds } from './measure.mjs';
import { peers, yjsClients } from './peers.mjs';
import { WORK } from './work.mjs';

/** Sizes beyond this would measure memory growth more than work. */
const SIZE_MAX = 100_000;
/** Documents of the peers beyond this take minutes to fill. */
const PEER_SIZE_MAX = 10_000;
const QUICK_SIZE_MAX = 1_000;
const ROUNDS = 9;
/** The bench that is B3.1 of crdt-benchmarks. */
const CLIENTS = 'B3.1: settle what each client set in one map';

const options = { quick: { type: 'boolean', default: false }, only: { type: 'string', default: '' } };
const { values, positionals } = parseArgs({ options, allowPositionals: true });
const wasm = createRequire(import.meta.url)(resolve(positionals[0]));

for (const name of wasm.benches().filter((name) => name.includes(values.only))) {
  const sizes = [...wasm.sizes(name)].filter((size) => size <= SIZE_MAX);
  const quick = values.quick ? sizes.filter((size) => size <= QUICK_SIZE_MAX) : sizes;
  // A bench of one size has no smaller one.
  for (const size of quick.length > 0 ? quick : sizes) time(name, size);
}

function time(name, size) {
  console.error(`${name} of ${size} in wasm`);
  const contenders = [['headwater', wasm.Round.of(name, size)], ...peersOf(name, size)];
  const rounds = values.quick ? 1 : ROUNDS;
  const medians = nanoseconds(contenders.map(([, contender]) => contender), rounds);
  for (const [at, [contender]] of contenders.entries()) print(name, size, contender, medians[at], 'ns');
  contenders[0][1].free();
}

function peersOf(name, size) {
  if (name in WORK && size <= PEER_SIZE_MAX) return peers(WORK[name], size);
  if (name !== CLIENTS) return [];
  const yjs = yjsClients(size);
  print('B3.1: bytes that the clients send', size, 'headwater', wasm.client_bytes(size), 'bytes');
  print('B3.1: bytes that the clients send', size, 'Yjs', yjs.updateBytes, 'bytes');
  // The published figure, 49,169 bytes, is of the second format, which is the larger one where updates are small.
  print('B3.1: bytes that the clients send', size, 'Yjs, format 2', yjs.updateV2Bytes, 'bytes');
  print('B3.1: bytes of the map afterwards', size, 'headwater', wasm.whole_bytes(size), 'bytes');
  print('B3.1: bytes of the map afterwards', size, 'Yjs', yjs.wholeBytes, 'bytes');
  return [['Yjs', yjs.contender]];
}

function print(name, size, contender, value, unit) {
  console.log(JSON.stringify({ name, size, of: wasm.counted(name) ?? 'clients', contender, value, unit }));
}
