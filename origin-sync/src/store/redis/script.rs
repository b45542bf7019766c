//! How the compare-and-set gets into Redis: as a function, or where functions are refused as a script.

use super::{RedisStoreError, names};
use bytes::Bytes;
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
        let channel = Bytes::from_static(names::CHANNEL.as_bytes());
        let probe = Request { keys: vec![names::probe(slot).into_bytes()], arguments: vec![channel] };
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

    /// Runs commits in one call of the daemon that calls itself `writer` in what it publishes.
    pub(super) async fn commits(
        &self,
        mut connection: MultiplexedConnection,
        requests: Vec<Request>,
        writer: u64,
    ) -> Vec<Result<Value, RedisError>> {
        let count = requests.len();
        match self.call(&mut connection, Call::Commits, &Request::joined(requests, writer)).await {
            Ok(Value::Array(answers)) if answers.len() == count => answers.into_iter().map(Ok).collect(),
            // Every commit then finds no outcome in it.
            Ok(other) => vec![Ok(other); count],
            Err(error) => vec![Err(error); count],
        }
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

/// The keys and arguments of one commit, or of a call.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) arguments: Vec<Bytes>,
}

impl Request {
    /// One call for several commits.
    fn joined(requests: Vec<Self>, writer: u64) -> Self {
        let number = |number: usize| Bytes::from(number.to_string());
        let channel = Bytes::from_static(names::CHANNEL.as_bytes());
        let arguments = vec![number(requests.len()), channel, Bytes::from(writer.to_string())];
        let mut all = Self { keys: Vec::new(), arguments };
        for mut request in requests {
            all.arguments.extend([number(request.keys.len()), number(request.arguments.len())]);
            all.keys.append(&mut request.keys);
            all.arguments.append(&mut request.arguments);
        }
        all
    }

    /// The bytes of all words.
    pub(super) fn bytes(&self) -> usize {
        self.keys.iter().map(Vec::len).chain(self.arguments.iter().map(Bytes::len)).sum()
    }

    fn command(&self, verb: &str, what: &str) -> Cmd {
        let mut command = Cmd::with_capacity(self.keys.len() + self.arguments.len() + 3, self.bytes() + 64);
        command.arg(verb).arg(what).arg(self.keys.len());
        for key in &self.keys {
            command.arg(key.as_slice());
        }
        for argument in &self.arguments {
            command.arg(argument.as_ref());
        }
        command
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
