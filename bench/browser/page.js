// What runs in the page: each function measures one thing and returns [contender, value] pairs.

import { nanoseconds } from "./measure.js";

const FIELDS = 1_000;

/** What lies beside this script, and is loaded with the first call only. */
function library(name) {
  return import(`/${name}.js`);
}

/** Each library with an instance of its own, which is loaded once in this page. */
async function all() {
  const [ours, yjs, loro, automerge] = await Promise.all(["headwater", "yjs", "loro", "automerge"].map(library));
  return {
    ours,
    Y: yjs.Y,
    Automerge: automerge.Automerge,
    store: await ours.instance(),
    doc: await yjs.instance(),
    loro: await loro.instance(),
    merge: await automerge.instance(),
  };
}

/** From the first byte asked for to an instance that can be written to, of one library in a page that has loaded nothing. */
export async function instantiation(name) {
  const started = performance.now();
  const { instance } = await library(name);
  await instance();
  return (performance.now() - started) * 1e6;
}

export async function reads({ rounds, operations }) {
  const { Automerge, store, doc, loro, merge } = await all();
  const field = (at) => `field ${at % FIELDS}`;
  const [plain, yMap, loroMap, fields] = [new Map(), doc.getMap("map"), loro.getMap("map"), store.map("map")];
  for (let at = 0; at < FIELDS; at += 1) {
    plain.set(field(at), String(at));
    yMap.set(field(at), String(at));
    loroMap.set(field(at), String(at));
    fields.set(field(at), String(at));
  }
  loro.commit();
  const merged = Automerge.change(merge, (root) => {
    for (let at = 0; at < FIELDS; at += 1) root[field(at)] = String(at);
  });
  const reading = (read) => () => {
    let bytes = 0;
    for (let at = 0; at < operations; at += 1) bytes += read(field(at)).length;
    if (bytes === 0) throw new Error("nothing was read");
    return operations;
  };
  return beside(rounds, {
    headwater: reading((name) => fields.get(name)),
    "Map.get": reading((name) => plain.get(name)),
    Yjs: reading((name) => yMap.get(name)),
    "loro-crdt": reading((name) => loroMap.get(name)),
    "@automerge/automerge": reading((name) => merged[name]),
  });
}

/** One write after the other, each an operation or transaction of its own that could be sent. */
export async function writes({ rounds, operations, kind }) {
  const { Automerge, store, doc, loro, merge } = await all();
  const [yMap, loroMap, fields] = [doc.getMap("map"), loro.getMap("map"), store.map("map")];
  const loroCounter = loro.getCounter("counter");
  const counter = store.counter("counter");
  let merged = Automerge.change(merge, (root) => {
    root.counter = new Automerge.Counter(0);
  });
  let written = 0;
  const writing = (write) => () => {
    for (let at = 0; at < operations; at += 1) write(`field ${at % FIELDS}`, String((written += 1)));
    return operations;
  };
  // Yjs has no counter: a number is read and written, and of two concurrent increments one is lost.
  const increments = {
    headwater: writing(() => counter.increment()),
    Yjs: writing(() => yMap.set("counter", (yMap.get("counter") ?? 0) + 1)),
    "loro-crdt": writing(() => {
      loroCounter.increment(1);
      loro.commit();
    }),
    "@automerge/automerge": writing(() => {
      merged = Automerge.change(merged, (root) => root.counter.increment(1));
    }),
  };
  const sets = {
    headwater: writing((name, value) => fields.set(name, value)),
    Yjs: writing((name, value) => yMap.set(name, value)),
    "loro-crdt": writing((name, value) => {
      loroMap.set(name, value);
      loro.commit();
    }),
    "@automerge/automerge": writing((name, value) => {
      merged = Automerge.change(merged, (root) => {
        root[name] = value;
      });
    }),
  };
  return beside(rounds, kind === "counter" ? increments : sets);
}

/** B3.1 of crdt-benchmarks: each of many clients sets the same entry of a map, and one takes up what all of them send. */
export async function clients({ rounds, size }) {
  const { ours, Y } = await all();
  const { WasmLeaf } = ours;
  const now = Date.now();
  const leader = () => new WasmLeaf(1n, 2n, true);
  const rows = leader().rows();
  const operations = Array.from({ length: size }, (_, at) => {
    const tab = WasmLeaf.mirror(BigInt(at + 1) << 33n);
    tab.takeWhole(0, rows, now);
    tab.command(["HSET", "map", "v", String(at)], now);
    const effects = tab.flush(now);
    const forward = effects.find(([kind]) => kind === "forward");
    tab.free();
    return forward;
  });
  const updates = Array.from({ length: size }, (_, at) => {
    const client = new Y.Doc();
    client.getMap("map").set("v", at);
    return Y.encodeStateAsUpdate(client);
  });
  const times = await beside(rounds, {
    headwater: () => {
      const leaf = leader();
      for (const [at, [, no, version, operation]] of operations.entries()) {
        leaf.adopt(BigInt(at + 1) << 33n, no, version, operation, now);
      }
      const [result] = leaf.command(["HLEN", "map"], now);
      if (result !== 1) throw new Error("the map has one entry");
      leaf.free();
      return 1;
    },
    Yjs: () => {
      const doc = new Y.Doc();
      doc.transact(() => updates.forEach((update) => Y.applyUpdate(doc, update)));
      if (doc.getMap("map").size !== 1) throw new Error("the map has one entry");
      return 1;
    },
  });
  const sum = (all) => all.reduce((bytes, { length }) => bytes + length, 0);
  const bytes = [
    ["headwater", sum(operations.map(([, , , operation]) => operation))],
    ["Yjs", sum(updates)],
  ];
  return { times, bytes };
}

/** The top 50 of a board drawn in each frame while 1,000 updates a second are made; the time of frames, and of the work in one. */
export async function board({ members, seconds }) {
  const { instance } = await library("headwater");
  const store = await instance();
  const board = store.board("board");
  const chunk = 1_000;
  for (let at = 0; at < members; at += chunk) {
    const words = Array.from({ length: chunk }, (_, next) => [(at + next) % 9_973, `member ${at + next}`]).flat();
    store.command(["ZADD", "board", ...words]);
  }
  const list = document.body.appendChild(document.createElement("ol"));
  const rows = Array.from({ length: 50 }, () => list.appendChild(document.createElement("li")));
  const [frames, work] = [[], []];
  const began = performance.now();
  let [last, updated] = [began, 0];
  await new Promise((resolve) => {
    const draw = (now) => {
      const started = performance.now();
      for (; updated < started - began; updated += 1) board.add(`member ${(updated * 7_919) % members}`, updated % 100);
      for (const [at, { member, score }] of board.top(50).entries()) rows[at].textContent = `${member}: ${score}`;
      frames.push(now - last);
      work.push(performance.now() - started);
      last = now;
      if (now - began < seconds * 1_000) requestAnimationFrame(draw);
      else resolve();
    };
    requestAnimationFrame(draw);
  });
  const quantile = (all, part) => all.sort((a, b) => a - b)[Math.floor((all.length - 1) * part)] * 1e6;
  return { frame: quantile(frames.slice(1), 0.95), work: quantile(work, 0.95), updates: updated };
}

async function beside(rounds, contenders) {
  const medians = nanoseconds(Object.values(contenders), rounds);
  return Object.keys(contenders).map((contender, at) => [contender, medians[at]]);
}
