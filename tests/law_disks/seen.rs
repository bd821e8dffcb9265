//! What is seen of a tree, what cannot be read of it included, and whether two are equal.

use crate::common::{Picture, Shown, ino_of, joined};
use asof::model::{Kind, chain, escape_bytes};
use asof::view::{Content, Ino, Looked, Stat, Tree};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

/// What is seen under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It is this.
    Is(Box<Shown>),
    /// It is this, and not all names in it are known.
    InDoubt(Box<Shown>),
    /// Its name is there, and it cannot be read, for this reason.
    Unreadable(String),
}

/// So much is read of a file.
const READ_BYTES_MAX: u64 = 1 << 20;

/// A tree by path; that of the top is empty.
pub(crate) type Seen = BTreeMap<Vec<u8>, What>;

/// Returns what a view shows below a path.
pub(crate) fn seen(tree: &Tree, path: &str) -> Seen {
    let root = ino_of(tree, path).unwrap_or_else(|| panic!("{path} is not there"));
    let (mut seen, mut numbers, mut todo) = (Seen::new(), HashMap::new(), vec![(Vec::new(), root)]);
    while let Some((path, ino)) = todo.pop() {
        let (stat, _) = tree.stat(ino).expect("what is listed has attributes");
        let what = look(tree, &stat, &mut |name, ino| todo.push((joined(&path, name), ino)));
        if stat.kind != Kind::Directory {
            numbers.entry(ino).or_insert_with(Vec::new).push(path.clone());
        }
        seen.insert(path, what);
    }
    for paths in numbers.values_mut() {
        paths.sort();
        for path in &*paths {
            if let Some(What::Is(shown)) = seen.get_mut(path) {
                shown.same_file_as.clone_from(&paths[0]);
            }
        }
    }
    seen
}

fn look(tree: &Tree, stat: &Stat, below: &mut dyn FnMut(&[u8], Ino)) -> What {
    let mut shown = Shown {
        kind: stat.kind,
        perm: stat.perm,
        uid: stat.uid,
        gid: stat.gid,
        size_bytes: stat.size_bytes,
        mtime: (stat.mtime.seconds, stat.mtime.nanos),
        ctime: None,
        nlink: stat.nlink,
        rdev: stat.rdev,
        target: Vec::new(),
        xattrs: Vec::new(),
        same_file_as: Vec::new(),
        bytes: None,
    };
    if stat.kind == Kind::Symlink {
        match tree.readlink(stat.ino) {
            Ok(target) => shown.target = target,
            Err(e) => return What::Unreadable(chain(&e)),
        }
    }
    if stat.kind == Kind::File {
        // A flipped bit may make it as long as a file can be.
        let mut bytes = vec![0; stat.size_bytes.min(READ_BYTES_MAX) as usize];
        let read = match tree.content(stat.ino) {
            Ok(Content::Bytes(kept)) => {
                let length = kept.len().min(bytes.len());
                bytes[..length].copy_from_slice(&kept[..length]);
                Ok(length)
            }
            Ok(Content::Stored { .. }) => match tree.open(stat.ino) {
                Ok(file) => file.read_at(&mut bytes, 0).map_err(|e| chain(&e)),
                Err(e) => Err(chain(&e)),
            },
            Err(e) => Err(chain(&e)),
        };
        match read {
            Ok(read) => assert_eq!(read, bytes.len(), "a file is read to its end"),
            Err(e) => return What::Unreadable(e),
        }
        shown.bytes = Some(bytes);
    }
    let names = match tree.xattr_names(stat.ino) {
        Ok(names) => names,
        Err(e) => return What::Unreadable(chain(&e)),
    };
    for name in names {
        let value = tree.xattr(stat.ino, &name).expect("it was listed").expect("it was listed");
        shown.xattrs.push((name, value));
    }
    shown.xattrs.sort();
    if stat.kind != Kind::Directory {
        return What::Is(Box::new(shown));
    }
    let mut entries = Vec::new();
    let listed = tree.list(stat.ino, 0, &mut |name, stat, _, _| {
        if name != b"." && name != b".." {
            entries.push((name.to_vec(), stat.ino));
        }
        ControlFlow::Continue(())
    });
    for (name, ino) in &entries {
        match tree.lookup(stat.ino, name).expect("a listed entry can be looked up") {
            Looked::Found(found, _) => assert_eq!(found.ino, *ino),
            Looked::Missing(_) => panic!("{:?} is listed and not found", escape_bytes(name)),
        }
        below(name, *ino);
    }
    if listed.is_ok() { What::Is(Box::new(shown)) } else { What::InDoubt(Box::new(shown)) }
}

/// Returns what the kernel showed.
pub(crate) fn seen_by_kernel(picture: &Picture) -> Seen {
    let plain = |shown: &Shown| {
        let mut shown = shown.clone();
        if shown.kind == Kind::Directory {
            shown.same_file_as.clear();
        }
        What::Is(Box::new(shown))
    };
    picture.iter().map(|(path, shown)| (path.clone(), plain(shown))).collect()
}

/// Fails with the first path at which two trees differ. What cannot be read need only be so in both, and a directory in doubt: what its
/// record says may be from the night before.
#[track_caller]
pub(crate) fn assert_equal(found: &Seen, expected: &Seen, what: &str) {
    let paths: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    for path in paths {
        let (found, expected) = (found.get(path), expected.get(path));
        let equal = match (found, expected) {
            (Some(found), Some(What::Unreadable(_))) => !matches!(found, What::Is(_)),
            (Some(What::InDoubt(found)), Some(What::InDoubt(expected))) => found.kind == expected.kind,
            _ => found == expected,
        };
        let brief = |what: Option<&What>| {
            let mut text = format!("{what:?}");
            let most = (0..=text.len().min(700)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(most);
            text
        };
        assert!(
            equal,
            "{what}\"{}\" differs\n   found {}\nexpected {}",
            escape_bytes(path),
            brief(found),
            brief(expected)
        );
    }
}
