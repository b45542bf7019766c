//! What is to happen in a run, drawn from its seed before it begins: the clients' work and the troubles.
//!
//! Every action has an index and a time that depend on the seed and the scenario alone, so any selection of them can be
//! run: that is how a failing run is shortened, and how the short one is replayed.

use crate::{scenario::Scenario, selection::Selection, workload::Work, workload::Workload, world::CLOCK_MS_MAX};
use headwater::id::Key;
use std::fmt;

/// A kind of trouble, of which a scenario has some and a shortened run fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Sockets that break, double or delay frames, by frame.
    Noise,
    Cut,
    Roam,
    Away,
    CrashHub,
    Sleep,
    Wipe,
    CrashDaemon,
    Pause,
    FailOver,
    Flush,
    Evict,
    Lose,
    Part,
    Clock,
}

/// Something that goes wrong. Times are in milliseconds.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// The leaf's socket breaks.
    Cut { leaf: usize },
    /// The leaf dials another hub from now on.
    Roam { leaf: usize, hub: usize },
    /// The leaf cannot dial for so long; the clocks of all go on.
    Away { leaf: usize, ms: i64 },
    /// The hub crashes before the effect that comes after so many.
    CrashHub { hub: usize, after: u32, down_ms: i64 },
    /// The hub's object is put out of memory and comes back with its sockets.
    Sleep { hub: usize },
    /// The hub loses its storage and begins anew under a new identity.
    Wipe { hub: usize },
    /// The daemon crashes before the effect that comes after so many.
    CrashDaemon { daemon: usize, after: u32, down_ms: i64 },
    /// The daemon stands still, and goes on with all that came meanwhile.
    Pause { daemon: usize, ms: i64 },
    /// Another server takes over with the data as of so long ago.
    FailOver { back_ms: i64 },
    /// All data is lost; with a restart the server has a new run id as well.
    Flush { is_restart: bool },
    /// The server evicts a plain value.
    Evict { key: Key },
    /// The server evicts a companion and its plain value.
    Lose { key: Key },
    /// Nothing comes through between a hub and a peer, in the ways given, for so long.
    Part { hub: usize, peer: End, to_hub: bool, from_hub: bool, ms: i64 },
    /// A node's clock is off by so much, for so long.
    Clock { node: End, by_ms: i64, ms: i64 },
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    Leaf(usize),
    Hub(usize),
    Daemon(usize),
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Leaf {
        leaf: usize,
        work: Work,
    },
    Http {
        hub: usize,
        work: Work,
    },
    /// A plain client's write at the store.
    Plain {
        work: Work,
    },
    /// A request under a strict limit.
    Strict {
        hub: usize,
        limit: StrictLimit,
        cost: i64,
    },
    Trouble(Trouble),
}

/// One thing that happens at a time, in milliseconds from the beginning.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    pub(crate) index: usize,
    pub(crate) at_ms: i64,
    pub(crate) what: What,
}

/// All that happens, by time.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
}

/// A strict limit that the run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StrictLimit {
    pub(crate) key: &'static str,
    pub(crate) limit: i64,
    pub(crate) window_ms: i64,
    pub(crate) burst: Option<i64>,
}

impl StrictLimit {
    pub(crate) const ALL: [Self; 3] = [
        Self { key: "strict:{a}", limit: 12, window_ms: 3_000, burst: None },
        // Rights come and go in bursts, so that hubs have some ahead.
        Self { key: "strict:{w}", limit: 30, window_ms: 10_000, burst: None },
        Self { key: "strict:{z}", limit: 5, window_ms: 1_500, burst: Some(10) },
    ];

    /// The command.
    pub(crate) fn line(self, cost: i64) -> String {
        let Self { key, limit, window_ms, burst } = self;
        match burst {
            Some(burst) => format!("HW.LIMIT {key} BUCKET {limit} {window_ms} BURST {burst} COST {cost} STRICT"),
            None => format!("HW.LIMIT {key} SLIDING {limit} {window_ms} COST {cost} STRICT"),
        }
    }

    /// For how long a daemon that begins grants nothing, and some more.
    pub(crate) fn silent_ms(self) -> i64 {
        let fills = self.burst.map_or(1, |burst| (burst + self.limit - 1) / self.limit);
        crate::scenario::LOSS_WINDOW_MS + headwater::limit::GRANT_LEASE_MS as i64 + self.window_ms * fills + 2_000
    }
}

/// Who stands for the plain client among those who work, who for those who ask under strict limits, and who for all that meet at
/// keys that are revoked.
const PLAIN: usize = usize::MAX;
const STRICT: usize = usize::MAX - 1;
const REVOKED: usize = usize::MAX - 2;

impl Plan {
    pub(crate) fn draw(seed: u64, scenario: &Scenario) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x9e37_79b9_7f4a_7c15);
        let mut at: Vec<(i64, Option<Kind>, usize)> = Vec::new();
        for leaf in 0..scenario.leaves {
            every(&mut rng, scenario.leaf_ms, scenario.work_ms, |time| at.push((time, None, leaf + 1)));
        }
        every(&mut rng, scenario.http_ms, scenario.work_ms, |time| at.push((time, None, 0)));
        for (kind, mean_ms) in scenario.troubles.iter().filter(|(kind, _)| *kind != Kind::Noise) {
            every(&mut rng, *mean_ms, scenario.work_ms, |time| at.push((time, Some(*kind), 0)));
        }
        // Its own generator, so that what others do does not hang on it.
        let mut plain = fastrand::Rng::with_seed(seed ^ 0x517c_c1b7_2722_0a95);
        every(&mut plain, scenario.plain_ms, scenario.work_ms, |time| at.push((time, None, PLAIN)));
        let mut strict = fastrand::Rng::with_seed(seed ^ 0x2545_f491_4f6c_dd1d);
        every(&mut strict, scenario.strict_ms, scenario.work_ms, |time| at.push((time, None, STRICT)));
        let mut revoked = fastrand::Rng::with_seed(seed ^ 0x6a09_e667_f3bc_c909);
        every(&mut revoked, scenario.revoked_ms, scenario.work_ms, |time| at.push((time, None, REVOKED)));
        at.sort_by_key(|(time, ..)| *time);
        let mut workload = Workload::new(scenario.has_deadlines);
        let draw = |(index, (at_ms, kind, who)): (usize, (i64, Option<Kind>, usize))| {
            let what = match (kind, who) {
                (Some(kind), _) => What::Trouble(trouble(&mut rng, kind, scenario)),
                (None, PLAIN) => What::Plain { work: Workload::at_store(&mut plain, scenario) },
                (None, STRICT) => What::Strict {
                    hub: strict.usize(..scenario.hubs),
                    limit: StrictLimit::ALL[strict.usize(..StrictLimit::ALL.len())],
                    cost: strict.i64(1..=3),
                },
                (None, REVOKED) => at_revoked(&mut revoked, scenario),
                (None, 0) => {
                    let (hub, work) = workload.over_http(&mut rng, scenario.hubs);
                    What::Http { hub, work }
                }
                (None, who) => What::Leaf { leaf: who - 1, work: workload.at_leaf(&mut rng) },
            };
            Action { index, at_ms, what }
        };
        Self { actions: at.into_iter().enumerate().map(draw).collect() }
    }

    /// The selected actions.
    pub(crate) fn selected(&self, selection: &Selection) -> Vec<Action> {
        self.actions.iter().filter(|action| selection.admits(action)).cloned().collect()
    }
}

impl Action {
    /// The kind of trouble, if it is one.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let What::Trouble(trouble) = &self.what else { return None };
        Some(match trouble {
            Trouble::Cut { .. } => Kind::Cut,
            Trouble::Roam { .. } => Kind::Roam,
            Trouble::Away { .. } => Kind::Away,
            Trouble::CrashHub { .. } => Kind::CrashHub,
            Trouble::Sleep { .. } => Kind::Sleep,
            Trouble::Wipe { .. } => Kind::Wipe,
            Trouble::CrashDaemon { .. } => Kind::CrashDaemon,
            Trouble::Pause { .. } => Kind::Pause,
            Trouble::FailOver { .. } => Kind::FailOver,
            Trouble::Flush { .. } => Kind::Flush,
            Trouble::Evict { .. } => Kind::Evict,
            Trouble::Lose { .. } => Kind::Lose,
            Trouble::Part { .. } => Kind::Part,
            Trouble::Clock { .. } => Kind::Clock,
        })
    }

    /// The nodes that it needs.
    pub(crate) fn ends(&self) -> Vec<End> {
        match &self.what {
            What::Leaf { leaf, .. } => vec![End::Leaf(*leaf)],
            What::Http { hub, .. } | What::Strict { hub, .. } => vec![End::Hub(*hub)],
            What::Plain { .. } => Vec::new(),
            What::Trouble(trouble) => match trouble {
                Trouble::Cut { leaf } | Trouble::Away { leaf, .. } => vec![End::Leaf(*leaf)],
                Trouble::Roam { leaf, hub } => vec![End::Leaf(*leaf), End::Hub(*hub)],
                Trouble::CrashHub { hub, .. } | Trouble::Sleep { hub } | Trouble::Wipe { hub } => vec![End::Hub(*hub)],
                Trouble::CrashDaemon { daemon, .. } | Trouble::Pause { daemon, .. } => vec![End::Daemon(*daemon)],
                Trouble::Part { hub, peer, .. } => vec![End::Hub(*hub), *peer],
                Trouble::Clock { node, .. } => vec![*node],
                Trouble::FailOver { .. } | Trouble::Flush { .. } | Trouble::Evict { .. } | Trouble::Lose { .. } => {
                    Vec::new()
                }
            },
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}  {:>9.3} s  ", self.index, self.at_ms as f64 / 1_000.0)?;
        match &self.what {
            What::Leaf { leaf, work } => write!(f, "leaf {leaf}: {work}"),
            What::Http { hub, work } => write!(f, "over HTTP at hub {hub}: {work}"),
            What::Plain { work } => write!(f, "a plain client: {work}"),
            What::Strict { hub, limit, cost } => write!(f, "over HTTP at hub {hub}: {}", limit.line(*cost)),
            What::Trouble(trouble) => write!(f, "{trouble:?}"),
        }
    }
}

/// Gives times that are so far apart on average; none for zero.
fn every(rng: &mut fastrand::Rng, mean_ms: i64, until_ms: i64, mut then: impl FnMut(i64)) {
    if mean_ms == 0 {
        return;
    }
    let mut at = 500 + rng.i64(0..mean_ms);
    while at < until_ms {
        then(at);
        at += rng.i64(1..2 * mean_ms);
    }
}

/// What happens to a key that is revoked, and where.
fn at_revoked(rng: &mut fastrand::Rng, scenario: &Scenario) -> What {
    match rng.u32(..12) {
        0 => What::Plain { work: Workload::plainly_at_revoked(rng) },
        1..=4 => {
            What::Leaf { leaf: rng.usize(..scenario.leaves), work: Workload::at_revoked(rng, scenario.has_deadlines) }
        }
        _ => What::Http { hub: rng.usize(..scenario.hubs), work: Workload::at_revoked(rng, scenario.has_deadlines) },
    }
}

fn trouble(rng: &mut fastrand::Rng, kind: Kind, scenario: &Scenario) -> Trouble {
    let leaf = rng.usize(..scenario.leaves);
    let hub = rng.usize(..scenario.hubs);
    let daemon = rng.usize(..scenario.daemons);
    match kind {
        Kind::Cut | Kind::Noise => Trouble::Cut { leaf },
        Kind::Roam => Trouble::Roam { leaf, hub },
        Kind::Away => Trouble::Away { leaf, ms: if rng.bool() { 86_400_000 } else { rng.i64(1_000..20_000) } },
        Kind::CrashHub => Trouble::CrashHub { hub, after: rng.u32(..60), down_ms: rng.i64(50..3_000) },
        Kind::Sleep => Trouble::Sleep { hub },
        Kind::Wipe => Trouble::Wipe { hub },
        Kind::CrashDaemon => {
            let down_ms = if rng.u32(..6) == 0 { rng.i64(10_000..40_000) } else { rng.i64(100..3_000) };
            Trouble::CrashDaemon { daemon, after: rng.u32(..60), down_ms }
        }
        Kind::Pause => Trouble::Pause { daemon, ms: rng.i64(500..15_000) },
        Kind::FailOver => Trouble::FailOver { back_ms: rng.i64(0..=scenario.loss_ms) },
        Kind::Flush => Trouble::Flush { is_restart: rng.bool() },
        Kind::Evict => {
            let keys = Workload::keys();
            Trouble::Evict { key: keys[rng.usize(..keys.len())].clone() }
        }
        Kind::Lose => {
            let keys = Workload::keys();
            Trouble::Lose { key: keys[rng.usize(..keys.len())].clone() }
        }
        Kind::Part => {
            let peer = if rng.bool() { End::Leaf(leaf) } else { End::Daemon(daemon) };
            let ways = [(true, true), (true, false), (false, true)][rng.usize(..3)];
            let ms = if rng.u32(..4) == 0 { rng.i64(20_000..50_000) } else { rng.i64(200..8_000) };
            Trouble::Part { hub, peer, to_hub: ways.0, from_hub: ways.1, ms }
        }
        Kind::Clock => {
            let node = match rng.u32(..4) {
                0 => End::Leaf(leaf),
                1 => End::Daemon(daemon),
                _ => End::Hub(hub),
            };
            let size = match rng.u32(..3) {
                0 => rng.i64(1_000..4_000),
                1 => rng.i64(4_000..55_000),
                _ => rng.i64(65_000..CLOCK_MS_MAX),
            };
            Trouble::Clock { node, by_ms: if rng.bool() { size } else { -size }, ms: rng.i64(500..15_000) }
        }
    }
}
