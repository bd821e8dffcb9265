//! What is found: each kind of violation a limited number of times, with its path where there is one.
//!
//! Promises: what cannot be read is a violation and ends the step that wanted it, not the check. A path is looked up
//! only for what is told.

use super::violation::{Checked, Checking, TOLD_MAX, Violation};
use crate::catalog::{Error, Reader, SourceRow};
use crate::model::{EntryName, NodeId, SourceId, Time, escape_bytes};
use rusqlite::{Connection, ErrorCode};
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The check that reports what SQLite cannot read.
pub const PAGES: &str = "pages";

/// What a violation is about.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// The source as a whole.
    Source,
    /// A node.
    Node(NodeId),
    /// A name in a directory.
    Name(NodeId, &'a [u8]),
}

/// Collects what is found.
pub(super) struct Report<'a> {
    reader: &'a Reader,
    tell: &'a mut dyn FnMut(Checking<'_>),
    found: BTreeMap<(&'static str, &'static str), u64>,
    sources: OnceCell<HashMap<SourceId, SourceRow>>,
    pub(super) checked: Checked,
}

impl<'a> Report<'a> {
    pub(super) fn new(reader: &'a Reader, tell: &'a mut dyn FnMut(Checking<'_>)) -> Self {
        Self { reader, tell, found: BTreeMap::new(), sources: OnceCell::new(), checked: Checked::default() }
    }

    pub(super) fn begin(&mut self, what: &str, names: Option<u64>) {
        (self.tell)(Checking::Begin(what, names));
    }

    pub(super) fn advance(&mut self, names: u64) {
        self.checked.names += names;
        (self.tell)(Checking::Names(names));
    }

    /// Returns the file that is checked.
    pub(super) fn path(&self) -> &'a Path {
        self.reader.path()
    }

    /// Runs one step inside a read transaction of its own. None: what it needs cannot be read, which is reported.
    ///
    /// # Errors
    /// What is no damage: a file that is busy, or that the system cannot read.
    pub(super) fn step<T>(
        &mut self,
        doing: &'static str,
        step: impl FnOnce(&mut Self, &Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        self.or_told(doing, self.reader.rest())?;
        let reader = self.reader;
        let mut outcome = None;
        let run = reader.run(doing, |c| {
            outcome = Some(step(self, c)?);
            Ok(())
        });
        self.or_told(doing, run.map(|()| outcome)).map(Option::flatten)
    }

    /// Returns what was read outside of a step. None: it cannot be read, which is reported.
    ///
    /// # Errors
    /// As [`Report::step`].
    pub(super) fn or_told<T>(&mut self, doing: &'static str, read: Result<T, Error>) -> Result<Option<T>, Error> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(Error::Sqlite { source, .. }) if is_damage(&source.0) => {
                self.add(PAGES, (None, None), Subject::Source, "cannot be read", format!("{doing}: {source}"));
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Adds a violation.
    pub(super) fn add(
        &mut self,
        check: &'static str,
        (source, at): (Option<SourceId>, Option<i64>),
        subject: Subject<'_>,
        what: &'static str,
        detail: impl Into<String>,
    ) {
        let count = self.found.entry((check, what)).or_default();
        *count += 1;
        if *count > TOLD_MAX {
            return;
        }
        let (at, detail) = (at.map(Time), detail.into());
        let known = source.and_then(|id| self.sources().get(&id));
        let (path, detail) = match (known, subject.text()) {
            (_, None) => (None, detail),
            (Some(row), Some(text)) => (Some(self.whereabouts(row.root, subject, at).unwrap_or(text)), detail),
            (None, Some(text)) => (None, if detail.is_empty() { text } else { format!("{text}: {detail}") }),
        };
        // Where it is damaged or another's work, it may hold what a terminal obeys.
        let name = |row: &SourceRow| escape_bytes(row.name.as_bytes()).into_owned();
        let source = known.map(name).or(source.map(|id| format!("number {id}")));
        (self.tell)(Checking::Found(&Violation { check, source, at, path, what, detail }));
    }

    /// Returns what was found, with what was only counted.
    pub(super) fn finish(self) -> Checked {
        let untold = self.found.iter().filter(|(_, count)| **count > TOLD_MAX);
        Checked {
            violations: self.found.values().sum(),
            untold: untold.map(|((check, what), count)| (*check, *what, count - TOLD_MAX)).collect(),
            ..self.checked
        }
    }

    /// Returns the sources by id; none of them if their table cannot be read, which another step reports.
    fn sources(&self) -> &HashMap<SourceId, SourceRow> {
        self.sources.get_or_init(|| {
            let rows = self.reader.sources().unwrap_or_default();
            rows.into_iter().map(|row| (row.id, row)).collect()
        })
    }

    /// Returns where a subject is, as far as the catalog tells one; what is damaged may have none.
    fn whereabouts(&self, root: NodeId, subject: Subject<'_>, at: Option<Time>) -> Option<String> {
        let (node, name) = match subject {
            Subject::Source => return None,
            Subject::Node(node) => (node, None),
            Subject::Name(dir, name) => (dir, Some(EntryName::new(name).ok()?)),
        };
        let mut path = self.reader.path_of(root, node, at?).ok()??;
        if let Some(name) = name {
            path.push(&name);
        }
        Some(path.to_string())
    }
}

impl Subject<'_> {
    /// Returns it as a row, where no path tells it.
    fn text(self) -> Option<String> {
        match self {
            Self::Source => None,
            Self::Node(node) => Some(format!("node {node}")),
            Self::Name(dir, name) => Some(format!("name \"{}\" in node {dir}", escape_bytes(name))),
        }
    }
}

/// Tells damage from what keeps a file from being read: another process, the system.
fn is_damage(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseCorrupt, NotADatabase, TooBig, TypeMismatch, Unknown};
    match error.sqlite_error_code() {
        // A column that is not of its type, a number that names no kind, a table that is not there.
        None | Some(DatabaseCorrupt | NotADatabase | TooBig | TypeMismatch | Unknown) => true,
        Some(_) => false,
    }
}
