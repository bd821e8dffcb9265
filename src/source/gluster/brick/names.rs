//! Names on a brick: which are Gluster's own, which tell a shard, and where the handle of a node is.
//! Pure.

use super::state;
use crate::source::gluster::Gfid;
use std::ffi::CString;

/// Tells whether `gfid` is a directory of Gluster's own, the same in every volume.
pub(in crate::source::gluster) fn is_fixed_internal(gfid: Gfid) -> bool {
    matches!(gfid, Gfid::SHARDS | Gfid::SHARDS_TO_REMOVE | Gfid::TRASHCAN)
}

/// Tells whether a name in the root of a brick is Gluster's own whatever its gfid. `.landfill` is what
/// `.glusterfs/landfill` was before 3.3 (`afr_is_private_directory`, `xlators/cluster/afr/src/afr-common.c`).
pub(in crate::source::gluster) fn is_internal_name(name: &[u8]) -> bool {
    name == b".glusterfs" || name == b".landfill" || name.starts_with(b".glusterfs-anonymous-inode")
}

/// Returns the file whose shard a name in `.shard` tells.
pub(in crate::source::gluster) fn shard_base(name: &[u8]) -> Option<Gfid> {
    state::parse_shard(name)
}

/// Returns `path` with `name` below it.
pub(in crate::source::gluster) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.len() + 1 + name.len());
    joined.extend_from_slice(path);
    if !path.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}

/// Returns where the handle of `gfid` is, below `.glusterfs`.
pub(super) fn handle_name(gfid: Gfid) -> CString {
    let handle = gfid.handle();
    CString::new(&handle[".glusterfs/".len()..]).expect("hexadecimal digits have no zero byte")
}
