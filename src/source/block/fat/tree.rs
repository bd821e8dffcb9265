//! All that the top directory leads to: where each entry is, by its number, and which clusters are in more than one chain.
//!
//! FAT has no numbers for its nodes. Here the number of a node is a digest of the names that lead to it, so it is the same in every
//! generation in which something has this path. What is renamed is another node.
//!
//! Promises: every cluster is met once, so that no circle and no crossing makes it longer than the volume is. In memory are some 30 bytes
//! for each entry, and one bit for each cluster while it is made. A directory that is not what its entry leads to (another one, or none) is
//! not gone into.

use super::slots::Slot;
use super::volume::{Chain, Volume};
use crate::model::EntryName;
use crate::source::block::Error;
use std::collections::{HashMap, HashSet, VecDeque};

/// The number of the top directory.
pub(super) const ROOT: u64 = 1;
/// 128 MiB of memory.
const ENTRIES_MAX: usize = 4 << 20;

pub(super) struct Tree {
    /// Where on the volume the entry of a node is.
    places: HashMap<u64, u64>,
    /// Directories that were not gone into, and why.
    refused: HashMap<u64, String>,
    /// Where the chains of two directories meet.
    joints: HashSet<u32>,
    /// Where the chain of a file meets another one.
    shared: HashSet<u32>,
}

/// A directory that is to be gone into.
struct Directory {
    number: u64,
    start: u32,
    above: u32,
}

/// Returns the number of what has a name in a directory.
pub(super) fn number_of(directory: u64, name: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&directory.to_le_bytes()).update(name);
    u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("eight bytes"))
}

impl Tree {
    /// Goes through all directories from the top down, and then through the chains of all files.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for more entries than are kept in memory. Damage is none: it is met again where something is read.
    pub(super) fn survey(volume: &Volume) -> Result<Self, Error> {
        let mut tree =
            Self { places: HashMap::new(), refused: HashMap::new(), joints: HashSet::new(), shared: HashSet::new() };
        let mut claimed = Claimed(vec![0; volume.shape.end as usize / 64 + 1]);
        let mut files = Vec::new();
        let mut todo = VecDeque::from([Directory { number: ROOT, start: 0, above: 0 }]);
        while let Some(directory) = todo.pop_front() {
            if directory.number != ROOT
                && let Err(why) = volume.check_directory(directory.start, directory.above)
            {
                tree.refused.insert(directory.number, crate::model::chain(&why));
                continue;
            }
            let joints = &mut tree.joints;
            let claim = |cluster| claimed.claim(cluster, joints);
            let chain = match directory.number {
                ROOT => volume.root_chain(claim),
                _ => volume.chain(directory.start, u64::MAX, claim),
            };
            let mut is_full = false;
            let places = &mut tree.places;
            // What cannot be read is met again when the directory is listed.
            let _ = volume.entries(&chain.extents, |at, slot, name| {
                let number = number_of(directory.number, &name);
                if EntryName::check(&name).is_err() || places.contains_key(&number) || is_full {
                    return;
                }
                is_full = places.len() == ENTRIES_MAX;
                places.insert(number, at);
                let (Ok(start), Ok(size)) = (volume.start(&slot), slot.size_bytes()) else { return };
                if slot.is_directory() {
                    todo.push_back(Directory { number, start, above: directory.start });
                } else if size > 0 {
                    files.push((start, size.div_ceil(volume.shape.cluster_bytes)));
                }
            });
            if is_full {
                return Err(Error::Unsupported(format!("the file system has more than {ENTRIES_MAX} entries")));
            }
        }
        for (start, clusters) in files {
            volume.chain(start, clusters, |cluster| claimed.claim(cluster, &mut tree.shared));
        }
        Ok(tree)
    }

    /// Returns where the entry of a node is.
    pub(super) fn place(&self, number: u64) -> Option<u64> {
        self.places.get(&number).copied()
    }

    /// Returns the chain of a directory; what its clusters share with files is said and ends it not.
    pub(super) fn directory(&self, volume: &Volume, number: u64, slot: Option<&Slot>) -> Result<Chain, Error> {
        if let Some(why) = self.refused.get(&number) {
            return Err(Error::Damaged(why.clone()));
        }
        let mut with_file = None;
        let visit = |cluster| {
            if self.shared.contains(&cluster) {
                with_file.get_or_insert(cluster);
            }
            if self.joints.contains(&cluster) { Err(is_shared(cluster)) } else { Ok(()) }
        };
        let mut chain = match slot {
            Some(slot) => volume.chain(volume.start(slot)?, u64::MAX, visit),
            None => volume.root_chain(visit),
        };
        chain.trouble = chain.trouble.or(with_file.map(is_shared));
        Ok(chain)
    }

    /// Returns the chain of a file.
    pub(super) fn file(&self, volume: &Volume, slot: &Slot) -> Result<Chain, Error> {
        let clusters = slot.size_bytes()?.div_ceil(volume.shape.cluster_bytes);
        let visit = |cluster| match self.shared.contains(&cluster) || self.joints.contains(&cluster) {
            true => Err(is_shared(cluster)),
            false => Ok(()),
        };
        Ok(volume.chain(volume.start(slot)?, clusters, visit))
    }
}

/// Clusters that are in a chain, a bit for each.
struct Claimed(Vec<u64>);

impl Claimed {
    /// Takes a cluster into a chain; one that is in a chain already goes to `met`.
    fn claim(&mut self, cluster: u32, met: &mut HashSet<u32>) -> Result<(), Error> {
        let (word, bit) = (cluster as usize / 64, 1 << (cluster % 64));
        if self.0[word] & bit != 0 {
            met.insert(cluster);
            return Err(is_shared(cluster));
        }
        self.0[word] |= bit;
        Ok(())
    }
}

fn is_shared(cluster: u32) -> Error {
    Error::Damaged(format!("its cluster {cluster} is in more than one chain"))
}
