//! A listing of a directory while it is filled.
//!
//! Promises: names come in the order of their bytes, each once; a look that was in vain is taken back whole, with what was said.

use super::mark::Mark;
use crate::model::{EntryName, Finding, FindingKind, Kind, Listing, RelPath};
use crate::sys::walk::errno;
use std::io;

/// A directory as it was read, with what the walk needs to go on.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) listing: Listing,
    /// One mark for each entry of kind directory, in name order.
    pub(super) marks: Vec<Mark>,
    /// Whether something changed while it was read.
    pub(super) changed: bool,
}

/// A listing while it is filled.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) listing: Listing,
    /// Place in `listing.entries` and mark of each directory.
    pub(super) directories: Vec<(usize, Mark)>,
    changed: bool,
}

/// How far an [`Out`] is filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    findings: usize,
    complete: bool,
    changed: bool,
}

impl Out {
    /// Takes note that another directory is there than was named.
    pub(super) fn exchanged(&mut self) {
        self.listing.complete = false;
        self.changed = true;
        let text = "another directory was put in its place while the copy was walked".to_owned();
        self.find(None, FindingKind::Unreadable, text);
    }

    pub(super) fn new(number: u64, path: RelPath) -> Self {
        let listing = Listing { number, path, root: None, entries: Vec::new(), complete: true, findings: Vec::new() };
        Self { listing, directories: Vec::new(), changed: false }
    }

    pub(super) fn find(&mut self, name: Option<&EntryName>, kind: FindingKind, detail: String) {
        let path = match name {
            Some(name) => self.listing.path.join(name),
            None => self.listing.path.clone(),
        };
        self.listing.findings.push(Finding { kind, path, detail });
    }

    /// Returns how far it is filled before any name is.
    pub(super) fn mark(&self) -> Filled {
        Filled { findings: self.listing.findings.len(), complete: self.listing.complete, changed: self.changed }
    }

    /// Takes back all names, and what was said of them.
    pub(super) fn back_to(&mut self, filled: Filled) {
        self.listing.entries.clear();
        self.directories.clear();
        self.listing.findings.truncate(filled.findings);
        self.listing.complete = filled.complete;
        self.changed = filled.changed;
    }

    pub(super) fn not_listed(&mut self, error: &io::Error) {
        self.listing.complete = false;
        self.find(None, FindingKind::Unreadable, format!("listing: {error}"));
    }

    pub(super) fn change(&mut self, name: Option<&EntryName>, detail: String) {
        self.changed = true;
        self.find(name, FindingKind::Changed, detail);
    }

    pub(super) fn vanish(&mut self, name: &EntryName) {
        self.change(Some(name), "it vanished while its directory was read".to_owned());
    }

    /// A name that is there and cannot be listed: the listing is not all.
    pub(super) fn lose(&mut self, name: Option<&EntryName>, detail: String) {
        self.listing.complete = false;
        self.find(name, FindingKind::Unreadable, detail);
    }

    pub(super) fn not_opened(&mut self, error: &io::Error) {
        match error.raw_os_error() {
            // A mount that came after the parent was read, or an automount that the parent did not tell as one.
            Some(errno::EXDEV) => {
                self.find(None, FindingKind::Boundary, boundary_text(Kind::Directory).to_owned());
                self.listing.complete = false;
            }
            // It was a directory when its parent was read.
            Some(errno::ENOENT | errno::ENOTDIR | errno::ELOOP) => {
                self.changed = true;
                self.lose(None, format!("it vanished while the copy was walked: {error}"));
            }
            _ => self.not_listed(error),
        }
    }

    /// Puts the entries in name order and hands over.
    pub(super) fn finish(mut self) -> Read {
        // Numbers are sorted and not the entries, which are long; then every entry moves at most once or twice.
        let entries = &mut self.listing.entries;
        let mut order: Vec<u32> = (0..u32::try_from(entries.len()).unwrap_or(u32::MAX)).collect();
        order.sort_unstable_by(|a, b| entries[*a as usize].name.cmp(&entries[*b as usize].name));
        let mut place = vec![0u32; order.len()];
        for (to, from) in order.iter().enumerate() {
            place[*from as usize] = to as u32;
        }
        for directory in &mut self.directories {
            directory.0 = place[directory.0] as usize;
        }
        self.directories.sort_unstable_by_key(|directory| directory.0);
        for from in 0..place.len() {
            while place[from] as usize != from {
                let to = place[from] as usize;
                entries.swap(from, to);
                place.swap(from, to);
            }
        }
        self.drop_repeated();
        let marks = self.directories.into_iter().map(|directory| directory.1).collect();
        Read { listing: self.listing, marks, changed: self.changed }
    }

    /// Drops all but the first of equal names: a file system may list a name twice while it is renamed.
    fn drop_repeated(&mut self) {
        let entries = &mut self.listing.entries;
        if !entries.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return;
        }
        let repeated: Vec<bool> =
            (0..entries.len()).map(|at| at > 0 && entries[at].name == entries[at - 1].name).collect();
        self.directories.retain(|directory| !repeated[directory.0]);
        let mut at = 0;
        entries.retain(|_| {
            at += 1;
            !repeated[at - 1]
        });
    }
}

pub(super) fn boundary_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Directory => "another file system is mounted here; it was not entered",
        _ => "another file system is mounted here; this file is not of the copy",
    }
}
