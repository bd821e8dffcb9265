//! `.asof`: what the views rest on, as files, each as text and as JSON.
//!
//! `version` the program and its catalog; `sources` each source and its generations; `absent` the sources that
//! a view has not, and why (at the top: from when on each is there); `gaps` the generations that are
//! partial, before which the source did not record what changed, or that have parts that are not read. Promises: computed from the snapshot of the moment, no query. At the top `.asof` is listed; in a
//! view it can be looked up and is not listed, so that copying a view copies backups only.

use super::instant::instant_stamp;
use super::snapshot::Snapshot;
use super::{Error, Ino, Stat, Tree};
use crate::model::{Time, ViewId, printable, printable_json};
use serde_json::{Value, json};

/// Its name.
pub(super) const DIRECTORY: &[u8] = b".asof";

const NAMES: [&str; 8] =
    ["version", "version.json", "sources", "sources.json", "absent", "absent.json", "gaps", "gaps.json"];

pub(super) fn names() -> impl Iterator<Item = &'static [u8]> {
    NAMES.iter().map(|name| name.as_bytes())
}

pub(super) fn index_of(name: &[u8]) -> Option<usize> {
    NAMES.iter().position(|n| n.as_bytes() == name)
}

/// Returns the numbers of the directory and files at the top, whose content changes with what is published.
pub(super) fn all_inodes() -> impl Iterator<Item = Ino> {
    let top = ViewId(0);
    std::iter::once(Ino::of_notes(top)).chain((0..NAMES.len()).map(move |index| Ino::of_note(top, index)))
}

impl Tree {
    pub(super) fn note_stat(&self, view: ViewId, index: usize) -> Result<Stat, Error> {
        let size = text(self, view, index)?.len() as u64;
        let changed = match view {
            ViewId(0) => self.snapshot().read_at,
            view => instant_stamp(self.view(Ino::of_note(view, index), view)?.1.at),
        };
        Ok(Stat::of_made_file(Ino::of_note(view, index), size, changed))
    }
}

/// Returns the content of file `index` of the `.asof` of `view`.
pub(super) fn text(tree: &Tree, view: ViewId, index: usize) -> Result<String, Error> {
    let ino = Ino::of_note(view, index);
    let name = NAMES.get(index).ok_or(Error::Nothing(ino.0))?;
    let (snapshot, at) = match view {
        ViewId(0) => (tree.snapshot(), None),
        view => {
            let (snapshot, key) = tree.view(ino, view)?;
            (snapshot, Some(key.at))
        }
    };
    let (kind, as_json) = match name.strip_suffix(".json") {
        Some(kind) => (kind, true),
        None => (*name, false),
    };
    let rows = match kind {
        "version" => vec![version(tree)],
        "sources" => sources(&snapshot, at),
        "absent" => absent(&snapshot, at),
        _ => gaps(&snapshot, at),
    };
    Ok(if as_json {
        printable_json(&format!("{:#}\n", Value::Array(rows))).into_owned()
    } else {
        rows.iter().map(line).collect()
    })
}

/// One line of text for a JSON object: its values in order, tabs between them.
fn line(row: &Value) -> String {
    let values: Vec<String> = row.as_object().into_iter().flatten().map(|(key, value)| field(key, value)).collect();
    values.join("\t") + "\n"
}

fn field(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) => format!("{key}={}", printable(text)),
        Value::Null => format!("{key}=none"),
        other => format!("{key}={other}"),
    }
}

fn version(tree: &Tree) -> Value {
    json!({
        "program": format!("asof {}", env!("CARGO_PKG_VERSION")),
        "catalog": tree.catalog.to_string_lossy(),
        "format": crate::catalog::FORMAT,
    })
}

fn sources(snapshot: &Snapshot, at: Option<Time>) -> Vec<Value> {
    let row = |s: &crate::catalog::RegistrySource| {
        let seen: Vec<Time> = s.instants.iter().copied().filter(|t| at.is_none_or(|at| *t <= at)).collect();
        json!({
            "source": s.name,
            "kind": s.kind.word(),
            "generations": seen.len(),
            "oldest": seen.first().map(Time::to_string),
            "newest": seen.last().map(Time::to_string),
            "visible_to": s.visible_to.to_string(),
        })
    };
    snapshot.sources().iter().map(row).collect()
}

fn absent(snapshot: &Snapshot, at: Option<Time>) -> Vec<Value> {
    let missing = snapshot.sources().iter().filter(|s| match (at, s.instants.first()) {
        (Some(at), Some(first)) => *first > at,
        (None, Some(_)) | (_, None) => true,
    });
    missing
        .map(|s| match s.instants.first() {
            Some(first) => json!({
                "source": s.name,
                "why": "no generation by then",
                "absent_before": first.to_string(),
            }),
            None => json!({ "source": s.name, "why": "no generation yet", "absent_before": Value::Null }),
        })
        .collect()
}

fn gaps(snapshot: &Snapshot, at: Option<Time>) -> Vec<Value> {
    let mut rows = Vec::new();
    for source in snapshot.sources() {
        let counts = source.losses.iter().zip(&source.gaps).zip(&source.unsupported);
        for (taken_at, ((losses, gaps), unsupported)) in source.instants.iter().zip(counts) {
            if losses + gaps + unsupported > 0 && at.is_none_or(|at| *taken_at <= at) {
                rows.push(json!({
                    "source": source.name,
                    "generation": taken_at.to_string(),
                    "losses": losses,
                    "gaps": gaps,
                    "unsupported": unsupported,
                    "see": format!("asof show {}@{}", source.name, taken_at.view_name()),
                }));
            }
        }
    }
    rows
}
