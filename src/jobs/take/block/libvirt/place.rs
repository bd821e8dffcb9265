//! Where the bytes of a moment go: a socket, and for each disk what the guest overwrites meanwhile, or the file that QEMU writes.
//! By one of them a backup that runs is known to be ours.

use crate::source::block::Method;
use std::path::{Path, PathBuf};

/// Where QEMU puts what a backup needs.
#[derive(Clone, Debug)]
pub(in crate::jobs::take) struct Place {
    /// The socket of the server.
    pub(in crate::jobs::take) socket: PathBuf,
    /// The disks that are taken, one at least.
    pub(in crate::jobs::take) disks: Vec<DiskPlace>,
}

/// What a backup needs for a disk.
#[derive(Clone, Debug)]
pub(in crate::jobs::take) struct DiskPlace {
    /// The disk, as libvirt calls it.
    pub(in crate::jobs::take) disk: String,
    /// Whether all of it is asked for, though the backup is an incremental one.
    pub(in crate::jobs::take) is_whole: bool,
    /// What the guest overwrites meanwhile.
    pub(in crate::jobs::take) scratch: PathBuf,
    /// The file that is written.
    pub(in crate::jobs::take) target: PathBuf,
}

impl Place {
    /// Returns what tells our backup from others.
    pub(in crate::jobs::take) fn mark(&self, method: Method) -> &Path {
        match method {
            Method::Pull => &self.socket,
            Method::Push => &self.disks[0].target,
        }
    }
}
