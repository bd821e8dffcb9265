//! The versions of one node at an instant that is put in or taken out, and those of its neighbours, which are made to meet.
//!
//! A node has a version row at an instant if it lives there and is not the same as at the one before. `t` or `g` is the instant, `n` the
//! one after it.
//!
//! Promises: what the node is at every other instant stays as it was.

use super::notes::{self, Subject};
use super::rows::NodeRow;
use super::runs::Beside;
use super::tables;
use crate::model::{NodeId, Time};
use rusqlite::Connection;

/// Writes the versions of a node at an instant that is put in and at the one after it, given what it is at the one before, there and at
/// the one after, where it lives. A node has a version row at an instant if it lives there and is not the same as at the one before.
pub(super) fn put_versions(
    c: &Connection,
    subject: &Subject,
    (node, beside): (NodeId, Beside),
    then: Option<NodeRow>,
    now: Option<NodeRow>,
    later: Option<NodeRow>,
) -> rusqlite::Result<()> {
    let same = |a: &Option<NodeRow>, b: &Option<NodeRow>| match (a, b) {
        (Some(a), Some(b)) => Ok(notes::differ(c, node, a, b, subject.rule)?.is_empty()),
        _ => Ok::<_, rusqlite::Error>(false),
    };
    let at = beside.at;
    let mut needs_now = now.is_some() && !same(&then, &now)?;
    let is_oldest = beside.before.is_none();
    if let (Some(later), Some(next)) = (later, beside.after) {
        let needs_later = !same(&now, &Some(later))?;
        // Where it begins: what was done at `t` may have moved it.
        let born = tables::version_at(c, node, next)?.map_or(later.born, |row| row.born);
        match (needs_later, born) {
            (true, born) if born != next.0 => {
                if is_oldest {
                    // It said so since the oldest, which it is no more.
                    tables::delete_version(c, node, born)?;
                }
                tables::put_version(c, node, &NodeRow { born: next.0, ..later })?;
            }
            // It says so of `t` already.
            (false, born) if is_oldest && born <= at.0 => needs_now = false,
            (false, born) if born > at.0 => tables::delete_version(c, node, born)?,
            _ => {}
        }
    }
    match now {
        Some(row) if needs_now => tables::put_version(c, node, &NodeRow { born: at.0, ..row }),
        _ => Ok(()),
    }
}

/// Versions at an instant that is taken out.
#[derive(Clone, Copy)]
pub(super) struct TakeOut<'v> {
    pub(super) c: &'v Connection,
    pub(super) subject: &'v Subject,
    pub(super) at: Time,
    /// Whether the caller sees to what only a version that goes had in the catalog.
    pub(super) keeps_content: bool,
}

impl TakeOut<'_> {
    /// Removes the version of one node there, given what it is at the one before and the one after, where it lives.
    pub(super) fn version(
        &self,
        node: NodeId,
        (previous, next): (Option<Time>, Option<Time>),
        then: Option<&NodeRow>,
        later: Option<&NodeRow>,
    ) -> rusqlite::Result<()> {
        match (previous, next) {
            (None, None) => {
                let births = tables::births(self.c, node)?;
                births.into_iter().try_for_each(|born| self.drop_version(node, born))
            }
            (Some(_), None) => self.drop_version(node, self.at.0),
            (None, Some(next)) => self.oldest_version(node, next),
            (Some(_), Some(next)) => self.middle_version(node, next, then.copied(), later.copied()),
        }
    }

    /// Where it is the oldest: what `n` has not any more goes.
    pub(super) fn oldest_version(&self, node: NodeId, next: Time) -> rusqlite::Result<()> {
        let births = tables::births(self.c, node)?;
        let lives = node == self.subject.root || tables::has_name_at(self.c, node, next)?;
        if births.contains(&next.0) || !lives {
            for born in births.into_iter().filter(|born| *born < next.0) {
                self.drop_version(node, born)?;
            }
        }
        Ok(())
    }

    /// Where it is one in between: `n` gets a version if it needs one, and loses one that it needs no more.
    pub(super) fn middle_version(
        &self,
        node: NodeId,
        next: Time,
        then: Option<NodeRow>,
        later: Option<NodeRow>,
    ) -> rusqlite::Result<()> {
        let births = tables::births(self.c, node)?;
        let needs = match (&then, &later) {
            (Some(then), Some(later)) => !notes::differ(self.c, node, then, later, self.subject.rule)?.is_empty(),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let has = births.contains(&next.0);
        if needs
            && !has
            && let Some(later) = later
        {
            // Before the row of `g` goes, so that what both name stays.
            tables::put_version(self.c, node, &NodeRow { born: next.0, ..later })?;
        }
        if births.contains(&self.at.0) {
            self.drop_version(node, self.at.0)?;
        }
        if has && !needs && later.is_some() {
            self.drop_version(node, next.0)?;
        }
        Ok(())
    }

    /// Removes a version, and what only it named.
    pub(super) fn drop_version(&self, node: NodeId, born: i64) -> rusqlite::Result<()> {
        let Some(row) = tables::version_at(self.c, node, Time(born))?.filter(|row| row.born == born) else {
            return Ok(());
        };
        tables::delete_version(self.c, node, born)?;
        if self.keeps_content { Ok(()) } else { tables::drop_content(self.c, node, row.place) }
    }
}
