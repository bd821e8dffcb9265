//! What can keep a generation of a disk from being taken.
//! A hint says what to do about it, and what became of the generation.

use crate::catalog;
use crate::jobs::hooks;
use crate::jobs::take::block::disk;
use crate::jobs::take::block::libvirt;
use crate::jobs::take::block::pull;
use crate::jobs::take::block::still;
use crate::model::{DISKS_MAX, Hinted, Time};
use crate::source::block::{image, nbd};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What can keep a generation of a disk from being taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// Indexing.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The image that came.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// The bytes.
    #[error(transparent)]
    Pull(#[from] pull::Error),
    /// A command of the admin.
    #[error(transparent)]
    Hook(#[from] hooks::Error),
    /// The address of the export.
    #[error(transparent)]
    Uri(nbd::Error),
    /// The guest.
    #[error(transparent)]
    Guest(#[from] libvirt::Error),
    /// The guest was held for too long.
    #[error(transparent)]
    Still(still::Error),
    /// Something in the folder cannot be written.
    #[error("cannot write {path:?}")]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is another folder than it was.
    #[error("{folder:?} cannot be written to: {why}")]
    NotThere {
        /// The folder of images.
        folder: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// It could not be written while the guest was held.
    #[error("nothing could be written to {path:?} for {} s while the guest was held", .limit.as_secs())]
    Frozen {
        /// The folder.
        path: PathBuf,
        /// What a command may take.
        limit: Duration,
    },
    /// Nothing says where the bytes come from.
    #[error("source {0:?} names neither an NBD export, nor a domain, nor a snapshot command")]
    NoOrigin(String),
    /// It was said what the bitmap counts from, and that is not the newest generation.
    #[error("the bitmap is said to count from checkpoint {since:?}, and the newest generation, of {newest}, has {}", .found.as_ref().map_or_else(|| "none".to_owned(), |found| format!("{found:?}")))]
    NotSince {
        /// What was said.
        since: String,
        /// The newest generation.
        newest: Time,
        /// Its checkpoint.
        found: Option<String>,
    },
    /// The command left nothing.
    #[error(
        "the snapshot command {command:?} left no image: {said:?} is the last line that it printed, and no file is at $ASOF_IMAGE"
    )]
    NoImage {
        /// The command.
        command: String,
        /// The last line that it printed.
        said: String,
    },
    /// It names an image of before.
    #[error("the snapshot command left {image:?}, which is the generation of {at} already")]
    Known {
        /// The image.
        image: PathBuf,
        /// Its generation.
        at: Time,
    },
    /// The clock went back.
    #[error("the newest generation is of {newest}, and the clock says {now}")]
    ClockBehind {
        /// The newest generation.
        newest: Time,
        /// Now.
        now: Time,
    },
    /// A generation has all of them.
    #[error("source {0:?} is all disks of a guest, and one disk is to be taken")]
    OneDisk(String),
    /// Its files cannot be called so.
    #[error("a disk of the guest is called {disk:?}, and no file can be")]
    DiskName {
        /// The disk.
        disk: String,
    },
    /// The settings cannot be kept.
    #[error(transparent)]
    Settings(#[from] crate::source::Error),
    /// Places on disks have no room for more.
    #[error("{domain:?} has had {disks} disks, and a guest has {DISKS_MAX} at most")]
    ManyDisks {
        /// The source.
        domain: String,
        /// How many.
        disks: usize,
    },
    /// The run was told to end.
    #[error("the run was ended by a signal")]
    Stopped,
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Catalog(e) => return e.hint(),
            Self::Disk(e) => return e.hint(),
            Self::Pull(e) => return e.hint(),
            Self::NoOrigin(name) => {
                return Some(format!("asof take {name} --nbd URI or --domain NAME, or asof source set {name}"));
            }
            Self::Guest(e) => return Some(e.hint().unwrap_or_else(|| "nothing was taken".to_owned())),
            Self::OneDisk(_) => {
                "asof take NAME --domain DOMAIN takes all of them; one disk alone needs a source of its own; nothing was taken"
            }
            Self::NotSince { .. } => "export the bitmap of that checkpoint, or take --full reads everything",
            Self::NoImage { .. } => {
                "it prints the path of the image as its last line, or writes the image to $ASOF_IMAGE"
            }
            Self::Frozen { .. } => {
                "does the pre command freeze the file system that the folder or the catalog is on? nothing was taken"
            }
            Self::Known { .. } => "each snapshot needs a file of its own",
            Self::ClockBehind { .. } => "set the clock, or wait: a generation is never older than one that is there",
            Self::NotThere { .. } => {
                "mount what holds the images; asof source set NAME --store DIR takes another folder, or this one as it is now; nothing was taken"
            }
            Self::Still(_) => {
                "--freeze-max SECONDS lets it be held longer; with --snapshot it is held until that has made the moment; nothing was taken"
            }
            Self::Settings(e) => return e.hint(),
            Self::DiskName { .. } | Self::ManyDisks { .. } | Self::Hook(_) | Self::Stopped => "nothing was taken",
            Self::Write { .. } => "is the folder there, and has it room? nothing was taken",
            Self::Image(e) => return e.hint(),
            Self::Uri(_) => return None,
        };
        Some(text.to_owned())
    }
}
