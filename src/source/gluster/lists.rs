//! Another tool's list, and the directory with what that tool copied for it, on their way to a generation.
//!
//! The list tells where to look ([`Hint`]); what is there is told by the directory ([`Tree`]).
//!
//! Promises: a line that is not understood becomes [`Hint::Amiss`], in the place of the line, and is never dropped. A
//! name that glusterfind broke into several lines (`tools/glusterfind/src/changelogdata.py` joins the paths of a
//! node with commas and splits them there) is put together again where the whole name is there and its rest alone is not.
//! Never opens a file of the directory, never asks a catalog.

use super::list::{self, Anomaly, Change, Format, Item, Reader, Why};
use crate::model::{Finding, Kind, ListedEntry, RelPath, escape_bytes};
use crate::source::{self, nfs};
use std::collections::{HashMap, HashSet};
use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::Path;

/// Into how many lines a name may be broken and still be put together again.
const PIECES_MAX: usize = 64;
/// How much of a line is told, in bytes.
const TOLD_BYTES_MAX: usize = 300;

/// What a list says of one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// New or modified: to be looked at.
    There {
        /// The line, from 1.
        line: u64,
        /// Where.
        path: RelPath,
        /// It is said to be new.
        new: bool,
        /// The line may be one that was not encoded (see [`Item::Change`]).
        unsure: bool,
    },
    /// A node that moved.
    Moved {
        /// The line, from 1.
        line: u64,
        /// The name that it had.
        from: RelPath,
        /// The name that it has.
        to: RelPath,
    },
    /// A name that is not there any more.
    Gone {
        /// The line, from 1.
        line: u64,
        /// Where.
        path: RelPath,
    },
    /// What a person should know of a line.
    Amiss {
        /// The place that it concerns: a broken name's directory.
        path: RelPath,
        /// What was found.
        detail: String,
    },
}

/// Reads a list. Memory: the list.
///
/// # Errors
/// [`list::Error`].
pub fn load_items(input: impl BufRead, format: &Format) -> Result<Vec<Item>, list::Error> {
    Reader::new(input, format.clone()).collect()
}

/// Returns what `items` say, in their order, broken names put together. `is_there` tells of a path whether it is where
/// the line looks: of a new or modified one in the directory, of a deleted one (`true`) in the generation before and not
/// in the directory.
///
/// # Errors
/// Those of `is_there`.
pub fn hints<E>(
    items: &[Item],
    format: &Format,
    is_there: &mut dyn FnMut(&RelPath, bool) -> Result<bool, E>,
) -> Result<Vec<Hint>, E> {
    let mut hints = Vec::with_capacity(items.len());
    let mut at = 0;
    // Where a line that names no place most probably belongs.
    let mut near = RelPath::root();
    while let Some(item) = items.get(at) {
        let line = at as u64 + 1;
        match item {
            Item::Change { change, unsure } => {
                let pieces = pieces(&items[at..], format, change, is_there)?;
                if let Some((count, path)) = pieces {
                    near = directory_of(&path);
                    let detail = format!("lines {line} to {} are this name, which the list broke", at + count);
                    hints.push(Hint::Amiss { path: path.clone(), detail });
                    hints.push(match change {
                        Change::Delete(_) => Hint::Gone { line, path },
                        change => Hint::There { line, path, new: matches!(change, Change::New(_)), unsure: false },
                    });
                    at += count;
                    continue;
                }
                let hint = hint(change, line, *unsure);
                near = match &hint {
                    Hint::There { path, .. } | Hint::Moved { to: path, .. } | Hint::Gone { path, .. } => {
                        directory_of(path)
                    }
                    Hint::Amiss { .. } => near,
                };
                hints.push(hint);
            }
            Item::Anomaly(Anomaly { record, bytes, why }) => hints
                .push(Hint::Amiss { path: near.clone(), detail: format!("line {record} \"{}\" {why}", told(bytes)) }),
        }
        at += 1;
    }
    Ok(hints)
}

/// Returns how many of `items`, which begin with `change`, are one broken name, and that name; none if the first is
/// whole.
fn pieces<E>(
    items: &[Item],
    format: &Format,
    change: &Change,
    is_there: &mut dyn FnMut(&RelPath, bool) -> Result<bool, E>,
) -> Result<Option<(usize, RelPath)>, E> {
    let (first, gone) = match change {
        Change::New(path) | Change::Modify(path) => (path, false),
        Change::Delete(path) => (path, true),
        // What the list says of a rename whose names are broken cannot be told apart any more.
        Change::Rename { .. } => return Ok(None),
    };
    let mut whole = first.clone();
    let mut found = None;
    for (at, item) in items.iter().enumerate().take(PIECES_MAX).skip(1) {
        let (between, rest) = match (item, change) {
            (Item::Change { change: Change::New(rest), .. }, Change::New(_))
            | (Item::Change { change: Change::Modify(rest), .. }, Change::Modify(_))
            | (Item::Change { change: Change::Delete(rest), .. }, Change::Delete(_)) => (b',', rest.clone()),
            (Item::Anomaly(Anomaly { bytes, why: Why::NotBelowPrefix, .. }), _) => {
                match format.rest_after_word(change, bytes) {
                    Some(rest) => (b',', rest),
                    None => break,
                }
            }
            (Item::Anomaly(Anomaly { bytes, why: Why::NoWord, .. }), _) => (b'\n', format.decoded(bytes)),
            _ => break,
        };
        // A line that is a place by itself is no rest of another.
        if let Ok(path) = RelPath::parse(&rest)
            && !path.is_root()
            && is_there(&path, gone)?
        {
            break;
        }
        whole.push(between);
        whole.extend_from_slice(&rest);
        if let Ok(path) = RelPath::parse(&whole)
            && is_there(&path, gone)?
        {
            found = Some((at + 1, path));
        }
    }
    Ok(found)
}

fn hint(change: &Change, line: u64, unsure: bool) -> Hint {
    let path = |bytes: &[u8]| match RelPath::parse(bytes) {
        Ok(path) if path.is_root() => {
            Err(Hint::Amiss { path, detail: format!("line {line} names the top directory, which no list has to name") })
        }
        Ok(path) => Ok(path),
        Err(e) => Err(Hint::Amiss {
            path: RelPath::root(),
            detail: format!("line {line} \"{}\" is not a path below the top: {e}", told(bytes)),
        }),
    };
    let made = match change {
        Change::New(bytes) => path(bytes).map(|path| Hint::There { line, path, new: true, unsure }),
        Change::Modify(bytes) => path(bytes).map(|path| Hint::There { line, path, new: false, unsure }),
        Change::Delete(bytes) => path(bytes).map(|path| Hint::Gone { line, path }),
        Change::Rename { from, to } => path(from).and_then(|from| path(to).map(|to| Hint::Moved { line, from, to })),
    };
    made.unwrap_or_else(|amiss| amiss)
}

/// Returns the directory that `path` is in.
fn directory_of(path: &RelPath) -> RelPath {
    let bytes = path.as_bytes();
    let end = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    RelPath::parse(&bytes[..end]).expect("the beginning of a path is one")
}

fn told(bytes: &[u8]) -> String {
    match bytes.get(..TOLD_BYTES_MAX) {
        Some(first) if bytes.len() > TOLD_BYTES_MAX => format!("{}...", escape_bytes(first)),
        _ => escape_bytes(bytes).into_owned(),
    }
}

/// What a directory with copied files holds.
#[derive(Debug, Default)]
pub struct Tree {
    /// All names below the top but the top itself: the path of the directory, and the entry. A directory comes before
    /// what is in it.
    pub entries: Vec<(RelPath, ListedEntry)>,
    /// What was found amiss.
    pub findings: Vec<Finding>,
    /// Directories that have something in them.
    filled: HashSet<RelPath>,
    kinds: HashMap<RelPath, Kind>,
}

impl Tree {
    /// Reads the tree at `path`. Memory: all its names; meant for what changed between two generations.
    ///
    /// # Errors
    /// [`source::Error::Copy`] if it cannot be opened as a directory.
    pub fn load(path: &Path) -> Result<Self, source::Error> {
        let mut tree = Self::default();
        nfs::scan_tree(path, &mut |listing| {
            tree.findings.extend(listing.findings);
            if !listing.entries.is_empty() {
                tree.filled.insert(listing.path.clone());
            }
            for entry in listing.entries {
                tree.kinds.insert(listing.path.join(&entry.name), entry.attrs.kind());
                tree.entries.push((listing.path.clone(), entry));
            }
            ControlFlow::Continue(())
        })?;
        Ok(tree)
    }

    /// Tells whether something has this path.
    pub fn has(&self, path: &RelPath) -> bool {
        path.is_root() || self.kinds.contains_key(path)
    }

    /// Tells whether this is a directory that has something in it.
    pub fn is_filled(&self, path: &RelPath) -> bool {
        self.filled.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::gluster::list::Form;
    use std::convert::Infallible;

    /// Returns the hints of a list as text, where `there` is in the directory and `gone` was in the generation before.
    fn told_of(form: Form, prefix: Option<&str>, list: &[u8], there: &[&str], gone: &[&str]) -> Vec<String> {
        let format = Format::new(form, b" ", prefix.map(str::as_bytes)).unwrap();
        let items = load_items(list, &format).unwrap();
        let mut is_there = |path: &RelPath, is_gone: bool| -> Result<bool, Infallible> {
            let among = if is_gone { gone } else { there };
            Ok(among.iter().any(|known| known.as_bytes() == path.as_bytes()))
        };
        let Ok(hints) = hints(&items, &format, &mut is_there);
        hints
            .into_iter()
            .map(|hint| match hint {
                Hint::There { line, path, new, unsure } => {
                    let word = if new { "new" } else { "there" };
                    format!("{line} {word} {path:?}{}", if unsure { " ?" } else { "" })
                }
                Hint::Moved { line, from, to } => format!("{line} moved {from:?} {to:?}"),
                Hint::Gone { line, path } => format!("{line} gone {path:?}"),
                Hint::Amiss { path, detail } => format!("amiss {path:?}: {detail}"),
            })
            .collect()
    }

    #[test]
    fn every_line_is_a_hint() {
        let list = b"NEW /a/b//c\nMODIFY a%20b\nRENAME a b/\nDELETE \xff\nNEW a b\nNEW a/../b\nNEW /\n";
        assert_eq!(
            told_of(Form::Encoded, None, list, &[], &[]),
            [
                r#"1 new "a/b/c""#,
                r#"2 there "a b""#,
                r#"3 moved "a" "b""#,
                r#"4 gone "\xff""#,
                r#"5 new "a b" ?"#,
                r#"amiss "": line 6 "a/../b" is not a path below the top: ".." is not a name of its own"#,
                r#"amiss "": line 7 names the top directory, which no list has to name"#,
            ]
        );
    }

    #[test]
    fn a_name_that_was_broken_at_its_commas_is_put_together_where_it_is_there() {
        let list = b"NEW new/a\nNEW b\nNEW c.txt\nNEW new/d\n";
        let there = ["new/a", "new/a,b,c.txt", "new/d"];
        let whole = [
            r#"amiss "new/a,b,c.txt": lines 1 to 3 are this name, which the list broke"#,
            r#"1 new "new/a,b,c.txt""#,
            r#"4 new "new/d""#,
        ];
        assert_eq!(told_of(Form::Encoded, None, list, &there, &[]), whole);
        let prefixed = b"NEW /s/new/a\nNEW b\nNEW c.txt\nNEW /s/new/d\n";
        assert_eq!(told_of(Form::Encoded, Some("/s"), prefixed, &there, &[]), whole);
        assert_eq!(
            told_of(Form::Encoded, None, b"DELETE new/a\nDELETE b\n", &[], &["new/a,b"]),
            [r#"amiss "new/a,b": lines 1 to 2 are this name, which the list broke"#, r#"1 gone "new/a,b""#]
        );
    }

    #[test]
    fn lines_that_are_places_by_themselves_are_not_joined() {
        assert_eq!(
            told_of(Form::Encoded, None, b"NEW a\nNEW b\n", &["a", "b", "a,b"], &[]),
            [r#"1 new "a""#, r#"2 new "b""#]
        );
        assert_eq!(
            told_of(Form::Encoded, None, b"NEW a\nMODIFY b\nNEW c\nDELETE d\n", &["a,b", "c,d"], &["c,d"]),
            [r#"1 new "a""#, r#"2 there "b""#, r#"3 new "c""#, r#"4 gone "d""#]
        );
    }

    #[test]
    fn a_name_that_was_broken_at_its_line_feed_is_put_together_where_it_is_there() {
        let list = b"NEW new/line\nbreak\nof three\n";
        assert_eq!(
            told_of(Form::Plain, None, list, &["new/line\nbreak\nof three"], &[]),
            [
                r#"amiss "new/line\nbreak\nof three": lines 1 to 3 are this name, which the list broke"#,
                r#"1 new "new/line\nbreak\nof three""#
            ]
        );
        assert_eq!(
            told_of(Form::Plain, None, list, &[], &[]),
            [
                r#"1 new "new/line""#,
                r#"amiss "new": line 2 "break" begins with none of NEW, MODIFY, RENAME, DELETE"#,
                r#"amiss "new": line 3 "of three" begins with none of NEW, MODIFY, RENAME, DELETE"#,
            ]
        );
    }

    #[test]
    fn a_long_line_that_is_not_understood_is_told_in_part() {
        let list = [vec![b'x'; 1000], b"\n".to_vec()].concat();
        assert_eq!(
            told_of(Form::Encoded, None, &list, &[], &[]),
            [format!("amiss \"\": line 1 \"{}...\" begins with none of NEW, MODIFY, RENAME, DELETE", "x".repeat(300))]
        );
    }

    #[test]
    fn a_tree_tells_directories_before_what_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("b/c")).unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("b/c/f"), b"12345").unwrap();
        let tree = Tree::load(dir.path()).unwrap();
        let paths: Vec<String> = tree.entries.iter().map(|(dir, e)| dir.join(&e.name).to_string()).collect();
        assert_eq!(paths, ["a", "b", "b/c", "b/c/f"]);
        let path = |text: &str| RelPath::parse(text.as_bytes()).unwrap();
        assert_eq!(["", "b/c/f", "b/d"].map(|p| tree.has(&path(p))), [true, true, false]);
        assert_eq!(["", "a", "b/c"].map(|p| tree.is_filled(&path(p))), [true, false, true]);
        assert_eq!(tree.entries[3].1.attrs.size_bytes, 5);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let error = Tree::load(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.to_string(), "cannot open the copy \"/nowhere/at/all\"");
    }
}
