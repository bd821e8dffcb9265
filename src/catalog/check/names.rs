//! One name in its directory: that it can be one, is shown, holds at generations, and hangs below the top directory.
//!
//! Promises: the directories above a name are looked at only where a loop may begin with it.

use super::looks::has_text;
use super::pass::{Child, Pass};
use super::report::Subject;
use crate::catalog::tables::{NAMES, fork_of};
use crate::catalog::timeline::covers;
use crate::model::{EntryName, FOREVER, Kind, NodeId};
use rusqlite::{OptionalExtension, params};
use std::collections::HashSet;
use std::ops::Range;

impl Pass<'_, '_> {
    /// Checks one name in a directory that lives during `life`.
    pub(super) fn child(&mut self, child: &Child, life: &[Range<usize>]) -> rusqlite::Result<()> {
        let span = self.generations.span(child.born, child.died);
        let place = Some(span.start);
        let subject = Subject::Name(NodeId(child.dir), &child.name);
        if EntryName::new(&child.name).is_err() {
            self.add("names", place, subject, "not a name that a directory can hold", String::new());
        }
        if !has_text(self.c, &child.name)? {
            self.add("texts", place, subject, "a name has no text", String::new());
        }
        if !self.blocks.contains(&(child.node.0 >> 16)) {
            let detail = format!("node {}", child.node);
            self.add("references", place, subject, "it points to a node of another source", detail);
        }
        let is_hot = self.hot.contains(&child.dir);
        let has_fork = 1 <= child.born && child.born < child.died;
        if has_fork && child.fork != fork_of(is_hot, child.born, child.died) {
            let what = "not where the listing of its directory looks for it";
            let fork = child.fork.map_or("no fork".to_owned(), |fork| format!("fork {fork}"));
            self.add("forks", place, subject, what, format!("{fork}, born {}, died {}", child.born, child.died));
        }
        if self.generations.is_unfinished(child.born) {
            return Ok(());
        }
        self.born(child.born, subject);
        let known = |at| self.generations.instants.has(at) || self.generations.is_unfinished(at);
        if child.died != FOREVER.0 && !known(child.died) {
            self.add("spans", place, subject, "it ends at no generation", format!("died {}", child.died));
        }
        if span.is_empty() {
            let detail = format!("born {}, died {}", child.born, child.died);
            self.add("spans", None, subject, "no generation shows it", detail);
            return Ok(());
        }
        let before = self.before.as_ref().filter(|b| b.dir == child.dir && b.name == child.name);
        if let Some(before) = before.filter(|before| !self.generations.is_unfinished(before.born)) {
            let until = self.generations.span(before.born, before.died).end;
            if until > span.start {
                self.add("names", place, subject, "two names at once", format!("node {}", child.node));
            } else if until == span.start && before.node == child.node {
                self.add(
                    "names",
                    place,
                    subject,
                    "two rows after each other that are one",
                    format!("node {}", child.node),
                );
            }
        }
        if !covers(life, &span) {
            let lost = (span.start..span.end).find(|place| !covers(life, &(*place..place + 1)));
            self.add("tree", lost, subject, "its directory is not there", format!("node {}", child.dir));
        }
        if child.kind == Kind::Directory
            && self.may_close_a_loop(child, span.start)
            && self.is_in_a_loop(child, span.start)?
        {
            self.add("tree", place, Subject::Node(child.node), "it lies in itself", format!("in node {}", child.dir));
        }
        self.entries.add(&span, 1);
        Ok(())
    }

    /// Tells whether the directories above a directory have to be looked at: a loop has a name that begins with it, and at the
    /// oldest generation, where all names begin, one whose directory has the higher number.
    fn may_close_a_loop(&self, child: &Child, place: usize) -> bool {
        place > 0 || child.dir >= child.node.0
    }

    /// Tells whether the directories above `child` lead back to it at `place`.
    fn is_in_a_loop(&self, child: &Child, place: usize) -> rusqlite::Result<bool> {
        let at = self.generations.instants.at(place);
        let mut statement = self.c.prepare_cached(NAMES)?;
        let (mut here, mut passed) = (child.dir, HashSet::new());
        while here != self.source.root.0 && here != child.node.0 && passed.insert(here) {
            match statement.query_row(params![here, at], |r| r.get(0)).optional()? {
                Some(above) => here = above,
                None => return Ok(false),
            }
        }
        Ok(here == child.node.0)
    }
}
