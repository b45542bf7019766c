//! The command line.

use crate::{
    daemon::DaemonConfig,
    edge::{EdgeUrl, OriginToken},
    store::{RedisUrl, StoreLocation},
};
use clap::{ArgGroup, Args, Parser, Subcommand};
use std::{io, net::SocketAddr, path::PathBuf};

/// Reconciles Headwater's edges into one Redis, or into an embedded file.
#[derive(Debug, Parser)]
#[command(name = "origin-sync", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Action,
}

/// What the daemon can do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Runs until it is told to end.
    Run(RunArguments),
}

/// How to run.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("where").required(true).args(["store", "data"])))]
// The token may also be in the environment when a file is named; the file counts.
#[command(group(ArgGroup::new("secret").required(true).multiple(true).args(["origin_token", "origin_token_file"])))]
pub struct RunArguments {
    /// An edge's base URL; may be given several times.
    #[arg(long = "edge", value_name = "URL", required = true)]
    edges: Vec<EdgeUrl>,
    /// What proves to the edges that this is the origin.
    #[arg(long, value_name = "TOKEN", env = "HEADWATER_ORIGIN_TOKEN", hide_env_values = true)]
    origin_token: Option<OriginToken>,
    /// A file that holds the token.
    #[arg(long, value_name = "FILE")]
    origin_token_file: Option<PathBuf>,
    /// The Redis, as `redis://[user:password@]host[:port][/db]`.
    #[arg(long, value_name = "URL", env = "HEADWATER_STORE", hide_env_values = true)]
    store: Option<RedisUrl>,
    /// Without Redis: the file, or the directory, that keeps the state.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Where health, status and metrics are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8790")]
    listen: SocketAddr,
    /// How long after a commit Redis may still lose it, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 60_000, value_parser = clap::value_parser!(i64).range(0..))]
    loss_window_ms: i64,
    /// The least time between two batches of one hub, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i64).range(0..))]
    window_ms: i64,
}

/// What is wrong with the command line beyond its form.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The token's file cannot be read.
    #[error("cannot read the token from {path}")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The token holds what a header cannot.
    #[error("the token cannot be sent in a header")]
    Token(#[from] hyper::header::InvalidHeaderValue),
    /// An argument that clap would have asked for.
    #[error("{0} is missing")]
    Missing(&'static str),
}

impl TryFrom<RunArguments> for DaemonConfig {
    type Error = CliError;

    fn try_from(arguments: RunArguments) -> Result<Self, CliError> {
        let token = match (arguments.origin_token_file, arguments.origin_token) {
            (Some(path), _) => {
                let secret = std::fs::read_to_string(&path).map_err(|source| CliError::TokenFile { path, source })?;
                OriginToken::new(secret.trim())?
            }
            (None, Some(token)) => token,
            (None, None) => return Err(CliError::Missing("--origin-token")),
        };
        let store = match (arguments.store, arguments.data) {
            (Some(url), _) => StoreLocation::Redis(url),
            (None, Some(path)) => StoreLocation::Embedded(path),
            (None, None) => return Err(CliError::Missing("--store")),
        };
        Ok(Self {
            edges: arguments.edges,
            token,
            store,
            listen: arguments.listen,
            loss_window_ms: arguments.loss_window_ms,
            window_ms: arguments.window_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn config(words: &str) -> Option<DaemonConfig> {
        let Action::Run(arguments) = Cli::try_parse_from(words.split(' ')).ok()?.command;
        arguments.try_into().ok()
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_daemon_needs_an_edge_a_token_and_one_store() {
        let run = "origin-sync run --edge http://e:1 --edge https://f --origin-token t";
        let redis = config(&format!("{run} --store redis://127.0.0.1:1")).unwrap();
        assert_eq!((redis.edges.len(), redis.loss_window_ms, redis.window_ms), (2, 60_000, 20));
        assert!(matches!(redis.store, StoreLocation::Redis(_)));
        let file = config(&format!("{run} --data /tmp/x --loss-window-ms 0 --listen 127.0.0.1:1")).unwrap();
        assert!(matches!(file.store, StoreLocation::Embedded(_)));
        assert!(config(run).is_none());
        assert!(config(&format!("{run} --data /tmp/x --store redis://127.0.0.1:1")).is_none());
        assert!(config(&format!("{run} --store nonsense")).is_none());
        assert!(config(&format!("{run} --data /tmp/x --window-ms -1")).is_none());
        assert!(config("origin-sync run --edge http://e:1 --data /tmp/x").is_none());
        assert!(config("origin-sync run --origin-token t --data /tmp/x").is_none());
    }
}
