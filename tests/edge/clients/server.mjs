// A redis-server, spoken to directly.

import net from "node:net";

/** A redis-server as a function from a command to its reply: RESP2, one command at a time. */
export async function connect(port) {
  const socket = net.connect(port, "127.0.0.1");
  const chunks = socket[Symbol.asyncIterator]();
  let received = Buffer.alloc(0);
  const until = async (length) => {
    while (received.length < length) received = Buffer.concat([received, (await chunks.next()).value]);
  };
  const line = async () => {
    while (!received.includes("\r\n")) await until(received.length + 1);
    const end = received.indexOf("\r\n");
    const text = received.toString("utf8", 0, end);
    received = received.subarray(end + 2);
    return text;
  };
  const reply = async () => {
    const head = await line();
    const [kind, rest] = [head[0], head.slice(1)];
    if (kind === "-") return { error: rest };
    if (kind === "+") return rest;
    if (kind === ":") return Number(rest);
    const length = Number(rest);
    if (length < 0) return null;
    if (kind === "*") {
      const replies = [];
      for (let at = 0; at < length; at++) replies.push(await reply());
      return replies;
    }
    await until(length + 2);
    const text = received.toString("utf8", 0, length);
    received = received.subarray(length + 2);
    return text;
  };
  const run = (command) => {
    const words = command.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    socket.write(`*${command.length}\r\n${words.join("")}`);
    return reply();
  };
  run.end = () => socket.destroy();
  return run;
}
