//! Commands that edges have passed through: which of them this daemon runs, and within which bounds.
//!
//! The daemon reads each command itself and runs only what is on the list of families that its operator allows, whatever an
//! edge sends; Redis' own access control stands behind that.

use crate::{
    erasure::{self, EraseError, Erased},
    keyspace::Scope,
    measure,
    report::Report,
    store::{Jobs, JobsRun, RunError, Store, StoreError},
};
use bytes::Bytes;
use headwater::{
    command::{Command, CommandError, CommandName, Family, KeyspaceAction, Passed, Reply, parse},
    id::{Key, No},
    limits::{ERROR_BYTES_MAX, RUN_REPLY_BYTES_MAX},
    message::RunReply,
    namespace::Namespace,
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long the commands of one call may take until no further one is begun. With the connection and the last command it is
/// less than a hub waits.
const CALL_TIME: Duration = Duration::from_secs(4);

/// Why a command of a call is not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("ERR Headwater: the operator of the origin does not pass {0} through")]
    Family(Family),
    #[error("ERR Headwater: this is not passed through to the origin")]
    Here,
    #[error("ERR Headwater: the commands before it took too long; nothing was done")]
    Late,
    #[error("ERR Headwater: there are too many keys to go through in {} s; use SCAN", CALL_TIME.as_secs())]
    TooManyKeys,
    #[error("ERR Headwater: the names of so many keys are larger than {} MiB; use SCAN", RUN_REPLY_BYTES_MAX >> 20)]
    TooManyNames,
    #[error("ERR Headwater: the command was executed, and its reply is larger than {} MiB", RUN_REPLY_BYTES_MAX >> 20)]
    TooLarge,
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("ERR Headwater: the origin's store failed: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Erase(#[from] EraseError),
}

/// What erasing takes.
#[derive(Clone, Debug)]
pub(crate) struct Erasing {
    pub(crate) report: Arc<Report>,
    pub(crate) patterns: Arc<[String]>,
}

/// Runs the commands of one call in order, each once. Of what asks of all keys, those of the namespace count.
pub(crate) async fn run(
    store: &impl Store,
    allowed: &BTreeSet<Family>,
    erasing: &Erasing,
    commands: Vec<Vec<Bytes>>,
    within: &Namespace,
) -> Vec<RunReply> {
    let began = Instant::now();
    let mut room = RUN_REPLY_BYTES_MAX;
    let mut replies = Vec::with_capacity(commands.len());
    for argv in commands {
        let answered = match permitted(&argv, allowed) {
            Ok(_) if began.elapsed() >= CALL_TIME => Err(Refused::Late),
            Ok(Permitted::Passed(passed)) => store.run(&passed).await.map_err(Refused::Run),
            Ok(Permitted::Keyspace(KeyspaceAction::Erase(subject))) => erase(erasing, &subject, within).await,
            Ok(Permitted::Keyspace(action)) => {
                Scope { store, within, until: began + CALL_TIME }.answer(&action, room).await
            }
            Err(refused) => Err(refused),
        };
        let answered = answered.and_then(|reply| bounded(reply, &mut room));
        measure::run(answered.is_ok());
        replies.push(answered.map_err(|refused| cut(refused.to_string())));
    }
    replies
}

/// Removes a person's keys of a namespace, and tells how many are removed, how many are left for what stands there, and how many
/// will be removed yet.
async fn erase(erasing: &Erasing, subject: &[u8], within: &Namespace) -> Result<Reply, Refused> {
    let is_own = |key: &Key| within.holds(key.as_bytes());
    let Erased { erased, left, pending } =
        erasure::erase(erasing.report.live(), &erasing.patterns, subject, is_own).await?;
    let count = |keys: BTreeSet<Key>| Reply::Int(i64::try_from(keys.len()).unwrap_or(i64::MAX));
    Ok([erased, left, pending].map(count).into_iter().collect())
}

/// Runs a hub's jobs. One that may not run counts as run, with an error: the hub must not keep it for ever.
///
/// # Errors
/// When the store fails: which of them ran is then told by what stands there.
pub(crate) async fn jobs(store: &impl Store, allowed: &BTreeSet<Family>, jobs: Jobs) -> Result<JobsRun, StoreError> {
    let mut refused: Vec<(No, RunReply)> = Vec::new();
    let hub = jobs.hub;
    let permitted = |(no, argv): (No, Vec<Bytes>)| match permitted(&argv, allowed) {
        Ok(Permitted::Passed(passed)) if passed.is_job() => (no, passed.argv),
        Ok(_) => (no, refuse(&mut refused, no, &Refused::Here)),
        Err(cause) => (no, refuse(&mut refused, no, &cause)),
    };
    let (slot, listed) = (jobs.slot, jobs.jobs.into_iter().map(permitted).collect());
    let mut run = store.jobs(Jobs { hub, slot, jobs: listed }).await?;
    run.replies.append(&mut refused);
    for (no, reply) in &run.replies {
        measure::job_run(reply.is_ok());
        if let Err(error) = reply {
            tracing::warn!(%hub, no = no.0, error, "a job of an edge is dropped: it does not run");
        }
    }
    Ok(run)
}

/// Notes why a job does not run; it is left without words.
fn refuse(refused: &mut Vec<(No, RunReply)>, no: No, cause: &Refused) -> Vec<Bytes> {
    refused.push((no, Err(cut(cause.to_string()))));
    Vec::new()
}

/// What may run.
#[derive(Debug)]
enum Permitted {
    /// As it came.
    Passed(Passed),
    /// What asks for the names of keys, of which Headwater's own are left out.
    Keyspace(KeyspaceAction),
}

fn permitted(argv: &[Bytes], allowed: &BTreeSet<Family>) -> Result<Permitted, Refused> {
    let passed = match parse(argv)? {
        Command::Passed(passed) => passed,
        command => {
            return command.of_keyspace().cloned().map(Permitted::Keyspace).ok_or(Refused::Here);
        }
    };
    match (passed.family(), passed.name) {
        (family, _) if allowed.contains(&family) => Ok(Permitted::Passed(passed)),
        // As a server answers that has no such script, so that clients go on as they do there.
        (_, CommandName::EvalSha) => Err(CommandError::NoScript.into()),
        (_, CommandName::Eval) => Err(CommandError::UnknownScript.into()),
        (family, _) => Err(Refused::Family(family)),
    }
}

/// Whether edges may listen to topics: where they may publish.
pub(crate) fn may_listen(allowed: &BTreeSet<Family>) -> Result<(), Refused> {
    if allowed.contains(&Family::Publish) { Ok(()) } else { Err(Refused::Family(Family::Publish)) }
}

/// Takes the reply from what all replies of the call may take.
fn bounded(reply: Reply, room: &mut usize) -> Result<Reply, Refused> {
    let bytes = size_of::<Reply>().saturating_add(reply.memory_bytes());
    *room = room.checked_sub(bytes).ok_or(Refused::TooLarge)?;
    Ok(reply)
}

fn cut(mut text: String) -> Box<str> {
    text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str, allowed: &[Family]) -> Option<String> {
        let argv: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        permitted(&argv, &allowed.iter().copied().collect()).err().map(|refused| refused.to_string())
    }

    #[test]
    fn only_what_is_allowed_runs_whatever_an_edge_sends() {
        assert_eq!(refusal("rpush k a", &[Family::Lists]), None);
        assert!(refusal("rpush k a", &[Family::Streams]).unwrap().contains("does not pass lists through"));
        assert!(refusal("config get dir", &Family::ALL).unwrap().starts_with("ERR unknown command"));
        assert!(refusal("set k v nx", &Family::ALL).unwrap().contains("not passed through"));
        assert_eq!(refusal("scan 0", &[]), None);
        assert!(refusal("get k", &Family::ALL).unwrap().contains("not passed through"));
        assert!(refusal("rpush hw:m:{0} a", &Family::ALL).unwrap().contains("Headwater's own"));
        assert!(refusal("evalsha 0123 0", &[Family::Lists]).unwrap().starts_with("NOSCRIPT "));
        assert_eq!(refusal("eval text 0", &[Family::Scripts]), None);
    }

    #[test]
    fn edges_listen_where_they_may_publish() {
        let refusal = |allowed: &[Family]| {
            may_listen(&allowed.iter().copied().collect()).err().map(|refused| refused.to_string())
        };
        assert_eq!(refusal(&[Family::Publish]), None);
        assert!(refusal(&[Family::Lists]).unwrap().contains("does not pass publish through"));
    }

    #[test]
    fn replies_share_one_bound() {
        let mut room = 2 * size_of::<Reply>() + 10;
        let bulk = |bytes: usize| Reply::Bulk(vec![0; bytes].into());
        assert!(bounded(bulk(11 + size_of::<Reply>()), &mut room).is_err());
        assert!(bounded(bulk(4), &mut room).is_ok());
        assert!(bounded(bulk(6), &mut room).is_ok());
        assert!(bounded(Reply::Nil, &mut room).is_err());
    }
}
