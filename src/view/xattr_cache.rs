//! Which nodes have extended attributes, which names these have, and the sets that were asked for lately.
//! A bit for each node, read from the catalog by blocks of 65,536 nodes; sets never change, and none goes.

use super::lock::lock;
use super::readers::Readers;
use crate::catalog::{self, Reader};
use crate::model::{NodeId, XattrSet};
use lru::LruCache;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

/// Attribute sets kept in memory.
const SETS_KEPT: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
/// Names kept in memory; the name spaces other than `user.*` have a few dozen.
const NAMES_KEPT: usize = 1024;
pub(super) const BLOCK_BITS: u32 = 16;

/// Which nodes have attributes, and what was asked for lately.
pub(super) struct Cache {
    pub(super) blocks: Mutex<HashMap<i64, Arc<Bits>>>,
    pub(super) sets: Mutex<LruCache<i64, Arc<XattrSet>>>,
    pub(super) names: Mutex<Names>,
}

/// The names of all sets up to the last one that was there when they were read, but for `user.*`.
#[derive(Default)]
pub(super) struct Names {
    known: HashSet<Vec<u8>>,
    last_set: i64,
    are_read: bool,
}

/// A bit for each node of a block.
pub(super) struct Bits(Vec<u64>);

impl Default for Cache {
    fn default() -> Self {
        Self { blocks: Mutex::default(), sets: Mutex::new(LruCache::new(SETS_KEPT)), names: Mutex::default() }
    }
}

impl Cache {
    /// Forgets which nodes have attributes; sets never change and stay, and so do their names, to which others may have come.
    pub(super) fn clear(&self) {
        lock(&self.blocks).clear();
        lock(&self.names).are_read = false;
    }
}

impl Names {
    /// Tells whether a set may have `name`, which is not one of `user.*`. More names than are kept are all taken to be there.
    pub(super) fn may_have(&self, name: &[u8]) -> bool {
        self.known.len() > NAMES_KEPT || self.known.contains(name)
    }

    /// Reads the names of the sets that came since they were last read.
    pub(super) fn read(&mut self, readers: &Readers) -> Result<(), catalog::Error> {
        if self.are_read || self.known.len() > NAMES_KEPT {
            return Ok(());
        }
        let (names, last_set) = readers.with(|reader| reader.xattr_names_after(self.last_set, NAMES_KEPT + 1))?;
        self.known.extend(names);
        self.last_set = last_set;
        self.are_read = true;
        Ok(())
    }
}

impl Bits {
    /// Tells whether `node`, which is one of the block, has or had attributes.
    pub(super) fn has(&self, node: NodeId) -> bool {
        let bit = (node.0 & ((1 << BLOCK_BITS) - 1)) as usize;
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }
}

pub(super) fn read_bits(reader: &Reader, block: i64) -> Result<Bits, catalog::Error> {
    let first = block << BLOCK_BITS;
    let mut bits = vec![0; 1 << (BLOCK_BITS - 6)];
    for node in reader.xattr_nodes(NodeId(first), NodeId(first + (1 << BLOCK_BITS) - 1))? {
        let bit = (node.0 - first) as usize;
        bits[bit / 64] |= 1 << (bit % 64);
    }
    Ok(Bits(bits))
}
