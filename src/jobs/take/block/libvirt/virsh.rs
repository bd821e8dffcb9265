//! Asks libvirt: by its command `virsh`, since its protocol is private and its library is of another licence.
//!
//! Promises: one domain, named by its UUID once that is known; every call has a deadline; messages are in English, so that
//! what is compared here is what was written there. What libvirt refuses is told in its own words.

use crate::sys::child::{ChildError, Output, run_child};
use crate::sys::process;
use std::ffi::OsStr;
use std::io;
use std::process::Command;
use std::time::Duration;

/// The program.
const TOOL: &str = "virsh";
/// How long one call may take: freezing waits for the guest to write what it has.
const DEADLINE: Duration = Duration::from_secs(120);
/// The longest answer that is read, in bytes. The description of a domain is some 10 KiB long.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why libvirt does not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command is not here.
    #[error("there is no program \"virsh\"")]
    NoTool,
    /// The command cannot be run.
    #[error("cannot run {command:?}")]
    Run {
        /// What was run.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The deadline passed.
    #[error("{command:?} had not answered after {} s and was ended", DEADLINE.as_secs())]
    Late {
        /// What was run.
        command: String,
    },
    /// It says no.
    #[error("{command:?}: {said}")]
    Refused {
        /// What was run.
        command: String,
        /// Why, in its own words.
        said: String,
    },
}

/// How a domain is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Virsh {
    /// The address of libvirt.
    pub(super) connect: String,
    /// The domain, as the admin calls it.
    pub(super) name: String,
    /// Its UUID, once it is known: a name may be another domain's number.
    pub(super) uuid: Option<String>,
}

impl Virsh {
    /// Runs `virsh VERB --domain DOMAIN MORE` and returns what it prints.
    pub(super) fn ask<T: AsRef<OsStr>>(&self, verb: &str, more: &[T]) -> Result<String, Error> {
        let mut command = Command::new(TOOL);
        let domain = self.uuid.as_ref().unwrap_or(&self.name);
        command.args(["-q", "-c", &self.connect, verb, "--domain", domain]).args(more);
        command.env("LC_ALL", "C");
        // What a terminal tells this run to end would end the call too, in the middle of what libvirt does for it.
        process::in_new_session(&mut command);
        let line = || format!("virsh {verb} {}", self.name);
        let finished = match run_child(command, Vec::new(), Output::Memory(ANSWER_BYTES_MAX), DEADLINE) {
            Ok(finished) => finished,
            Err(ChildError::Start(e)) if e.kind() == io::ErrorKind::NotFound => return Err(Error::NoTool),
            Err(ChildError::Start(source) | ChildError::Wait(source)) => {
                return Err(Error::Run { command: line(), source });
            }
            Err(ChildError::Late(_)) => return Err(Error::Late { command: line() }),
        };
        if finished.status.success() {
            return Ok(String::from_utf8_lossy(&finished.stdout).into_owned());
        }
        let said = match finished.said.trim_start_matches("error: ") {
            "" => format!("it ended with {}", finished.status),
            said => said.replace("; error: ", "; "),
        };
        Err(Error::Refused { command: line(), said })
    }
}
