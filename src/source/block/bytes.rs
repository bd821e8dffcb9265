//! Numbers out of bytes that nobody vouches for.
//!
//! Promises: what lies outside the bytes is an error that names the structure, never a zero.

use super::{Device, Error};

/// The most that one read of a structure takes; no structure of the formats here is longer.
const READ_MAX: u64 = 64 << 20;

/// Reads `length` bytes of `device` at `at`.
///
/// # Errors
/// [`Error::Damaged`] if they are not on the device or too many; [`Error::Read`].
pub(super) fn read(device: &dyn Device, at: u64, length: u64) -> Result<Vec<u8>, Error> {
    let end = at.checked_add(length).filter(|end| *end <= device.size_bytes());
    if end.is_none() || length > READ_MAX {
        let size = device.size_bytes();
        return Err(Error::Damaged(format!(
            "{length} bytes at byte {at} do not lie on the {size} bytes that there are"
        )));
    }
    let mut buffer = vec![0; length as usize];
    device.read_at(&mut buffer, at).map_err(|source| Error::Read { at, length, source })?;
    Ok(buffer)
}

/// The bytes of one structure, with its name for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    /// The bytes.
    pub(super) bytes: &'a [u8],
    /// What they are: `superblock`, `inode 12`.
    pub(super) what: &'a str,
}

macro_rules! number {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $from:ident;)+) => {
        $($(#[$doc])*
        pub(super) fn $name(self, at: usize) -> Result<$type, Error> {
            let bytes = self.slice(at, size_of::<$type>())?;
            Ok(<$type>::$from(bytes.try_into().expect("as long as the number")))
        })+
    };
}

impl<'a> Fields<'a> {
    /// Returns `length` bytes from `at` on.
    pub(super) fn slice(self, at: usize, length: usize) -> Result<&'a [u8], Error> {
        let end = at.checked_add(length);
        end.and_then(|end| self.bytes.get(at..end)).ok_or_else(|| {
            let (what, have) = (self.what, self.bytes.len());
            Error::Damaged(format!("{what} has {have} bytes, and {length} at byte {at} are needed"))
        })
    }

    number! {
        /// Returns the byte at `at`.
        byte: u8 = from_le_bytes;
        /// Returns a little-endian number.
        le16: u16 = from_le_bytes;
        /// Returns a little-endian number.
        le32: u32 = from_le_bytes;
        /// Returns a little-endian number.
        le64: u64 = from_le_bytes;
        /// Returns a big-endian number.
        be16: u16 = from_be_bytes;
        /// Returns a big-endian number.
        be32: u32 = from_be_bytes;
        /// Returns a big-endian number.
        be64: u64 = from_be_bytes;
    }
}
