# The example beside the Worker of Headwater in plain workerd: a template, filled by tests/src/harness/example.rs.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "example", worker = .example),
    (name = "edge", worker = .edge),
    (name = "objects", disk = (path = {{OBJECTS}}, writable = true)),
  ],
  sockets = [
    (name = "example", address = "127.0.0.1:{{PORT}}", http = (), service = "example"),
    (name = "edge", address = "127.0.0.1:{{EDGE_PORT}}", http = (), service = "edge"),
  ],
);

const example :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  modules = [
    (name = "index.js", esModule = embed "example/index.js"),
    (name = "index_bg.wasm", wasm = embed "example/index_bg.wasm"),
  ],
  bindings = [
    (name = "HUB", durableObjectNamespace = (className = "Hub", serviceName = "edge")),
    (name = "HEADWATER_REGION", text = "eu"),
    {{VARIABLES}}
  ],
);

const edge :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  modules = [
    (name = "entry.js", esModule = embed "entry.js"),
    (name = "index.js", esModule = embed "index.js"),
    (name = "index_bg.wasm", wasm = embed "index_bg.wasm"),
  ],
  bindings = [
    (name = "HUB", durableObjectNamespace = "Hub"),
    (name = "DIRECTORY", durableObjectNamespace = "Directory"),
    (name = "HEADWATER_REGION", text = "eu"),
    (name = "HEADWATER_TOKEN", text = {{TOKEN}}),
    (name = "HEADWATER_ORIGIN_TOKEN", text = {{ORIGIN_TOKEN}}),
    {{VARIABLES}}
  ],
  durableObjectNamespaces = [
    (className = "Hub", uniqueKey = "headwater-hub", enableSql = true),
    (className = "Directory", uniqueKey = "headwater-directory", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "objects"),
);
