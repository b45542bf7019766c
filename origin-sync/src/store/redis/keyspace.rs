//! The names of plain keys, page by page.
//!
//! One server's pages are those of its SCAN. A cluster's are those of its nodes in turn, in the order of their first slots; so a
//! cursor names the node too, and the layout of the cluster in which it does. Where the layout is another by then, keys that
//! moved could be missed, and the scan is refused.

use super::{cluster::Range, passage, server::Server};
use crate::store::{KeyPage, KeyScan, RunError};
use bytes::Bytes;
use headwater::{command::Reply, slot::Slot};
use std::fmt::Write as _;

/// How many low bits of a cluster's cursor name the node, and how many above them the layout.
const NODE_BITS: u32 = 10;
const LAYOUT_BITS: u32 = 14;

/// One page of a server.
pub(super) async fn scan(server: &Server, scan: &KeyScan) -> Result<KeyPage, RunError> {
    let text = |number: u64| Bytes::from(number.to_string());
    let mut argv = vec![Bytes::from_static(b"SCAN"), text(scan.cursor), Bytes::from_static(b"COUNT"), text(scan.count)];
    let options = [("MATCH", &scan.pattern), ("TYPE", &scan.kind)];
    for (name, value) in options.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        argv.extend([Bytes::from_static(name.as_bytes()), value.clone()]);
    }
    page(passage::reply(server.run(&argv).await?)?).ok_or(RunError::Nothing)
}

fn page(reply: Reply) -> Option<KeyPage> {
    let Reply::Array(parts) = reply else { return None };
    let [Reply::Bulk(cursor), Reply::Array(keys)] = <[Reply; 2]>::try_from(parts).ok()? else { return None };
    let cursor = std::str::from_utf8(&cursor).ok()?.parse().ok()?;
    let name = |key| if let Reply::Bulk(name) = key { Some(name) } else { None };
    Some(KeyPage { cursor, keys: keys.into_iter().map(name).collect::<Option<_>>()? })
}

/// A key of a server, if it has any.
pub(super) async fn random(server: &Server) -> Result<Option<Bytes>, RunError> {
    match passage::reply(server.run(&[Bytes::from_static(b"RANDOMKEY")]).await?)? {
        Reply::Bulk(name) => Ok(Some(name)),
        _ => Ok(None),
    }
}

/// The nodes of a cluster in their order, and what tells this layout from others.
pub(super) struct Layout {
    /// A slot of each.
    pub(super) nodes: Vec<Slot>,
    fingerprint: u64,
}

impl Layout {
    /// Of the ranges of slots that the nodes have.
    pub(super) fn of(mut ranges: Vec<Range>) -> Self {
        ranges.sort_by_key(|range| range.first);
        let mut text = String::new();
        let (mut nodes, mut seen) = (Vec::new(), Vec::new());
        for Range { first, last, node } in ranges {
            // What is written to a string is written.
            let _ = write!(text, "{first}-{last}@{node} ");
            if !seen.contains(&node) {
                nodes.push(first);
                seen.push(node);
            }
        }
        Self { nodes, fingerprint: Slot::of(text.as_bytes()).get().into() }
    }

    /// The node and its own cursor that a cursor of the cluster names.
    pub(super) fn place(&self, cursor: u64) -> Result<(usize, u64), RunError> {
        if cursor == 0 {
            return Ok((0, 0));
        }
        let node = usize::try_from(cursor & ((1 << NODE_BITS) - 1)).unwrap_or(usize::MAX);
        let layout = cursor >> NODE_BITS & ((1 << LAYOUT_BITS) - 1);
        let is_known = layout == self.fingerprint && node < self.nodes.len();
        if is_known { Ok((node, cursor >> (NODE_BITS + LAYOUT_BITS))) } else { Err(RunError::OtherLayout) }
    }

    /// The cursor after a page of a node, at whose own cursor it goes on.
    pub(super) fn cursor(&self, node: usize, own: u64) -> Result<u64, RunError> {
        let node = if own == 0 { node + 1 } else { node };
        if node == self.nodes.len() {
            return Ok(0);
        }
        let place = u64::try_from(node).ok().filter(|node| *node < 1 << NODE_BITS).ok_or(RunError::TooManyNodes)?;
        let own =
            Some(own).filter(|own| own.leading_zeros() >= NODE_BITS + LAYOUT_BITS).ok_or(RunError::TooManyNodes)?;
        Ok(own << (NODE_BITS + LAYOUT_BITS) | self.fingerprint << NODE_BITS | place)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::access::Node, *};

    fn layout(ports: &[u16]) -> Layout {
        let slot = |at: usize| Slot::try_from(u16::try_from(at * 1000).unwrap()).unwrap();
        let range = |(at, port): (usize, &u16)| Range {
            first: slot(at),
            last: slot(at),
            node: Node { host: "h".to_owned(), port: *port },
        };
        Layout::of(ports.iter().enumerate().map(range).collect())
    }

    #[test]
    fn a_cursor_names_its_node_and_goes_on_to_the_next() {
        let layout = layout(&[1, 2, 1, 3]);
        assert_eq!(layout.nodes.len(), 3);
        assert_eq!(layout.place(0).unwrap(), (0, 0));
        for (node, own) in [(0, 5), (1, 1 << 39), (2, 7)] {
            let cursor = layout.cursor(node, own).unwrap();
            assert_eq!(layout.place(cursor).unwrap(), (node, own));
        }
        assert_eq!(layout.place(layout.cursor(0, 0).unwrap()).unwrap(), (1, 0));
        assert_eq!(layout.cursor(2, 0).unwrap(), 0);
        assert!(layout.cursor(0, 1 << 40).is_err());
    }

    #[test]
    fn a_cursor_of_another_layout_is_refused() {
        let cursor = layout(&[1, 2]).cursor(0, 5).unwrap();
        assert!(matches!(layout(&[1, 3]).place(cursor), Err(RunError::OtherLayout)));
        assert!(matches!(layout(&[1, 2]).place(17), Err(RunError::OtherLayout)));
    }
}
