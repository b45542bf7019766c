//! CRC-32 (ISO-HDLC, as in zip and PNG), with tables for the host at hand.

#[cfg(not(feature = "hub"))]
use std::sync::LazyLock;

/// Sixteen kilobytes of tables are fast and do not compress: what is loaded over a network has one of them.
#[cfg(target_arch = "wasm32")]
type Table = crc::Table<1>;
#[cfg(not(target_arch = "wasm32"))]
type Table = crc::Table<16>;

/// The checksum's tables.
#[cfg(feature = "hub")]
pub(crate) static CRC32: crc::Crc<u32, Table> = crc::Crc::<u32, Table>::new(&crc::CRC_32_ISO_HDLC);
/// The checksum's tables, which a browser makes in less than it takes to load them.
#[cfg(not(feature = "hub"))]
pub(crate) static CRC32: LazyLock<crc::Crc<u32, Table>> =
    LazyLock::new(|| crc::Crc::<u32, Table>::new(&crc::CRC_32_ISO_HDLC));
