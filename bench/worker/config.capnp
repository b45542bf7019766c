# The peers of the edge in plain workerd: a template, filled by xtask/src/bench/edge.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "peers", worker = .peers),
    (name = "objects", disk = (path = {{OBJECTS}}, writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:{{PORT}}", http = (), service = "peers")],
);

const peers :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  modules = [
    (name = "index.js", esModule = embed "index.js"),
    (name = "index_bg.wasm", wasm = embed "index_bg.wasm"),
  ],
  bindings = [(name = "ROWS", durableObjectNamespace = "Rows")],
  durableObjectNamespaces = [(className = "Rows", uniqueKey = "headwater-bench-rows", enableSql = true)],
  durableObjectStorage = (localDisk = "objects"),
);
