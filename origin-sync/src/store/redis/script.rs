//! How the compare-and-set gets into Redis: as a function, or where functions are refused as a script.

use super::{RedisStoreError, names, words::Words};
use headwater::slot::Slot;
use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value, aio::MultiplexedConnection};

const LIBRARY: &str = "headwater";
const COMMITS: &str = "headwater_commits";
const JOBS: &str = "headwater_jobs";
const SWAP: &str = "headwater_swap";
const PROBE: &str = "headwater_probe";
const BODY: &str = include_str!("commit.lua");

/// The compare-and-set as this server takes it.
#[derive(Clone, Debug)]
pub(super) enum CommitScript {
    /// `FCALL`.
    Function,
    /// `EVALSHA`, after `SCRIPT LOAD` where the server does not know it.
    Script {
        /// Commits.
        commits: Script,
        /// Jobs.
        jobs: Script,
        /// The accounts of strict limits.
        swap: Script,
    },
}

/// What a call does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    /// Commits, each all or nothing.
    Commits,
    /// A hub's jobs.
    Jobs,
    /// The account of a strict limit.
    Swap,
}

impl CommitScript {
    /// Loads the library unless this very text is loaded already, and finds out whether this user may run all of it.
    pub(super) async fn install(connection: &mut MultiplexedConnection, slot: Slot) -> Result<Self, RedisStoreError> {
        let mut probe = Request::default();
        probe.keys.push(names::probe(slot));
        probe.arguments.push(names::CHANNEL);
        let probed = match load(connection, &library()).await {
            Ok(()) => probe.command("FCALL", PROBE).query_async(connection).await,
            Err(error) => Err(error),
        };
        let (commit, answer): (Self, Vec<String>) = match probed {
            Ok(answer) => (Self::Function, answer),
            Err(error) if is_refused(&error) => {
                tracing::info!(%error, "the server refuses functions; commits go through EVALSHA");
                let script = Script::new(&format!("{BODY}\nreturn probe(KEYS, ARGV)\n"));
                let answer = script.key(names::probe(slot)).arg(names::CHANNEL).invoke_async(connection).await?;
                let of = |function| Script::new(&format!("{BODY}\nreturn {function}(KEYS, ARGV)\n"));
                (Self::Script { commits: of("commits"), jobs: of("jobs"), swap: of("swap") }, answer)
            }
            Err(error) => return Err(error.into()),
        };
        match <[String; 2]>::try_from(answer) {
            Ok([command, error]) => Err(RedisStoreError::Refused { command, error }),
            Err(_nothing_was_refused) => Ok(commit),
        }
    }

    /// Runs the commits of several requests in one call of the daemon that calls itself `writer` in what it publishes. Gives
    /// what became of each commit, request by request.
    pub(super) async fn commits(
        &self,
        mut connection: MultiplexedConnection,
        requests: Vec<Commits>,
        writer: u64,
    ) -> Vec<Vec<Result<Value, RedisError>>> {
        let counts: Vec<usize> = requests.iter().map(|request| request.count).collect();
        let answer = self.call(&mut connection, Call::Commits, &Commits::joined(requests, writer)).await;
        let mut answers = match answer {
            Ok(Value::Array(answers)) if answers.len() == counts.iter().sum::<usize>() => answers.into_iter(),
            // Every commit then finds no outcome in it.
            Ok(other) => return counts.into_iter().map(|count| vec![Ok(other.clone()); count]).collect(),
            Err(error) => return counts.into_iter().map(|count| vec![Err(error.clone()); count]).collect(),
        };
        counts.into_iter().map(|count| answers.by_ref().take(count).map(Ok).collect()).collect()
    }

    /// Runs it once.
    pub(super) async fn call(
        &self,
        connection: &mut MultiplexedConnection,
        call: Call,
        request: &Request,
    ) -> Result<Value, RedisError> {
        let function = match call {
            Call::Commits => COMMITS,
            Call::Jobs => JOBS,
            Call::Swap => SWAP,
        };
        match (self, call) {
            (Self::Function, _) => request.command("FCALL", function).query_async(connection).await,
            (Self::Script { commits: script, .. }, Call::Commits)
            | (Self::Script { jobs: script, .. }, Call::Jobs)
            | (Self::Script { swap: script, .. }, Call::Swap) => {
                let by_hash = request.command("EVALSHA", script.get_hash()).query_async(connection).await;
                match by_hash {
                    Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                        // The server did not know it, so nothing happened yet.
                        script.load_async(connection).await?;
                        request.command("EVALSHA", script.get_hash()).query_async(connection).await
                    }
                    other => other,
                }
            }
        }
    }
}

/// The keys and arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) keys: Words,
    pub(super) arguments: Words,
}

impl Request {
    fn command(&self, verb: &str, what: &str) -> Cmd {
        let words = self.keys.len() + self.arguments.len() + 3;
        let mut command = Cmd::with_capacity(words, self.keys.bytes() + self.arguments.bytes() + 64);
        command.arg(verb).arg(what).arg(self.keys.len());
        for word in self.keys.iter().chain(self.arguments.iter()) {
            command.arg(word);
        }
        command
    }
}

/// Commits that are handed over together, as parts of a call.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// How many.
    pub(super) count: usize,
    pub(super) request: Request,
}

impl Commits {
    /// One call for all of them.
    fn joined(requests: Vec<Self>, writer: u64) -> Request {
        let mut all = Request::default();
        all.arguments.push_number(requests.iter().map(|request| request.count as u64).sum());
        all.arguments.push(names::CHANNEL);
        all.arguments.push_number(writer);
        for Self { request, .. } in requests {
            all.keys.append(&request.keys);
            all.arguments.append(&request.arguments);
        }
        all
    }

    /// The bytes of all words.
    pub(super) fn bytes(&self) -> usize {
        self.request.keys.bytes() + self.request.arguments.bytes()
    }
}

fn library() -> String {
    let register = |name, function| format!("redis.register_function('{name}', {function})\n");
    let functions = [(COMMITS, "commits"), (JOBS, "jobs"), (SWAP, "swap"), (PROBE, "probe")]
        .map(|(name, function)| register(name, function));
    format!("#!lua name={LIBRARY}\n{BODY}\n{}", functions.concat())
}

async fn load(connection: &mut MultiplexedConnection, library: &str) -> Result<(), RedisError> {
    let mut list = redis::cmd("FUNCTION");
    list.arg("LIST").arg("LIBRARYNAME").arg(LIBRARY).arg("WITHCODE");
    let loaded: Value = list.query_async(connection).await?;
    if holds(&loaded, library.as_bytes()) {
        return Ok(());
    }
    redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(library).exec_async(connection).await
}

/// Whether the text stands anywhere in the answer, whose shape differs between protocols.
fn holds(answer: &Value, text: &[u8]) -> bool {
    match answer {
        Value::BulkString(bytes) => bytes == text,
        Value::VerbatimString { text: verbatim, .. } => verbatim.as_bytes() == text,
        Value::Array(items) => items.iter().any(|item| holds(item, text)),
        Value::Map(pairs) => pairs.iter().any(|(_, item)| holds(item, text)),
        _ => false,
    }
}

/// An unknown command before Redis 7, a denied one on a server that withholds functions.
fn is_refused(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoPerm) => true,
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            error.detail().is_some_and(|detail| detail.to_ascii_lowercase().contains("unknown"))
        }
        _ => false,
    }
}
