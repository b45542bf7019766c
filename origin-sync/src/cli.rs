//! The command line.

use crate::{
    daemon::DaemonConfig,
    settings::{Settings, SettingsError},
};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Reconciles Headwater's edges into one Redis, or into an embedded file.
#[derive(Parser)]
#[command(name = "origin-sync", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Action,
}

/// What the daemon can do.
#[derive(Subcommand)]
pub enum Action {
    /// Runs until it is told to end.
    Run(Sources),
}

/// Where the settings are.
#[derive(Args)]
pub struct Sources {
    /// A TOML file with settings under the names of the flags. Flags and variables count before it.
    #[arg(long, value_name = "FILE", env = "HEADWATER_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl Sources {
    /// What all sources together say.
    ///
    /// # Errors
    /// When a file cannot be read, or a setting is missing or does not fit.
    pub fn config(self) -> Result<DaemonConfig, SettingsError> {
        let settings = match &self.config {
            Some(path) => self.settings.or(Settings::read(path)?)?,
            None => self.settings,
        };
        settings.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn config(words: &str) -> Option<DaemonConfig> {
        let Action::Run(sources) = Cli::try_parse_from(words.split(' ')).ok()?.command;
        sources.config().ok()
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
