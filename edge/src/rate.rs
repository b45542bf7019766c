//! The rates of signed tokens: what a request costs under them, and the checks that decide whether it passes.
//!
//! Each command counts one against the rate of the grant that it needs. The counting is that of `/v1/limit`, in a namespace of
//! Headwater's own, so that no client reaches it: an isolate decides where it can, and all regions' counts meet. Pure.

use crate::{
    auth::Client,
    limit::{Call, Check},
};
use headwater::command::Command;
use std::collections::BTreeMap;

/// What is to be decided before these commands are executed; nothing where they cost nothing. What cannot be read is not
/// executed and costs nothing.
pub(crate) fn call(client: &Client, commands: impl IntoIterator<Item = Command>) -> Option<Call> {
    let claims = client.claims.as_ref().filter(|claims| claims.grants.are_rated())?;
    let mut costs = BTreeMap::new();
    for command in commands {
        for (place, rate) in claims.grants.rates_of(&command) {
            let (_, cost) = costs.entry(place).or_insert((rate, 0_u64));
            *cost += 1;
        }
    }
    let checks: Vec<Check> = costs
        .into_iter()
        .filter_map(|(place, (rate, cost))| {
            Some(Check::of(claims.rate_key(place)?, format!("grant-{}", place + 1).into(), rate.limit(), cost))
        })
        .collect();
    (!checks.is_empty()).then_some(Call { checks, is_list: true })
}
