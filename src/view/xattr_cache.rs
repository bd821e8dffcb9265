//! Which nodes have extended attributes, and the sets that were asked for lately.
//! A bit for each node, read from the catalog by blocks of 65,536 nodes; sets never change.

use super::lock::lock;
use crate::catalog::{self, Reader};
use crate::model::{NodeId, XattrSet};
use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

/// Attribute sets kept in memory.
const SETS_KEPT: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
pub(super) const BLOCK_BITS: u32 = 16;

/// Which nodes have attributes, and what was asked for lately.
pub(super) struct Cache {
    pub(super) blocks: Mutex<HashMap<i64, Arc<Bits>>>,
    pub(super) sets: Mutex<LruCache<i64, Arc<XattrSet>>>,
}

/// A bit for each node of a block.
pub(super) struct Bits(Vec<u64>);

impl Default for Cache {
    fn default() -> Self {
        Self { blocks: Mutex::default(), sets: Mutex::new(LruCache::new(SETS_KEPT)) }
    }
}

impl Cache {
    /// Forgets which nodes have attributes; sets never change and stay.
    pub(super) fn clear(&self) {
        lock(&self.blocks).clear();
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
