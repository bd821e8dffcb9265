//! Names of directories, read from the file system, and the nodes that they lead to.
//!
//! Promises: a listing that is cut short is recorded as lost and takes no name away; a name leads to a node, to one that is
//! lost if nothing else is known of its inode.

use super::{Browse, Known};
use crate::index::Error;
use crate::index::disk::rows::Names;
use crate::model::{EntryName, Kind, NodeId, chain};
use crate::source::block;
use std::collections::{HashMap, HashSet, VecDeque};

/// Names and inode numbers of a directory, sorted.
type Listed = Vec<(EntryName, u64)>;

impl Browse<'_, '_, '_> {
    /// Notes the directories in which another node has a name by this inode number: the name leads to `node` now, and
    /// nothing else need have changed in them.
    pub(super) fn rename_others(&mut self, number: u64, node: NodeId) -> Result<(), Error> {
        for other in self.index.writer.nodes_of_inode(number, self.births())? {
            if other != node {
                let names = self.index.writer.previous_names(other)?;
                self.renamed.extend(names.into_iter().map(|(dir, _)| dir));
            }
        }
        Ok(())
    }

    /// Has the directories that [`Browse::rename_others`] noted listed, too.
    pub(super) fn list_renamed(&mut self) -> Result<(), Error> {
        for dir in std::mem::take(&mut self.renamed) {
            let Some(key) = self.index.writer.key_of(dir)? else { continue };
            if self.directories.contains_key(&key.inode) {
                continue;
            }
            match self.fs.inode(key.inode) {
                Ok(inode) if self.key(&inode) == key => drop(self.inode(inode)?),
                Ok(_) | Err(block::Error::NotInUse(_)) => {}
                Err(e) => self.damaged(key.inode, &e)?,
            }
        }
        Ok(())
    }

    /// Lists every directory that can be reached, each once.
    pub(super) fn list_all(&mut self) -> Result<(), Error> {
        let root = self.fs.root();
        if !self.nodes.contains_key(&root) {
            // The scan did not come to it; without it there would be an empty directory.
            match self.fs.inode(root) {
                Ok(inode) => drop(self.inode(inode)?),
                Err(e) => {
                    self.finding(root, &chain(&e));
                    self.lost_node(root, Kind::Directory)?;
                }
            }
        }
        let mut reached = HashSet::from([root]);
        let mut next = VecDeque::from([root]);
        while let Some(number) = next.pop_front() {
            let Some((names, complete)) = self.read_names(number)? else { continue };
            let dir = self.nodes[&number].node;
            let mut kept = Names::new();
            for (name, inode) in names {
                let Some(known) = self.resolve(inode, None)? else { continue };
                if known.kind == Kind::Directory && !reached.insert(inode) {
                    self.finding(number, &format!("\"{name}\" is a further name of directory {inode}"));
                    continue;
                }
                if known.kind == Kind::Directory {
                    next.push_back(inode);
                }
                kept.insert(name, (known.node, known.kind));
            }
            self.index.names(dir, &kept, complete)?;
        }
        Ok(())
    }

    /// Compares the names of a directory with those before.
    pub(super) fn list(&mut self, number: u64) -> Result<(), Error> {
        let Some((names, complete)) = self.read_names(number)? else { return Ok(()) };
        let dir = self.nodes[&number].node;
        let mut before = HashMap::new();
        self.index.writer.list_previous(dir, |entry| {
            before.insert(entry.name, entry.node);
        })?;
        let mut kept = Names::new();
        for (name, inode) in names {
            if let Some(known) = self.resolve(inode, before.get(&name).copied())? {
                kept.insert(name, (known.node, known.kind));
            }
        }
        self.index.names(dir, &kept, complete)
    }

    /// Reads the names of a directory, sorted; and whether they are all. None if it is not one that is known.
    fn read_names(&mut self, number: u64) -> Result<Option<(Listed, bool)>, Error> {
        let Some(inode) = self.directories.remove(&number) else { return Ok(None) };
        let mut names = Vec::new();
        let listed = self.fs.list(&inode, &mut |entry| names.push((entry.name, entry.inode)));
        names.sort();
        let count = names.len();
        names.dedup_by(|b, a| a.0 == b.0);
        let why = match &listed {
            Err(e) => Some(chain(e)),
            Ok(()) if names.len() < count => Some("a name is there twice".to_owned()),
            Ok(()) => None,
        };
        if let Some(why) = &why {
            self.finding(number, why);
            self.index.writer.doubt(self.nodes[&number].node, why)?;
        }
        Ok(Some((names, why.is_none())))
    }

    /// Returns what an inode number is in this generation; `before` is what the name pointed to that leads to it.
    pub(super) fn resolve(&mut self, number: u64, before: Option<NodeId>) -> Result<Option<Known>, Error> {
        if let Some(known) = self.nodes.get(&number) {
            return Ok(Some(*known));
        }
        if let Some(node) = before
            && let Some(key) = self.index.writer.key_of(node)?
            && key.inode == number
            && let Some(kind) = self.index.writer.known_kind(node)?
        {
            let known = Known { node, kind };
            self.nodes.insert(number, known);
            return Ok(Some(known));
        }
        match self.fs.inode(number) {
            Ok(inode) => match self.inode(inode)? {
                Some(known) => Ok(Some(known)),
                None => self.lost_node(number, Kind::File).map(Some),
            },
            Err(e) => {
                self.damaged(number, &e)?;
                match self.live_node(number)? {
                    Some(known) => {
                        self.nodes.insert(number, known);
                        Ok(Some(known))
                    }
                    None => self.lost_node(number, Kind::File).map(Some),
                }
            }
        }
    }
}
