//! One region of the edge: the built Worker in raw workerd, its Durable Objects in SQLite files of a directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::workerd::{Workerd, WorkerdConfig, text_bindings, text_literal as text};
use super::{Layout, Result};

const CONFIG: &str = include_str!("../../../edge/workerd/config.capnp");
const ASSETS: &str = include_str!("../../../edge/workerd/assets.js");

/// How an [`Edge`] is started.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// The region's name.
    pub region: String,
    /// Its directory: what the objects store, a copy of the modules, the log. What it holds is picked up again.
    pub dir: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// What clients present.
    pub token: String,
    /// Whose signed tokens clients may present too: public keys in base64url by `kid`.
    pub token_keys: BTreeMap<String, String>,
    /// What the daemon presents.
    pub origin_token: String,
    /// The other regions: name to base URL.
    pub peers: BTreeMap<String, String>,
    /// What the operator sets beside all that, by the names of the bindings.
    pub variables: BTreeMap<String, String>,
}

/// A running region; killed when dropped.
pub struct Edge(Workerd);

impl Edge {
    /// Starts workerd and returns when the Worker answers HTTP, whatever it says.
    ///
    /// # Errors
    /// As for [`Workerd::start`].
    pub async fn start(layout: &Layout, config: EdgeConfig) -> Result<Self> {
        let objects = config.dir.join("objects");
        // Where nothing is built yet there is no site; an empty one answers 404.
        let site = if layout.www_dist.is_dir() { layout.www_dist.clone() } else { config.dir.join("no-site") };
        fs::create_dir_all(&objects)?;
        fs::create_dir_all(&site)?;
        fs::write(config.dir.join("assets.js"), ASSETS)?;
        let configuration = configuration(&config, &site, &objects)?;
        let EdgeConfig { dir, port, .. } = config;
        let builds = vec![("", layout.edge_build.clone())];
        let workerd = WorkerdConfig { dir, port, builds, configuration };
        Ok(Self(Workerd::start(layout, workerd).await?))
    }

    /// Where clients reach it: `http://127.0.0.1:PORT`, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Where it listens: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.address()
    }

    /// Its process, while that runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.0.pid()
    }

    /// SIGKILL: what no object had persisted is lost.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Kills it if it runs, and starts it again over the same directory and port.
    ///
    /// # Errors
    /// As for [`Edge::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.0.restart().await
    }
}

fn configuration(config: &EdgeConfig, site: &Path, objects: &Path) -> Result<String> {
    // workerd takes relative paths from its own working directory, which is ours.
    let absolute = |path: &Path| std::path::absolute(path).map(|path| text(&path.display().to_string()));
    Ok(CONFIG
        .replace("{{VARIABLES}}", &text_bindings(&config.variables))
        .replace("{{SITE}}", &absolute(site)?)
        .replace("{{OBJECTS}}", &absolute(objects)?)
        .replace("{{PORT}}", &config.port.to_string())
        .replace("{{REGION}}", &text(&config.region))
        .replace("{{TOKEN}}", &text(&config.token))
        .replace("{{TOKEN_KEYS}}", &text(&serde_json::to_string(&config.token_keys)?))
        .replace("{{ORIGIN_TOKEN}}", &text(&config.origin_token))
        .replace("{{PEERS}}", &text(&serde_json::to_string(&config.peers)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_is_filled_and_text_is_quoted() {
        let config = EdgeConfig {
            region: r#"a "b" \c"#.into(),
            dir: "d".into(),
            port: 8080,
            token: "t".into(),
            token_keys: BTreeMap::new(),
            origin_token: "o".into(),
            peers: BTreeMap::from([("eu".into(), "http://127.0.0.1:1".into())]),
            variables: BTreeMap::from([("HEADWATER_SOMETHING".into(), "5".into())]),
        };
        let written = configuration(&config, Path::new("/site"), Path::new("/objects")).expect("a configuration");
        let statements = written.lines().filter(|line| !line.trim_start().starts_with('#'));
        assert!(!statements.collect::<String>().contains("{{"), "{written}");
        assert!(written.contains(r#""a \"b\" \\c""#), "{written}");
        assert!(written.contains(r#"(name = "HEADWATER_SOMETHING", text = "5"),"#), "{written}");
        assert!(written.contains(r#""{\"eu\":\"http://127.0.0.1:1\"}""#), "{written}");
    }

    /// wrangler.toml may only mention a secret, so mentioning is what is asked of it.
    #[test]
    fn production_declares_what_workerd_is_given() {
        let wrangler = include_str!("../../../wrangler.toml");
        let quoted = |line: &str, key: &str| {
            let value = line.split_once(&format!("{key} = \""))?.1;
            Some(value.split_once('"')?.0.to_owned())
        };
        let bindings =
            CONFIG.split_once("bindings = [").and_then(|(_, rest)| rest.split_once(']')).expect("bindings").0;
        let names: Vec<String> = bindings.lines().filter_map(|line| quoted(line, "(name")).collect();
        assert!(names.len() >= 8, "{names:?}");
        let classes = CONFIG.lines().filter_map(|line| quoted(line, "(className"));
        let dates = CONFIG.lines().filter_map(|line| quoted(line, "compatibilityDate"));
        for name in names.into_iter().chain(classes).chain(dates) {
            assert!(wrangler.contains(&name), "wrangler.toml lacks {name}");
        }
    }
}
