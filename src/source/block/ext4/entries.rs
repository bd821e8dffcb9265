//! The entries of extended attributes, inside an inode or in a block of their own.
//! Pure: values in inodes of their own are named and not read.

use crate::source::block::Error;
use crate::source::block::bytes::Fields;

pub(super) const MAGIC: u32 = 0xEA02_0000;
pub(super) const ENTRY_HEADER_BYTES: usize = 16;
/// The name index of `system.` without a name of its own; inline data is its `data`.
pub(super) const SYSTEM: u8 = 7;
/// `XATTR_SIZE_MAX` of `xattr(7)`: nothing longer can have been set.
pub(super) const VALUE_MAX: u32 = 65536;

/// Returns the bytes of attributes in what lies behind the fields of an inode, from their first entry on.
pub(super) fn inside(tail: &[u8]) -> Option<&[u8]> {
    let (magic, bytes) = tail.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*magic) == MAGIC).then_some(bytes)
}

pub(super) enum Value<'a> {
    Here(&'a [u8]),
    Inode { number: u32, length: u32 },
}

pub(super) struct Entry<'a> {
    pub(super) index: u8,
    pub(super) name: &'a [u8],
    pub(super) value: Value<'a>,
}

/// Returns the entries from byte `at` on; where values are counts from the start of `fields`.
pub(super) fn entries(fields: Fields<'_>, mut at: usize) -> Result<Vec<Entry<'_>>, Error> {
    let (mut entries, mut places) = (Vec::new(), Vec::new());
    while fields.le32(at)? != 0 {
        let name_length = usize::from(fields.byte(at)?);
        let (number, length) = (fields.le32(at + 4)?, fields.le32(at + 8)?);
        if length > VALUE_MAX {
            return Err(Error::Damaged(format!("an extended attribute of {length} bytes")));
        }
        let value = match (number, length) {
            (0, 0) => Value::Here(&[]),
            (0, _) => {
                let place = usize::from(fields.le16(at + 2)?);
                places.push((place, place + length as usize));
                Value::Here(fields.slice(place, length as usize)?)
            }
            (number, length) => Value::Inode { number, length },
        };
        entries.push(Entry {
            index: fields.byte(at + 1)?,
            name: fields.slice(at + ENTRY_HEADER_BYTES, name_length)?,
            value,
        });
        at += (ENTRY_HEADER_BYTES + name_length).next_multiple_of(4);
    }
    check_apart(places, at + 4)?;
    Ok(entries)
}

/// Checks that the values lie behind the entries, which end at `end`, and apart from each other, as `e2fsck` does.
fn check_apart(mut places: Vec<(usize, usize)>, end: usize) -> Result<(), Error> {
    places.sort_unstable();
    let mut free = end;
    for (from, until) in places {
        if from < free {
            return Err(Error::Damaged(format!(
                "the value of an extended attribute at byte {from} lies over what ends at {free}"
            )));
        }
        free = until;
    }
    Ok(())
}
