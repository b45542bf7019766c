# One region of the edge in plain workerd, for development, tests and the demo.
#
# A template: the harness (tests/src/harness/edge.rs) replaces each {{NAME}} and writes the result beside copies of the
# built modules. wrangler.toml at the root declares the same bindings for production.

using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "assets", worker = .assets),
    (name = "site", disk = (path = {{SITE}})),
    (name = "objects", disk = (path = {{OBJECTS}}, writable = true)),
    # The other regions are on loopback too.
    (name = "internet", network = (allow = ["public", "private", "local"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = "127.0.0.1:{{PORT}}", http = (), service = "edge")],
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
    (name = "ASSETS", service = "assets"),
    (name = "HEADWATER_REGION", text = {{REGION}}),
    (name = "HEADWATER_TOKEN", text = {{TOKEN}}),
    (name = "HEADWATER_TOKEN_KEYS", text = {{TOKEN_KEYS}}),
    (name = "HEADWATER_ORIGIN_TOKEN", text = {{ORIGIN_TOKEN}}),
    (name = "HEADWATER_SHARDS", text = "1"),
    (name = "HEADWATER_PEERS", text = {{PEERS}}),
    {{VARIABLES}}
  ],
  # The keys name the files under `objects`; changing one loses what is stored under it.
  durableObjectNamespaces = [
    (className = "Hub", uniqueKey = "headwater-hub", enableSql = true),
    (className = "Directory", uniqueKey = "headwater-directory", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "objects"),
);

const assets :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  modules = [(name = "assets.js", esModule = embed "assets.js")],
  bindings = [(name = "SITE", service = "site")],
);
