//! The identity of a node in a volume: 16 bytes that outlive renames and are the same on every brick.
//! Written as a UUID, as Gluster itself writes it.

use crate::model::FileKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A gfid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gfid(pub [u8; 16]);

/// What is not a gfid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a gfid: expected 8-4-4-4-12 hexadecimal digits")]
pub struct GfidError(pub String);

impl Gfid {
    /// The top directory of every volume (`GF_ROOT_GFID`).
    pub const ROOT: Self = Self::small(1);
    /// `BRICK/.trashcan` (`features.trash`).
    pub const TRASHCAN: Self = Self::small(5);
    /// `BRICK/.shard`, which holds the shards but the first of every file (`SHARD_ROOT_GFID`).
    pub const SHARDS: Self = Self(0xbe31_8638_e8a0_4c6d_977d_7a93_7aa8_4806_u128.to_be_bytes());
    /// `BRICK/.shard/.remove_me`, shards that wait for their removal (`DOT_SHARD_REMOVE_ME_GFID`).
    pub const SHARDS_TO_REMOVE: Self = Self(0x77dd_5a45_dbf5_4592_b31b_b440_3823_02e9_u128.to_be_bytes());

    const fn small(number: u8) -> Self {
        let mut bytes = [0; 16];
        bytes[15] = number;
        Self(bytes)
    }

    /// Returns the gfid that `bytes` are, as `trusted.gfid` holds it.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns it as the catalog keeps identities: two numbers.
    pub fn key(self) -> FileKey {
        let number = u128::from_be_bytes(self.0);
        FileKey { device: 0, inode: (number >> 64) as u64, born_ns: number as u64 as i64 }
    }

    /// Returns the gfid that [`Gfid::key`] made `key` of.
    pub fn of_key(key: FileKey) -> Self {
        Self((u128::from(key.inode) << 64 | u128::from(key.born_ns as u64)).to_be_bytes())
    }

    /// Returns where its handle is, below the brick: `.glusterfs/aa/bb/<gfid>`.
    pub fn handle(self) -> String {
        format!(".glusterfs/{:02x}/{:02x}/{self}", self.0[0], self.0[1])
    }
}

impl fmt::Display for Gfid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Gfid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Gfid {
    type Err = GfidError;

    fn from_str(text: &str) -> Result<Self, GfidError> {
        let error = || GfidError(text.to_owned());
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return Err(error());
        }
        let mut number: u128 = 0;
        for (at, byte) in bytes.iter().enumerate() {
            match (matches!(at, 8 | 13 | 18 | 23), byte) {
                (true, b'-') => {}
                (false, byte) => {
                    let digit = char::from(*byte).to_digit(16).ok_or_else(error)?;
                    number = number << 4 | u128::from(digit);
                }
                (true, _) => return Err(error()),
            }
        }
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for Gfid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Gfid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gfid_is_read_as_it_is_written() {
        let text = "be318638-e8a0-4c6d-977d-7a937aa84806";
        assert_eq!(text.parse::<Gfid>().unwrap(), Gfid::SHARDS);
        assert_eq!(Gfid::SHARDS.to_string(), text);
        assert_eq!(Gfid::of_key(Gfid::SHARDS.key()), Gfid::SHARDS);
        assert_eq!(Gfid::ROOT.to_string(), "00000000-0000-0000-0000-000000000001");
        assert_eq!(Gfid::SHARDS.handle(), format!(".glusterfs/be/31/{text}"));
    }

    #[test]
    fn what_is_no_gfid_is_refused() {
        for text in [
            "",
            "be318638e8a04c6d977d7a937aa84806",
            "be318638-e8a0-4c6d-977d-7a937aa8480g",
            "be318638-e8a0-4c6d-977d+7a937aa84806",
        ] {
            assert_eq!(text.parse::<Gfid>(), Err(GfidError(text.to_owned())));
        }
    }
}
