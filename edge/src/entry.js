// Where requests come in: around what worker-build makes of the crate.
//
// The bundle's own entry point makes an object, two proxies and a promise for each request, which takes longer than an isolate
// takes to answer one. This one calls the module at once, with what nearly every request is asked for; what is answered from
// memory comes back as a response, and not as a promise of one.

import { DurableObject } from "cloudflare:workers";
import Bundled, { Directory, Hub as BundledHub } from "./index.js";

export { Directory };

const { answer } = Bundled.prototype;

// Shared with the bundle: whether a panic ended the module.
const state = globalThis.__worker_init_state;

// A body that says that it is no longer is read before the module is called; others it reads itself, up to its own limits.
const READ_AHEAD_BYTES_MAX = 65_536;

export default {
  async fetch(request, env, context) {
    const { headers, method } = request;
    let body;
    if (method === "POST") {
      const length = headers.get("content-length");
      if (length !== null && length <= READ_AHEAD_BYTES_MAX) body = new Uint8Array(await request.arrayBuffer());
    }
    // The bundle's entry point starts the module anew.
    if (state.criticalError) new Bundled(context, env);
    try {
      return answer(
        request, env, context, method, request.url, body,
        headers.get("authorization"), headers.get("idempotency-key"), headers.get("upstash-encoding"),
        headers.get("upstash-sync-token"), headers.get("headwater-durability"), headers.get("headwater-consistency"),
      );
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
      throw error;
    }
  },
};

// The runtime lets a Worker call methods of classes that extend its own, which the bundle's do not.
export class Hub extends DurableObject {
  #hub;

  constructor(state, env) {
    super(state, env);
    this.#hub = new BundledHub(state, env);
  }

  fetch(request) {
    return this.#hub.fetch(request);
  }

  alarm() {
    return this.#hub.alarm();
  }

  webSocketMessage(socket, message) {
    return this.#hub.webSocketMessage(socket, message);
  }

  webSocketClose(socket, code, reason, wasClean) {
    return this.#hub.webSocketClose(socket, code, reason, wasClean);
  }

  webSocketError(socket, error) {
    return this.#hub.webSocketError(socket, error);
  }

  ask(kind, body) {
    return this.#hub.ask(kind, body);
  }
}
