//! Which hub of a region a request belongs to: slots in equal, contiguous ranges.

use bytes::Bytes;
use headwater::{
    command::{CommandError, Placed},
    namespace::{Namespace, Namespaces},
    slot::Slot,
};

/// A hub of a region, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Shard(u16);

impl Shard {
    /// All of `shards`, in order.
    pub(crate) fn all(shards: u16) -> impl Iterator<Item = Self> {
        (0..shards).map(Self)
    }

    /// The one that a client names, if there is such a one.
    pub(crate) fn named(number: &str, shards: u16) -> Option<Self> {
        number.parse().ok().filter(|number| *number < shards).map(Self)
    }

    /// The one that keeps this slot.
    pub(crate) fn of(slot: Slot, shards: u16) -> Self {
        let shard = u32::from(slot.get()) * u32::from(shards) / u32::from(Slot::COUNT);
        Self(u16::try_from(shard).unwrap_or(u16::MAX))
    }

    /// The one that keeps every key of these commands; the first where they name none. What does not parse names no key: its
    /// hub answers with the error.
    ///
    /// # Errors
    /// [`CommandError::CrossSlot`] where the keys belong to several.
    pub(crate) fn of_commands(
        commands: &[Vec<Bytes>],
        namespace: &Namespace,
        shards: u16,
    ) -> Result<Self, CommandError> {
        if shards == 1 {
            return Ok(Self::default());
        }
        let mut found = None;
        for Placed { command, .. } in commands.iter().filter_map(|argv| namespace.read(argv).ok()) {
            if command.has_pattern() {
                // Which keys match, and so where, only each shard could say.
                return Err(CommandError::CrossSlot);
            }
            for key in command.keys() {
                let shard = Self::of(key.slot(), shards);
                if *found.get_or_insert(shard) != shard {
                    return Err(CommandError::CrossSlot);
                }
            }
        }
        Ok(found.unwrap_or_default())
    }

    /// The hub's name in the directory. Each namespace has hubs of its own.
    pub(crate) fn hub_name(self, region: &str, namespace: &Namespace) -> String {
        match namespace.is_default() {
            true => format!("{region}/{}", self.0),
            false => format!("{region}/{}@{}", self.0, namespace.as_str()),
        }
    }
}

/// The namespace of the hub of this name. One that is not served any more still holds what is its own.
pub(crate) fn namespace_of(hub_name: &str, namespaces: &Namespaces) -> Namespace {
    let named = hub_name.rsplit_once('@').and_then(|(_, name)| Namespace::of_name(name));
    named.unwrap_or_else(|| namespaces.default_one())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn slots_spread_over_all_shards_in_order() {
        for shards in [1, 2, 3, 1024] {
            let of_slots: Vec<u16> = Slot::all().map(|slot| Shard::of(slot, shards).0).collect();
            assert!(of_slots.is_sorted());
            assert_eq!((of_slots.first(), of_slots.last()), (Some(&0), Some(&(shards - 1))));
        }
    }

    #[test]
    fn keys_of_two_shards_do_not_go_together() {
        // foo is in slot 12182, bar in 5061.
        let (foo, bar) = (argv("get foo"), argv("get bar"));
        let of = |commands: &[Vec<Bytes>], shards| Shard::of_commands(commands, &Namespace::default(), shards);
        assert_eq!(of(&[foo.clone(), bar.clone()], 1), Ok(Shard(0)));
        assert_eq!(of(&[foo.clone(), argv("incr {foo}x")], 2), Ok(Shard(1)));
        assert_eq!(of(&[foo, bar], 2), Err(CommandError::CrossSlot));
        assert_eq!(of(&[argv("del foo bar")], 2), Err(CommandError::CrossSlot));
        assert_eq!(of(&[argv("ping"), argv("nonsense foo"), argv("get foo")], 2), Ok(Shard(1)));
    }

    #[test]
    fn in_a_namespace_redis_key_decides_and_a_hash_tag_above_it() {
        let shop = Namespace::of_name("shop").expect("a name");
        let of = |line: &str| Shard::of_commands(&[argv(line)], &shop, 2).expect("one shard");
        for (own, full) in [("get foo", "shop:foo"), ("setnx bar v", "shop:bar"), ("rpush a x", "shop:a")] {
            assert_eq!(of(own), Shard::of(Slot::of(full.as_bytes()), 2), "{own}");
        }
        assert_eq!(of("get {foo}x"), Shard::of(Slot::of(b"foo"), 2));
    }

    #[test]
    fn a_hubs_name_tells_its_namespace() {
        let all = Namespaces::parse("shop").expect("names");
        let shop = all.named("shop").expect("it is one");
        for region in ["eu", "eu/west", "eu@home", "a/1@b"] {
            for namespace in [&shop, &all.default_one(), &Namespace::rates()] {
                let name = Shard(1).hub_name(region, namespace);
                assert_eq!(&namespace_of(&name, &all), namespace, "{name}");
            }
        }
        assert_eq!(Shard(1).hub_name("eu", &shop), "eu/1@shop");
        assert_eq!(namespace_of("eu/0@gone", &all).as_str(), "gone");
    }

    #[test]
    fn only_shards_that_exist_can_be_named() {
        assert_eq!(Shard::named("1", 2), Some(Shard(1)));
        for number in ["2", "-1", "x", ""] {
            assert_eq!(Shard::named(number, 2), None, "{number}");
        }
        assert_eq!(Shard(1).hub_name("eu", &Namespace::default()), "eu/1");
    }
}
