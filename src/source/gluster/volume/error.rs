//! Why it is not known what a volume is made of.
//! Each text names the volume.

use crate::model::Hinted;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why it is not known what a volume is made of.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that no volume can have.
    #[error("{0:?} is no name of a volume: expected letters, digits, _ and -, and no - at the beginning")]
    Name(String),
    /// A host that cannot be put into a command line.
    #[error("{0:?} is no name of a host: expected letters, digits and any of . : _ -, and no - at the beginning")]
    Host(String),
    /// The command is not here.
    #[error("cannot ask about volume {name:?}: there is no program {tool:?}")]
    NoTool {
        /// The volume.
        name: String,
        /// The command.
        tool: PathBuf,
    },
    /// The command cannot be run.
    #[error("cannot ask about volume {name:?}: cannot run {tool:?}")]
    Run {
        /// The volume.
        name: String,
        /// The command.
        tool: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No management daemon answered.
    #[error("cannot ask about volume {name:?}: no glusterd answers on {}", host.as_deref().unwrap_or("this machine"))]
    NoDaemon {
        /// The volume.
        name: String,
        /// The machine that was asked, if it was another one.
        host: Option<String>,
    },
    /// The deadline passed.
    #[error("cannot ask about volume {name:?}: {command:?} had not answered after {deadline:?} and was ended")]
    Late {
        /// The volume.
        name: String,
        /// What was run.
        command: String,
        /// How long it had.
        deadline: Duration,
    },
    /// The command ended without an answer.
    #[error("cannot ask about volume {name:?}: {command:?} ended with {status}, and said \"{said}\"")]
    Failed {
        /// The volume.
        name: String,
        /// What was run.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to standard error.
        said: String,
    },
    /// There is no such volume.
    #[error("there is no volume {name:?}{}", as_others(others))]
    NoVolume {
        /// The volume.
        name: String,
        /// The volumes that there are, if that is known.
        others: Vec<String>,
    },
    /// The host that is to be asked is none of the volume's.
    #[error("{host:?} is not in the pool of volume {name:?}: the pool has {}", pool.join(", "))]
    NotInPool {
        /// The volume.
        name: String,
        /// The host.
        host: String,
        /// The names of the machines that are.
        pool: Vec<String>,
    },
    /// It is stopped, or was never started.
    #[error("volume {0:?} is not started")]
    NotStarted(String),
    /// The daemon said no.
    #[error("glusterd says nothing about volume {name:?}: \"{why}\"")]
    Refused {
        /// The volume.
        name: String,
        /// What it said.
        why: String,
    },
    /// The answer is no XML.
    #[error("the answer of gluster about volume {name:?} is not XML")]
    Xml {
        /// The volume.
        name: String,
        /// Where it goes wrong.
        #[source]
        source: roxmltree::Error,
    },
    /// The answer lacks something, or holds something that cannot be.
    #[error("the answer of gluster about volume {name:?} is not understood: {what} is {found:?}, expected {expected}")]
    Odd {
        /// The volume.
        name: String,
        /// The element.
        what: String,
        /// Its text; empty if it is not there.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoTool { .. } => {
                Some("apt-get install glusterfs-server, or glusterfs-cli on a machine without bricks".to_owned())
            }
            Self::NoDaemon { host: None, .. } => Some(
                "systemctl start glusterd, or name a host of the volume; users other than root are not answered"
                    .to_owned(),
            ),
            Self::NoDaemon { host: Some(host), .. } => {
                Some(format!("gluster --remote-host={host} pool list has to work (port 24007)"))
            }
            Self::NotStarted(name) => Some(format!("gluster volume start {name}")),
            Self::NotInPool { .. } => Some("name one of these, or localhost on one of them".to_owned()),
            Self::Name(_)
            | Self::Host(_)
            | Self::Run { .. }
            | Self::Late { .. }
            | Self::Failed { .. }
            | Self::NoVolume { .. }
            | Self::Refused { .. }
            | Self::Xml { .. }
            | Self::Odd { .. } => None,
        }
    }
}

fn as_others(others: &[String]) -> String {
    if others.is_empty() { String::new() } else { format!("; there are {}", others.join(", ")) }
}
