//! One walk over the whole brick for names that were lost and directories that are not where they should be.
//! What it could not read is remembered by name: then nobody is told to be gone.

use super::names::{is_internal_name, join};
use super::reader::{Found, NAMES_BYTES, Reader, is_not_there};
use crate::model::{Kind, escape_bytes};
use crate::source::gluster::Gfid;
use crate::source::gluster::part::{NodeName, Text};
use crate::sys::walk::{self as sys, FileAt};
use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;

impl Reader<'_> {
    /// Searches the whole brick for the names of `inodes` and for the places of `directories`, in one walk; from then on
    /// nodes and occupants are told by what it found, and are not [`super::Look::Unsure`] any more.
    ///
    /// **Cost:** one listing and one attribute per directory; no call per file where the file system tells kinds in
    /// listings.
    pub fn find(&mut self, inodes: &HashSet<u64>, directories: &HashSet<Gfid>) {
        let mut found = Found::default();
        // Depth first: `chain` holds where the directories above the current one are.
        let mut stack: Vec<(usize, Vec<u8>)> = vec![(0, Vec::new())];
        let mut chain: Vec<(Gfid, NodeName)> = Vec::new();
        let mut buffer = vec![0; NAMES_BYTES];
        while let Some((depth, path)) = stack.pop() {
            chain.truncate(depth.saturating_sub(1));
            match self.find_in(&path, depth, &mut chain, &mut buffer, inodes, &mut found) {
                Ok(children) => {
                    if depth > 0 && chain.len() == depth && directories.contains(&chain[depth - 1].0) {
                        found.directories.extend(chain.iter().cloned());
                    }
                    stack.extend(children.into_iter().map(|child| (depth + 1, child)));
                }
                Err(error) if is_not_there(&error) => {}
                Err(_) => drop(found.unread.get_or_insert_with(|| escape_bytes(&path).into_owned())),
            }
        }
        self.directories.clear();
        self.found = Some(found);
    }

    /// Reads one directory of the walk and returns the paths of those in it.
    fn find_in(
        &self,
        path: &[u8],
        depth: usize,
        chain: &mut Vec<(Gfid, NodeName)>,
        buffer: &mut [u8],
        inodes: &HashSet<u64>,
        found: &mut Found,
    ) -> io::Result<Vec<Vec<u8>>> {
        let mut children = Vec::new();
        let root = self.brick.root.as_fd();
        let fd = sys::open_beneath(root, if depth == 0 { b"." } else { path })?;
        let gfid = match self.brick.gfid_of(FileAt::Open(fd.as_fd()))? {
            Some(gfid) if !self.brick.is_internal_gfid(gfid) => gfid,
            _ => return Ok(children),
        };
        if depth > 0 {
            let parent = chain.last().map_or(Gfid::ROOT, |above| above.0);
            let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
            chain.push((gfid, NodeName { parent, name: Text(name.to_vec()) }));
        }
        loop {
            let entries = sys::read_directory(fd.as_fd(), buffer)?;
            if entries.is_end() {
                return Ok(children);
            }
            for (inode, kind, name) in entries.iter_kinds() {
                let bytes = name.to_bytes();
                if depth == 0 && is_internal_name(bytes) {
                    continue;
                }
                let kind = match kind {
                    Some(kind) => Some(kind),
                    None => sys::stat_at(fd.as_fd(), name).ok().and_then(|stat| Kind::from_mode(stat.mode)),
                };
                if kind == Some(Kind::Directory) {
                    children.push(join(path, bytes));
                } else if inodes.contains(&inode) {
                    found.names.entry(inode).or_default().push(NodeName { parent: gfid, name: Text(bytes.to_vec()) });
                }
            }
        }
    }
}
