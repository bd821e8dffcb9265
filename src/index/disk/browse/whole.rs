//! A file system that is read whole, from the top directory down.
//!
//! Promises: a listing that is cut short is recorded as lost and takes no name away; a name leads to a node, to one that is
//! lost if nothing else is known of its inode. A directory has one name: the one that is nearest to the top, of those the first.

use super::{Browse, Known};
use crate::index::Error;
use crate::index::disk::rows::Names;
use crate::model::{EntryName, FindingKind, Kind, chain};
use crate::source::block::Inode;
use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;

/// Names and inode numbers of a directory, sorted.
pub(super) type Listed = Vec<(EntryName, u64)>;

impl Browse<'_, '_, '_> {
    /// Reads all records, then lists every directory that can be reached, each once.
    pub(super) fn read_whole(&mut self) -> Result<(), Error> {
        self.scan()?;
        let root = self.fs.root();
        self.resolve(root)?;
        let mut reached = HashSet::from([root]);
        let mut next = VecDeque::from([root]);
        while let Some(number) = next.pop_front() {
            let dir = self.nodes[&number].node;
            // One that cannot be read is in doubt already.
            let Ok(inode) = self.fs.inode(number) else { continue };
            let (names, why) = self.read_names(&inode);
            if let Some(why) = &why {
                self.finding(number, why);
                self.index.writer.doubt(dir, why)?;
            }
            let mut kept = Names::new();
            for (name, inode) in names {
                let known = self.resolve(inode)?;
                if known.kind == Kind::Directory && !reached.insert(inode) {
                    self.finding(number, &format!("\"{name}\" is a further name of directory {inode}"));
                    continue;
                }
                if known.kind == Kind::Directory {
                    next.push_back(inode);
                }
                kept.insert(name, (known.node, known.kind));
            }
            self.index.names(dir, &kept, why.is_none())?;
        }
        Ok(())
    }

    /// Writes what all records say that are in use: in the order of the disk, which is read fastest so. What no name leads to is
    /// dropped again when the generation is published, and its damage is nobody's.
    fn scan(&mut self) -> Result<(), Error> {
        let mut trouble = Ok(());
        let fs = self.fs;
        let scanned = fs.scan_inodes(&mut |inode| {
            let told = inode.map_or(Ok(()), |inode| self.inode(&inode).map(drop));
            self.index.monitor.advance(1);
            match told {
                Ok(()) => ControlFlow::Continue(()),
                Err(e) => {
                    trouble = Err(e);
                    ControlFlow::Break(())
                }
            }
        });
        trouble?;
        // Those that are reached are read one by one.
        if let Err(e) = &scanned {
            let place = self.volume.name.clone();
            self.index.finding(
                FindingKind::Unreadable,
                &place,
                &format!("what says where inodes are is damaged: {}", chain(e)),
            )?;
        }
        Ok(())
    }

    /// Reads the names of a directory, sorted; and why they are not all, if they are not.
    pub(super) fn read_names(&self, directory: &Inode) -> (Listed, Option<String>) {
        let mut names = Vec::new();
        let listed = self.fs.list(directory, &mut |entry| names.push((entry.name, entry.inode)));
        names.sort();
        let count = names.len();
        names.dedup_by(|b, a| a.0 == b.0);
        let why = match listed {
            Err(e) => Some(chain(&e)),
            Ok(()) if names.len() < count => Some("a name is there twice".to_owned()),
            Ok(()) => None,
        };
        (names, why)
    }

    /// Returns what an inode number is that a name leads to.
    pub(super) fn resolve(&mut self, number: u64) -> Result<Known, Error> {
        if let Some(known) = self.nodes.get(&number) {
            return Ok(*known);
        }
        let read = self.fs.inode(number);
        if let Ok(inode) = &read
            && let Some(known) = self.inode(inode)?
        {
            return Ok(known);
        }
        if let Err(e) = &read {
            self.damaged(number, e)?;
        }
        match self.live_node(number)? {
            Some(known) => {
                self.nodes.insert(number, known);
                Ok(known)
            }
            None => self.lost_node(number),
        }
    }
}
