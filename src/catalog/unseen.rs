//! Telling doubts: what an indexer says of directories that it could not list, and what the generation keeps then ([`super::doubt`]).
//!
//! Promises: what was seen stays as it was told; what was told of anything to which nothing that was seen leads is taken back.

use super::doubt::{doubts_at, edit_doubt, edit_kept, kept_at};
use super::draft::Mode;
use super::kept::{has_any, is_kept};
use super::rows::{NodeRow, Place};
use super::runs::{self, Beside};
use super::tables;
use super::unknown::Unknown;
use super::{Error, GenerationWriter};
use crate::model::manifest::Edit;
use crate::model::{EntryName, Kind, NodeId};
use std::collections::{BTreeMap, BTreeSet};

impl GenerationWriter<'_> {
    /// Says that the names in `dir`, which was seen, are not all known, for this reason: what the base has there and nobody saw is kept
    /// as unknown. Before the names in it are told; those that are as they were have to be told too ([`GenerationWriter::saw`]).
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn doubt(&mut self, dir: NodeId, reason: &str) -> Result<(), Error> {
        let mut unknown = match self.unknown.take() {
            Some(unknown) => unknown,
            None => self.aside(Unknown::new())?,
        };
        let done = unknown.doubt(dir, reason);
        self.unknown = Some(unknown);
        self.aside(done)?;
        self.tee(&Edit::Doubt { node: dir, subtree: false, reason })?;
        match self.current_version(dir)? {
            Some(row) if row.place != Place::Lost => {
                self.untold(|writer| writer.amend(dir, NodeRow { place: Place::Lost, ..row }))
            }
            _ => Ok(()),
        }
    }

    /// Says that `name` in `dir` was seen and is as it was. Only of a directory in doubt this says anything.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn saw(&mut self, dir: NodeId, name: &EntryName) -> Result<(), Error> {
        let Some(unknown) = &self.unknown else { return Ok(()) };
        if self.aside(unknown.is_in_doubt(dir))? {
            self.tee(&Edit::Saw { dir, name: name.as_bytes() })?;
        }
        self.see(dir, name)
    }

    /// Says so of a directory that may be in doubt from later on.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn saw_anyway(&mut self, dir: NodeId, name: &EntryName) -> Result<(), Error> {
        if self.unknown.is_none() {
            return Ok(());
        }
        self.tee(&Edit::Saw { dir, name: name.as_bytes() })?;
        self.see(dir, name)
    }

    /// Notes that `name` in `dir` was seen.
    pub(super) fn see(&mut self, dir: NodeId, name: &EntryName) -> Result<(), Error> {
        let Some(unknown) = &mut self.unknown else { return Ok(()) };
        let done = unknown.see(dir, name.as_bytes());
        self.aside(done)
    }

    /// Goes on with the doubts of the base, where only what changed since is told: names that it kept stay so until they are told.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn carry_doubts(&mut self) -> Result<(), Error> {
        let (Some(previous), true) = (self.previous, self.base_has_doubts) else { return Ok(()) };
        let source = self.source;
        for (dir, reason) in self.sql("reading what is unknown", |c| doubts_at(c, source, previous))? {
            let names = self.sql("listing a directory", |c| tables::list_rows(c, dir, previous))?;
            self.doubt(dir, &reason)?;
            for (name, _) in names {
                if !self.sql("reading what is unknown", |c| is_kept(c, dir, name.as_bytes(), previous))? {
                    self.saw(dir, &name)?;
                }
            }
        }
        Ok(())
    }

    /// Says that `dir` is there, since something in it is told: if the base kept its name, that was seen now, and what else is in it is not.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn vouch(&mut self, dir: NodeId) -> Result<(), Error> {
        let (Some(previous), true) = (self.previous, self.unknown.is_some()) else { return Ok(()) };
        let mut here = dir;
        while here != self.root {
            let Some((above, name)) = self.current_names(here)?.into_iter().next() else { return Ok(()) };
            if !self.sql("reading what is unknown", |c| is_kept(c, above, name.as_bytes(), previous))? {
                return Ok(());
            }
            self.saw_anyway(above, &name)?;
            self.doubt(here, "it was not listed since it could not be reached")?;
            here = above;
        }
        Ok(())
    }

    /// Returns how many names this generation keeps.
    pub(super) fn kept_count(&self) -> u64 {
        self.unknown.as_ref().map_or(0, |unknown| unknown.kept)
    }

    /// Returns how many names of `node` were seen in this generation, as far as it was told.
    pub(super) fn seen_names(&self, node: NodeId) -> Result<usize, Error> {
        let names = self.current_names(node)?;
        let Some(unknown) = &self.unknown else { return Ok(names.len()) };
        let mut seen = 0;
        for (dir, name) in names {
            seen += usize::from(!self.aside(unknown.is_kept(dir, name.as_bytes()))?);
        }
        Ok(seen)
    }

    /// Works out what is kept, once all names are told: the names in directories in doubt that nobody saw, with all that is below them. What
    /// was told of anything below a directory that nobody saw is taken back, since nothing leads there.
    pub(super) fn keep_unseen(&mut self) -> Result<(), Error> {
        let Some(mut unknown) = self.unknown.take() else { return Ok(()) };
        // Whoever applies the manifest works this out again, from what is before it then.
        let kept = self.untold(|writer| writer.keep_below(&mut unknown));
        self.unknown = Some(unknown);
        kept?;
        let nodes = self.aside(self.unknown.as_ref().map_or(Ok(Vec::new()), Unknown::kept_nodes))?;
        for node in nodes {
            if self.seen_names(node)? > 0 {
                // Its links may be fewer than they were.
                self.ledger.linked.insert(node);
            } else {
                self.withdraw(node)?;
            }
        }
        Ok(())
    }

    fn keep_below(&mut self, unknown: &mut Unknown) -> Result<(), Error> {
        self.aside(unknown.keep_nothing())?;
        let Some(previous) = self.previous else { return Ok(()) };
        let mut todo: Vec<(NodeId, bool)> = Vec::new();
        for (dir, _) in self.aside(unknown.doubts())? {
            if dir == self.root || self.has_name(dir)? {
                todo.push((dir, false));
            }
        }
        while let Some((dir, is_kept)) = todo.pop() {
            let before = self.sql("listing a directory", |c| tables::list_rows(c, dir, previous))?;
            if is_kept {
                for name in self.names_in(dir)? {
                    if before.binary_search_by(|(other, _)| other.cmp(&name)).is_err() {
                        self.unlink(dir, &name)?;
                    }
                }
            }
            for (name, row) in before {
                let now = self.lookup_current(dir, &name)?.map(|(node, _)| node);
                let is_same = now == Some(row.node);
                if !is_kept && (!is_same || self.aside(unknown.has_seen(dir, name.as_bytes()))?) {
                    continue;
                }
                let is_directory = row.kind.0 == Kind::Directory;
                if is_directory && self.current_names(row.node)?.len() > usize::from(is_same) {
                    // It was seen elsewhere, and has one name.
                    self.unlink(dir, &name)?;
                    continue;
                }
                if !is_same {
                    self.unlink(dir, &name)?;
                    self.link(dir, &name, row.node, row.kind.0)?;
                }
                self.aside(unknown.keep(dir, name.as_bytes(), row.node))?;
                if is_directory {
                    todo.push((row.node, true));
                }
            }
        }
        Ok(())
    }

    /// Takes back what was told of a node that nobody saw: it is what it is at the base.
    fn withdraw(&mut self, node: NodeId) -> Result<(), Error> {
        let Some(base) = self.living(node)? else { return Ok(()) };
        let at = self.at;
        let told = match &self.mode {
            Mode::Append => self.sql("reading attributes", |c| tables::version_at(c, node, at))?,
            Mode::Aside(draft) => self.aside(draft.version(node))?,
        };
        let Some(told) = told.filter(|row| row.born == at.0) else { return Ok(()) };
        match &self.mode {
            Mode::Append => self.write("keeping what is unknown", |c| {
                tables::delete_version(c, node, at.0)?;
                tables::drop_content(c, node, told.place)?;
                tables::drop_digests(c, node)
            })?,
            Mode::Aside(draft) => {
                let done = draft.take_back(node);
                self.aside(done)?;
                self.write("keeping what is unknown", |c| tables::drop_content(c, node, told.place))?;
            }
        }
        if self.interned.is_file(told.perm) {
            self.ledger.size_bytes += i128::from(base.size_bytes) - i128::from(told.size_bytes);
        }
        self.ledger.again.insert(node);
        Ok(())
    }

    /// Has the links counted of what the base kept and this generation saw, or has not.
    pub(super) fn count_links_of_kept(&mut self) -> Result<(), Error> {
        if !self.base_has_doubts {
            return Ok(());
        }
        let Some(previous) = self.previous else { return Ok(()) };
        let source = self.source;
        for (dir, name) in self.sql("reading what is unknown", |c| kept_at(c, source, previous))? {
            let is_kept = match &self.unknown {
                Some(unknown) => self.aside(unknown.is_kept(dir, &name))?,
                None => false,
            };
            let name = EntryName::new(&name).expect("a name was checked when it was written");
            if !is_kept && let Some((node, _)) = self.lookup_current(dir, &name)? {
                self.ledger.linked.insert(node);
            }
        }
        Ok(())
    }

    /// Writes down what this generation keeps and of which directories it is in doubt, beside what its neighbours say.
    pub(super) fn record_unknown(&mut self) -> Result<(), Error> {
        let beside = Beside { at: self.at, before: self.previous, after: self.next };
        let source = self.source;
        let (mut kept, mut doubts) = (BTreeSet::new(), BTreeMap::new());
        if let Some(unknown) = &self.unknown {
            kept.extend(self.aside(unknown.kept_names())?);
            for (dir, reason) in self.aside(unknown.doubts())? {
                // What nobody saw is in doubt anyway.
                if dir == self.root || self.seen_names(dir)? > 0 {
                    doubts.insert(dir, reason);
                }
            }
        }
        self.write("recording what is unknown", |c| {
            if kept.is_empty() && doubts.is_empty() && !has_any(c)? {
                return Ok(());
            }
            let mut names = kept.clone();
            let mut dirs: BTreeSet<NodeId> = doubts.keys().copied().collect();
            for at in [beside.before, beside.after].into_iter().flatten() {
                names.extend(kept_at(c, source, at)?);
                dirs.extend(doubts_at(c, source, at)?.into_iter().map(|(dir, _)| dir));
            }
            for name in names {
                let is_kept = kept.contains(&name);
                edit_kept(c, &name, |runs| runs::put_in(runs, beside, is_kept.then_some(())))?;
            }
            for dir in dirs {
                let reason = doubts.get(&dir).cloned();
                edit_doubt(c, dir, |runs| runs::put_in(runs, beside, reason))?;
            }
            Ok(())
        })
    }
}
