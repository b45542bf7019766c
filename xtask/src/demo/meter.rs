//! What the replay costs Redis, from Redis's own statistics, without the demo's share.
//!
//! A *call* is a request read from a socket (`total_reads_processed`): a pipeline is one, a script is one. A *command* is one that
//! Redis executed (the sum of its `commandstats`), those inside scripts and transactions too. `total_commands_processed` would be
//! the same, but after a restart it also counts what was replayed from the append-only file. All start again at 0 with a new
//! process, so a server that `--chaos` restarts is sampled just before it is killed.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use super::store::{OwnCalls, ReadError, RedisReader};

/// Sums up over restarts of the server.
#[derive(Debug)]
pub(crate) struct Meter {
    reader: RedisReader,
    state: Mutex<State>,
}

/// What clients other than the demo asked of Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Requests read from sockets.
    pub(crate) calls: u64,
    /// Executions by command.
    pub(crate) by_command: BTreeMap<String, u64>,
}

impl Cost {
    /// Commands executed.
    pub(crate) fn commands(&self) -> u64 {
        self.by_command.values().sum()
    }
}

#[derive(Debug, Default)]
struct State {
    last: Option<Sample>,
    cost: Cost,
}

#[derive(Clone, Debug, Default)]
struct Sample {
    run_id: String,
    calls: u64,
    by_command: BTreeMap<String, u64>,
    own: OwnCalls,
}

impl Meter {
    /// Counts from the first sample on.
    pub(crate) fn new(reader: RedisReader) -> Self {
        Self { reader, state: Mutex::default() }
    }

    /// Adds what happened since the last sample, and returns the sum.
    pub(crate) async fn sample(&self) -> Result<Cost, ReadError> {
        let mut state = self.state.lock().await;
        let info = self.reader.read(&[vec!["INFO", "all"]]).await?;
        let text = info.first().and_then(|info| info.text()).unwrap_or_default();
        state.add(Sample::parse(&text, self.reader.own_calls().await));
        Ok(state.cost.clone())
    }
}

impl State {
    fn add(&mut self, sample: Sample) {
        if let Some(last) = &self.last {
            let restarted = last.run_id != sample.run_id;
            let before = if restarted { &Sample::default() } else { last };
            let own = sample.own.calls.saturating_sub(last.own.calls);
            self.cost.calls += sample.calls.saturating_sub(before.calls).saturating_sub(own);
            for (name, count) in &sample.by_command {
                let of = |counts: &BTreeMap<String, u64>| counts.get(name).copied().unwrap_or_default();
                let own = of(&sample.own.by_command).saturating_sub(of(&last.own.by_command));
                let count = count.saturating_sub(of(&before.by_command)).saturating_sub(own);
                *self.cost.by_command.entry(name.clone()).or_default() += count;
            }
        }
        self.last = Some(sample);
    }
}

impl Sample {
    fn parse(info: &str, own: OwnCalls) -> Self {
        let mut sample = Self { own, ..Self::default() };
        for (name, value) in info.lines().filter_map(|line| line.trim_end().split_once(':')) {
            match name {
                "run_id" => value.clone_into(&mut sample.run_id),
                "total_reads_processed" => sample.calls = value.parse().unwrap_or_default(),
                _ => {
                    let calls = || value.strip_prefix("calls=")?.split(',').next()?.parse().ok();
                    if let (Some(command), Some(calls)) = (name.strip_prefix("cmdstat_"), calls()) {
                        sample.by_command.insert(command.to_owned(), calls);
                    }
                }
            }
        }
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(run_id: &str, calls: u64, get: u64, set: u64) -> String {
        let stat = |name: &str, calls: u64| format!("cmdstat_{name}:calls={calls},usec=1,usec_per_call=1.0\r\n");
        format!(
            "# Server\r\nrun_id:{run_id}\r\n# Stats\r\ntotal_reads_processed:{calls}\r\n# Commandstats\r\n{}{}",
            stat("get", get),
            stat("set", set)
        )
    }

    fn own(calls: u64, get: u64) -> OwnCalls {
        OwnCalls { calls, by_command: [("get".to_owned(), get)].into() }
    }

    #[test]
    fn the_first_sample_is_the_zero_and_own_calls_are_left_out() {
        let mut state = State::default();
        state.add(Sample::parse(&info("a", 50, 10, 90), own(5, 9)));
        assert_eq!(state.cost, Cost::default());
        state.add(Sample::parse(&info("a", 90, 25, 155), own(15, 19)));
        assert_eq!((state.cost.calls, state.cost.commands()), (30, 5 + 65));
        assert_eq!(state.cost.by_command["get"], 5);
    }

    #[test]
    fn a_new_process_counts_from_zero() {
        let mut state = State::default();
        state.add(Sample::parse(&info("a", 50, 10, 90), own(0, 0)));
        state.add(Sample::parse(&info("b", 20, 3, 27), own(1, 2)));
        assert_eq!((state.cost.calls, state.cost.commands(), state.cost.by_command["get"]), (19, 28, 1));
    }
}
