//! The one thread that writes: takes the commits that wait, applies each, and syncs once for all of them.

use super::{EmbeddedError, tables::Tables};
use crate::clock;
use headwater::store::{Commit, Outcome};
use redb::{Database, Durability};
use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};
use tokio::sync::oneshot;

/// Commits in one transaction, so that the first does not wait for an endless train of others.
pub(super) const TOGETHER_MAX: usize = 256;

/// Expired companions swept in one transaction: enough to keep up with the commits that made them, and a bounded pause.
const SWEPT_MAX: usize = 1024;

/// A commit and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) commit: Commit,
    pub(super) answer: oneshot::Sender<Result<Outcome, EmbeddedError>>,
}

/// Starts the thread. It ends when the sender is dropped.
pub(super) fn start(database: Arc<Database>) -> io::Result<mpsc::Sender<Waiting>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("embedded-writer".to_owned()).spawn(move || run(&database, &receiver))?;
    Ok(sender)
}

fn run(database: &Database, receiver: &mpsc::Receiver<Waiting>) {
    while let Ok(first) = receiver.recv() {
        let waiting: Vec<Waiting> = std::iter::once(first).chain(receiver.try_iter().take(TOGETHER_MAX - 1)).collect();
        let (commits, answers): (Vec<_>, Vec<_>) = waiting.into_iter().map(|one| (one.commit, one.answer)).unzip();
        match write(database, &commits) {
            // Whoever no longer waits has no use for the answer.
            Ok(outcomes) => answers.into_iter().zip(outcomes).for_each(|(answer, outcome)| {
                let _ = answer.send(Ok(outcome));
            }),
            Err(error) => {
                tracing::error!(%error, "the embedded store could not write");
                for answer in answers {
                    let _ = answer.send(Err(EmbeddedError::Writer));
                }
            }
        }
    }
}

/// Applies each commit in turn to one transaction. An error undoes all of them.
fn write(database: &Database, commits: &[Commit]) -> Result<Vec<Outcome>, EmbeddedError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    let outcomes = {
        let mut tables = Tables::open(&transaction)?;
        let now = clock::now();
        tables.sweep(now, SWEPT_MAX)?;
        commits.iter().map(|commit| tables.apply(commit, now)).collect::<Result<Vec<_>, _>>()?
    };
    transaction.commit()?;
    Ok(outcomes)
}
