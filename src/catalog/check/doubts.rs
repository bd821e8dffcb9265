//! What generations keep as unknown, counted anew from the generation before each, against the rows.
//!
//! Promises: what is in doubt is a copy of the state before, and only that is. Costs what is kept, once for each generation that keeps it.

use super::report::{Report, Subject};
use crate::catalog::Error;
use crate::catalog::doubt::{doubts_at, kept_at, kept_of};
use crate::catalog::history::Instants;
use crate::catalog::kept::has_any;
use crate::catalog::parts::perm;
use crate::catalog::rows::SourceRow;
use crate::catalog::tables::{self, Slot};
use crate::model::{Key, Kind, NodeId, Time};
use rusqlite::Connection;
use std::collections::BTreeSet;

/// The name of the invariant.
const DOUBTS: &str = "doubts";

impl Report<'_> {
    /// Checks what the generations of a source keep.
    pub(super) fn doubts(&mut self, source: &SourceRow) -> Result<(), Error> {
        self.step("checking what is unknown", |report, c| {
            if !has_any(c)? {
                return Ok(());
            }
            let instants = Instants::load(c, source.id)?;
            let mut before = None;
            for at in (0..instants.len()).filter_map(|place| instants.at(place).map(Time)) {
                generation(report, c, source, (at, before))?;
                before = Some(at);
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn generation(
    report: &mut Report<'_>,
    c: &Connection,
    source: &SourceRow,
    (at, before): (Time, Option<Time>),
) -> rusqlite::Result<()> {
    let doubts = doubts_at(c, source.id, at)?;
    let kept: BTreeSet<_> = kept_at(c, source.id, at)?.into_iter().collect();
    let expected = kept_of(c, (at, before), &doubts, &|name| kept.contains(name))?;
    let mut add = |subject: Subject<'_>, what, detail| {
        report.add(DOUBTS, (Some(source.id), Some(at.0)), subject, what, detail);
    };
    for (dir, reason) in &doubts {
        if *dir != source.root && !tables::has_name_at(c, *dir, at)? {
            add(Subject::Node(*dir), "in doubt, and not there", reason.clone());
        }
    }
    let mut nodes = BTreeSet::new();
    for name in &kept {
        let subject = Subject::Name(name.0, &name.1);
        let row = tables::lookup(c, Slot { dir: name.0, name: &name.1 }, at)?;
        match (expected.get(name), row) {
            (_, None) => add(subject, "kept, and not there", String::new()),
            (None, _) => add(subject, "kept, and the generation before has no such name in doubt", String::new()),
            (Some((node, _)), Some(row)) if row.node != *node => {
                add(subject, "kept, and not what it was", format!("node {}, not {node}", row.node));
            }
            (Some((node, _)), _) => drop(nodes.insert(*node)),
        }
    }
    for name in expected.keys().filter(|name| !kept.contains(*name)) {
        add(Subject::Name(name.0, &name.1), "in doubt, and not kept", String::new());
    }
    for node in nodes {
        let names = tables::names_at(c, node, at)?;
        let seen = names.into_iter().filter(|(dir, name)| !kept.contains(&(NodeId(*dir), name.clone()))).count();
        // A name without a version has been reported.
        let Some(row) = tables::version_at(c, node, at)? else { continue };
        let kind = Kind::from_mode(perm(c, row.perm)?.mode);
        // Volumes and disks say themselves how many names their files have.
        let counts = kind != Some(Kind::Directory) && source.rule.key != Key::Write;
        if seen == 0 && row.born == at.0 {
            add(Subject::Node(node), "a version of what was not seen", String::new());
        } else if seen > 0 && counts && row.nlink as usize != seen {
            let detail = format!("{seen} names were seen, link count {}", row.nlink);
            add(Subject::Node(node), "a link count is not the number of names that were seen", detail);
        }
    }
    Ok(())
}
