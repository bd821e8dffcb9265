//! Mount points: what may become one, and taking a mount away again.
//!
//! Promises: nothing is mounted over files or over another mount of ours. What is mounted is read from the
//! kernel's table; a mount whose daemon is gone is told from a live one by the one question that a
//! dead one answers at once. What was looked at is what is mounted on, or unmounted, whatever others make of the path meanwhile.

use crate::model::Hinted;
use crate::sys::mount::{self as sys, MountId, Mounted, NoWay, Target, WhenBusy};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The type of our mounts is `fuse.` and this.
pub(super) const SUBTYPE: &str = "asof";

/// Why a mount could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The mount point is not there.
    #[error("mount point \"{}\" does not exist", dir.display())]
    NoMountPoint {
        /// The mount point.
        dir: PathBuf,
    },
    /// The mount point is something else.
    #[error("mount point \"{}\" is not a directory", dir.display())]
    NotADirectory {
        /// The mount point.
        dir: PathBuf,
    },
    /// The mount would hide files.
    #[error("mount point \"{}\" is not empty", dir.display())]
    NotEmpty {
        /// The mount point.
        dir: PathBuf,
    },
    /// The mount point cannot be looked at.
    #[error("cannot look at mount point \"{}\"", dir.display())]
    Unreadable {
        /// The mount point.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A live mount of ours is there.
    #[error("catalog \"{}\" is already mounted at \"{}\"", catalog.display(), dir.display())]
    AlreadyMounted {
        /// The mount point.
        dir: PathBuf,
        /// What the mount there shows.
        catalog: PathBuf,
    },
    /// A mount of ours is there whose daemon is gone, and cannot be taken away.
    #[error("at \"{}\" is a mount whose daemon is gone", dir.display())]
    Stale {
        /// The mount point.
        dir: PathBuf,
    },
    /// This machine has no FUSE.
    #[error("cannot open \"/dev/fuse\"")]
    NoDevice {
        /// Why.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot mount at \"{}\"", dir.display())]
    Mount {
        /// The mount point.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody mounted it read-write, and the system let us set up no other in its place.
    #[error("\"{}\" was remounted read-write, and cannot be mounted anew", dir.display())]
    Writable {
        /// The mount point.
        dir: PathBuf,
        /// Why.
        source: Box<Error>,
    },
    /// Somebody is inside, or has a file open.
    #[error("\"{}\" is in use", dir.display())]
    Busy {
        /// The mount point.
        dir: PathBuf,
    },
    /// It is a link, or leads through one that may be exchanged by somebody else.
    #[error("\"{}\" is a symbolic link to \"{}\"{}", link.display(), to.display(), owned(*owner))]
    Link {
        /// The link.
        link: PathBuf,
        /// Where it leads.
        to: PathBuf,
        /// Whose it is, if it is on the way and somebody else's.
        owner: Option<u32>,
    },
    /// Another catalog than the one that was named is mounted there.
    #[error("at \"{}\" is a mount of catalog \"{}\", not of \"{}\"", dir.display(), found.display(), named.display())]
    OtherCatalog {
        /// The mount point.
        dir: PathBuf,
        /// What is mounted there.
        found: PathBuf,
        /// What was named.
        named: PathBuf,
    },
    /// Nothing of ours is mounted there.
    #[error("no catalog is mounted at \"{}\"", dir.display())]
    NotMounted {
        /// The directory.
        dir: PathBuf,
    },
    /// Users mount through a program that is not there.
    #[error("cannot mount at \"{}\": there is no fusermount3, through which users other than root mount", dir.display())]
    NoHelper {
        /// The mount point.
        dir: PathBuf,
    },
    /// The system refused.
    #[error("cannot unmount \"{}\"", dir.display())]
    Unmount {
        /// The mount point.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoMountPoint { dir } => Some(format!("mkdir {}", dir.display())),
            Self::AlreadyMounted { dir, .. } => Some(format!("asof umount {} ends that mount", dir.display())),
            Self::Stale { dir } => Some(format!("asof umount {} clears it", dir.display())),
            Self::NoDevice { source } if source.kind() == io::ErrorKind::PermissionDenied => Some(
                "who mounts has to be able to write to it: chmod 666 /dev/fuse, as udev makes it, or mount as root"
                    .to_owned(),
            ),
            Self::NoDevice { .. } => Some("modprobe fuse, or give the container --device /dev/fuse".to_owned()),
            Self::Busy { dir } => {
                Some(format!("fuser -vm {0} shows who; asof umount --lazy {0} does not wait for them", dir.display()))
            }
            Self::NoHelper { .. } => Some("apt-get install fuse3, as root".to_owned()),
            Self::Link { .. } => Some("name the directory itself".to_owned()),
            Self::OtherCatalog { dir, found, .. } => {
                Some(format!("asof --catalog {} umount {} ends that mount", found.display(), dir.display()))
            }
            // Small containers lack it, and fusermount3 unmounts nothing then.
            Self::Unmount { source, .. } if source.to_string().contains("/etc/mtab") => {
                Some("ln -s /proc/self/mounts /etc/mtab, as root".to_owned())
            }
            Self::NotADirectory { .. }
            | Self::NotEmpty { .. }
            | Self::Unreadable { .. }
            | Self::Mount { .. }
            | Self::NotMounted { .. }
            | Self::Writable { .. }
            | Self::Unmount { .. } => None,
        }
    }
}

fn owned(owner: Option<u32>) -> String {
    owner.map_or_else(String::new, |uid| format!(", of user {uid}"))
}

/// Returns the catalog that is mounted at `dir`, where one is.
pub fn catalog_at(dir: &Path) -> Option<PathBuf> {
    ours(dir).pop().map(|mounted| PathBuf::from(mounted.source))
}

/// Returns where `catalog` is mounted by a daemon that is gone. One that does not answer within `limit` is not taken for gone.
pub fn left_behind(catalog: &Path, limit: Duration) -> Vec<PathBuf> {
    let kind = format!("fuse.{SUBTYPE}");
    let mounts = sys::mounts().unwrap_or_default().into_iter().filter(|mounted| mounted.kind == kind);
    let (sender, answers) = mpsc::channel();
    for mounted in mounts.filter(|mounted| is_of(mounted, catalog)) {
        let sender = sender.clone();
        // Not joined: one that asks a daemon that hangs ends with the process.
        let _ = std::thread::Builder::new().spawn(move || {
            let is_gone = Target::of_mount(&mounted.id()).is_ok_and(|top| sys::is_disconnected(&top));
            let _ = sender.send(Some(mounted.dir).filter(|_| is_gone));
        });
    }
    drop(sender);
    let until = Instant::now() + limit;
    let next = || answers.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
    let mut gone: Vec<PathBuf> = std::iter::from_fn(next).flatten().collect();
    gone.sort();
    gone
}

/// Unmounts what of ours is mounted at `dir`, live or left behind by a daemon that is gone; if a catalog is named, what shows that one.
///
/// # Errors
/// [`Error::NotMounted`], [`Error::Busy`], [`Error::Unmount`], [`Error::OtherCatalog`]; as [`plain_path`].
pub fn unmount(dir: &Path, named: Option<&Path>, when_busy: WhenBusy) -> Result<(), Error> {
    let dir = plain_path(dir)?;
    let layers = ours(&dir);
    if let Some(named) = named
        && let Some(other) = layers.iter().find(|layer| !is_of(layer, named))
    {
        return Err(Error::OtherCatalog { dir, found: PathBuf::from(&other.source), named: named.to_owned() });
    }
    if layers.is_empty() {
        return Err(Error::NotMounted { dir });
    }
    layers.iter().rev().try_for_each(|layer| unmount_layer(&layer.id(), &dir, when_busy))
}

/// Tells whether a mount shows the catalog at `catalog`, under whatever name of it.
fn is_of(mounted: &Mounted, catalog: &Path) -> bool {
    let file = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let source = Path::new(&mounted.source);
    // It may be gone by now, or its name was too long or too odd for the kernel.
    let shown = [sys::shortened(catalog).to_vec(), filesystem_name(catalog).into_bytes()];
    shown.iter().any(|shown| shown == source.as_os_str().as_bytes())
        || file(catalog).is_some_and(|own| file(source) == Some(own))
}

/// Returns how `fusermount3` is told what is mounted: a comma would begin another option.
pub(super) fn filesystem_name(source: &Path) -> String {
    source.to_string_lossy().replace(',', "_")
}

/// Unmounts one file system, which was mounted at `dir`, as root or through `fusermount3`.
pub(super) fn unmount_layer(id: &MountId, dir: &Path, when_busy: WhenBusy) -> Result<(), Error> {
    let source = match sys::unmount(id, when_busy) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => match unmount_by_helper(id, when_busy) {
            Ok(()) => return Ok(()),
            Err(e) => e,
        },
        Err(e) => e,
    };
    match source {
        e if e.kind() == io::ErrorKind::ResourceBusy => Err(Error::Busy { dir: dir.to_owned() }),
        e if sys::is_not_mounted(&e) => Err(Error::NotMounted { dir: dir.to_owned() }),
        source => Err(Error::Unmount { dir: dir.to_owned(), source }),
    }
}

/// The helper knows paths only, and lets its user unmount what is his.
fn unmount_by_helper(id: &MountId, when_busy: WhenBusy) -> io::Result<()> {
    let Some(Mounted { dir, .. }) = sys::mounted_as(id)? else { return Err(sys::not_mounted()) };
    let mut command = Command::new("fusermount3");
    command.arg("-u");
    match when_busy {
        WhenBusy::Refuse => {}
        WhenBusy::Detach => drop(command.arg("-z")),
    }
    let output = command.arg("--").arg(&dir).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    match (output.status.success(), said.contains("busy")) {
        (true, _) => Ok(()),
        (false, true) => Err(io::ErrorKind::ResourceBusy.into()),
        // Where there is no such table, umount(8) does without.
        (false, false) if said.contains("/etc/mtab") && unmount_by_umount(&dir, when_busy) => Ok(()),
        (false, false) => Err(io::Error::other(said.trim().to_owned())),
    }
}

fn unmount_by_umount(dir: &Path, when_busy: WhenBusy) -> bool {
    let mut command = Command::new("umount");
    if when_busy == WhenBusy::Detach {
        command.arg("--lazy");
    }
    let ended = command.arg("--").arg(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

/// A directory that may become a mount point.
pub(super) struct Point {
    /// Its absolute path.
    pub(super) dir: PathBuf,
    pub(super) target: Target,
}

/// Returns a directory that may become a mount point; takes a mount of ours away whose daemon is gone.
pub(super) fn check(dir: &Path) -> Result<Point, Error> {
    let unreadable = |source| Error::Unreadable { dir: dir.to_owned(), source };
    let path = plain_path(dir)?;
    for mounted in ours(&path).into_iter().rev() {
        let is_live = match Target::of_mount(&mounted.id()) {
            Ok(top) => !sys::is_disconnected(&top),
            Err(e) if sys::is_not_mounted(&e) => continue,
            Err(e) => return Err(unreadable(e)),
        };
        if is_live {
            return Err(Error::AlreadyMounted { dir: path, catalog: PathBuf::from(mounted.source) });
        }
        // Nobody can read anything there, whoever is inside.
        match unmount_layer(&mounted.id(), &path, WhenBusy::Detach) {
            Ok(()) => tracing::info!("cleared {path:?}: a mount was there whose daemon is gone"),
            Err(Error::NotMounted { .. }) => {}
            Err(e) => {
                tracing::info!("{}", crate::model::chain(&e));
                return Err(Error::Stale { dir: path });
            }
        }
    }
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(Error::NotADirectory { dir: path }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Error::NoMountPoint { dir: path }),
        // Not of our type, or we would have found it above.
        Err(source) => return Err(unreadable(source)),
    }
    let target = Target::open(&path).map_err(unreadable)?;
    match std::fs::read_dir(target.path()).map_err(unreadable)?.next() {
        None => Ok(Point { dir: path, target }),
        Some(_) => Err(Error::NotEmpty { dir: path }),
    }
}

/// Returns our mount at `dir` that is seen.
pub(super) fn seen_at(dir: &Path) -> io::Result<MountId> {
    ours(dir).pop().map(|mounted| mounted.id()).ok_or_else(|| io::Error::other("nothing is mounted there"))
}

/// Our mounts at `dir`, the uppermost last.
fn ours(dir: &Path) -> Vec<Mounted> {
    let kind = format!("fuse.{SUBTYPE}");
    let mut mounts = sys::mounts().unwrap_or_default();
    mounts.retain(|m| m.dir == dir && m.kind == kind);
    mounts
}

/// Resolves links on the way to `dir`, and does not look at `dir` itself if a mount of ours is there: that would ask its server.
///
/// # Errors
/// [`Error::Link`] if `dir` is a link, or there is one on the way that is somebody else's than root's or ours: what he makes of it next is
/// not what was meant. [`Error::Unreadable`] as `realpath(3)` of the directory that holds it.
pub fn plain_path(dir: &Path) -> Result<PathBuf, Error> {
    let unreadable = |source| Error::Unreadable { dir: dir.to_owned(), source };
    let dir = std::path::absolute(dir).map_err(unreadable)?;
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else { return Ok(dir) };
    let plain = match sys::plain_folder(parent) {
        Ok(parent) => parent.join(name),
        Err(NoWay::Io(e)) if e.kind() == io::ErrorKind::NotFound => return Ok(dir),
        Err(NoWay::Io(e)) => return Err(unreadable(e)),
        Err(NoWay::Link { link, to, owner }) => return Err(Error::Link { link, to, owner: Some(owner) }),
    };
    if ours(&plain).is_empty() && plain.is_symlink() {
        let to = std::fs::read_link(&plain).unwrap_or_default();
        return Err(Error::Link { link: plain, to, owner: None });
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_become_a_mount_point_is_named() {
        let world = tempfile::tempdir().unwrap();
        let root = world.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("full")).unwrap();
        std::fs::create_dir(root.join("empty")).unwrap();
        std::fs::write(root.join("full/file"), b"").unwrap();
        std::os::unix::fs::symlink("empty", root.join("link")).unwrap();
        let text = |name: &str| check(&root.join(name)).err().unwrap().to_string();
        let root = root.display();
        assert_eq!(text("none"), format!("mount point \"{root}/none\" does not exist"));
        assert_eq!(text("full/file"), format!("mount point \"{root}/full/file\" is not a directory"));
        assert_eq!(text("full"), format!("mount point \"{root}/full\" is not empty"));
        assert_eq!(text("link"), format!("\"{root}/link\" is a symbolic link to \"empty\""));
        let error = unmount(&world.path().join("link"), None, WhenBusy::Refuse).unwrap_err();
        assert_eq!(error.to_string(), format!("\"{root}/link\" is a symbolic link to \"empty\""));
        let error = unmount(&world.path().join("empty"), None, WhenBusy::Refuse).unwrap_err();
        assert_eq!(error.to_string(), format!("no catalog is mounted at \"{root}/empty\""));
        assert_eq!(text("full/file/x"), format!("cannot look at mount point \"{root}/full/file/x\""));
    }

    #[test]
    fn errors_of_mounting_say_what_can_be_done() {
        let dir = || PathBuf::from("/backups");
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        let text = |error: Error| (error.to_string(), error.hint());
        let hint = |text: &str| Some(text.to_owned());
        assert_eq!(
            text(Error::AlreadyMounted { dir: dir(), catalog: "/c.db".into() }),
            (
                "catalog \"/c.db\" is already mounted at \"/backups\"".into(),
                hint("asof umount /backups ends that mount")
            )
        );
        assert_eq!(
            text(Error::Stale { dir: dir() }),
            ("at \"/backups\" is a mount whose daemon is gone".into(), hint("asof umount /backups clears it"))
        );
        assert_eq!(
            text(Error::NoDevice { source: io::ErrorKind::NotFound.into() }),
            ("cannot open \"/dev/fuse\"".into(), hint("modprobe fuse, or give the container --device /dev/fuse"))
        );
        assert_eq!(
            text(Error::NoDevice { source: refused() }).1,
            hint("who mounts has to be able to write to it: chmod 666 /dev/fuse, as udev makes it, or mount as root")
        );
        assert_eq!(text(Error::Mount { dir: dir(), source: refused() }), ("cannot mount at \"/backups\"".into(), None));
        assert_eq!(
            text(Error::Unmount { dir: dir(), source: refused() }),
            ("cannot unmount \"/backups\"".into(), None)
        );
        let lacks = || io::Error::other("fusermount3: failed to open /etc/mtab: No such file or directory");
        assert_eq!(
            text(Error::Unmount { dir: dir(), source: lacks() }).1,
            hint("ln -s /proc/self/mounts /etc/mtab, as root")
        );
        assert_eq!(
            text(Error::Busy { dir: dir() }),
            (
                "\"/backups\" is in use".into(),
                hint("fuser -vm /backups shows who; asof umount --lazy /backups does not wait for them")
            )
        );
    }
}
