//! Why an image cannot be used.
//! Each text names the image.

use super::gate::Why;
use crate::model::Hinted;
use std::io;
use std::path::PathBuf;

/// The most images that rest on each other; QEMU itself becomes slow far below.
pub const CHAIN_MAX: usize = 1024;

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image itself is not opened.
    #[error("image {image:?} {why}")]
    Open {
        /// The image.
        image: PathBuf,
        /// What is in the way.
        why: Why,
    },
    /// A file that it cannot be read without is not opened.
    #[error("image {image:?}: {file} {why}")]
    File {
        /// The image.
        image: PathBuf,
        /// What the file is to it, and its name: `backing file "base.qcow2"`.
        file: String,
        /// What is in the way.
        why: Why,
    },
    /// It does not give its bytes.
    #[error("image {image:?}: cannot read {length} bytes at byte {at}")]
    Read {
        /// The image.
        image: PathBuf,
        /// Where.
        at: u64,
        /// How much was wanted.
        length: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is of a format that is not read.
    #[error(
        "image {image:?} is a {format} file, expected raw, qcow2 or a stream of virtnbdbackup; \
         {command} makes an image of it"
    )]
    Foreign {
        /// The image.
        image: PathBuf,
        /// What it is.
        format: &'static str,
        /// What makes an image of it.
        command: &'static str,
    },
    /// By its name it is a raw image, and it begins as a qcow2 image: a guest can write that to its disk.
    #[error("image {image:?} is named as a raw image and begins as a qcow2 image does")]
    Ambiguous {
        /// The image.
        image: PathBuf,
    },
    /// Its data is encrypted.
    #[error("image {image:?} is encrypted ({method}), and no key is known")]
    Encrypted {
        /// The image.
        image: PathBuf,
        /// How.
        method: String,
    },
    /// It uses what this version does not read.
    #[error("image {image:?}: {what}, which this version does not read")]
    Unsupported {
        /// The image.
        image: PathBuf,
        /// What.
        what: String,
    },
    /// It contradicts its own format.
    #[error("image {image:?} is damaged: {what}")]
    Damaged {
        /// The image.
        image: PathBuf,
        /// What and where.
        what: String,
    },
    /// Its end is missing.
    #[error("image {image:?} is cut: {what}, and the file has {size_bytes} bytes")]
    Cut {
        /// The image.
        image: PathBuf,
        /// What should be there.
        what: String,
        /// The length of the file.
        size_bytes: u64,
    },
    /// It rests on itself.
    #[error("image {image:?} is based on {parent:?}, which is based on it")]
    Loop {
        /// The image.
        image: PathBuf,
        /// Its parent.
        parent: PathBuf,
    },
    /// Too many images rest on each other.
    #[error("image {image:?} is based on more than {CHAIN_MAX} others")]
    Deep {
        /// The first one.
        image: PathBuf,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Open { why: Why::InUse, .. } | Self::File { why: Why::InUse, .. } => {
                "asof take takes a generation of a disk in use; an image of one can be indexed when QEMU has closed it"
            }
            Self::Ambiguous { .. } => {
                "if a guest may have written that: asof source set NAME --format raw; if it is a qcow2 image: call it .qcow2"
            }
            Self::Cut { .. } => "was it copied to its end? if it still is being written, the next asof index reads it",
            _ => return None,
        };
        Some(text.to_owned())
    }
}
