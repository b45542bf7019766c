//! `origin-sync check`: whether a daemon with these settings could work, told step by step. It changes nothing but that the
//! commit function is loaded into Redis.

use crate::{
    daemon::DaemonConfig,
    dial,
    store::{Store as _, StoreError},
};

/// What does not work.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The store.
    #[error("the store cannot be used: {0}")]
    Store(#[from] StoreError),
    /// An edge.
    #[error("the edge {edge}: {source}")]
    Edge {
        /// Its URL.
        edge: String,
        /// The cause.
        source: dial::DirectoryError,
    },
}

/// Opens the store and reads each edge's directory. Gives a line for each that works.
///
/// # Errors
/// At the first that does not.
pub async fn run(config: &DaemonConfig) -> Result<Vec<String>, CheckError> {
    let store = config.store.open().await?;
    store.ping().await?;
    let run_id = store.run_id();
    let mut lines = vec![format!("store {}: run id {}", config.store.name(), String::from_utf8_lossy(&run_id))];
    lines.push(format!("stable by {}", store.stable_means().await));
    for edge in &config.edges {
        let hubs = dial::directory(edge, &config.token)
            .await
            .map_err(|source| CheckError::Edge { edge: edge.to_string(), source })?;
        lines.push(format!("edge {edge}: {} hubs", hubs.len()));
    }
    Ok(lines)
}
