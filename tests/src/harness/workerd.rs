//! Built Workers in raw workerd.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use super::port::http_status;
use super::process::{Launch, Server};
use super::{Layout, Result};

/// What a configuration may embed: scripts and the module that they load.
const MODULES: [&str; 2] = ["js", "wasm"];

/// How a [`Workerd`] is started.
#[derive(Clone, Debug)]
pub struct WorkerdConfig {
    /// Its directory: the configuration, a copy of the modules, the log.
    pub dir: PathBuf,
    /// The port on 127.0.0.1 of the configuration's socket.
    pub port: u16,
    /// Where worker-build left the modules of each Worker, and the folder of the directory into which they are copied; an empty
    /// name stands for the directory itself.
    pub builds: Vec<(&'static str, PathBuf)>,
    /// The configuration, in Cap'n Proto's language.
    pub configuration: String,
}

/// A running workerd; killed when dropped.
pub struct Workerd {
    port: u16,
    server: Server,
}

impl Workerd {
    /// Starts it and returns when it answers HTTP, whatever it says.
    ///
    /// The modules are copied first, so a rebuild meanwhile does not change what a restart runs.
    ///
    /// # Errors
    /// When the Worker is not built, workerd is not installed, ends, or does not answer in time; with the end of its
    /// log.
    pub async fn start(layout: &Layout, config: WorkerdConfig) -> Result<Self> {
        for (folder, build) in &config.builds {
            let folder = config.dir.join(folder);
            fs::create_dir_all(&folder)?;
            let missing = || format!("{} is missing: run `cargo xtask build`", build.display());
            for built in fs::read_dir(build).with_context(missing)? {
                let built = built?.path();
                let is_module = built.extension().is_some_and(|ends| MODULES.iter().any(|module| ends == *module));
                if let Some(name) = built.file_name().filter(|_| is_module) {
                    fs::copy(&built, folder.join(name))?;
                }
            }
        }
        let file = config.dir.join("config.capnp");
        fs::write(&file, config.configuration)?;
        let server = Server::spawn(Launch {
            name: "workerd",
            program: layout.workerd.clone(),
            arguments: vec!["serve".into(), "--verbose".into(), file.display().to_string()],
            log: config.dir.join("workerd.log"),
        })?;
        let mut workerd = Self { port: config.port, server };
        workerd.ready().await?;
        Ok(workerd)
    }

    /// Where clients reach it: `http://127.0.0.1:PORT`, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process, while that runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// SIGKILL: what no object had persisted is lost.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Kills it if it runs, and starts it again over the same directory and port.
    ///
    /// # Errors
    /// As for [`Workerd::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.server.respawn()?;
        self.ready().await
    }

    async fn ready(&mut self) -> Result<()> {
        let port = self.port;
        self.server.ready(async || http_status(port, "/").await.is_some()).await
    }
}

/// Text bindings of a Worker in Cap'n Proto's language.
pub(super) fn text_bindings(variables: &BTreeMap<String, String>) -> String {
    let binding =
        |(name, value): (&String, &String)| format!("(name = {}, text = {}),", text_literal(name), text_literal(value));
    variables.iter().map(binding).collect::<Vec<_>>().join("\n    ")
}

/// A text literal of Cap'n Proto's language.
#[must_use]
pub fn text_literal(value: &str) -> String {
    let mut literal = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            '\n' => literal.push_str("\\n"),
            _ => literal.push(character),
        }
    }
    literal.push('"');
    literal
}
