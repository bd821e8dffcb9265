//! What a volume is made of: its bricks and their sets, its options, and which bricks are up.
//!
//! Asks the `gluster` command, because the management daemon's protocol is private and changes, and its files
//! (`/var/lib/glusterd/vols`) are on the servers only. Promises: bricks come in the volume's own order, which is what
//! `trusted.afr.VOLUME-client-N` counts; a shape that is not known is refused, not guessed. Never changes a volume.
//!
//! Format: `gluster volume info|status|list ... --xml` (`cli/src/cli-xml-output.c`), as of 10.3 and checked there on
//! every shape. Two traps: the exit code is 0 for a volume that does not exist (`opRet` tells), and where no
//! daemon answers there is no XML at all.

mod ask;
mod error;
mod shape;
#[cfg(test)]
mod tests;
mod xml;

pub(super) use ask::is_this_machine;
pub use ask::{check_host, load};
pub use error::Error;
pub use shape::{Brick, Volume, VolumeKind};
