//! A guest is held still while a disk of it is taken, and let go again: whatever happens in between.
//!
//! What holds it is a command of the admin, and the agent in the guest that freezes its file systems. Before either does, a
//! journal is written in the folder of images and is on the disk, and a process is started that outlives this one (`Guard`); the journal is
//! removed when the guest was let go: its file systems thawed first, then by the admin's command. A run that finds the journal of one that
//! was killed, with its guard, lets go before anything else.
//!
//! Promises: the guest is let go once in each run, also in one that failed, was told to end, was killed or hangs, and again by the next run
//! as long as that does not succeed; the command is run also when thawing fails. The commands that may hold it end with a run that
//! is killed, so that they do not hold it after that. Never runs a command that the journal names: who can write to the
//! folder of images would be root then. It is the one of the source's settings.

use super::durable::{sync_folder, write_durably};
use super::guard::Guard;
pub use super::letting_go::Error;
use super::letting_go::Plan;
use crate::jobs::hooks::About;
use crate::source::block::Settings;
use serde_json::json;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How a guest is let go.
#[derive(Debug)]
pub struct Still {
    plan: Plan,
    /// The program that serves as the guard; none: there is no guard.
    program: Option<PathBuf>,
    held: Mutex<Option<Holding>>,
}

/// A guest that is held.
#[derive(Debug)]
struct Holding {
    /// What the command is told of the run.
    about: About,
    guard: Option<Guard>,
}

impl Still {
    /// Returns how the guest of `source` is let go.
    pub fn new(source: &str, settings: &Settings) -> Self {
        let journal = settings.own_folder().join(format!(".asof-thaw-{source}.json"));
        Self { plan: Plan::new(settings, journal), program: None, held: Mutex::new(None) }
    }

    /// Has `program`, which is this one, let the guest go if this process does not.
    pub fn guarded_by(self, program: &Path) -> Self {
        Self { program: Some(program.to_owned()), ..self }
    }

    /// Lets the guest go that a run held which was killed. Returns what was done, if anything was to be done.
    ///
    /// # Errors
    /// [`Error`]; then the next run tries it again.
    pub fn release_left(&self, mut about: About) -> Result<Option<String>, Error> {
        if !self.plan.journal.exists() {
            return Ok(None);
        }
        about.push(("ASOF_STATUS", "interrupted".into()));
        self.run(&about)?;
        let thawed = self.plan.frozen.as_ref().map(|domain| format!("domain {:?} was thawed", domain.name));
        let ran = self.plan.post.as_ref().map(|post| format!("the post command {post:?} was run"));
        let done: Vec<String> = thawed.into_iter().chain(ran).collect();
        Ok(Some(match done.is_empty() {
            true => "an interrupted run held the guest still; there is no post command any more".to_owned(),
            false => format!("an interrupted run had not let the guest go: {}", done.join(", ")),
        }))
    }

    /// Notes that the guest is held from now on; to be called before the first command that may hold it.
    ///
    /// # Errors
    /// Those of writing the journal; then nothing is held.
    pub fn hold(&self, about: About, began: &str) -> io::Result<()> {
        if self.plan.is_empty() {
            return Ok(());
        }
        let text = json!({ "began": began, "process": std::process::id() });
        write_durably(&self.plan.journal, format!("{text}\n").as_bytes())?;
        let guard = self.program.as_ref().map(|program| Guard::start(program, &self.plan, &about)).transpose();
        let guard = guard.inspect_err(|_| drop(fs::remove_file(&self.plan.journal)))?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Holding { about, guard });
        Ok(())
    }

    /// Tells the command that lets go one thing more.
    pub fn tell(&self, name: &'static str, value: impl Into<std::ffi::OsString>) {
        if let Some(held) = &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            held.about.push((name, value.into()));
        }
    }

    /// Lets the guest go, if it is held. `status` is what became of the run until now. May be called from any thread; who
    /// comes second waits until it is done.
    ///
    /// # Errors
    /// [`Error`]; then the next run tries it again.
    pub fn release(&self, status: &str) -> Result<(), Error> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Holding { mut about, guard }) = held.take() else { return Ok(()) };
        if guard.is_some_and(Guard::take_over) {
            if self.plan.journal.exists() {
                about.push(("ASOF_STATUS", "late".into()));
                self.run(&about)?;
            }
            return Err(Error::Late { held_max_s: self.plan.held_max_s.unwrap_or_default() });
        }
        about.push(("ASOF_STATUS", status.into()));
        self.run(&about)
    }

    fn run(&self, about: &About) -> Result<(), Error> {
        self.plan.let_go(about)?;
        // If this is lost, the command runs once more than it had to.
        let _ = fs::remove_file(&self.plan.journal).and_then(|()| sync_folder(&self.plan.journal));
        Ok(())
    }
}

/// Lets the guest go when it is dropped: after a panic nobody else does before the process ends.
pub(super) struct Release<'a>(pub(super) &'a Still);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let _ = self.0.release("failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn still(folder: &Path, post: &str) -> Still {
        Still::new("vda", &Settings { images: folder.to_owned(), post: Some(post.to_owned()), ..Settings::default() })
    }

    #[test]
    fn the_guest_is_let_go_once_and_the_journal_is_gone_then() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let post = format!("sh -c 'echo $ASOF_STATUS >> {}'", log.display());
        let held = still(dir.path(), &post);
        held.release("early").unwrap();
        held.hold(Vec::new(), "now").unwrap();
        assert!(dir.path().join(".asof-thaw-vda.json").exists());
        held.release("taken").unwrap();
        held.release("twice").unwrap();
        drop(Release(&held));
        assert_eq!(fs::read_to_string(&log).unwrap(), "taken\n");
        assert!(!dir.path().join(".asof-thaw-vda.json").exists());
        held.hold(Vec::new(), "now").unwrap();
        drop(Release(&held));
        assert_eq!(fs::read_to_string(&log).unwrap(), "taken\nfailed\n");
    }

    #[test]
    fn a_link_in_the_place_of_a_small_file_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, note) = (dir.path().join("mine"), dir.path().join("note.json"));
        fs::write(&mine, "mine").unwrap();
        std::os::unix::fs::symlink(&mine, dir.path().join("note.json.part")).unwrap();
        std::os::unix::fs::symlink(&mine, &note).unwrap();
        write_durably(&note, b"{}").unwrap();
        assert_eq!((fs::read_to_string(&mine).unwrap().as_str(), fs::read(&note).unwrap()), ("mine", b"{}".to_vec()));
    }

    #[test]
    fn a_guest_that_was_not_let_go_is_by_the_next_run_by_the_command_of_the_settings() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let held = still(dir.path(), "false");
        held.hold(Vec::new(), "now").unwrap();
        assert!(held.release("taken").is_err());
        let text = r#"{"post":"touch /tmp/never"}"#;
        fs::write(dir.path().join(".asof-thaw-vda.json"), text).unwrap();
        let next = still(dir.path(), &format!("sh -c 'echo $ASOF_STATUS >> {}'", log.display()));
        assert!(next.release_left(Vec::new()).unwrap().is_some());
        assert_eq!(next.release_left(Vec::new()).unwrap(), None);
        assert_eq!(fs::read_to_string(&log).unwrap(), "interrupted\n");
    }
}
