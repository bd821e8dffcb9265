//! What a thin arbiter says of the copy that is left.
//!
//! A thin arbiter has no names and no bytes: it remembers which of two copies missed a change (`trusted.afr.*` of one file, `afr_ta_*` of
//! `xlators/cluster/afr`). While both run they know by themselves, and nobody asks it. Where one runs, a client asks it before it believes
//! that one, and gives EIO for everything if it missed changes, or if the thin arbiter does not answer. So a client is asked: its answer is that of
//! Gluster's own rules, from wherever the thin arbiter can be reached.
//!
//! Promises: a copy that a client does not believe is not believed.

use crate::model::chain;
use crate::source::gluster::client::Client;
use crate::source::gluster::volume::Volume;
use std::path::Path;

/// A copy that is not believed by itself.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// The number of its brick.
    pub(super) brick: u32,
    /// What was found.
    pub(super) why: String,
}

/// Returns the copy that runs alone and is not believed, if there is one. `folder` is where the volume may be mounted for a moment.
pub(super) fn refused(volume: &Volume, folder: &Path) -> Option<Refused> {
    let thin_arbiter = volume.thin_arbiter.as_ref()?;
    let mut running = volume.bricks.iter().filter(|brick| brick.online == Some(true));
    let (Some(alone), None) = (running.next(), running.next()) else { return None };
    let why = match Client::mount(&alone.host, &volume.name, &folder.join("client")) {
        Ok(client) => client.list_top().err()?.to_string(),
        Err(e) => chain(&e),
    };
    let why = format!("it runs alone, and a client, which asks the thin arbiter {thin_arbiter}, is not served: {why}");
    Some(Refused { brick: alone.number, why })
}
