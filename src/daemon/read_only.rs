//! Keeps a mount read-only: root can remount it read-write, past every helper of ours.
//!
//! Promises: what happens in the table of mounts of this process is seen at once; a remount from another namespace, of which that says
//! nothing, within [`LOOK`]. Ends when it cannot be made read-only again.

use super::blocking::blocking;
use crate::fuse::{self, Mount};
use crate::sys::mount::Table;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

/// How often it is looked for without a reason.
const LOOK: Duration = Duration::from_secs(5);

/// Keeps `mount` read-only until that cannot be done: returns why.
pub(super) async fn keep(mount: Arc<Mutex<Mount>>) -> fuse::Error {
    let table = Table::open().inspect_err(|e| tracing::info!("nobody tells of remounts: {e}")).ok().map(Arc::new);
    loop {
        let mount = Arc::clone(&mount);
        match blocking(move || mount.lock().expect(UNPOISONED).keep_read_only()).await {
            Ok(false) => {}
            Ok(true) => tracing::error!("somebody remounted it read-write; it was mounted anew, read-only"),
            Err(e) => return e,
        }
        let waited = match table.clone() {
            Some(table) => blocking(move || table.wait(LOOK)).await.is_ok(),
            None => false,
        };
        if !waited {
            sleep(LOOK).await;
        }
    }
}

const UNPOISONED: &str = "no holder of the lock panics";
