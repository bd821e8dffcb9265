//! Why an index run, or a part of it, did nothing.
//! What to do about it stands beside it, where it is not said by the room below.

use crate::jobs::take::block::disk;
use crate::model::{DISKS_MAX, Hinted, Time, manifest};
use crate::source::block::image;
use crate::{catalog, index, source, store};
use std::path::PathBuf;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The source.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// Indexing.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// An image.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// What an image is on top of.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The directory of a copy is another one than when the run began.
    #[error("{path:?} is another directory than when this run began, or has another date; nothing of it was indexed")]
    Exchanged {
        /// The copy.
        path: PathBuf,
    },
    /// A source whose generations no other tool makes.
    #[error("source {name:?} is a Gluster volume: its generations are taken, or come from lists")]
    IsTaken {
        /// The source.
        name: String,
    },
    /// Something cannot be looked at.
    #[error("{doing} {path:?}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A time of last change is no date of a backup.
    #[error("{path:?} was last written {at}, which lies outside the years 1970 to 9998")]
    OutOfRange {
        /// What.
        path: PathBuf,
        /// When.
        at: Time,
    },
    /// A copy is a directory.
    #[error("{path:?} is not a copy of a share: it is not a directory")]
    NotADirectory {
        /// What was named.
        path: PathBuf,
    },
    /// A copy has one date.
    #[error("{path:?} is indexed already, as {known} and not {wanted}")]
    OtherDate {
        /// The source.
        name: String,
        /// The copy.
        path: PathBuf,
        /// The generation that it is.
        known: Time,
        /// What was asked for.
        wanted: Time,
    },
    /// A source has one generation a second.
    #[error("source {name:?} has a generation of {at} already, at {first:?}; {path:?} would be a second one")]
    SecondOne {
        /// The source.
        name: String,
        /// The second.
        at: Time,
        /// The copy of it.
        first: PathBuf,
        /// What was named.
        path: PathBuf,
    },
    /// Two of those that were named are of one second.
    #[error("{first:?} and {second:?} are both of {at}")]
    SameDate {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The second.
        at: Time,
    },
    /// There is no copy to index again.
    #[error("the copy of {at} of {name:?}, {path:?}, is not there")]
    NotThere {
        /// The source.
        name: String,
        /// The generation.
        at: Time,
        /// Where its copy was.
        path: PathBuf,
    },
    /// Nobody can say whether there is a copy to index again.
    #[error("the copy of {at} of {name:?}, {path:?}, cannot be looked at: {why}")]
    NotReached {
        /// The source.
        name: String,
        /// The generation.
        at: Time,
        /// Where its copy was.
        path: PathBuf,
        /// What is wrong with its store.
        why: String,
    },
    /// There is no such generation.
    #[error("source {name:?} has no generation of {at}")]
    NoGeneration {
        /// The source.
        name: String,
        /// The instant.
        at: Time,
    },
    /// A generation of a disk or a volume is named, and it is not said that it is to be indexed again.
    #[error("the generation of {at} of {name:?} is indexed already")]
    IndexedAlready {
        /// The source.
        name: String,
        /// The generation.
        at: Time,
    },
    /// A generation of a volume is indexed again from its manifest.
    #[error("manifest {sequence} of {name:?}, of the generation of {at}, is not there")]
    NoManifest {
        /// The source.
        name: String,
        /// The generation.
        at: Time,
        /// Its manifest.
        sequence: u64,
    },
    /// A manifest that is needed for that cannot be read.
    #[error("the manifest {path:?} cannot be used")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: manifest::Error,
    },
    /// A manifest does not give the generation that it is of.
    #[error("the manifest {path:?} does not give the generation of {at}: {what}")]
    Contradicts {
        /// The generation.
        at: Time,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A folder in which manifests lie cannot be listed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Images of several disks, and a source is one.
    #[error("the images of {name:?} are of {} disks: {}", .disks.len(), listed(.disks))]
    SeveralDisks {
        /// The source.
        name: String,
        /// Each disk, and an image of it.
        disks: Vec<(String, PathBuf)>,
    },
    /// An image of another disk than those that are indexed.
    #[error("image {path:?} is of disk {disk:?}, and what is indexed of {name:?} is of disk {known:?}, as {image:?}")]
    OtherDisk {
        /// The source.
        name: String,
        /// The disk that it is of.
        disk: String,
        /// The image.
        path: PathBuf,
        /// The disk of the source.
        known: String,
        /// An image of that.
        image: PathBuf,
    },
    /// Places on disks have no room for more.
    #[error("the images of {name:?} are of {disks} disks, and a guest has {DISKS_MAX} at most")]
    ManyDisks {
        /// The source.
        name: String,
        /// How many.
        disks: usize,
    },
    /// A raw file that is not read by itself.
    #[error(
        "{image:?} is no image of a whole disk: {manifest:?} says that a map beside it tells what it holds, and there is none"
    )]
    NoMap {
        /// The image.
        image: PathBuf,
        /// Its manifest.
        manifest: PathBuf,
    },
    /// An image is named that is of another disk than the source.
    #[error("source {name:?} is disk {own:?}, and an image of disk {disk:?} is named")]
    NotOwnDisk {
        /// The source.
        name: String,
        /// Its disk.
        own: String,
        /// The other one.
        disk: String,
    },
    /// An image that is no generation.
    #[error("{base:?} is not indexed: nothing can be based on it")]
    UnknownBase {
        /// The source.
        name: String,
        /// The image.
        base: PathBuf,
    },
}

fn listed(disks: &[(String, PathBuf)]) -> String {
    let one = |(disk, path): &(String, PathBuf)| format!("{disk:?} ({path:?})");
    disks.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Catalog(e) => return e.hint(),
            Self::Source(e) => return e.hint(),
            Self::Index(e) => return e.hint(),
            Self::Disk(e) => return e.hint(),
            Self::IsTaken { name } => {
                format!("asof take {name}, or asof index {name} --list LIST --data DIR --at DATE")
            }
            Self::OtherDate { name, path, known, .. } => {
                format!("asof forget {name}@{}; then asof index {name} {path:?} --at DATE", known.view_name())
            }
            Self::OutOfRange { .. } => "asof index NAME PATH --at DATE gives it a date".to_owned(),
            Self::SecondOne { name, at, .. } => format!(
                "give it another second with --at; or, if that one is gone for good, asof forget {name}@{} first",
                at.view_name()
            ),
            Self::SameDate { .. } => "index them one by one, with --at".to_owned(),
            Self::NotThere { name, at, .. } => {
                format!("asof forget {name}@{} removes the generation, if it is gone for good", at.view_name())
            }
            Self::NotReached { name, at, .. } => format!(
                "nothing was changed; asof index {name}@{} --again once its store is there again",
                at.view_name()
            ),
            Self::NoGeneration { name, .. } => format!("asof generations {name} lists them"),
            Self::IndexedAlready { name, at } => {
                format!("asof index {name}@{} --again indexes it anew", at.view_name())
            }
            Self::NoManifest { .. } => {
                "a program of catalog format 4 kept none that can be used; nothing was changed".to_owned()
            }
            Self::Manifest { .. } | Self::Contradicts { .. } => "nothing was changed".to_owned(),
            Self::UnknownBase { name, base } => format!("asof index {name} {base:?} first"),
            Self::Exchanged { .. } => "the next run examines it again".to_owned(),
            Self::SeveralDisks { name, disks } => format!(
                "a source is one disk: asof source set {name} --disk {} chooses that one, and asof source add block OTHER --images DIR --disk \
                 NAME another; nothing was indexed",
                disks.first().map_or("NAME", |(disk, _)| disk)
            ),
            Self::NoMap { image, .. } => {
                format!("put back {:?}, from where the images are copied to", image.with_extension("json"))
            }
            Self::ManyDisks { .. } => {
                "is each folder in that of the images one of a disk? nothing was indexed".to_owned()
            }
            Self::NotOwnDisk { .. } => "each disk needs a source of its own; nothing was indexed".to_owned(),
            Self::OtherDisk { name, known, .. } => {
                format!(
                    "asof source set {name} --disk {known} leaves other disks alone; each needs a source of its own"
                )
            }
            Self::Image(e) => return e.hint(),
            Self::NotADirectory { .. } => {
                "an image of a disk is of a source of its own: asof source add block --help".to_owned()
            }
            Self::Io { .. } | Self::Store(_) => return None,
        })
    }
}

impl Error {
    /// Tells whether the disk of the catalog, or of its manifests, is full: then nothing else can be written either.
    pub fn is_full(&self) -> bool {
        let catalog = match self {
            Self::Catalog(e) | Self::Index(index::Error::Catalog(e)) => e,
            Self::Disk(disk::Error::Catalog(e) | disk::Error::Index(index::Error::Catalog(e))) => e,
            _ => return false,
        };
        match catalog {
            catalog::Error::Full { .. } => true,
            catalog::Error::Manifest { cause, .. } => cause.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        }
    }
}
