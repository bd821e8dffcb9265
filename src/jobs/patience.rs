//! Asking places that may never answer: a share whose server is down, a FUSE mount whose program hangs.
//!
//! Promises: nobody waits longer than he said for a place that shows no sign of life; the thread that hangs in the kernel is left alone, and
//! ends with the process. A place that was silent once is not asked again: all that are given the same patience know of it. What is written by
//! a thread that is left alone may come to be all the same: what is asked here is whole or not there.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A server syncs what it was given at once, and says nothing meanwhile.
const SYNC_TAKES: u32 = 6;

/// How long places may be silent, and which were.
#[derive(Clone, Debug)]
pub struct Patience {
    within: Duration,
    silent: Arc<Mutex<BTreeSet<PathBuf>>>,
}

enum Said<T> {
    GoesOn,
    Done(T),
}

impl Patience {
    /// Returns one that waits so long.
    pub fn new(within: Duration) -> Self {
        Self { within, silent: Arc::default() }
    }

    /// Returns how long a place may be silent.
    pub fn within(&self) -> Duration {
        self.within
    }

    /// Tells whether a place was silent.
    pub fn is_silent(&self, place: &Path) -> bool {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(place)
    }

    /// Returns what `act` finds out, which looks at `place`. It is given what to call whenever something goes on.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if the place is silent, and was, and what the system says where there is no thread.
    pub fn ask<T: Send + 'static>(
        &self,
        place: &Path,
        act: impl FnOnce(&dyn Fn()) -> T + Send + 'static,
    ) -> io::Result<T> {
        self.wait(place, self.within, act)
    }

    /// Does so for what is written there. The place is asked first whether it is there.
    ///
    /// # Errors
    /// As [`Patience::ask`].
    pub fn write<T: Send + 'static>(
        &self,
        place: &Path,
        act: impl FnOnce(&dyn Fn()) -> T + Send + 'static,
    ) -> io::Result<T> {
        let folder = place.to_owned();
        self.ask(place, move |_| drop(std::fs::read_dir(folder).map(|mut names| names.next().is_some())))?;
        self.wait(place, self.within * SYNC_TAKES, act)
    }

    fn wait<T: Send + 'static>(
        &self,
        place: &Path,
        within: Duration,
        act: impl FnOnce(&dyn Fn()) -> T + Send + 'static,
    ) -> io::Result<T> {
        if self.is_silent(place) {
            return Err(self.silence());
        }
        let (sender, said) = channel();
        let ask = move || {
            // Nobody may listen any more.
            let done = act(&|| drop(sender.send(Said::GoesOn)));
            drop(sender.send(Said::Done(done)));
        };
        // Not joined, as it may hang.
        std::thread::Builder::new().name("ask".to_owned()).spawn(ask)?;
        loop {
            match said.recv_timeout(within) {
                Ok(Said::GoesOn) => {}
                Ok(Said::Done(done)) => return Ok(done),
                Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("looking at it ended early")),
                Err(RecvTimeoutError::Timeout) => {
                    self.silent.lock().unwrap_or_else(PoisonError::into_inner).insert(place.to_owned());
                    return Err(self.silence());
                }
            }
        }
    }

    fn silence(&self) -> io::Error {
        let text = format!("it does not answer within {} s", self.within.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::Instant;

    fn fifo() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        // Opening one for reading waits until somebody writes to it.
        let path = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        (folder, path)
    }

    #[test]
    fn a_place_that_is_silent_is_waited_for_once() {
        let (_folder, path) = fifo();
        let (patience, began) = (Patience::new(Duration::from_millis(200)), Instant::now());
        let open = |path: &Path| {
            let path = path.to_owned();
            move |_: &dyn Fn()| drop(File::open(path))
        };
        for _ in 0..50 {
            let silent = patience.clone().ask(&path, open(&path)).unwrap_err();
            assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        }
        assert!(patience.is_silent(&path) && began.elapsed() < Duration::from_secs(5));
        // Others are asked as before.
        assert_eq!(patience.ask(path.parent().unwrap(), |_| 7).unwrap(), 7);
    }

    #[test]
    fn what_goes_on_may_take_as_long_as_it_takes() {
        let patience = Patience::new(Duration::from_millis(200));
        let done = patience.ask(Path::new("/"), |goes_on| {
            for _ in 0..8 {
                std::thread::park_timeout(Duration::from_millis(50));
                goes_on();
            }
        });
        assert!(done.is_ok());
    }
}
