// The peers in Node: one document each with all entries, in the leanest way that its documentation has.

import * as Automerge from '@automerge/automerge';
import { LoroDoc } from 'loro-crdt';
import * as Y from 'yjs';

import { Course, contender } from './work.mjs';

/** The peers of the work, each with its name. */
export function peers(work, size) {
  return [
    ['Yjs', yjs(work, size)],
    ['loro-crdt', loro(work, size)],
    ['@automerge/automerge', automerge(work, size)],
  ];
}

// There is no counter type: a number is read and written, and of two concurrent increments one is lost.
function yjs(work, size) {
  const doc = new Y.Doc();
  const root = doc.getMap('root');
  const course = new Course(work, size);
  const nested = (key) => root.get(key) ?? root.set(key, new Y.Map());
  const apply = ({ key, item }) => {
    if (work === 'counters') root.set(key, (root.get(key) ?? 0) + 1);
    else if (work === 'one set') root.set(item, true);
    else if (work === 'sets') nested(key).set(item, true);
    else nested(key).set('field', item);
  };
  let update = new Uint8Array();
  doc.transact(() => [...course.initial()].forEach(apply));
  doc.on('update', (bytes) => {
    update = bytes;
  });
  return contender(course, (batch) => {
    doc.transact(() => batch.forEach(apply));
    return update;
  });
}

function loro(work, size) {
  const doc = new LoroDoc();
  const root = doc.getMap('root');
  const course = new Course(work, size);
  const apply = ({ key, item }) => {
    if (work === 'counters') root.ensureMergeableCounter(key).increment(1);
    else if (work === 'one set') root.set(item, true);
    else if (work === 'sets') root.ensureMergeableMap(key).set(item, true);
    else root.ensureMergeableMap(key).set('field', item);
  };
  [...course.initial()].forEach(apply);
  doc.commit();
  let exported = doc.oplogVersion();
  return contender(course, (batch) => {
    batch.forEach(apply);
    doc.commit();
    const update = doc.export({ mode: 'update', from: exported });
    exported = doc.oplogVersion();
    return update;
  });
}

function automerge(work, size) {
  const course = new Course(work, size);
  const apply = (root, { key, item }) => {
    if (work === 'counters') root[key].increment(1);
    else if (work === 'one set') root[item] = true;
    else if (work === 'sets') (root[key] ??= {})[item] = true;
    else (root[key] ??= {}).field = item;
  };
  let doc = Automerge.change(Automerge.init(), (root) => {
    for (const operation of course.initial()) {
      if (work === 'counters') root[operation.key] = new Automerge.Counter(0);
      apply(root, operation);
    }
  });
  return contender(course, (batch) => {
    doc = Automerge.change(doc, (root) => batch.forEach((operation) => apply(root, operation)));
    return Automerge.getLastLocalChange(doc);
  });
}

/** B3.1 of crdt-benchmarks with Yjs: each client sets the same key, one document applies all updates. */
export function yjsClients(clients) {
  let updates = [];
  let updateV2Bytes = 0;
  let doc = new Y.Doc();
  const write = () => {
    updateV2Bytes = 0;
    updates = Array.from({ length: clients }, (_, number) => {
      const client = new Y.Doc();
      let update = new Uint8Array();
      client.on('update', (bytes) => {
        update = bytes;
      });
      client.on('updateV2', (bytes) => {
        updateV2Bytes += bytes.length;
      });
      client.getMap('map').set('v', number);
      return update;
    });
    doc = new Y.Doc();
  };
  const settle = () => doc.transact(() => updates.forEach((update) => Y.applyUpdate(doc, update)));
  write();
  settle();
  if (doc.getMap('map').size !== 1) throw new Error('the map has one entry');
  return {
    updateV2Bytes,
    updateBytes: updates.reduce((sum, update) => sum + update.length, 0),
    wholeBytes: Y.encodeStateAsUpdate(doc).length,
    contender: {
      prepare: write,
      run() {
        settle();
        return 1;
      },
    },
  };
}
