//! What the rows of a source add up to at each generation, against what that says of itself: names, bytes, notes, state.
//!
//! Promises: notes are read one by one only where a generation has more of them than nodes that changed. After all rows were met.

use super::pass::{Generation, Pass};
use super::report::Subject;
use crate::catalog::history::history_of;
use crate::catalog::state::{StateSum, Steps};
use crate::catalog::timeline::Timeline;
use crate::model::NodeId;
use std::collections::HashMap;

impl Pass<'_, '_> {
    /// Compares what holds at each generation with what it says of itself.
    pub(super) fn finish(mut self) -> rusqlite::Result<()> {
        self.report.advance(std::mem::take(&mut self.names));
        let said = std::mem::take(&mut self.said);
        let entries: Vec<i64> = self.entries.at_each().collect();
        let sizes: Vec<i64> = self.sizes.at_each().collect();
        for (place, said) in said.iter().enumerate() {
            let mut compare = |what, said: i64, found: i64| {
                if said != found {
                    self.add("counts", Some(place), Subject::Source, what, format!("{said}, and {found} are there"));
                }
            };
            compare("it does not have the names that it says", said.entries, entries[place]);
            compare("its files do not have the bytes that it says", said.size_bytes, sizes[place]);
        }
        self.count_notes(&said)?;
        let sums = self.sums.take().map(Steps::sums).unwrap_or_default();
        for (place, (said, found)) in said.iter().zip(sums).enumerate() {
            let Some(state) = said.state.map(StateSum::from_bytes) else { continue };
            if state != found {
                let what = "it does not show what was published";
                self.add("state", Some(place), Subject::Source, what, String::new());
            }
        }
        Ok(())
    }

    /// Compares the notes of each generation with their number, and, where what changed was counted, with those that were found.
    fn count_notes(&mut self, said: &[Generation]) -> rusqlite::Result<()> {
        let deep = self.sums.is_some();
        let mut statement = self.c.prepare_cached("SELECT at, count(*) FROM change WHERE source = ?1 GROUP BY at")?;
        let rows = statement.query_map([self.source.id.0], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let notes: HashMap<i64, i64> = rows.collect::<rusqlite::Result<_>>()?;
        for at in notes.keys() {
            let place = Some(self.generations.instants.place(*at));
            if self.generations.is_unfinished(*at) {
                continue;
            }
            if !self.generations.instants.has(*at) {
                self.add(
                    "notes",
                    place,
                    Subject::Source,
                    "notes of a generation that is not there",
                    format!("at {at}"),
                );
            } else if place == Some(0) {
                self.add("notes", place, Subject::Source, "the oldest generation has notes", String::new());
            }
        }
        for (place, said) in said.iter().enumerate() {
            let at = self.generations.instants.at(place).unwrap_or_default();
            let count = notes.get(&at).copied().unwrap_or_default();
            // All of the oldest one is new.
            let changed = if place == 0 { said.entries } else { count };
            if said.changed_nodes != changed {
                let detail = format!("{}, and {changed} are noted", said.changed_nodes);
                self.add("counts", Some(place), Subject::Source, "it did not change what it says", detail);
            }
            if deep && place > 0 && count > self.noted[place] {
                self.needless_notes(place, at)?;
            }
        }
        Ok(())
    }

    /// Reports the notes of one generation about nodes to which nothing happened.
    fn needless_notes(&mut self, place: usize, at: i64) -> rusqlite::Result<()> {
        let mut statement = self.c.prepare_cached("SELECT node, op FROM change WHERE source = ?1 AND at = ?2")?;
        let mut rows = statement.query([self.source.id.0, at])?;
        while let Some(row) = rows.next()? {
            let (id, op): (i64, i64) = (row.get(0)?, row.get(1)?);
            let history = history_of(self.c, NodeId(id))?;
            let node = Timeline::new(&history, self.source.root, &self.generations);
            if !node.turns().contains(&place) {
                self.add(
                    "notes",
                    Some(place),
                    Subject::Node(NodeId(id)),
                    "noted, and nothing changed",
                    format!("noted {op}"),
                );
            }
        }
        Ok(())
    }
}
