//! Checksums of XFS: CRC-32C over a structure whose own field of it counts as zeros.
//! Pure.

/// Tells whether the CRC-32C at `at`, little-endian, is that of all the bytes with itself as zeros.
pub(super) fn crc_holds(bytes: &[u8], at: usize) -> bool {
    let (Some(before), Some(stored), Some(after)) = (bytes.get(..at), bytes.get(at..at + 4), bytes.get(at + 4..))
    else {
        return false;
    };
    crc_without(before, after).to_le_bytes() == stored
}

/// Returns the CRC-32C of bytes with four zeros between two parts of them.
pub(super) fn crc_without(before: &[u8], after: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]), after)
}
