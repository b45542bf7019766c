import * as Y from "yjs";
export { Y };

export async function instance() {
  return new Y.Doc();
}
