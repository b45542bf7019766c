//! Strict limits, and an exact log of all that was admitted under them anywhere, by true time.
//!
//! Requests come once and are not repeated: an answer that is given again is no second admission.

use super::*;
use crate::plan::StrictLimit;

/// What was let pass under one limit.
#[derive(Default)]
pub(super) struct ExactLog {
    /// When, and how much; of a window as far back as it reaches.
    passed: VecDeque<(i64, i64)>,
    total: i64,
}

impl ExactLog {
    /// Notes what passes at `now`, and gives how far that is beyond the limit.
    fn pass(&mut self, limit: StrictLimit, cost: i64, now: i64) -> i64 {
        self.total += cost;
        self.passed.push_back((now, cost));
        if let Some(burst) = limit.burst {
            // Of any span: a burst, and a refill for each window that ended in it, wherever windows begin.
            let mut sum = 0;
            let over = self.passed.iter().rev().map(|(at, cost)| {
                sum += cost;
                sum - burst - limit.limit * ((now - at) / limit.window_ms)
            });
            return over.max().unwrap_or(0).max(0);
        }
        while self.passed.front().is_some_and(|(at, _)| now - at >= limit.window_ms) {
            self.passed.pop_front();
        }
        let sum: i64 = self.passed.iter().map(|(_, cost)| cost).sum();
        (sum - limit.limit).max(0)
    }
}

/// All strict limits of a run.
#[derive(Default)]
pub(super) struct Strictly {
    asked: BTreeMap<u64, (StrictLimit, i64)>,
    logs: BTreeMap<&'static str, ExactLog>,
    /// Its accounts were deleted while the server lived, or clocks went wrong: then nothing is promised.
    is_void: bool,
}

impl World {
    pub(super) fn ask_strictly(&mut self, hub: usize, limit: StrictLimit, cost: i64) {
        let request = self.fresh_id();
        self.strictly.asked.insert(request, (limit, cost));
        let commands = vec![crate::workload::words(&limit.line(cost))];
        self.hub_input(hub, HubInput::Commands { request: Request(request), commands, idempotency: None });
    }

    /// Takes note of an answer, if it is one to such a request.
    pub(super) fn strict_reply(&mut self, request: u64, replies: &[Result<Reply, CommandError>]) -> bool {
        let Some((limit, cost)) = self.strictly.asked.remove(&request) else { return false };
        match replies.first() {
            Some(Ok(Reply::Array(numbers))) => {
                if numbers.first() == Some(&Reply::Int(1)) {
                    let over = self.strictly.logs.entry(limit.key).or_default().pass(limit, cost, self.now);
                    if over > 0 && !self.strictly.is_void {
                        let text = format!("{} was exceeded by {over}", limit.line(cost));
                        self.violate(Checker::Limits, text);
                    }
                }
            }
            Some(Err(CommandError::NoRights)) => {}
            other => self.violate(Checker::Refusals, format!("{} answers {other:?}", limit.line(cost))),
        }
        true
    }

    /// From now on nothing is promised.
    pub(super) fn void_strict_limits(&mut self) {
        self.strictly.is_void = true;
    }

    /// Where nothing went wrong, limits that were asked for all the time admitted most of what they may.
    pub(super) fn check_strict_limits(&mut self) {
        if !self.scenario.troubles.is_empty() || self.scenario.strict_ms == 0 || self.is_part {
            return;
        }
        for limit in StrictLimit::ALL {
            let total = self.strictly.logs.get(limit.key).map_or(0, |log| log.total);
            // Until the first daemon grants, and from the end of the work on, nobody is admitted.
            let while_ms = self.scenario.work_ms - limit.silent_ms();
            let may = limit.limit * while_ms / limit.window_ms;
            if total * 2 < may {
                self.violate(Checker::Progress, format!("{} admitted {total} where {may} may pass", limit.key));
            }
        }
    }
}
