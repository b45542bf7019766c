//! The leaf machine for a browser tab: [`WasmLeaf`] and the plain JavaScript values that go in and come out.
//!
//! Sans-IO like the machine itself. Time and entropy are arguments, effects are return values that the TypeScript in
//! this folder performs, so the module imports nothing but wasm-bindgen's own glue. What a command means is the core's
//! business; sockets, timers and retries are TypeScript's.

mod effect;
mod reply;

use bytes::Bytes;
use effect::{JsEffects, JsRowWrite, list, to_js};
use headwater::{
    command::{CommandError, Reply},
    id::{ClientId, Key, TimestampMs},
    leaf::{Extent, Leaf, LeafInput, LeafRowId, TabId},
    message::Lifetime,
    standings::{RankedMember, Ranking, StandingsQuery},
    wire::{self, Terms},
};
use wasm_bindgen::{JsCast, prelude::*};

/// The allocator that comes with the compiler takes four times as much code.
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/**
 * What a command came to. Where there is no error, `result` is a `Reply`, and `extent` says which keys it changed: none (0), the one
 * that is its first argument (1), or others too (2). `isUnknown` is whether the error is that a key is not known here.
 */
export type Outcome = [result: Reply, extent: number, error?: string, isUnknown?: boolean];

/** A row as it was stored. */
export type StoredRow = [id: Uint8Array, body: Uint8Array];

/** What an application shows of its leaf. */
export type LeafStatus = [
  /** Whether a hub has welcomed this leaf on the present socket. */
  isConnected: boolean,
  /** Operations not settled by their hub. */
  pending: number,
  /** Of those, the ones that the tab that leads has not adopted. */
  handedOver: number,
  /** When the hub last said anything, as `Date.now()` counts. */
  heardAt: number | undefined,
];
"#;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "Outcome")]
    /// What a command came to.
    pub type JsOutcome;
    #[wasm_bindgen(typescript_type = "StoredRow", extends = JsRowWrite)]
    /// A row as it was stored.
    pub type JsStoredRow;
    #[wasm_bindgen(typescript_type = "LeafStatus")]
    /// What an application shows of its leaf.
    pub type JsLeafStatus;
}

/// One tab's leaf. Every `now` is `Date.now()`; every list of effects is to be performed in order, before the next call.
#[wasm_bindgen]
pub struct WasmLeaf {
    leaf: Leaf,
    /// What the hub accepts, as its welcome said.
    terms: Terms,
    /// What the last command came to, until it is asked for.
    outcome: Option<Result<(Reply, Extent), CommandError>>,
}

#[wasm_bindgen]
impl WasmLeaf {
    /// A leaf that holds nothing, named by 128 random bits. One that `is_stored` says what to store.
    #[wasm_bindgen(constructor)]
    pub fn new(entropy_high: u64, entropy_low: u64, is_stored: bool) -> Self {
        let client = client(entropy_high, entropy_low);
        let leaf = if is_stored { Leaf::stored } else { Leaf::new };
        Self { leaf: leaf(client, Lifetime::Tab), terms: Terms::default(), outcome: None }
    }

    /// The leaf that stored these rows; throws when they make none.
    pub fn restore(rows: Vec<JsStoredRow>) -> Result<Self, JsError> {
        Ok(Self { leaf: Leaf::restore(stored(rows)?)?, terms: Terms::default(), outcome: None })
    }

    /// A leaf that mirrors that of the tab that leads; named by 64 random bits.
    pub fn mirror(tab: u64) -> Self {
        Self { leaf: Leaf::mirror(TabId(tab)), terms: Terms::default(), outcome: None }
    }

    /// All that is or will be stored, for a tab that mirrors this leaf.
    pub fn rows(&self) -> Vec<JsStoredRow> {
        let row = |(id, body): (LeafRowId, Bytes)| list([id.to_bytes().into(), body.to_vec().into()]).unchecked_into();
        self.leaf.rows().into_iter().map(row).collect()
    }

    /// A mirror takes up all rows of the leader; throws when they make no leaf.
    #[wasm_bindgen(js_name = "takeWhole")]
    pub fn take_whole(&mut self, version: f64, rows: Vec<JsStoredRow>, now: f64) -> Result<JsEffects, JsError> {
        Ok(to_js(self.leaf.take_whole(version as u64, stored(rows)?, timestamp(now))?, &self.terms)?)
    }

    /// A mirror takes up what the leader stored since; throws when it is of no use.
    #[wasm_bindgen(js_name = "takeUp")]
    pub fn take_up(&mut self, version: f64, writes: Vec<JsRowWrite>, now: f64) -> Result<JsEffects, JsError> {
        let writes = writes.into_iter().map(|write| effect::row_from_js(&write)).collect::<Option<Vec<_>>>();
        let writes = writes.ok_or_else(|| JsError::new("a row was changed in an unknown way"))?;
        Ok(to_js(self.leaf.take_up(version as u64, writes, timestamp(now))?, &self.terms)?)
    }

    /// The leader adopts what another tab handed over; throws when it is no operation.
    pub fn adopt(
        &mut self,
        tab: u64,
        no: f64,
        version: f64,
        operation: Vec<u8>,
        now: f64,
    ) -> Result<JsEffects, JsError> {
        let effects = self.leaf.adopt(TabId(tab), no as u64, version as u64, &operation.into(), timestamp(now))?;
        Ok(to_js(effects, &self.terms)?)
    }

    /// The leader asks a mirror to hand over again.
    pub fn again(&mut self, now: f64) -> Result<JsEffects, JsError> {
        self.handle(LeafInput::Again, now)
    }

    /// Another tab is gone.
    pub fn gone(&mut self, tab: u64, now: f64) -> Result<JsEffects, JsError> {
        self.handle(LeafInput::Gone(TabId(tab)), now)
    }

    /// When the leader last heard from the hub.
    pub fn heard(&mut self, at: f64) {
        self.leaf.heard(timestamp(at));
    }

    /// A mirror leads from now on, from what is stored, or as a new client of this name; throws when the rows are of no use.
    pub fn lead(
        &mut self,
        entropy_high: u64,
        entropy_low: u64,
        rows: Vec<JsStoredRow>,
        now: f64,
    ) -> Result<JsEffects, JsError> {
        let rows = stored(rows)?;
        Ok(to_js(self.leaf.lead(client(entropy_high, entropy_low), rows, timestamp(now))?, &self.terms)?)
    }

    /// A socket to a hub opened.
    pub fn opened(&mut self, now: f64) -> Result<JsEffects, JsError> {
        self.terms = Terms::default();
        self.handle(LeafInput::Opened, now)
    }

    /// The socket is gone.
    pub fn closed(&mut self, now: f64) -> Result<JsEffects, JsError> {
        self.handle(LeafInput::Closed, now)
    }

    /// What the hub sent, one frame after the other; throws when any is no frame of this protocol, and takes up none then.
    pub fn receive(&mut self, frames: &[u8], now: f64) -> Result<JsEffects, JsError> {
        let mut messages = Vec::new();
        for frame in wire::frames(frames)? {
            let message = wire::decode(frame)?;
            self.terms.learn(&message)?;
            messages.push(message);
        }
        let take = |message| self.leaf.handle(LeafInput::Hub(message), timestamp(now));
        let effects = messages.into_iter().flat_map(take).collect();
        Ok(to_js(effects, &self.terms)?)
    }

    /// The application wants these keys and their changes; throws when one is too long.
    pub fn subscribe(&mut self, keys: Vec<String>, now: f64) -> Result<JsEffects, JsError> {
        self.handle(LeafInput::Subscribe(parsed(keys)?), now)
    }

    /// The application no longer wants these; throws when one is too long.
    pub fn unsubscribe(&mut self, keys: Vec<String>, now: f64) -> Result<JsEffects, JsError> {
        self.handle(LeafInput::Unsubscribe(parsed(keys)?), now)
    }

    /// The application wants to be shown the `top` highest of a board and the places of some members; throws when the key is too
    /// long.
    pub fn watch(&mut self, key: String, top: u32, members: Vec<String>, now: f64) -> Result<JsEffects, JsError> {
        let key = Key::new(key).map_err(CommandError::from)?;
        let members = members.into_iter().map(Bytes::from).collect();
        self.handle(LeafInput::Watch(key, StandingsQuery { top, members }), now)
    }

    /// The application no longer wants to be shown these boards; throws when a key is too long.
    pub fn unwatch(&mut self, keys: Vec<String>, now: f64) -> Result<JsEffects, JsError> {
        self.handle(LeafInput::Unwatch(parsed(keys)?), now)
    }

    /// What is shown of a watched board: whether the hub holds it, how many are on it, and for the head and the members asked
    /// for the name, score, rank and whether that is exact of each, one after the other; `undefined` before it is shown.
    pub fn ranking(&self, key: String) -> JsValue {
        let ranking = Key::new(key).ok().and_then(|key| self.leaf.ranking(&key));
        let count = |count: u64| Reply::Int(count.cast_signed());
        let row = |row: RankedMember| {
            [Reply::Bulk(row.member), Reply::score(row.score), count(row.rank), Reply::Int(row.is_exact.into())]
        };
        let rows = |rows: Vec<RankedMember>| Reply::Array(rows.into_iter().flat_map(row).collect());
        ranking.map_or(JsValue::UNDEFINED, |Ranking { is_held, size, top, members }| {
            reply::to_js(Reply::Array(vec![Reply::Int(is_held.into()), count(size), rows(top), rows(members)]))
        })
    }

    /// A tab that mirrors this leaf is to be shown the boards that this one watches.
    pub fn share(&mut self, now: f64) -> Result<JsEffects, JsError> {
        self.handle(LeafInput::Share, now)
    }

    /// The time that the last `wake-at` asked for has come.
    pub fn tick(&mut self, now: f64) -> Result<JsEffects, JsError> {
        self.handle(LeafInput::Tick, now)
    }

    /// Runs a Redis command against the view, at once: so many words, with NUL between them. Gives the reply if that is an integer
    /// and the command changed the key that is its first argument and nothing else; otherwise NaN, and [`Self::outcome`] has it,
    /// unless a word holds a NUL. What comes of a change is told at the next input.
    pub fn run(&mut self, words: String, count: u32, now: f64) -> f64 {
        let words = Bytes::from(words);
        let split = words.split(|byte| *byte == 0).map(|word| words.slice_ref(word));
        let arguments: Vec<Bytes> = split.collect();
        if arguments.len() == count as usize {
            match self.leaf.act(&arguments, timestamp(now)) {
                Ok((Reply::Int(reply), Extent::Named)) if reply.unsigned_abs() <= reply::SAFE_INTEGER_MAX => {
                    return reply as f64;
                }
                outcome => self.outcome = Some(outcome),
            }
        }
        f64::NAN
    }

    /// As `run`, whatever the words hold, and gives what it came to.
    pub fn command(&mut self, arguments: Vec<String>, now: f64) -> JsOutcome {
        let arguments: Vec<Bytes> = arguments.into_iter().map(Bytes::from).collect();
        outcome_to_js(self.leaf.act(&arguments, timestamp(now)))
    }

    /// What a command came to; `undefined` where that is told already, or none was run.
    pub fn outcome(&mut self) -> Option<JsOutcome> {
        self.outcome.take().map(outcome_to_js)
    }

    /// Tells what comes of what was run.
    pub fn flush(&mut self, now: f64) -> Result<JsEffects, JsError> {
        self.handle(LeafInput::Flush, now)
    }

    /// Whether what a key reads stays as it is until an effect says that it changed.
    pub fn lasts(&self, key: String) -> bool {
        Key::new(key).is_ok_and(|key| self.leaf.lasts(&key))
    }

    /// What to show of the leaf.
    pub fn status(&self) -> JsLeafStatus {
        let status = self.leaf.status();
        let count = |count: usize| JsValue::from(count as f64);
        let heard_at = status.heard_at.map_or(JsValue::UNDEFINED, |at| (at.0 as f64).into());
        let shown = [status.is_connected.into(), count(status.pending), count(status.handed_over), heard_at];
        list(shown).unchecked_into()
    }

    fn handle(&mut self, input: LeafInput, now: f64) -> Result<JsEffects, JsError> {
        Ok(to_js(self.leaf.handle(input, timestamp(now)), &self.terms)?)
    }
}

fn outcome_to_js(outcome: Result<(Reply, Extent), CommandError>) -> JsOutcome {
    let outcome = match outcome {
        Ok((reply, extent)) => vec![reply::to_js(reply), (extent as u8).into()],
        Err(error) => {
            vec![JsValue::NULL, 0.into(), error.to_string().into(), (error == CommandError::NotHeld).into()]
        }
    };
    list(outcome).unchecked_into()
}

fn client(entropy_high: u64, entropy_low: u64) -> ClientId {
    ClientId(u128::from(entropy_high) << 64 | u128::from(entropy_low))
}

fn stored(rows: Vec<JsStoredRow>) -> Result<Vec<(LeafRowId, Bytes)>, JsError> {
    let row = |row: JsStoredRow| {
        let id = row.bytes(0).and_then(|id| LeafRowId::from_bytes(&id));
        let id = id.ok_or_else(|| JsError::new("a stored row has an unknown name"))?;
        let body = row.bytes(1).ok_or_else(|| JsError::new("a stored row has no body"))?;
        Ok((id, body.into()))
    };
    rows.into_iter().map(row).collect()
}

/// `Date.now()` counts whole milliseconds and is a double only because JavaScript has no other number.
fn timestamp(now: f64) -> TimestampMs {
    TimestampMs(now as i64)
}

fn parsed(keys: Vec<String>) -> Result<Vec<Key>, JsError> {
    Ok(keys.into_iter().map(|key| Key::new(key).map_err(CommandError::from)).collect::<Result<_, _>>()?)
}
