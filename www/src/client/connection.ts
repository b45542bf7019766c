/**
 * One way to an edge while it lasts: a WebSocket here, requests in `polling.ts`. What the frames mean is not known here.
 */

/** What a connection is asked. Nothing is told of it any more once it is closed. */
export interface Connection {
  readonly transport: Transport;
  send(frame: Uint8Array<ArrayBuffer>): void;
  /** Makes the edge say something, where it does not do so by itself. */
  ping(): void;
  close(): void;
}

/** By what a connection speaks with its edge. */
export type Transport = "socket" | "requests";

/** What a connection tells. */
export interface ConnectionEvents {
  opened(): void;
  /** The edge is there, whether it said anything or not. */
  heard(): void;
  /** Frames one after the other. */
  received(frames: Uint8Array): void;
  /** It has ended; `isDenied` where it is known that the token was not accepted. */
  closed(isDenied: boolean): void;
}

/** The text that the edge answers without waking up. */
const PING = "ping";

export class Socket implements Connection {
  readonly transport = "socket";
  readonly #socket: WebSocket;

  constructor(address: URL, token: string, events: ConnectionEvents) {
    const url = new URL(address);
    url.protocol = url.protocol.replace(/^http/, "ws");
    // A browser lets nobody set a header here.
    url.searchParams.set("token", token);
    this.#socket = new WebSocket(url);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => events.opened();
    this.#socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      events.heard();
      if (data instanceof ArrayBuffer) events.received(new Uint8Array(data));
    };
    this.#socket.onclose = () => events.closed(false);
  }

  send(frame: Uint8Array<ArrayBuffer>): void {
    this.#socket.send(frame);
  }

  ping(): void {
    this.#socket.send(PING);
  }

  /** Forgets the socket without waiting for its closing handshake. */
  close(): void {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}
