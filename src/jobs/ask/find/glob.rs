//! Shell patterns and regular expressions of find(1), over bytes.
//!
//! Promises: a pattern is that of fnmatch(3) without flags: `*` and `?` take slashes and leading dots, too. A character of UTF-8 is one
//! character, every other byte is one. Regular expressions are those of GNU find without `-regextype` (its `findutils-default`), and match a
//! whole path; the time to match is linear in its length, whoever wrote the expression.

use regex_automata::dfa::{Automaton, dense};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

/// The most memory that a regular expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 16 << 20;

/// A shell pattern.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    parts: Vec<Part>,
    ignores_case: bool,
}

#[derive(Clone, Debug)]
enum Part {
    One(Unit),
    Any,
    Many,
    Class { is_negated: bool, ranges: Vec<(Unit, Unit)> },
}

/// A character, or a byte that is none.
type Unit = u32;

/// What a byte that is not part of a character counts as.
const BYTE: u32 = 0x0011_0000;

fn units(bytes: &[u8]) -> impl Iterator<Item = Unit> {
    bytes.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(u32::from);
        valid.chain(chunk.invalid().iter().map(|byte| BYTE + u32::from(*byte)))
    })
}

fn folded(unit: Unit) -> Unit {
    char::from_u32(unit).map_or(unit, |c| u32::from(crate::model::folded(c)))
}

impl Glob {
    pub(super) fn new(pattern: &[u8], ignores_case: bool) -> Self {
        let fold = |unit| if ignores_case { folded(unit) } else { unit };
        let pattern: Vec<Unit> = units(pattern).map(fold).collect();
        let (mut parts, mut at) = (Vec::new(), 0);
        while let Some(unit) = pattern.get(at) {
            at += 1;
            parts.push(match char::from_u32(*unit) {
                Some('*') => Part::Many,
                Some('?') => Part::Any,
                Some('\\') => {
                    at += 1;
                    // One that escapes nothing matches nothing, as fnmatch(3) has it.
                    pattern.get(at - 1).map_or(Part::Class { is_negated: false, ranges: Vec::new() }, |u| Part::One(*u))
                }
                Some('[') => match class(&pattern[at..]) {
                    Some((part, length)) => {
                        at += length;
                        part
                    }
                    None => Part::One(*unit),
                },
                _ => Part::One(*unit),
            });
        }
        Self { parts, ignores_case }
    }

    /// Returns what every name has in it that it matches: runs of small letters of ASCII.
    pub(super) fn pieces(&self) -> Vec<String> {
        let letter = |part: &Part| match part {
            Part::One(unit) => char::from_u32(*unit).filter(char::is_ascii).map(|c| c.to_ascii_lowercase()),
            _ => None,
        };
        let mut pieces = vec![String::new()];
        for part in &self.parts {
            match (letter(part), pieces.last_mut()) {
                (Some(letter), Some(piece)) => piece.push(letter),
                _ => pieces.push(String::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        let text: Vec<Unit> = units(text).map(|unit| if self.ignores_case { folded(unit) } else { unit }).collect();
        let (mut part, mut at) = (0, 0);
        // Where the last star began, and what it has taken.
        let mut star: Option<(usize, usize)> = None;
        while at < text.len() || part < self.parts.len() {
            let matches = match (self.parts.get(part), text.get(at)) {
                (Some(Part::Many), _) => {
                    star = Some((part, at));
                    part += 1;
                    continue;
                }
                (Some(Part::Any), Some(_)) => true,
                (Some(Part::One(one)), Some(unit)) => one == unit,
                (Some(Part::Class { is_negated, ranges }), Some(unit)) => {
                    ranges.iter().any(|(first, last)| (first..=last).contains(&unit)) != *is_negated
                }
                _ => false,
            };
            if matches {
                (part, at) = (part + 1, at + 1);
            } else if let Some((begun, taken)) = star
                && taken < text.len()
            {
                star = Some((begun, taken + 1));
                (part, at) = (begun + 1, taken + 1);
            } else {
                return false;
            }
        }
        true
    }
}

/// Reads what follows `[`; none if it has no end and is a plain bracket.
fn class(rest: &[Unit]) -> Option<(Part, usize)> {
    let is = |at: usize, c: char| rest.get(at) == Some(&u32::from(c));
    let is_negated = is(0, '!') || is(0, '^');
    let first = usize::from(is_negated);
    let (mut at, mut ranges) = (first, Vec::new());
    loop {
        let unit = *rest.get(at)?;
        if is(at, ']') && at > first {
            return Some((Part::Class { is_negated, ranges }, at + 1));
        }
        if is(at, '[') && is(at + 1, ':') {
            let end = (at + 2..rest.len()).find(|end| is(*end, ':') && is(end + 1, ']'))?;
            let name: String = rest[at + 2..end].iter().filter_map(|unit| char::from_u32(*unit)).collect();
            ranges.extend(named(&name)?.iter().map(|(a, b)| (u32::from(*a), u32::from(*b))));
            at = end + 2;
            continue;
        }
        let (low, next) = if is(at, '\\') { (*rest.get(at + 1)?, at + 2) } else { (unit, at + 1) };
        if is(next, '-') && !is(next + 1, ']') {
            let (high, next) =
                if is(next + 1, '\\') { (*rest.get(next + 2)?, next + 3) } else { (*rest.get(next + 1)?, next + 2) };
            ranges.push((low, high));
            at = next;
        } else {
            ranges.push((low, low));
            at = next;
        }
    }
}

/// Classes of characters of ASCII.
fn named(name: &str) -> Option<&'static [(char, char)]> {
    Some(match name {
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "digit" => &[('0', '9')],
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "upper" => &[('A', 'Z')],
        "lower" => &[('a', 'z')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "print" => &[(' ', '~')],
        "graph" => &[('!', '~')],
        _ => return None,
    })
}

/// A regular expression over a whole path.
#[derive(Clone, Debug)]
pub(super) struct Regex(dense::DFA<Vec<u32>>);

impl Regex {
    pub(super) fn new(pattern: &str, ignores_case: bool) -> Result<Self, String> {
        let syntax = syntax::Config::new().unicode(false).utf8(false).case_insensitive(ignores_case);
        let config = dense::Config::new()
            .dfa_size_limit(Some(REGEX_BYTES_MAX))
            .determinize_size_limit(Some(REGEX_BYTES_MAX))
            .start_kind(regex_automata::dfa::StartKind::Anchored);
        let whole = format!("(?s)(?:{})\\z", translated(pattern)?);
        let built = dense::Builder::new().syntax(syntax).configure(config).build(&whole);
        built.map(Self).map_err(|e| crate::model::chain(&e))
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        let input = Input::new(text).anchored(Anchored::Yes).earliest(false);
        matches!(self.0.try_search_fwd(&input), Ok(Some(found)) if found.offset() == text.len())
    }
}

/// Returns an expression of find in the syntax of the library: groups, alternatives and their likes are written with a backslash there.
fn translated(pattern: &str) -> Result<String, String> {
    let mut text = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('(' | ')' | '|')) => text.push(c),
                Some('\'') => text.push_str("\\z"),
                Some('`') => text.push_str("\\A"),
                Some(c @ ('w' | 'W' | 'b' | 'B')) => text.extend(['\\', c]),
                Some(c) if c.is_ascii_digit() => {
                    return Err(format!("\\{c} asks for what a group found, which is not supported"));
                }
                Some(c) if c.is_ascii_alphanumeric() => text.push(c),
                Some(c) => text.extend(['\\', c]),
                None => text.push_str("\\\\"),
            },
            '(' | ')' | '|' | '{' | '}' | ']' => text.extend(['\\', c]),
            '[' => text.push_str(&bracket(&mut chars)),
            c => text.push(c),
        }
    }
    Ok(text)
}

/// Returns a bracket expression: in one of find's a backslash is a character as any other, and so is `[`: it knows no classes.
/// The library has operators there that are escaped.
fn bracket(chars: &mut std::str::Chars<'_>) -> String {
    let mut text = "[".to_owned();
    let mut is_first = true;
    let mut ahead = chars.clone();
    if ahead.next() == Some('^') {
        text.push('^');
        chars.next();
    }
    for c in chars.by_ref() {
        match c {
            ']' if !is_first => {
                text.push(']');
                break;
            }
            '\\' | '[' | ']' | '&' | '~' => text.extend(['\\', c]),
            c => text.push(c),
        }
        is_first = false;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_the_shell() {
        for (pattern, text, is) in [
            ("*.csv", "a/b.csv", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("?", "\u{fc}", true),
            ("[!a-c]x", "dx", true),
            ("[]x]", "]", true),
            ("[[:digit:]]*", "7z", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(Glob::new(pattern.as_bytes(), false).is_match(text.as_bytes()), is, "{pattern} {text}");
        }
        assert!(Glob::new(b"?b", false).is_match(b"\xffb"));
        assert!(Glob::new("\u{dc}*".as_bytes(), true).is_match("\u{fc}ber".as_bytes()));
    }

    #[test]
    fn a_star_does_not_take_forever() {
        let pattern = "a*".repeat(100) + "b";
        assert!(!Glob::new(pattern.as_bytes(), false).is_match("a".repeat(5_000).as_bytes()));
    }
}
