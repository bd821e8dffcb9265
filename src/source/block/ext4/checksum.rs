//! The three checksums of ext4 and its journal, as the kernel computes them: without inversion at either end.
//! What they cover and where they lie is told at what they protect.

/// Returns the CRC-32C of `bytes`, going on from `seed`.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// Returns the CRC-16 of `bytes`, going on from `seed` (`lib/crc16.c` of Linux: x^16 + x^15 + x^2 + 1, reflected).
pub(super) fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(seed, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}

/// Returns the CRC-32 of `bytes`, most significant bit first, going on from `seed` (`crc32_be` of Linux).
pub(super) fn crc32_be(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, byte| crc << 8 ^ BE_TABLE[usize::from((crc >> 24) as u8 ^ byte)])
}

const BE_TABLE: [u32; 256] = be_table();

const fn be_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = (at as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc >> 31 == 1 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}
