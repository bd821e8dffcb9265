//! What a number of a view of all sources is of: the catalog, and the generations that an instant resolves to.
//!
//! Promises: two lists of generations have two vectors; the same list has the same one in every process.

/// Which catalog numbers are of: another file under the same name is another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatalogId {
    /// Made with the file.
    pub uuid: [u8; 16],
    /// One more each time it was put back or made again.
    pub incarnation: i64,
}

/// The generations that an instant resolves to, as a digest: 16 bytes of the BLAKE3 of their ids in ascending order,
/// each as 8 bytes, the highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vector(pub(super) [u8; 16]);

impl Vector {
    /// Returns the vector of these ids, which must be in ascending order.
    pub fn of(ids: &[[u8; 8]]) -> Self {
        debug_assert!(ids.is_sorted());
        let digest = blake3::hash(ids.as_flattened());
        Self(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
    }

    /// Returns where a number in memory is looked for first.
    pub(super) fn place(self) -> i64 {
        let [a, b, c, d, ..] = self.0;
        i64::from(u32::from_be_bytes([a, b, c, d]))
    }
}
