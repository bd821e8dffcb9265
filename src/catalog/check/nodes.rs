//! One node: its versions against its names and against what they refer to, and what generations noted of it.
//!
//! Promises: a version is looked at once, however many names show it.

use super::looks::has_text;
use super::notes;
use super::pass::Pass;
use super::report::Subject;
use crate::catalog::history::{History, VersionRow};
use crate::catalog::rows::Place;
use crate::catalog::timeline::{Timeline, common};
use crate::model::{FileMap, Key, Kind, NodeId};
use rusqlite::{OptionalExtension, params};
use std::ops::Range;

impl Pass<'_, '_> {
    /// Checks the names and versions of one node; returns the times at which it is a directory.
    pub(super) fn node(&mut self, node: &Timeline<'_>) -> rusqlite::Result<Vec<Range<usize>>> {
        let subject = Subject::Node(node.node);
        if node.node.0 >> 16 == (self.next_node - 1) >> 16 && node.node.0 >= self.next_node {
            let detail = format!("the next one is {}", self.next_node);
            self.add(
                "numbers",
                node.life.first().map(|life| life.start),
                subject,
                "its number would be given out again",
                detail,
            );
        }
        if node.is_root && !node.names.is_empty() {
            self.add("tree", Some(node.names[0].0.start), subject, "the top directory has a name", String::new());
        }
        for life in &node.life {
            match node.versions.binary_search_by_key(&life.start, |(born, _)| *born) {
                Ok(_) => {}
                Err(0) => self.add("versions", Some(life.start), subject, "no version", String::new()),
                Err(next) => {
                    let detail = format!("of {}", node.versions[next - 1].1.row.born);
                    let what = "a version reaches over a time in which it has no name";
                    self.add("versions", Some(life.start), subject, what, detail);
                }
            }
        }
        let counts = node.name_counts();
        for (number, (place, version)) in node.versions.iter().enumerate() {
            self.born(version.row.born, subject);
            let holds = node.holds(number);
            if holds.is_empty() {
                self.add(
                    "versions",
                    None,
                    subject,
                    "a version that no generation shows",
                    format!("born {}", version.row.born),
                );
                continue;
            }
            if !node.lives_at(*place) {
                let detail = format!("born {}", version.row.born);
                self.add("versions", Some(*place), subject, "a version while it has no name", detail);
            } else if let Some(before) = number.checked_sub(1).map(|before| node.versions[before].1)
                && *place > 0
                && node.lives_at(place - 1)
                && notes::is_same(before, version, self.source.rule)
            {
                let detail = format!("born {}", version.row.born);
                self.add("versions", Some(*place), subject, "a version that equals the one before it", detail);
            }
            self.version(node, version, &holds, &counts)?;
        }
        if node.is_root {
            return Ok(node.life.clone());
        }
        let is_dir = node.names.first().is_some_and(|(_, name)| name.kind == Kind::Directory);
        if is_dir && let Some((span, names)) = counts.iter().find(|(_, names)| *names > 1) {
            self.add("tree", Some(span.start), subject, "a directory has several names", format!("{names} names"));
        }
        Ok(if is_dir { node.life.clone() } else { Vec::new() })
    }

    /// Checks one version of a node against the names that show it, and against what it refers to.
    fn version(
        &mut self,
        node: &Timeline<'_>,
        version: &VersionRow,
        holds: &Range<usize>,
        counts: &[(Range<usize>, u32)],
    ) -> rusqlite::Result<()> {
        let (row, subject, place) = (&version.row, Subject::Node(node.node), Some(holds.start));
        if row.bytes != 0 && !(1..=self.last_sequence).contains(&row.bytes) {
            let detail = format!("bytes of generation {} of {}", row.bytes, self.last_sequence);
            self.add("numbers", place, subject, "its bytes came with a generation that never was", detail);
        }
        let Some(rights) = self.states.rights(self.c, row.perm)? else {
            let detail = format!("perm {}", row.perm);
            self.add("references", place, subject, "its owner and mode are not there", detail);
            return Ok(());
        };
        // A mode without a type is reported with its row.
        let Some(kind) = Kind::from_mode(rights.perm.mode) else { return Ok(()) };
        let names = node.names.iter().map(|(span, name)| (common(span, holds), name.kind));
        let top = node.is_root.then(|| (holds.clone(), Kind::Directory));
        if let Some((span, _)) = names.chain(top).find(|(span, named)| !span.is_empty() && *named != kind) {
            let detail = format!("mode {:o}", rights.perm.mode);
            self.add("kinds", Some(span.start), subject, "its name has another type", detail);
        }
        if rights.perm.xattr != 0 {
            let mut statement = self.c.prepare_cached("SELECT EXISTS (SELECT 1 FROM xattr_node WHERE node = ?1)")?;
            if !statement.query_row([node.node.0], |r| r.get::<_, bool>(0))? {
                let what = "it has extended attributes, and is not among those that have";
                self.add("references", place, subject, what, String::new());
            }
        }
        self.place(node, version, kind, holds)?;
        // Volumes and disks say themselves how many names their files have.
        if kind != Kind::Directory && self.source.rule.key != Key::Write {
            self.links(node.node, row.nlink, holds, counts);
        }
        if kind == Kind::File {
            let size = row.size_bytes as i64;
            for life in &node.life {
                self.sizes.add(&common(life, holds), size);
            }
        }
        Ok(())
    }

    /// Checks where the bytes of a version are.
    fn place(
        &mut self,
        node: &Timeline<'_>,
        version: &VersionRow,
        kind: Kind,
        holds: &Range<usize>,
    ) -> rusqlite::Result<()> {
        let (subject, place) = (Subject::Node(node.node), Some(holds.start));
        let on_disk = matches!(kind, Kind::File | Kind::Directory);
        let fits = match version.row.place {
            Place::None => !matches!(kind, Kind::File | Kind::Symlink),
            Place::OwnPath | Place::InObject(_) | Place::WholeDisk => kind == Kind::File,
            Place::OnDisk(_) | Place::Run(_) => on_disk,
            Place::Inline(_) => on_disk || kind == Kind::Symlink,
            Place::Device(_) => matches!(kind, Kind::CharDevice | Kind::BlockDevice),
            Place::Lost => true,
        };
        if !fits {
            let detail = format!("place {}", version.row.place.columns().0);
            self.add("places", place, subject, "its bytes are where those of its type cannot be", detail);
        }
        match (version.row.place, &version.content) {
            (Place::Inline(id) | Place::OnDisk(Some(id)), None) => {
                self.add(
                    "references",
                    place,
                    subject,
                    "what it keeps in the catalog is not there",
                    format!("content {id}"),
                );
            }
            (Place::Inline(_), Some(target)) if kind == Kind::Symlink && !has_text(self.c, target)? => {
                self.add("texts", place, subject, "a link target has no text", String::new());
            }
            (Place::OnDisk(Some(id)), Some(map)) => {
                if let Err(e) = FileMap::decode(map) {
                    self.add("places", place, subject, "its runs cannot be read", format!("content {id}, {e}"));
                }
            }
            (Place::InObject(object), _) => match self.objects.get(&object.0) {
                None => {
                    let detail = format!("object {object}");
                    self.add("references", place, subject, "its bytes are in an object that is not there", detail);
                }
                Some((made_at, has_generation)) => {
                    let instants = &self.generations.instants;
                    let has_path = *has_generation && instants.has(*made_at) && node.lives_at(instants.place(*made_at));
                    let mut pinned = self
                        .c
                        .prepare_cached("SELECT EXISTS (SELECT 1 FROM object_path WHERE object = ?1 AND node = ?2)")?;
                    if !has_path && !pinned.query_row([object.0, node.node.0], |r| r.get::<_, bool>(0))? {
                        let detail = format!("object {object}");
                        self.add("places", place, subject, "nothing says where its bytes are in their object", detail);
                    }
                }
            },
            _ => {}
        }
        Ok(())
    }

    /// Checks a link count against the names that there are. Of a generation that is not complete nobody knows all.
    fn links(&mut self, node: NodeId, nlink: u32, holds: &Range<usize>, counts: &[(Range<usize>, u32)]) {
        // A node that lost and got names in thousands of generations is looked at once, not once a version.
        let first = counts.partition_point(|(span, _)| span.end <= holds.start);
        for (span, names) in counts[first..].iter().take_while(|(span, _)| span.start < holds.end) {
            let span = common(span, holds);
            if *names == nlink || self.complete_before[span.end] == self.complete_before[span.start] {
                continue;
            }
            let complete = span.clone().find(|place| self.complete_before[place + 1] > self.complete_before[*place]);
            let detail = format!("{names} names, link count {nlink}");
            self.add("links", complete, Subject::Node(node), "a link count is not the number of names", detail);
            return;
        }
    }

    /// Adds what a node shows to the states.
    pub(super) fn state(&mut self, history: &History) -> rusqlite::Result<()> {
        let Self { sums: Some(sums), states, generations, .. } = self else { return Ok(()) };
        // A name without a version has been reported.
        states.pieces(self.c, history, self.source.root, &generations.instants, &mut |places, digest| {
            digest.iter().for_each(|digest| sums.add(places.clone(), digest));
        })
    }

    /// Compares what is noted of a node with what differs.
    pub(super) fn notes(&mut self, node: &Timeline<'_>) -> rusqlite::Result<()> {
        let mut statement =
            self.c.prepare_cached("SELECT op FROM change WHERE source = ?1 AND at = ?2 AND node = ?3")?;
        notes::each_change(node, self.source.rule, &mut |place, expected| {
            let key = params![self.source.id.0, self.generations.instants.at(place), node.node.0];
            let noted: Option<i64> = statement.query_row(key, |r| r.get(0)).optional()?;
            self.noted[place] += i64::from(noted.is_some());
            let noted = noted.unwrap_or_default();
            if !expected.allows(noted) {
                let detail = format!("noted {noted}, found {}", expected.must.0);
                self.add("notes", Some(place), Subject::Node(node.node), "what is noted is not what changed", detail);
            }
            Ok(())
        })
    }
}
