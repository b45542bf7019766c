//! The Worker's entry point around a module that stands in for the built one, since that does not panic when one wants it to.

use std::fs;

use headwater_tests::harness::{Layout, Workerd, WorkerdConfig, free_port};

use super::http::Http;

/// As the bundle is beside a module of which one path panics: it is of no use then until the bundle's own entry point is made.
const BUNDLED: &str = r#"
const state = (globalThis.__worker_init_state = { criticalError: false });
let hasEnded = false;

export default class Bundled {
  constructor() {
    if (state.criticalError) [state.criticalError, hasEnded] = [false, false];
  }
}

Bundled.prototype.answer = (request, env, context, method, url, body, ...sent) => {
  if (hasEnded) throw new Error("Module terminated");
  if (url.endsWith("/panic")) {
    hasEnded = true;
    throw new WebAssembly.RuntimeError("unreachable");
  }
  return new Response([method, body?.length, ...sent].join(" "));
};

export class Directory {}
export class Hub {}
"#;

const CONFIG: &str = r#"
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "entry", worker = .entry)],
  sockets = [(name = "http", address = "127.0.0.1:{{PORT}}", http = (), service = "entry")],
);

const entry :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  modules = [
    (name = "entry.js", esModule = embed "entry.js"),
    (name = "index.js", esModule = embed "index.js"),
  ],
);
"#;

#[tokio::test]
async fn the_module_is_given_what_it_is_asked_for_and_begins_anew_after_a_panic() {
    let (layout, dir, port) = (Layout::of_workspace(), tempfile::tempdir().unwrap(), free_port().unwrap());
    let build = dir.path().join("build");
    fs::create_dir(&build).unwrap();
    fs::copy(layout.edge_build.join("entry.js"), build.join("entry.js")).unwrap();
    fs::write(build.join("index.js"), BUNDLED).unwrap();
    let configuration = CONFIG.replace("{{PORT}}", &port.to_string());
    let config = WorkerdConfig { dir: dir.path().join("workerd"), port, builds: vec![("", build)], configuration };
    let workerd = Workerd::start(&layout, config).await.unwrap();

    let http = Http::new(&workerd.url()).with("authorization", "Bearer t").with("headwater-durability", "leaf");
    for _ in 0..3 {
        assert_eq!(http.post("/", "four").await.body, "POST 4 Bearer t    leaf ");
        assert_eq!(
            http.post("/", vec![b'x'; 65_537]).await.body,
            "POST  Bearer t    leaf ",
            "too long to be read ahead"
        );
        assert_eq!(http.get("/").await.body, "GET  Bearer t    leaf ");
        assert_eq!(http.get("/panic").await.status, 500);
    }
}
