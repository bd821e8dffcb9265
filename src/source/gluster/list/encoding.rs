//! How glusterfind writes a path into a line: `%` is `%25`, blank `%20`, line feed `%0A`.
//! Every other byte stands for itself.

/// Encodes a path as glusterfind does.
pub fn encode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'%' => out.extend_from_slice(b"%25"),
            b' ' => out.extend_from_slice(b"%20"),
            b'\n' => out.extend_from_slice(b"%0A"),
            byte => out.push(*byte),
        }
    }
    out
}

/// Decodes what [`encode`] made, and tells whether something else was in it, which is kept as it is.
pub fn decode(mut text: &[u8]) -> (Vec<u8>, bool) {
    let (mut out, mut is_odd) = (Vec::with_capacity(text.len()), false);
    while let Some((first, rest)) = text.split_first() {
        let byte = match text.get(..3) {
            Some(b"%25") => Some(b'%'),
            Some(b"%20") => Some(b' '),
            Some(b"%0A") => Some(b'\n'),
            _ => None,
        };
        is_odd |= byte.is_none() && matches!(first, b'%' | b' ' | b'\n');
        out.push(byte.unwrap_or(*first));
        text = if byte.is_some() { &text[3..] } else { rest };
    }
    (out, is_odd)
}
