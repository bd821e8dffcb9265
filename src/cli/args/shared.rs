//! What the arguments of several verbs have in common: each text of help that is said more than once, and each group of
//! arguments that more than one verb has, stand here once.
//! Names no verb.

use crate::model::Consistency;
use crate::source::block::{AskedGuest, Method};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// The help of a source that is there.
pub(in crate::cli) const SOURCE: &str = "The source";
/// The help of a source that is made.
pub(in crate::cli) const NEW_SOURCE: &str = "The name of the source; a directory of this name appears in every view";
/// The help of the copies of a share.
pub(in crate::cli) const COPIES: &str = "The directory that holds one directory for each copy";
/// The help of where a volume is asked for.
pub(in crate::cli) const HOST: &str = "A server of the volume";
/// The help of the volume.
pub(in crate::cli) const VOLUME: &str = "The volume";
/// The help of `--json`.
pub(in crate::cli) const PRINT_JSON: &str = "Print JSON";

/// The programs beside the bricks of a volume.
#[derive(Debug, Args)]
pub(in crate::cli) struct ProgramArgs {
    /// The program asof on the other servers [default: asof]
    #[arg(long, value_name = "PROGRAM")]
    pub(in crate::cli) program: Option<PathBuf>,
    /// The program gluster [default: gluster]
    #[arg(long, value_name = "PROGRAM")]
    pub(in crate::cli) gluster: Option<PathBuf>,
}

/// How often a volume is looked at as a whole.
#[derive(Debug, Args)]
pub(in crate::cli) struct RescanArgs {
    /// Make a full scan every so many days; 0: only where the changelogs have a gap [default: 7]
    #[arg(long, value_name = "DAYS")]
    rescan_every: Option<u64>,
}

impl RescanArgs {
    /// Returns what was given, in seconds.
    pub(in crate::cli) fn rescan_every_s(&self) -> Option<u64> {
        self.rescan_every.map(|days| days.saturating_mul(86_400))
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct JsonArgs {
    #[arg(long, help = PRINT_JSON)]
    pub(in crate::cli) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum YesNo {
    Yes,
    No,
}

/// How consistent the data of a disk is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum ConsistencyArg {
    /// The programs had written everything and waited
    App,
    /// The file systems were frozen
    Frozen,
    /// As after a power failure
    Crash,
    /// Nothing
    None,
}

impl From<ConsistencyArg> for Consistency {
    fn from(arg: ConsistencyArg) -> Self {
        match arg {
            ConsistencyArg::App => Self::App,
            ConsistencyArg::Frozen => Self::Frozen,
            ConsistencyArg::Crash => Self::Crash,
            ConsistencyArg::None => Self::None,
        }
    }
}

/// Which guest of libvirt, and how its disk is taken.
#[derive(Debug, Args)]
pub(in crate::cli) struct GuestArgs {
    /// The libvirt domain whose disk asof take backs up; virsh must be installed
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) domain: Option<String>,
    /// The disk of that domain, as virsh domblklist calls it: vda [default: the only one]. Without a domain: the one of the disks in
    /// the directory of images that this source is, as the images or their names call it
    #[arg(long, value_name = "DISK")]
    pub(in crate::cli) disk: Option<String>,
    /// Who copies the bytes of a domain's disk: asof reads them (pull), or QEMU writes a qcow2 file (push) [default: pull]
    #[arg(long, value_name = "HOW")]
    pub(in crate::cli) method: Option<MethodArg>,
}

impl GuestArgs {
    /// Tells whether anything is said of a guest.
    pub(in crate::cli) fn is_given(&self) -> bool {
        self.domain.is_some() || self.disk.is_some() || self.method.is_some()
    }

    /// Returns what is said of a guest.
    pub(in crate::cli) fn asked(&self) -> AskedGuest {
        AskedGuest { domain: self.domain.clone(), disk: self.disk.clone(), method: self.method.map(Method::from) }
    }
}

/// Who moves the bytes of a guest's disk.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum MethodArg {
    /// This program reads them
    Pull,
    /// QEMU writes them
    Push,
}

impl From<MethodArg> for Method {
    fn from(arg: MethodArg) -> Self {
        match arg {
            MethodArg::Pull => Self::Pull,
            MethodArg::Push => Self::Push,
        }
    }
}

/// Reads a length of time: a number and a unit, or 0.
pub(in crate::cli) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let length = text.parse::<jiff::SignedDuration>().ok().and_then(|length| Duration::try_from(length).ok());
    length.ok_or_else(|| "write a number and a unit, as in 30s, 10m or 2h".to_owned())
}
