//! Digests of what two replicas hold of the same keys, by which they find where they differ.
//!
//! All that a replica holds lies on one line of 64-bit positions: 14 bits of slot, 18 bits of a hash of the key, 32 bits of
//! a hash of the element. A [`Node`] is an aligned range of it, from some slots down to one element; its digest is the sum,
//! modulo 2^64, of the digests of the items in it. Two replicas whose digests of a node differ compare the node's parts,
//! and so on down to what differs.
//!
//! Items are hashed with SipHash-1-3 under a seed that is drawn anew for each comparison and that no client knows, so that
//! nobody can choose names that cancel out, and what is missed by chance once is found the next time. What is hashed are
//! the values themselves and not their encoding. Contexts are left out: two replicas that hold the same may know of other
//! numbers that have nothing to do with the key.

use crate::{
    hlc::Hlc,
    id::{Dot, HashSeed, Key, Stamp},
    slot::Slot,
    state::{Base, Ctx, Deadline, Element, ElementId, Header, KeyView, Kind, Num, Sum},
};
use std::hash::{BuildHasher, Hasher};

/// The bits of a position that say the slot.
pub const SLOT_BITS: u8 = 14;

/// The bits of a position that say the slot and the key.
pub const KEY_BITS: u8 = 32;

/// A part of the line: the positions whose upper `bits` are `index`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Node {
    bits: u8,
    index: u64,
}

impl Node {
    /// The node; `None` if it has more than 64 bits, or its index more than its bits.
    pub fn new(bits: u8, index: u64) -> Option<Self> {
        let is_short = bits >= 64 || index.checked_shr(bits.into()) == Some(0);
        (bits <= 64 && is_short).then_some(Self { bits, index })
    }

    /// The aligned block of `2^(14 - bits)` slots that the slot is in.
    pub fn block(slot: Slot, bits: u8) -> Self {
        let bits = bits.min(SLOT_BITS);
        let down = u32::from(SLOT_BITS.saturating_sub(bits));
        Self { bits, index: u64::from(slot.get()).checked_shr(down).unwrap_or(0) }
    }

    /// How many bits its positions share.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// What these bits are.
    pub fn index(self) -> u64 {
        self.index
    }

    /// The first position in it.
    pub fn first(self) -> u64 {
        self.index.checked_shl(u32::from(64_u8.saturating_sub(self.bits))).unwrap_or(0)
    }

    /// The last position in it.
    pub fn last(self) -> u64 {
        self.first() | u64::MAX.checked_shr(self.bits.into()).unwrap_or(0)
    }

    /// Its `2^split` parts, in order; none of more than 64 bits.
    pub fn parts(self, split: u8) -> impl Iterator<Item = Self> {
        let split = split.min(64_u8.saturating_sub(self.bits));
        let bits = self.bits.saturating_add(split);
        let first = self.index.checked_shl(split.into()).unwrap_or(0);
        let count = 1_u64.checked_shl(split.into()).unwrap_or(0);
        (0..count).map(move |at| Self { bits, index: first | at })
    }
}

/// One thing that a replica holds: an element, or a key's header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Item {
    /// Its position.
    pub at: u64,
    /// The digest of its content.
    pub digest: u64,
}

/// Items by position, with the sums of their digests.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Items {
    items: Vec<Item>,
    /// The sum of all digests before each item, and of all.
    sums: Vec<u64>,
}

impl FromIterator<Item> for Items {
    /// Linearithmic.
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        let mut items: Vec<Item> = items.into_iter().collect();
        items.sort_unstable();
        let mut sums = Vec::with_capacity(items.len().saturating_add(1));
        let mut sum = 0_u64;
        sums.push(sum);
        for item in &items {
            sum = sum.wrapping_add(item.digest);
            sums.push(sum);
        }
        Self { items, sums }
    }
}

impl Items {
    /// The items in a node. Logarithmic.
    pub fn of(&self, node: Node) -> &[Item] {
        let (start, end) = self.span(node);
        self.items.get(start..end).unwrap_or_default()
    }

    /// The digest of a node: the sum of those of its items. Logarithmic.
    pub fn digest(&self, node: Node) -> u64 {
        let (start, end) = self.span(node);
        let sum = |at: usize| self.sums.get(at).copied().unwrap_or_default();
        sum(end).wrapping_sub(sum(start))
    }

    fn span(&self, node: Node) -> (usize, usize) {
        let (first, last) = (node.first(), node.last());
        (self.items.partition_point(|item| item.at < first), self.items.partition_point(|item| item.at <= last))
    }
}

/// As much of a digest as travels of a part.
pub fn low_bits(digest: u64) -> u16 {
    let [a, b, ..] = digest.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// Whether one of the nodes, ascending and apart, has the position. Logarithmic.
pub fn covers(nodes: &[Node], at: u64) -> bool {
    let after = nodes.partition_point(|node| node.first() <= at);
    after.checked_sub(1).and_then(|before| nodes.get(before)).is_some_and(|node| at <= node.last())
}

/// A key under a seed, which gives its items.
#[derive(Clone, Copy, Debug)]
pub struct KeyDigest {
    seed: HashSeed,
    hash: u64,
    slot: Slot,
}

impl KeyDigest {
    /// The key's.
    pub fn new(seed: HashSeed, key: &Key) -> Self {
        let mut hasher = seed.build_hasher();
        hasher.write(key.as_bytes());
        Self { seed, hash: hasher.finish(), slot: key.slot() }
    }

    /// The part of the line that the key has.
    pub fn node(self) -> Node {
        let slot = Node { bits: SLOT_BITS, index: self.slot.get().into() };
        let hash_bits = KEY_BITS.wrapping_sub(SLOT_BITS);
        let hash = self.hash.checked_shr(u32::from(64_u8.wrapping_sub(hash_bits))).unwrap_or(0);
        Node { bits: KEY_BITS, index: slot.index.checked_shl(hash_bits.into()).unwrap_or(0) | hash }
    }

    /// Where an element stands.
    pub fn place(self, id: &ElementId) -> u64 {
        let mut hasher = self.hasher(id.kind());
        hasher.write(id.name_bytes());
        self.node().first() | hasher.finish() >> KEY_BITS
    }

    /// The items of the key's state. Linearithmic in it.
    pub fn items(self, view: KeyView<'_>) -> Vec<Item> {
        let (header, string) = view.header_and_string();
        let elements = [Kind::Set, Kind::Hash, Kind::Board].into_iter().flat_map(|kind| view.elements_of(kind));
        let elements = string.map(|string| (ElementId::String, string)).into_iter().chain(elements);
        let elements = elements.map(|(id, element)| Item { at: self.place(&id), digest: self.element(&id, &element) });
        self.header(&header).into_iter().chain(elements).collect()
    }

    /// The header's item, unless it says nothing.
    fn header(self, header: &Header) -> Option<Item> {
        // What is added to a header is to be hashed here too.
        let Header { ctx: _, wipe, claims, deadline } = header;
        if wipe.is_empty() && claims.iter().next().is_none() && *deadline == Deadline::default() {
            return None;
        }
        let mut hasher = self.seed.build_hasher();
        number(&mut hasher, self.hash);
        hash_ctx(&mut hasher, wipe);
        number(&mut hasher, claims.iter().count() as u64);
        for (kind, stamp) in claims.iter() {
            hasher.write(&[kind as u8]);
            hash_stamp(&mut hasher, stamp);
        }
        hash_deadline(&mut hasher, deadline);
        Some(Item { at: self.node().first(), digest: hasher.finish() })
    }

    fn element(self, id: &ElementId, element: &Element) -> u64 {
        // What is added to an element is to be hashed here too.
        let Element { base, sum } = element;
        let mut hasher = self.hasher(id.kind());
        sized(&mut hasher, id.name_bytes());
        number(&mut hasher, base.len() as u64);
        for (dot, base) in base.iter() {
            hash_dot(&mut hasher, dot);
            match base {
                Base::Member => hasher.write(&[0]),
                Base::Bytes { hlc, value } => {
                    hasher.write(&[1]);
                    hash_hlc(&mut hasher, *hlc);
                    sized(&mut hasher, value);
                }
                Base::Abs { hlc, score } => {
                    hasher.write(&[2]);
                    hash_hlc(&mut hasher, *hlc);
                    number(&mut hasher, score.to_bits());
                }
                Base::Max(score) => {
                    hasher.write(&[3]);
                    number(&mut hasher, score.to_bits());
                }
                Base::Min(score) => {
                    hasher.write(&[4]);
                    number(&mut hasher, score.to_bits());
                }
                Base::Until(deadline) => {
                    hasher.write(&[5]);
                    hash_deadline(&mut hasher, deadline);
                }
                Base::Spent { amount, until } => {
                    hasher.write(&[6]);
                    number(&mut hasher, *amount);
                    number(&mut hasher, until.0.cast_unsigned());
                }
            }
        }
        match sum {
            Sum::Int(num) => hash_num(&mut hasher, num, |hasher, acc| hasher.write(&acc.to_le_bytes())),
            Sum::Float(num) => hash_num(&mut hasher, num, |hasher, acc| number(hasher, acc.to_bits())),
        }
        hasher.finish()
    }

    fn hasher(self, kind: Kind) -> siphasher::sip::SipHasher13 {
        let mut hasher = self.seed.build_hasher();
        number(&mut hasher, self.hash);
        hasher.write(&[kind as u8]);
        hasher
    }
}

/// In a fixed order of bytes, so that both ends hash the same.
fn number(hasher: &mut impl Hasher, value: u64) {
    hasher.write(&value.to_le_bytes());
}

/// Which of two parts follow. With it, and with each list's length before the list, no input begins as another does.
fn presence(hasher: &mut impl Hasher, first: bool, second: bool) {
    hasher.write(&[u8::from(first) | u8::from(second) << 1]);
}

fn sized(hasher: &mut impl Hasher, bytes: &[u8]) {
    number(hasher, bytes.len() as u64);
    hasher.write(bytes);
}

fn hash_dot(hasher: &mut impl Hasher, dot: Dot) {
    number(hasher, dot.replica.to_bits());
    number(hasher, dot.no.0);
}

fn hash_hlc(hasher: &mut impl Hasher, hlc: Hlc) {
    number(hasher, hlc.to_bits());
}

fn hash_stamp(hasher: &mut impl Hasher, stamp: Stamp) {
    hash_hlc(hasher, stamp.hlc);
    hash_dot(hasher, stamp.dot);
}

fn hash_deadline(hasher: &mut impl Hasher, deadline: &Deadline) {
    let (at, revoked) = (deadline.moved_to(), deadline.revoked());
    let has = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
    hasher.write(&[has(deadline.epoch().is_some(), 1) | has(at.is_some(), 2) | has(revoked.is_some(), 4)]);
    if let Some(epoch) = deadline.epoch() {
        hash_stamp(hasher, epoch);
    }
    for time in at.into_iter().chain(revoked) {
        number(hasher, time.0.cast_unsigned());
    }
}

fn hash_ctx(hasher: &mut impl Hasher, ctx: &Ctx) {
    number(hasher, ctx.replicas().count() as u64);
    for (replica, intervals) in ctx.iter() {
        number(hasher, replica.to_bits());
        number(hasher, intervals.iter().count() as u64);
        for (start, end) in intervals.iter() {
            number(hasher, start);
            number(hasher, end);
        }
    }
}

fn hash_num<A: crate::state::Amount, H: Hasher>(hasher: &mut H, num: &Num<A>, amount: impl Fn(&mut H, A)) {
    number(hasher, num.len() as u64);
    for (replica, part) in num.parts() {
        number(hasher, replica.to_bits());
        presence(hasher, part.ent.is_some(), part.cut.is_some());
        if let Some(entry) = part.ent {
            number(hasher, entry.n.0);
            number(hasher, entry.o.0);
            amount(hasher, entry.acc);
        }
        if let Some(cut) = part.cut {
            number(hasher, cut.m.0);
            amount(hasher, cut.acc);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{No, ReplicaId},
        state::{Effect, KeyState, Mint, NewBase, SeenCuts},
    };
    use proptest::prelude::*;

    const SEED: HashSeed = HashSeed(1, 2);

    fn key(name: &str) -> Key {
        Key::new(name.to_owned()).unwrap()
    }

    fn set(members: impl IntoIterator<Item = (u64, String)>) -> KeyState {
        let mut state = KeyState::default();
        for (no, member) in members {
            let element = ElementId::Member(member.into());
            let cuts = SeenCuts::Int(Vec::new());
            let effect = Effect::Write { element, base: Some(NewBase::Member), seen: Vec::new(), cuts };
            let dot = Dot { replica: ReplicaId::from_bits(1 << 16), no: No(no) };
            let _ = state.apply(&effect, Mint { dot, hlc: Hlc::from_bits(7) });
        }
        state
    }

    fn items(state: &KeyState) -> Items {
        KeyDigest::new(SEED, &key("k")).items(state.view()).into_iter().collect()
    }

    fn whole() -> Node {
        Node::new(0, 0).unwrap()
    }

    #[test]
    fn a_key_lies_in_its_slot_and_its_elements_in_the_key() {
        let key = key("{t}k");
        let digest = KeyDigest::new(SEED, &key);
        let (slot, node) = (Node::block(key.slot(), SLOT_BITS), digest.node());
        assert!(covers(&[slot], node.first()) && covers(&[slot], node.last()));
        let at = digest.place(&ElementId::Member("m".into()));
        assert!(covers(&[node], at));
        assert!(!covers(&[Node::block(Slot::of(b"elsewhere"), SLOT_BITS)], at));
    }

    #[test]
    fn what_replicas_know_of_other_keys_changes_no_digest() {
        let state = set([(5, "m".to_owned())]);
        let mut other = state.clone();
        let mut delta = other.to_delta(other.ctx(), &[]);
        delta.header.ctx.insert_interval(ReplicaId::from_bits(1 << 16), No(0), No(90));
        let _ = other.join(&delta);
        assert_ne!(state, other);
        assert_eq!(items(&state), items(&other));
    }

    #[test]
    fn another_seed_gives_other_places_and_other_digests() {
        let state = set([(5, "m".to_owned())]);
        let other = KeyDigest::new(HashSeed(1, 3), &key("k")).items(state.view());
        let own = KeyDigest::new(SEED, &key("k")).items(state.view());
        assert!(own.iter().zip(&other).all(|(a, b)| a.at != b.at && a.digest != b.digest));
    }

    #[test]
    fn each_part_of_an_element_counts() {
        let digest = KeyDigest::new(SEED, &key("k"));
        let field = ElementId::Field("f".into());
        let element = |hlc, value: &'static str, dot| {
            let mut element = Element::empty(Kind::Hash);
            element.base.insert(dot, Base::Bytes { hlc: Hlc::from_bits(hlc), value: value.into() });
            element
        };
        let dot = |no| Dot { replica: ReplicaId::from_bits(1 << 16), no: No(no) };
        let mut counted = element(1, "v", dot(1));
        counted.sum.add(ReplicaId::from_bits(2 << 16), No(1), crate::state::Increment::Int(1));
        let mut further = counted.clone();
        further.sum.add(ReplicaId::from_bits(2 << 16), No(2), crate::state::Increment::Int(1));
        let all = [element(1, "v", dot(1)), element(2, "v", dot(1)), element(1, "w", dot(1)), element(1, "v", dot(2))];
        let mut digests: Vec<u64> =
            all.iter().chain([&counted, &further]).map(|it| digest.element(&field, it)).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 6);
    }

    proptest! {
        #[test]
        fn a_node_is_the_sum_of_its_parts(members in proptest::collection::btree_set("[a-z]{1,8}", 1..60), split in 1_u8..7) {
            let items = items(&set((1..).zip(members)));
            let mut node = whole();
            while node.bits() < 60 {
                let parts: Vec<Node> = node.parts(split).collect();
                let sum = parts.iter().fold(0_u64, |sum, part| sum.wrapping_add(items.digest(*part)));
                prop_assert_eq!(sum, items.digest(node));
                prop_assert_eq!(parts.iter().map(|part| items.of(*part).len()).sum::<usize>(), items.of(node).len());
                prop_assert_eq!((parts[0].first(), parts[parts.len() - 1].last()), (node.first(), node.last()));
                node = parts.into_iter().find(|part| !items.of(*part).is_empty()).unwrap();
            }
        }

        #[test]
        fn states_that_differ_have_other_digests(
            members in proptest::collection::btree_set("[a-z]{1,8}", 2..60), lost in any::<proptest::sample::Index>()
        ) {
            let members: Vec<(u64, String)> = (1..).zip(members).collect();
            let mut fewer = members.clone();
            fewer.remove(lost.index(members.len()));
            prop_assert_ne!(items(&set(members)).digest(whole()), items(&set(fewer)).digest(whole()));
        }
    }
}
