//! Names as the kernel shows them by default: long ones in UTF-8, short ones from code page 437, lower case where the entry says so.
//!
//! Promises: pure. What is no character is left out or becomes `?`, as in the kernel; whether that leaves a name is not said.
//!
//! Source: `fat_parse_short` in `fs/fat/dir.c`, `fs/nls/nls_cp437.c` and `utf16s_to_utf8s` in `fs/nls/nls_base.c` of Linux 6.12.

/// The upper half of code page 437.
const UPPER: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', 'É', 'æ', 'Æ', 'ô', 'ö', 'ò', 'û',
    'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', 'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡',
    '«', '»', '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛', '┐', '└', '┴', '┬', '├', '─',
    '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧', '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█',
    '▄', '▌', '▐', '▀', 'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', '≡', '±', '≥',
    '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{a0}',
];
/// Letters above 127 whose small form the code page has, too.
const SMALL: [(u8, u8); 10] = [
    (0x80, 0x87),
    (0x8e, 0x84),
    (0x8f, 0x86),
    (0x90, 0x82),
    (0x92, 0x91),
    (0x99, 0x94),
    (0x9a, 0x81),
    (0xa5, 0xa4),
    (0xe4, 0xe5),
    (0xe8, 0xed),
];
/// The bits that say that the name, or what is behind its dot, is shown in lower case.
const LOWER_BASE: u8 = 0x08;
const LOWER_EXTENSION: u8 = 0x10;
/// What stands for 0xE5, which marks an entry that is gone.
const STANDS_FOR_E5: u8 = 0x05;

/// Returns all of what is stored for a name, as text.
pub(super) fn short_text(stored: &[u8; 11]) -> String {
    as_written(stored).iter().map(|byte| character(*byte, false)).collect()
}

/// Returns the name in a short entry; `cases` are its bits of lower case. Empty if it has none.
pub(super) fn short(stored: &[u8; 11], cases: u8) -> Vec<u8> {
    let stored = as_written(stored);
    let (base, extension) = stored.split_at(8);
    let mut name = part(base, cases & LOWER_BASE != 0);
    let extension = part(extension, cases & LOWER_EXTENSION != 0);
    if !extension.is_empty() {
        name.push('.');
        name.push_str(&extension);
    }
    name.into_bytes()
}

fn as_written(stored: &[u8; 11]) -> [u8; 11] {
    let mut stored = *stored;
    if stored[0] == STANDS_FOR_E5 {
        stored[0] = 0xe5;
    }
    stored
}

/// Returns one part of a short name, up to a zero byte, without the blanks that fill it up.
fn part(stored: &[u8], is_lower: bool) -> String {
    let used = stored.iter().position(|byte| *byte == 0).unwrap_or(stored.len());
    let length = stored[..used].iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    stored[..length].iter().map(|byte| character(*byte, is_lower)).collect()
}

fn character(byte: u8, is_lower: bool) -> char {
    let small =
        || SMALL.iter().find(|(large, _)| *large == byte).map_or(byte.to_ascii_lowercase(), |(_, small)| *small);
    let byte = if is_lower { small() } else { byte };
    byte.checked_sub(128).map_or(char::from(byte), |upper| UPPER[usize::from(upper)])
}

/// Returns a long name in UTF-8, up to a zero. Halves of characters that stand alone are left out.
pub(super) fn long(units: &[u16]) -> Vec<u8> {
    let used = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    let characters = char::decode_utf16(units[..used].iter().copied());
    characters.filter_map(Result::ok).collect::<String>().into_bytes()
}

/// Returns the sum that the parts of a long name have of the short one that they belong to (`fat_checksum`).
pub(super) fn checksum(stored: &[u8; 11]) -> u8 {
    stored.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}
