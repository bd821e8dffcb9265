//! A client mount of a volume, for reading the bytes of files that no single brick has: by gfid, so that a rename in
//! between does not matter.
//!
//! Promises: mounted read-only, at a directory of the caller's, and unmounted when dropped; what a killed run left mounted
//! there is unmounted first. Never writes to the volume.
//!
//! `MOUNT/.gfid/<gfid>` is the virtual directory of the mount option `aux-gfid-mount` (`fuse-bridge.c`, `fuse-resolve.c`).

use super::Gfid;
use crate::sys::mount::{MountId, WhenBusy, mounts, unmount};
use crate::sys::read::{Mounts, open_beneath, open_place};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a volume cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is mounted where the mount is to be, and stays.
    #[error("cannot use {dir:?} as a mount point")]
    MountPoint {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `mount` cannot be started.
    #[error("cannot run mount")]
    Run(#[source] io::Error),
    /// The mount failed.
    #[error("cannot mount {what} of type glusterfs: {said}")]
    Mount {
        /// `host:/volume`.
        what: String,
        /// What `mount` said, in one line.
        said: String,
    },
}

/// A mounted volume.
#[derive(Debug)]
pub struct Client {
    dir: PathBuf,
    id: MountId,
    root: OwnedFd,
}

impl Client {
    /// Mounts `volume` of `host` at `dir`, which is made where it is lacking.
    ///
    /// # Errors
    /// [`Error`].
    pub fn mount(host: &str, volume: &str, dir: &Path) -> Result<Self, Error> {
        let fail = |source| Error::MountPoint { dir: dir.to_owned(), source };
        if let Some(id) = mounted_at(dir).map_err(fail)? {
            unmount(&id, WhenBusy::Detach).map_err(fail)?;
        }
        std::fs::create_dir_all(dir).map_err(fail)?;
        let what = format!("{host}:/{volume}");
        let mut command = Command::new("mount");
        // No glusterfs of its own log file name: its log lies where all others of this machine do.
        // And no attributes from before: size and times are compared before and after a file is read.
        let options = "ro,acl,aux-gfid-mount,attribute-timeout=0,entry-timeout=0";
        command.args(["-t", "glusterfs", "-o", options, &what]).arg(dir);
        let output = command.stdin(Stdio::null()).output().map_err(Error::Run)?;
        // `mount.glusterfs` ends with 0 after some failures.
        if output.status.success()
            && let Some(id) = mounted_at(dir).map_err(fail)?
        {
            return Ok(Self { dir: dir.to_owned(), id, root: open_place(dir).map_err(fail)? });
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = if said.is_empty() { "it said nothing; see its log in /var/log/glusterfs".to_owned() } else { said };
        Err(Error::Mount { what, said })
    }

    /// Reads the names in the top directory, for whether the volume serves them. May wait for the servers.
    ///
    /// # Errors
    /// What `readdir(3)` says.
    pub fn list_top(&self) -> io::Result<()> {
        std::fs::read_dir(&self.dir)?.try_for_each(|entry| entry.map(drop))
    }

    /// Opens the regular file `gfid` for reading. May wait for the servers.
    ///
    /// # Errors
    /// What `open(2)` says; `ENOENT` where it is not there any more.
    pub fn open(&self, gfid: Gfid) -> io::Result<File> {
        open_beneath(self.root.as_fd(), format!(".gfid/{gfid}").as_bytes(), Mounts::Crossed)
    }
}

/// Returns what is mounted at `dir`, the uppermost if there are several.
fn mounted_at(dir: &Path) -> io::Result<Option<MountId>> {
    Ok(mounts()?.into_iter().rfind(|mounted| mounted.dir == dir).map(|mounted| mounted.id()))
}

impl Drop for Client {
    fn drop(&mut self) {
        // What stays mounted is unmounted by the next run.
        let _ = unmount(&self.id, WhenBusy::Detach);
        let _ = std::fs::remove_dir(&self.dir);
    }
}
