//! A Worker of one's own that uses the edge's as a library, beside the edge's in one workerd, without an origin.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::workerd::{Workerd, WorkerdConfig, text_bindings, text_literal as text};
use super::{Layout, Result};

const CONFIG: &str = include_str!("../../../edge/example/config.capnp");

/// How an [`Example`] is started.
#[derive(Clone, Debug)]
pub struct ExampleConfig {
    /// Its directory: what the objects store, copies of the modules, the log.
    pub dir: PathBuf,
    /// The example's port on 127.0.0.1.
    pub port: u16,
    /// The edge's.
    pub edge_port: u16,
    /// What clients of the edge present.
    pub token: String,
    /// What the operator sets for both, by the names of the bindings.
    pub variables: BTreeMap<String, String>,
}

/// Both running; killed when dropped.
pub struct Example {
    workerd: Workerd,
    edge_port: u16,
}

impl Example {
    /// Starts workerd and returns when the example answers HTTP, whatever it says.
    ///
    /// # Errors
    /// As for [`Workerd::start`].
    pub async fn start(layout: &Layout, config: ExampleConfig) -> Result<Self> {
        let objects = config.dir.join("objects");
        fs::create_dir_all(&objects)?;
        let configuration = CONFIG
            .replace("{{OBJECTS}}", &text(&std::path::absolute(objects)?.display().to_string()))
            .replace("{{PORT}}", &config.port.to_string())
            .replace("{{EDGE_PORT}}", &config.edge_port.to_string())
            .replace("{{TOKEN}}", &text(&config.token))
            .replace("{{ORIGIN_TOKEN}}", &text("nobody's"))
            .replace("{{VARIABLES}}", &text_bindings(&config.variables));
        let builds = vec![("", layout.edge_build.clone()), ("example", layout.example_build.clone())];
        let workerd = WorkerdConfig { dir: config.dir, port: config.port, builds, configuration };
        Ok(Self { workerd: Workerd::start(layout, workerd).await?, edge_port: config.edge_port })
    }

    /// Where the example listens: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.workerd.address()
    }

    /// Where the example is reached, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        self.workerd.url()
    }

    /// Where the edge listens.
    #[must_use]
    pub fn edge_address(&self) -> String {
        format!("127.0.0.1:{}", self.edge_port)
    }
}
