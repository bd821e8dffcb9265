//! Disks of a running guest, by libvirt: a moment of them is begun, its bytes are read, or written by QEMU, and it is ended.
//!
//! A backup (`virDomainBackupBegin`) and the checkpoint from which the next one counts are made in one transaction. Pulled: QEMU
//! serves the moment on a Unix socket (NBD) while the guest goes on, and keeps what the guest overwrites in a scratch file.
//! Pushed: QEMU writes a qcow2 file.
//!
//! Promises: one backup is running at most, and it is ended in any case: by [`Backup::end`], else when that is dropped, else by
//! the next run; then QEMU listens nowhere, and the scratch file is gone. A backup that somebody else
//! began is never ended: ours is known by the socket or the file that it was given. Nothing else of a guest is changed but
//! its checkpoints, and of these only those that are told to be ours. Never decides what is an increment.

mod place;
mod virsh;
mod xml;

use self::virsh::Virsh;
use self::xml::{DomainDisk, Wanted};
use super::durable::create_anew;
use super::stop::Stop;
use crate::model::Hinted;
use crate::source::block::{Domain, Method};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) use place::{DiskPlace, Place};
pub use virsh::Error as VirshError;
pub(super) use xml::EXPORTED_BITMAP;

/// How often a running backup is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a backup that was told to end may take to do so.
const END_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of a socket's path (`sun_path` in unix(7)), the last one is zero.
const SOCKET_BYTES_MAX: usize = 107;

/// Why a moment of a guest cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// libvirt does not answer, or says no.
    #[error(transparent)]
    Virsh(#[from] VirshError),
    /// The agent in the guest does not do it.
    #[error("the file systems of the guest were not frozen")]
    Freeze(#[source] VirshError),
    /// What it tells is no XML.
    #[error("the description of {domain:?} by libvirt is not XML")]
    Xml {
        /// The domain.
        domain: String,
        /// Where it goes wrong.
        #[source]
        source: roxmltree::Error,
    },
    /// Backups are of running guests.
    #[error("domain {domain:?} is {state}, and only of a running one (or a paused one) a backup can be begun")]
    NotRunning {
        /// The domain.
        domain: String,
        /// What it is.
        state: String,
    },
    /// There is no such disk.
    #[error("domain {domain:?} has no disk {disk:?}, only {}", others.join(", "))]
    NoDisk {
        /// The domain.
        domain: String,
        /// The disk.
        disk: String,
        /// Those that it has.
        others: Vec<String>,
    },
    /// It has none, or several.
    #[error("domain {domain:?} has {} disks{}", disks.len(), as_list(disks))]
    WhichDisk {
        /// The domain.
        domain: String,
        /// Those that it has.
        disks: Vec<String>,
    },
    /// Somebody else backs it up.
    #[error("a backup of domain {0:?} is running that this source did not begin")]
    Busy(String),
    /// QEMU did not write it all.
    #[error("the backup of domain {domain:?} did not complete: {said}")]
    Failed {
        /// The domain.
        domain: String,
        /// What libvirt says of it.
        said: String,
    },
    /// It does not end.
    #[error("the backup of domain {domain:?} was told to end and still runs after {} s", END_WITHIN.as_secs())]
    NotEnded {
        /// The domain.
        domain: String,
    },
    /// The path of the socket is too long for the kernel.
    #[error("the path {0:?} is too long for a socket: {SOCKET_BYTES_MAX} bytes at most")]
    LongPath(PathBuf),
    /// What libvirt is to be told cannot be written.
    #[error("cannot write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The run was told to end.
    #[error("the run was ended by a signal before the backup of {0:?} was complete")]
    Stopped(String),
}

fn as_list(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) }
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Virsh(VirshError::NoTool) => "it is in the package libvirt-clients",
            // QEMU and AppArmor (https://github.com/abbbi/virtnbdbackup/issues/7) say it alike.
            Self::Virsh(VirshError::Refused { said, .. }) if said.contains("Permission denied") => {
                "QEMU has to be allowed to write there: its user to the folder of --scratch (pushed: to that of images), and by AppArmor, with \
                 the line \"/var/tmp/asof-* rw,\" in /etc/apparmor.d/local/abstractions/libvirt-qemu; nothing was taken"
            }
            Self::Freeze(_) => {
                "the guest has to run, with the agent qemu-guest-agent in it; or take it without --freeze"
            }
            Self::NotRunning { .. } => {
                "virsh start it; the image of a guest that is off can be copied, and asof index indexes it"
            }
            Self::NoDisk { .. } => "--disk names it; a source is one disk",
            Self::WhichDisk { .. } => {
                "--disk names one; asof source set NAME --all-disks takes all of them, where there are no generations yet"
            }
            Self::Busy(_) => "virsh domjobinfo shows it; wait for its end, or end it with virsh domjobabort",
            Self::LongPath(_) => "--scratch DIR gives it another place",
            Self::NotEnded { .. } => "virsh domjobabort ends it",
            Self::Virsh(_) | Self::Xml { .. } | Self::Failed { .. } | Self::Write { .. } | Self::Stopped(_) => {
                return None;
            }
        };
        Some(text.to_owned())
    }
}

/// A domain, and the disks of it that are taken.
#[derive(Clone, Debug)]
pub struct Guest {
    virsh: Virsh,
    /// Those that are taken, one at least.
    taken: Vec<DomainDisk>,
    /// All disks of the domain.
    disks: Vec<DomainDisk>,
}

/// A backup to be begun.
pub(super) struct Begin<'a> {
    pub(super) method: Method,
    /// The checkpoint that it counts from; none: everything.
    pub(super) since: Option<&'a str>,
    /// The checkpoint that is made; none: the disk cannot have any.
    pub(super) checkpoint: Option<&'a str>,
    pub(super) place: &'a Place,
    /// Where what libvirt is told may be written meanwhile.
    pub(super) folder: &'a Path,
}

impl Guest {
    /// Returns the disks that a domain has, as libvirt calls them, running or not.
    ///
    /// # Errors
    /// [`Error`].
    pub fn disks_of(settings: &Domain) -> Result<Vec<String>, Error> {
        let told = settings.virsh().ask::<&str>("dumpxml", &[])?;
        let xml = |source| Error::Xml { domain: settings.name.clone(), source };
        Ok(xml::disks(&told).map_err(xml)?.into_iter().map(|disk| disk.target).collect())
    }

    /// Finds the disk that the settings name, or all of them. `domain` must be running.
    ///
    /// Cost: three calls of `virsh`, about 20 ms each.
    ///
    /// # Errors
    /// [`Error`].
    pub fn find(settings: &Domain, all: bool) -> Result<Self, Error> {
        let mut virsh = settings.virsh();
        let name = settings.name.clone();
        let state = virsh.ask::<&str>("domstate", &[])?;
        if !matches!(state.trim(), "running" | "paused" | "idle" | "pmsuspended") {
            return Err(Error::NotRunning { domain: name, state: state.trim().to_owned() });
        }
        virsh.uuid = Some(virsh.ask::<&str>("domuuid", &[])?.trim().to_owned());
        let told = virsh.ask::<&str>("dumpxml", &[])?;
        let disks = xml::disks(&told).map_err(|source| Error::Xml { domain: name.clone(), source })?;
        let names = || disks.iter().map(|disk| disk.target.clone()).collect::<Vec<_>>();
        let taken = match &settings.disk {
            Some(disk) => match disks.iter().find(|one| one.target == *disk) {
                Some(found) => vec![found.clone()],
                None => return Err(Error::NoDisk { domain: name, disk: disk.clone(), others: names() }),
            },
            None if disks.len() == 1 || (all && !disks.is_empty()) => disks.clone(),
            None => return Err(Error::WhichDisk { domain: name, disks: names() }),
        };
        Ok(Self { virsh, taken, disks })
    }

    /// Returns the disks that are taken, as libvirt calls them.
    pub(super) fn disks(&self) -> impl Iterator<Item = &str> {
        self.taken.iter().map(|disk| disk.target.as_str())
    }

    /// Returns the UUID of the domain.
    pub(super) fn uuid(&self) -> Option<&str> {
        self.virsh.uuid.as_deref()
    }

    /// Returns the domain, as it was named.
    pub(super) fn name(&self) -> &str {
        &self.virsh.name
    }

    /// Tells whether QEMU can keep bitmaps in the image of a disk: in a qcow2 image only.
    pub(super) fn can_count(&self, disk: &str) -> bool {
        self.taken.iter().any(|one| one.target == disk && one.can_count())
    }

    /// Returns the names of its checkpoints, each behind its parent.
    pub(super) fn checkpoints(&self) -> Result<Vec<String>, Error> {
        let told = self.virsh.ask("checkpoint-list", &["--name", "--topological"])?;
        Ok(told.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// Returns what libvirt knows of a checkpoint, without the domain: that is long and changes.
    pub(super) fn checkpoint_xml(&self, name: &str) -> Result<String, Error> {
        Ok(self.virsh.ask("checkpoint-dumpxml", &["--no-domain", "--checkpointname", name])?)
    }

    /// Has libvirt know a checkpoint again whose bitmap is there still.
    pub(super) fn redefine(&self, checkpoint_xml: &str, folder: &Path) -> Result<(), Error> {
        let file = Told::write(folder, "checkpoint", checkpoint_xml)?;
        let words = ["--xmlfile".as_ref(), file.0.as_os_str(), "--redefine".as_ref(), "--redefine-validate".as_ref()];
        self.virsh.ask("checkpoint-create", &words)?;
        Ok(())
    }

    /// Deletes a checkpoint. What it counted counts for its parent from then on. If its bitmap was lost (QEMU was killed), its name
    /// is all that is left to delete.
    pub(super) fn delete_checkpoint(&self, name: &str) -> Result<(), Error> {
        match self.virsh.ask("checkpoint-delete", &["--checkpointname", name]) {
            Err(VirshError::Refused { said, .. }) if said.contains("not found in backing chain") => {
                self.virsh.ask("checkpoint-delete", &["--metadata", "--checkpointname", name])?;
            }
            deleted => drop(deleted?),
        }
        Ok(())
    }

    /// Returns where the running backup listens or writes; none if none is running.
    fn running(&self) -> Result<Option<Vec<String>>, Error> {
        match self.virsh.ask::<&str>("backup-dumpxml", &[]) {
            Ok(told) => {
                let xml = |source| Error::Xml { domain: self.virsh.name.clone(), source };
                xml::places(&told).map(Some).map_err(xml)
            }
            Err(VirshError::Refused { said, .. }) if said.contains("no domain backup job present") => Ok(None),
            // A guest that is off has no job; so has one that nobody knows any more.
            Err(VirshError::Refused { said, .. })
                if said.contains("domain is not running") || said.contains("Domain not found") =>
            {
                Ok(None)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Ends the backup that listens or writes at `mark`, if it runs. Returns whether it did.
    pub(super) fn end_left(&self, mark: &Path) -> Result<bool, Error> {
        let is_ours = |places: Vec<String>| places.iter().any(|place| Path::new(place) == mark);
        if !self.running()?.is_some_and(is_ours) {
            return Ok(false);
        }
        match self.virsh.ask::<&str>("domjobabort", &[]) {
            Ok(_) => {}
            // It came to its end by itself meanwhile.
            Err(_) if self.running()?.is_none() => return Ok(true),
            Err(e) => return Err(e.into()),
        }
        let began = Instant::now();
        while self.running()?.is_some_and(is_ours) {
            if began.elapsed() > END_WITHIN {
                return Err(Error::NotEnded { domain: self.virsh.name.clone() });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(true)
    }

    /// Refuses a domain that somebody else backs up: libvirt would wait half a minute for its end.
    pub(super) fn check_idle(&self) -> Result<(), Error> {
        if self.running()?.is_some() { Err(Error::Busy(self.virsh.name.clone())) } else { Ok(()) }
    }

    /// Waits until QEMU has written all of a pushed backup.
    pub(super) fn wait(&self, stop: &Stop) -> Result<(), Error> {
        while self.running()?.is_some() {
            if stop.is_told() {
                return Err(Error::Stopped(self.virsh.name.clone()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let told = self.virsh.ask("domjobinfo", &["--completed"])?;
        let lines: Vec<&str> = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let is_complete = lines.iter().any(|line| {
            line.split_once(':').is_some_and(|(name, word)| name == "Job type" && word.trim() == "Completed")
        });
        if is_complete {
            return Ok(());
        }
        Err(Error::Failed { domain: self.virsh.name.clone(), said: lines.join(", ") })
    }

    /// Freezes the file systems of the guest, by its agent.
    pub(super) fn freeze(&self) -> Result<(), Error> {
        self.virsh.ask::<&str>("domfsfreeze", &[]).map_err(Error::Freeze)?;
        Ok(())
    }
}

/// Thaws the file systems of a domain, frozen or not; of one that is off there is nothing to thaw.
///
/// # Errors
/// [`Error::Virsh`].
pub fn thaw(settings: &Domain) -> Result<(), Error> {
    let virsh = settings.virsh();
    match virsh.ask::<&str>("domfsthaw", &[]) {
        Ok(_) => Ok(()),
        Err(VirshError::Refused { said, .. }) if said.contains("domain is not running") => Ok(()),
        Err(e) => Err(e.into()),
    }
}

impl Domain {
    fn virsh(&self) -> Virsh {
        let connect = self.connect.clone().unwrap_or_else(|| DEFAULT_CONNECT.to_owned());
        Virsh { connect, name: self.name.clone(), uuid: None }
    }
}

/// libvirt of this machine.
const DEFAULT_CONNECT: &str = "qemu:///system";

/// A running backup.
#[derive(Debug, Default)]
pub struct Backup(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    guest: Guest,
    mark: PathBuf,
}

impl Backup {
    /// Begins a backup of a guest. It is ended with this one, also if libvirt did not say whether it began.
    ///
    /// # Errors
    /// [`Error`]; then none of ours is running.
    pub(super) fn begin(&self, guest: &Guest, begin: &Begin<'_>) -> Result<(), Error> {
        let Begin { method, since, place, .. } = *begin;
        if place.socket.as_os_str().len() > SOCKET_BYTES_MAX {
            return Err(Error::LongPath(place.socket.clone()));
        }
        let disks = guest.disks.as_slice();
        let told = xml::backup(&Wanted { method, disks, since, place });
        let backup = Told::write(begin.folder, "backup", &told)?;
        let mut words = vec!["--backupxml".as_ref(), backup.0.as_os_str()];
        let told = begin.checkpoint.map(|name| xml::checkpoint(name, place, disks));
        let checkpoint = told.map(|told| Told::write(begin.folder, "checkpoint", &told)).transpose()?;
        words.extend(checkpoint.iter().flat_map(|file| ["--checkpointxml".as_ref(), file.0.as_os_str()]));
        // What is told of the last one is forgotten with this, so that what is told later is of this one.
        let _ = guest.virsh.ask("domjobinfo", &["--completed"]);
        let mark = place.mark(method).to_owned();
        *self.lock() = Some(Running { guest: guest.clone(), mark });
        let Err(e) = guest.virsh.ask("backup-begin", &words) else { return Ok(()) };
        if guest.running()?.is_some_and(|places| !places.iter().any(|one| Path::new(one) == place.mark(method))) {
            return Err(Error::Busy(guest.virsh.name.clone()));
        }
        self.end()?;
        Err(e.into())
    }

    /// Ends it, if it runs. May be called from any thread; who comes second waits until it is done.
    ///
    /// # Errors
    /// [`Error`]; then it may run still.
    pub fn end(&self) -> Result<(), Error> {
        let mut held = self.lock();
        let Some(Running { guest, mark }) = held.take() else { return Ok(()) };
        guest.end_left(&mark).map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Removes what libvirt was told by processes that are gone: they were killed.
pub(super) fn remove_told(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| {
            let rest = name.strip_prefix(".asof-")?.strip_suffix(".xml")?;
            rest.strip_prefix("backup-").or(rest.strip_prefix("checkpoint-"))?.parse::<u32>().ok()
        });
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A file that libvirt is told something by; it goes with this.
struct Told(PathBuf);

impl Told {
    fn write(folder: &Path, what: &str, text: &str) -> Result<Self, Error> {
        let path = folder.join(format!(".asof-{what}-{}.xml", std::process::id()));
        let written = create_anew(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        let told = Self(path);
        match written {
            Ok(()) => Ok(told),
            Err(source) => Err(Error::Write { path: told.0.clone(), source }),
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
