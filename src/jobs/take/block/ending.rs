//! How a run that takes a disk is ended from another thread: told to end, and if it does not, what it holds is let go.
//! Who comes second, the run or the other thread, waits until that is done.

use super::libvirt::Backup;
use super::still::Still;
use super::stop::Stop;
use crate::jobs::take::error::Error;
use crate::source::block::Settings;
use std::path::Path;
use std::sync::Arc;

/// How a run is ended.
#[derive(Clone, Debug)]
pub struct Ending {
    pub(super) still: Arc<Still>,
    pub(super) backup: Arc<Backup>,
    pub(super) stop: Stop,
}

impl Ending {
    pub(super) fn new(source: &str, settings: &Settings, program: &Path) -> Self {
        let still = Arc::new(Still::new(source, settings).guarded_by(program));
        Self { still, backup: Arc::default(), stop: Stop::default() }
    }

    /// Tells the run to end.
    pub fn tell(&self) {
        self.stop.tell();
    }

    /// Lets the guest go and ends what libvirt runs for it; returns what could not be done.
    pub fn let_go(&self) -> Vec<Error> {
        let released = self.still.release("failed").map_err(Error::NotReleased);
        let ended = self.backup.end().map_err(Error::NotEnded);
        released.err().into_iter().chain(ended.err()).collect()
    }
}
