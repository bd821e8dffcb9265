//! `diff --patch`: the lines in which two files differ, in the unified form that `patch` reads.
//!
//! Promises: bytes come through a view, so they are those of the generations that are compared, from any copy that has them, or an error that
//! says why not. A file with a zero byte is no text; one of more than [`SIZE_MAX`] is not read. Text that is no UTF-8 comes out as it is.

use crate::model::{Hinted, RelPath, Time};
use crate::store;
use crate::sys::read::{self, Mounts};
use crate::view::{self, Content, Ino, Looked, Tree};
use similar::{Algorithm, DiffOp};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Bytes of the largest file that is compared.
pub const SIZE_MAX: u64 = 4 << 20;
/// Lines around what differs.
const AROUND: usize = 3;

/// Why the lines of two files could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The view, or a store.
    #[error(transparent)]
    View(#[from] view::Error),
    /// There is nothing at a path that a generation has.
    #[error("\"{0}\" is not in the view")]
    Missing(String),
    /// A file of a tree that lives.
    #[error("reading {path:?}: {source}")]
    Living {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Where one of two files is.
#[derive(Clone, Copy)]
pub enum Where<'a> {
    /// In a generation of a source.
    Generation(&'a Tree, &'a str, Time, &'a RelPath),
    /// In a tree that lives.
    Living(&'a Path, &'a RelPath),
}

/// How two files differ.
#[derive(Debug, PartialEq, Eq)]
pub enum Patch {
    /// In these lines.
    Lines(Vec<u8>),
    /// One of them is no text.
    Binary,
    /// One of them is larger than [`SIZE_MAX`].
    Large,
}

/// Compares two files.
///
/// # Errors
/// [`Error`].
pub fn patch(old: Where<'_>, new: Where<'_>) -> Result<Patch, Error> {
    let (Some(old), Some(new)) = (bytes(old)?, bytes(new)?) else { return Ok(Patch::Large) };
    if old.contains(&0) || new.contains(&0) {
        return Ok(Patch::Binary);
    }
    Ok(Patch::Lines(unified(&old, &new)))
}

/// Returns the bytes of a file; none: they are too many.
fn bytes(file: Where<'_>) -> Result<Option<Vec<u8>>, Error> {
    match file {
        Where::Generation(tree, source, at, path) => of_view(tree, source, at, path),
        Where::Living(top, path) => {
            of_living(top, path).map_err(|source| Error::Living { path: top.join(path.to_string()), source })
        }
    }
}

fn of_view(tree: &Tree, source: &str, at: Time, path: &RelPath) -> Result<Option<Vec<u8>>, Error> {
    let mut here = Ino::ROOT;
    let generation = format!("@{}", at.view_name());
    for name in [source.as_bytes(), generation.as_bytes()].into_iter().chain(path.names()) {
        let Looked::Found(stat, _) = tree.lookup(here, name)? else {
            return Err(Error::Missing(format!("{source}/{generation}/{path}")));
        };
        here = stat.ino;
    }
    match tree.content(here)? {
        Content::Bytes(bytes) => Ok(Some(bytes.to_vec())),
        Content::Stored { size_bytes, .. } if size_bytes > SIZE_MAX => Ok(None),
        Content::Stored { size_bytes, .. } => {
            let whole = |file: &store::OpenFile| {
                let mut buffer = vec![0; size_bytes as usize];
                let mut done = 0;
                while done < buffer.len() {
                    match file.read_at(&mut buffer[done..], done as u64)? {
                        0 => break,
                        count => done += count,
                    }
                }
                buffer.truncate(done);
                Ok(buffer)
            };
            Ok(Some(tree.ask(here, whole)?))
        }
    }
}

/// By no link, and from no file system that somebody mounted there meanwhile.
fn of_living(top: &Path, path: &RelPath) -> io::Result<Option<Vec<u8>>> {
    let file: File = read::open_beneath(read::open_folder(top)?.as_fd(), path.as_bytes(), Mounts::Refused)?;
    let mut bytes = Vec::new();
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= SIZE_MAX).then_some(bytes))
}

/// Returns the lines, with those around them, without the names of the files.
fn unified(old: &[u8], new: &[u8]) -> Vec<u8> {
    let (old, new) = (lines(old), lines(new));
    let mut text = Vec::new();
    let ops = similar::capture_diff_slices(Algorithm::Myers, &old, &new);
    for group in similar::group_diff_ops(ops, AROUND) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let span = |from: usize, to: usize| match to - from {
            // Nothing: behind this line.
            0 => format!("{from},0"),
            1 => format!("{}", from + 1),
            count => format!("{},{count}", from + 1),
        };
        let before = span(first.old_range().start, last.old_range().end);
        let after = span(first.new_range().start, last.new_range().end);
        text.extend_from_slice(format!("@@ -{before} +{after} @@\n").as_bytes());
        for op in group {
            if let DiffOp::Equal { .. } = op {
                old[op.old_range()].iter().for_each(|line| put(&mut text, b' ', line));
                continue;
            }
            old[op.old_range()].iter().for_each(|line| put(&mut text, b'-', line));
            new[op.new_range()].iter().for_each(|line| put(&mut text, b'+', line));
        }
    }
    text
}

/// Returns the lines of a text, each with its end.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn put(text: &mut Vec<u8>, sign: u8, line: &[u8]) {
    text.push(sign);
    text.extend_from_slice(line);
    if !line.ends_with(b"\n") {
        text.extend_from_slice(b"\n\\ No newline at end of file\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let lines = proptest::collection::vec(prop_oneof!["[ab]{0,2}", "\u{fc}|x"], 0..30);
        (lines, any::<bool>()).prop_map(|(lines, is_ended)| {
            let mut text = lines.join("\n").into_bytes();
            if is_ended && !text.is_empty() {
                text.push(b'\n');
            }
            text
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// patch(1) is the judge.
        #[test]
        fn what_it_prints_makes_the_new_file_of_the_old_one(old in text(), new in text()) {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            std::fs::write(at("file"), &old).unwrap();
            let lines = unified(&old, &new);
            if lines.is_empty() {
                prop_assert_eq!(&old, &new);
                return Ok(());
            }
            std::fs::write(at("diff"), [b"--- file\n+++ file\n".as_slice(), &lines].concat()).unwrap();
            let patched = Command::new("patch").args(["-s", "-f"]).arg(at("file")).arg(at("diff")).output().unwrap();
            prop_assert!(patched.status.success(), "{}", String::from_utf8_lossy(&patched.stdout));
            // An empty file is removed by patch.
            prop_assert_eq!(std::fs::read(at("file")).unwrap_or_default(), new);
        }
    }
}
