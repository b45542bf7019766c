//! What a call is answered: the body, the status and the headers.
//!
//! The status is that of the whole: 200 where all checks pass, 429 where one is over its limit, and else 503, where one could
//! not be decided and does not pass then. The headers are those of draft-ietf-httpapi-ratelimit-headers-10; their times are
//! whole seconds, rounded up, so that a client that waits so long does not come too early.

use super::{Call, Check, Verdict};
use crate::rest;
use headwater::limit::Algorithm;
use serde::{Serialize, Serializer};

const MS_PER_SECOND: u64 = 1000;

/// One check's part of the body.
#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    Decided {
        name: &'a str,
        allowed: bool,
        limit: u64,
        remaining: u64,
        /// In milliseconds since 1970.
        reset: i64,
        /// In milliseconds; none where waiting does not help.
        retry_after: Option<u64>,
        /// In milliseconds; none where nothing was heard yet.
        staleness: Option<u64>,
        over_admit_max: OverAdmission,
        over_admit_expected: u64,
    },
    Undecided {
        name: &'a str,
        allowed: bool,
        limit: u64,
        error: &'a str,
    },
}

struct OverAdmission(Option<u64>);

impl Serialize for OverAdmission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(most) => serializer.serialize_u64(most),
            None => serializer.serialize_str("unbounded"),
        }
    }
}

impl<'a> Said<'a> {
    fn of(check: &'a Check, verdict: &'a Verdict) -> Self {
        let (name, allowed, limit) = (check.name.as_ref(), verdict.is_allowed(), check.limit.capacity());
        match verdict.decision() {
            Ok(decision) => Self::Decided {
                name,
                allowed,
                limit,
                remaining: decision.remaining,
                reset: decision.reset.0,
                retry_after: decision.retry_after_ms,
                staleness: decision.staleness_ms,
                over_admit_max: OverAdmission(decision.over_admission_max),
                over_admit_expected: decision.over_admission_expected,
            },
            Err(error) => Self::Undecided { name, allowed, limit, error },
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// `RateLimit-Policy`, `RateLimit` where anything was decided, and `Retry-After` where waiting helps.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// JSON.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Of verdicts in the order of the call's checks.
    pub(crate) fn of(call: &Call, verdicts: &[Verdict], now_ms: i64) -> Self {
        let refused = || verdicts.iter().filter(|verdict| !verdict.is_allowed());
        let status = match () {
            () if refused().any(|verdict| verdict.decision().is_ok()) => 429,
            () if refused().next().is_some() => 503,
            () => 200,
        };
        let headers = headers(&call.checks, verdicts, now_ms);
        let body = match (&call.checks[..], verdicts) {
            ([check], [verdict]) if !call.is_list => rest::json(&Said::of(check, verdict)),
            (checks, verdicts) => {
                let said: Vec<Said<'_>> =
                    checks.iter().zip(verdicts).map(|(check, verdict)| Said::of(check, verdict)).collect();
                rest::json(&said)
            }
        };
        Self { status, headers, body }
    }
}

/// `RateLimit-Policy`, `RateLimit` where anything was decided, and `Retry-After` where waiting helps.
pub(crate) fn headers(checks: &[Check], verdicts: &[Verdict], now_ms: i64) -> Vec<(&'static str, String)> {
    let mut headers = vec![("ratelimit-policy", joined(checks.iter().map(policy)))];
    let items = joined(checks.iter().zip(verdicts).filter_map(|(check, verdict)| item(check, verdict, now_ms)));
    if !items.is_empty() {
        headers.push(("ratelimit", items));
    }
    // Where one never fits, waiting for the others does not help.
    let refused = verdicts.iter().filter(|verdict| !verdict.is_allowed());
    let waits = refused.map(|verdict| verdict.decision().ok()?.retry_after_ms);
    if let Some(Some(longest)) = waits.reduce(|one, other| Some(one?.max(other?))) {
        headers.push(("retry-after", seconds(longest).to_string()));
    }
    headers
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.reduce(|list, item| format!("{list}, {item}")).unwrap_or_default()
}

/// An item of the header `RateLimit`.
fn item(check: &Check, verdict: &Verdict, now_ms: i64) -> Option<String> {
    let decision = verdict.decision().ok()?;
    let left = seconds(decision.reset.0.saturating_sub(now_ms).max(0).unsigned_abs());
    Some(format!("{};r={};t={left}", quoted(&check.name), decision.remaining))
}

/// An item of the header `RateLimit-Policy`.
fn policy(check: &Check) -> String {
    let (name, limit) = (quoted(&check.name), &check.limit);
    let policy = format!("{name};q={};w={}", limit.per_window(), seconds(limit.window_ms()));
    match limit.algorithm() {
        Algorithm::TokenBucket => format!("{policy};burst={}", limit.capacity()),
        Algorithm::FixedWindow | Algorithm::SlidingWindow => policy,
    }
}

fn seconds(ms: u64) -> u64 {
    ms.div_ceil(MS_PER_SECOND)
}

/// A string of structured fields (RFC 9651, 3.3.3); its characters are printable ASCII.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn answer(checks: &Value, outcomes: &[Value]) -> (u16, Vec<(&'static str, String)>, Value) {
        let call = Call::parse(checks.to_string().as_bytes()).expect("valid");
        let verdicts: Vec<Verdict> = call
            .checks
            .iter()
            .zip(outcomes)
            .map(|(check, outcome)| Verdict::of(check, serde_json::from_value(outcome.clone()).expect("an outcome")))
            .collect();
        let Answer { status, headers, body } = Answer::of(&call, &verdicts, 1_000_000);
        (status, headers, serde_json::from_slice(&body).expect("JSON"))
    }

    fn check(name: &str, on_error: &str) -> Value {
        json!({"key": "k", "name": name, "algorithm": "fixed", "limit": 10, "window_ms": 1500, "on_error": on_error})
    }

    #[test]
    fn a_request_that_passes_is_told_what_is_left_and_how_sure_that_is() {
        let (status, headers, body) =
            answer(&check("a", "closed"), &[json!({"result": [1, 9, 1001001, 0, 40, -1, 2]})]);
        let expected = json!({"name": "a", "allowed": true, "limit": 10, "remaining": 9, "reset": 1001001,
            "retry_after": 0, "staleness": 40, "over_admit_max": "unbounded", "over_admit_expected": 2});
        assert_eq!((status, body), (200, expected));
        let expected = [("ratelimit-policy", "\"a\";q=10;w=2".into()), ("ratelimit", "\"a\";r=9;t=2".into())];
        assert_eq!(headers, expected);
    }

    #[test]
    fn a_request_over_one_of_its_limits_is_429_and_waits_for_the_last() {
        let decided = |allowed: i64, retry: i64| json!({"result": [allowed, 0, 1000000, retry, -1, 5, 0]});
        let checks = json!([check("a", "closed"), check("\"b\\", "closed"), check("c", "closed")]);
        let (status, headers, body) = answer(&checks, &[decided(0, 1), decided(0, 2001), decided(1, 0)]);
        assert_eq!(status, 429);
        assert_eq!(headers[1].1, r#""a";r=0;t=0, "\"b\\";r=0;t=0, "c";r=0;t=0"#);
        assert_eq!(headers.get(2), Some(&("retry-after", "3".into())));
        assert_eq!((&body[0]["staleness"], &body[0]["over_admit_max"]), (&Value::Null, &json!(5)));
        let (status, headers, body) = answer(&checks, &[decided(0, 1), decided(0, -1), decided(1, 0)]);
        assert_eq!((status, headers.len(), &body[1]["retry_after"]), (429, 2, &Value::Null));
    }

    #[test]
    fn without_a_decision_the_check_itself_says_whether_the_request_passes() {
        let error = json!({"error": "away"});
        let (status, headers, body) = answer(&check("a", "open"), std::slice::from_ref(&error));
        assert_eq!((status, body), (200, json!({"name": "a", "allowed": true, "limit": 10, "error": "away"})));
        assert_eq!(headers.len(), 1);
        assert_eq!(answer(&check("a", "closed"), std::slice::from_ref(&error)).0, 503);
        let checks = json!([check("a", "closed"), check("b", "closed")]);
        assert_eq!(answer(&checks, &[error, json!({"result": [0, 0, 0, 5, -1, -1, 0]})]).0, 429);
    }

    #[test]
    fn a_bucket_tells_its_burst() {
        let bucket = json!({"key": "k", "algorithm": "bucket", "limit": 10, "window_ms": 1000, "burst": 30});
        let (_, headers, body) = answer(&bucket, &[json!({"result": [1, 29, 1000, 0, 0, -1, 0]})]);
        assert_eq!((headers[0].1.as_str(), &body["limit"]), ("\"1\";q=10;w=1;burst=30", &json!(30)));
    }
}
