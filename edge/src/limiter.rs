//! Limits as a library, for Workers in Rust.

use crate::{
    clock, config,
    decide::{Asking, Hubs, verdict_here, verdicts},
    isolate::Scene,
    level::Levels,
    limit::{self, Check, Outcome, Verdict},
};
use worker::{Context, Env, Error, Result};

/// Decides on limits in the isolate of a Worker of one's own, beside the Worker of this crate.
///
/// The isolate follows the limits that it is asked for, and decides on them from its own memory: no request leaves it. What it
/// counted reaches the region's object, and with it all other isolates and edges, some 20 ms after. A limit that it does not
/// follow yet, or has not heard of for a while, is decided by the object, and followed from then on. `docs/limits.md` has what a
/// decision is worth, and the bindings that the Worker needs.
///
/// ```no_run
/// use headwater_edge::{Check, Limit, Limiter};
/// use worker::{Context, Env, Request, Response, Result};
///
/// async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
///     let limiter = Limiter::new(&env, &context)?;
///     let address = request.headers().get("cf-connecting-ip")?.unwrap_or_default();
///     let limit = Limit::sliding_window(100, 60_000).map_err(|error| error.to_string())?;
///     let check = Check::new(format!("address:{address}"), limit).map_err(|error| error.to_string())?;
///     match limiter.check(&check).await.is_allowed() {
///         true => Response::ok("welcome"),
///         false => Response::error("too many requests", 429),
///     }
/// }
/// ```
pub struct Limiter<'a> {
    scene: Scene<'a>,
    asking: Asking,
}

impl<'a> Limiter<'a> {
    /// Limits of the default namespace, decided in the isolate. `context` is that of the request, whose life the exchanges with
    /// the object may prolong.
    ///
    /// # Errors
    /// Where a variable of the Worker is missing or says what it cannot.
    pub fn new(env: &'a Env, context: &'a Context) -> Result<Self> {
        let namespace = config::namespaces(env).map_err(said)?.default_one();
        let levels = Levels { writes_at_leaf: true, reads_at_leaf: true, ..Levels::default() };
        let hubs = Hubs::of(env, namespace).map_err(said)?;
        Ok(Self { scene: Scene { env, context }, asking: Asking { levels, idempotency: None, hubs } })
    }

    /// Limits of the namespace of this name instead.
    ///
    /// # Errors
    /// Where `HEADWATER_NAMESPACES` has none of this name.
    pub fn in_namespace(self, name: &str) -> Result<Self> {
        let Self { scene, asking } = self;
        let found = config::namespaces(scene.env).map_err(said)?.named(name);
        let namespace = found.ok_or_else(|| Error::from(format!("HEADWATER_NAMESPACES does not name {name:?}")))?;
        let hubs = Hubs::of(scene.env, namespace).map_err(said)?;
        Ok(Self { scene, asking: Asking { hubs, ..asking } })
    }

    /// Has the region's object decide on each check, for one hop more: it sees what all isolates of the region counted, and
    /// what was counted is in its storage before it answers.
    #[must_use]
    pub fn at_object(self) -> Self {
        let Self { scene, asking } = self;
        Self { scene, asking: Asking { levels: Levels::default(), ..asking } }
    }

    /// Decides on one check, and counts the request where it is allowed.
    pub async fn check(&self, check: &Check) -> Verdict {
        if let Some(verdict) = verdict_here(self.scene, check, &self.asking) {
            return verdict;
        }
        let verdict = self.check_all(std::slice::from_ref(check)).await.pop();
        verdict.unwrap_or_else(|| Verdict::of(check, Outcome::Error("ERR Headwater: nothing was decided".into())))
    }

    /// Decides on several, up to 1,024 in a call, one verdict for each in their order. Each is decided and counted for itself.
    pub async fn check_all(&self, checks: &[Check]) -> Vec<Verdict> {
        match verdicts(self.scene, checks, &self.asking).await {
            Ok((verdicts, _)) => verdicts,
            Err(refusal) => {
                let error = refusal.to_string();
                checks.iter().map(|check| Verdict::of(check, Outcome::Error(error.clone()))).collect()
            }
        }
    }

    /// The headers that tell a client of them: `ratelimit-policy`, `ratelimit` where anything was decided, and `retry-after`
    /// where waiting helps, as draft-ietf-httpapi-ratelimit-headers-10 has them.
    pub fn headers(checks: &[Check], verdicts: &[Verdict]) -> Vec<(&'static str, String)> {
        limit::headers(checks, verdicts, clock::now().0)
    }
}

fn said(error: impl std::error::Error) -> Error {
    Error::from(error.to_string())
}
