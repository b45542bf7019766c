use super::*;
use proptest::prelude::*;

fn hub(no: usize) -> ReplicaId {
    ReplicaId::from_bits((no as u64 + 1) << 16)
}

fn sliding(limit: u64, window_ms: u64) -> Limit {
    Limit::sliding_window(limit, window_ms).unwrap()
}

fn wanted(needed: u64) -> Wanted {
    Wanted { least: 1, needed, ahead: needed }
}

fn settled(ledger: &mut Ledger, limit: &Limit, now: u64) -> LocalMs {
    ledger.settle(limit, LocalMs(now));
    LocalMs(now)
}

#[test]
fn no_more_is_granted_than_the_limit() {
    let (limit, mut ledger) = (sliding(10, 1_000), Ledger::begun(0));
    let now = settled(&mut ledger, &limit, 0);
    assert_eq!(ledger.grant(&limit, hub(0), 1, wanted(7), now), 7);
    assert_eq!(ledger.grant(&limit, hub(1), 1, wanted(7), now), 3);
    assert_eq!(ledger.grant(&limit, hub(2), 1, wanted(1), now), 0);
    assert_eq!(ledger.room(&limit), 0);
}

#[test]
fn a_request_that_comes_twice_is_granted_once() {
    let (limit, mut ledger) = (sliding(10, 1_000), Ledger::begun(0));
    let now = settled(&mut ledger, &limit, 0);
    for _ in 0..2 {
        assert_eq!(ledger.grant(&limit, hub(0), 1, wanted(4), now), 4);
    }
    assert_eq!(ledger.room(&limit), 6);
}

#[test]
fn less_than_is_of_use_is_not_granted() {
    let (limit, mut ledger) = (sliding(10, 1_000), Ledger::begun(0));
    let now = settled(&mut ledger, &limit, 0);
    assert_eq!(ledger.grant(&limit, hub(0), 1, wanted(8), now), 8);
    assert_eq!(ledger.grant(&limit, hub(1), 1, Wanted { least: 3, needed: 3, ahead: 3 }, now), 0);
}

#[test]
fn what_is_given_back_can_be_granted_and_what_was_used_counts_for_the_window() {
    let (limit, mut ledger) = (sliding(10, 6_400), Ledger::begun(0));
    let now = settled(&mut ledger, &limit, 0);
    assert_eq!(ledger.grant(&limit, hub(0), 1, wanted(10), now), 10);
    let now = settled(&mut ledger, &limit, 50);
    ledger.close(&limit, hub(0), 1, 4, now);
    assert_eq!(ledger.room(&limit), 6);
    // A window and a batch of a hundred, and what clocks may gain.
    let gone_at = 50 + surely_ms(6_400) + 100;
    settled(&mut ledger, &limit, gone_at - 1);
    assert_eq!((ledger.room(&limit), ledger.fits_in_ms(&limit, 10, LocalMs(gone_at - 1))), (6, 1));
    settled(&mut ledger, &limit, gone_at);
    assert_eq!(ledger.room(&limit), 10);
}

#[test]
fn what_a_silent_hub_was_granted_counts_as_used_when_its_lease_ends() {
    let (limit, mut ledger) = (sliding(10, 1_000), Ledger::begun(0));
    let now = settled(&mut ledger, &limit, 0);
    assert_eq!(ledger.grant(&limit, hub(0), 1, wanted(10), now), 10);
    let ended = surely_ms(GRANT_LEASE_MS);
    let now = settled(&mut ledger, &limit, ended);
    // Too late to give anything back: it may have been used at the last moment.
    ledger.close(&limit, hub(0), 1, 0, now);
    settled(&mut ledger, &limit, ended + 1_000);
    assert_eq!(ledger.room(&limit), 0);
    settled(&mut ledger, &limit, ended + surely_ms(1_000) + batch_ms(&limit));
    assert_eq!(ledger.room(&limit), 10);
}

#[test]
fn a_bucket_is_refilled_as_time_goes() {
    let limit = Limit::token_bucket(10, 1_000, 20).unwrap();
    let mut ledger = Ledger::begun(0);
    let now = settled(&mut ledger, &limit, 0);
    assert_eq!(ledger.grant(&limit, hub(0), 1, wanted(20), now), 20);
    ledger.close(&limit, hub(0), 1, 20, now);
    assert_eq!(ledger.room(&limit), 0);
    let first = surely_ms(1_000) + batch_ms(&limit);
    settled(&mut ledger, &limit, first - 1);
    assert_eq!(ledger.room(&limit), 0);
    settled(&mut ledger, &limit, first);
    assert_eq!(ledger.room(&limit), 10);
    settled(&mut ledger, &limit, first + surely_ms(1_000) - 1);
    assert_eq!(ledger.room(&limit), 10);
    settled(&mut ledger, &limit, first + surely_ms(1_000));
    assert_eq!(ledger.room(&limit), 20);
}

#[test]
fn another_granter_counts_from_when_it_first_saw() {
    let (limit, mut ledger) = (sliding(10, 6_400), Ledger::begun(7));
    let now = settled(&mut ledger, &limit, 1_000);
    assert_eq!(ledger.grant(&limit, hub(0), 1, wanted(10), now), 10);
    ledger.close(&limit, hub(0), 1, 10, now);
    // Its clock shows what it will; the account bears no time.
    let mut other = Ledger::from_bytes(&ledger.to_bytes(), &Ledger::default(), LocalMs(5)).unwrap();
    settled(&mut other, &limit, 5 + surely_ms(6_400) + 99);
    assert_eq!(other.room(&limit), 0);
    settled(&mut other, &limit, 5 + surely_ms(6_400) + 100);
    assert_eq!(other.room(&limit), 10);
    // Read again, it counts from when it did before.
    let mut again = Ledger::from_bytes(&ledger.to_bytes(), &ledger, LocalMs(9_000)).unwrap();
    settled(&mut again, &limit, 1_000 + surely_ms(6_400) + 100);
    assert_eq!(again.room(&limit), 10);
}

#[test]
fn under_another_window_all_counts_as_used() {
    let (limit, mut ledger) = (sliding(10, 1_000), Ledger::begun(0));
    settled(&mut ledger, &limit, 0);
    let longer = sliding(10, 2_000);
    settled(&mut ledger, &longer, 10);
    assert_eq!(ledger.room(&longer), 0);
    settled(&mut ledger, &longer, 10 + surely_ms(2_000) + batch_ms(&longer));
    assert_eq!(ledger.room(&longer), 10);
}

#[test]
fn what_is_no_account_is_refused() {
    for bytes in [&b""[..], b"\x09", b"\0\x02", b"\0\0\x05\0\x01", b"\0\0\x05\0\0\0\0\0"] {
        assert!(Ledger::from_bytes(bytes, &Ledger::default(), LocalMs(0)).is_err(), "{bytes:?}");
    }
}

/// A step of a history: how much time passes, and what happens then.
#[derive(Clone, Debug)]
enum Step {
    /// A hub asks; the answer may be lost.
    Ask { hub: usize, amount: u64, is_lost: bool },
    /// A hub spends of its latest grant.
    Spend { hub: usize, amount: u64 },
    /// A hub tells what it used; that may be lost.
    Report { hub: usize, is_lost: bool },
    /// The granter forgets all times, as another daemon does that takes over.
    Takeover,
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        3 => (0..3_usize, 1..12_u64, any::<bool>()).prop_map(|(hub, amount, is_lost)| Step::Ask { hub, amount, is_lost }),
        4 => (0..3_usize, 1..6_u64).prop_map(|(hub, amount)| Step::Spend { hub, amount }),
        3 => (0..3_usize, prop::bool::weighted(0.3)).prop_map(|(hub, is_lost)| Step::Report { hub, is_lost }),
        1 => Just(Step::Takeover),
    ];
    prop::collection::vec((prop_oneof![0..100_u64, 0..1_500_u64], step), 1..120)
}

/// What a hub holds: the request, the amount, what was used, and when its lease ends by true time.
type Holding = (u64, u64, u64, u64);

fn admitted(limit: &Limit, steps: &[(u64, Step)]) -> Vec<(u64, u64)> {
    let (mut now, mut ledger, mut requests) = (0, Ledger::begun(3), 0);
    let mut held: [Option<Holding>; 3] = [None; 3];
    let mut log = Vec::new();
    // The granter's clock is fast by as much as it may be.
    let local = |now: u64| LocalMs(now + now / 1_000);
    for (passes_ms, step) in steps {
        now += passes_ms;
        ledger.settle(limit, local(now));
        match *step {
            Step::Ask { hub: no, amount, is_lost } => {
                requests += 1;
                let granted = ledger.grant(limit, hub(no), requests, wanted(amount), local(now));
                if !is_lost && granted > 0 {
                    // And the holder's is slow.
                    held[no] = Some((requests, granted, 0, now + GRANT_LEASE_MS + GRANT_LEASE_MS / 1_000));
                }
            }
            Step::Spend { hub, amount } => {
                if let Some((_, granted, used, ends_at)) = &mut held[hub]
                    && now < *ends_at
                {
                    let amount = amount.min(*granted - *used);
                    *used += amount;
                    log.push((now, amount));
                }
            }
            Step::Report { hub: no, is_lost } => {
                if let Some((request, _, used, _)) = held[no].take()
                    && !is_lost
                {
                    ledger.close(limit, hub(no), request, used, local(now));
                }
            }
            Step::Takeover => {
                ledger = Ledger::from_bytes(&ledger.to_bytes(), &Ledger::default(), local(now)).unwrap();
            }
        }
    }
    log
}

proptest! {
    #[test]
    fn no_window_ever_holds_more_than_the_limit(limit in 1..20_u64, window_ms in 200..4_000_u64, steps in steps()) {
        let rule = sliding(limit, window_ms);
        let log = admitted(&rule, &steps);
        for (at, (end, _)) in log.iter().enumerate() {
            let within = log[..=at].iter().filter(|(time, _)| end - time < window_ms);
            let sum: u64 = within.map(|(_, amount)| amount).sum();
            prop_assert!(sum <= limit, "{sum} in the {window_ms} ms until {end}");
        }
    }

    #[test]
    fn no_bucket_ever_gives_more_than_it_has(
        refill in 1..10_u64,
        more in 0..10_u64,
        window_ms in 200..4_000_u64,
        steps in steps(),
    ) {
        let burst = refill + more;
        let rule = Limit::token_bucket(refill, window_ms, burst).unwrap();
        let log = admitted(&rule, &steps);
        // Whenever its windows begin, no more of them end in a span than it is windows long.
        for (last, (end, _)) in log.iter().enumerate() {
            let mut sum = 0;
            for (begin, amount) in log[..=last].iter().rev() {
                sum += amount;
                let may = burst + refill * ((end - begin) / window_ms);
                prop_assert!(sum <= may, "{sum} from {begin} to {end}");
            }
        }
    }
}
