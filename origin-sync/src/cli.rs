//! The command line.

use crate::settings::{Settings, SettingsError};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Reconciles Headwater's edges into one Redis, or into an embedded file.
#[derive(Parser)]
#[command(name = "origin-sync", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
    /// Where the settings are.
    #[command(flatten)]
    pub sources: Sources,
}

/// What the daemon can do, and what it can be asked for while it runs.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Runs until it is told to end.
    Run,
    /// Checks the settings, the store and the edges, and starts nothing.
    Check,
    /// Shows what a running daemon does.
    Status {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Shows what the store of a running daemon has of a key.
    Inspect {
        /// The key.
        key: String,
    },
    /// Removes the value of another type that a plain client left at a key, so that the key's next change writes its own.
    Resolve {
        /// The key.
        key: String,
    },
    /// Removes a person's keys for good, as `erase-pattern` names them, and prints which. Edges forget them too.
    Erase {
        /// Who, as the keys name the person.
        subject: String,
    },
    /// Tells the daemons that an edge is at another address from now on: its hubs are then served there, and no more where it was.
    MoveEdge {
        /// Its URL until now, as `edge` named it.
        from: String,
        /// Its URL from now on.
        to: String,
    },
    /// Has a running daemon commit what it received and end, and waits for that.
    Drain,
}

/// Where the settings are.
#[derive(Args)]
pub struct Sources {
    /// A TOML file with settings under the names of the flags. Flags and variables count before it.
    #[arg(long, value_name = "FILE", env = "HEADWATER_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl Sources {
    /// What all sources together say.
    ///
    /// # Errors
    /// When the file cannot be read, or has what there is not.
    pub fn merge(self) -> Result<Settings, SettingsError> {
        match &self.config {
            Some(path) => self.settings.or(Settings::read(path)?),
            None => Ok(self.settings),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::DaemonConfig;
    use clap::CommandFactory;

    fn config(words: &str) -> Option<DaemonConfig> {
        let cli = Cli::try_parse_from(words.split(' ')).ok()?;
        cli.sources.merge().ok()?.try_into().ok()
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_count_before_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("origin.toml");
        std::fs::write(&file, "edge = ['http://e']\norigin-token = 't'\ndata = '/x'\nwindow-ms = 1\n").unwrap();
        let run = format!("origin-sync run --config {}", file.display());
        assert_eq!(config(&run).unwrap().window_ms, 1);
        let flags = config(&format!("{run} --window-ms 2 --edge http://f --edge http://g")).unwrap();
        assert_eq!((flags.window_ms, flags.edges.len()), (2, 2));
        assert!(config(&format!("{run} --store redis://127.0.0.1:1")).is_none());
        assert!(config("origin-sync run --config /absent").is_none());
    }
}
