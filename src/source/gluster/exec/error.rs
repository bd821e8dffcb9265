//! Why an agent gave no answer.
//! Each text names the brick, and what the agent said of itself.

use crate::model::Hinted;
use crate::source::gluster::part_reader;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why an agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command template is no list of words.
    #[error("the agent command {0:?} cannot be split into words: a quote is not closed")]
    Template(String),
    /// A host that cannot be put into a command line.
    #[error("{0:?} is no name of a host: expected letters, digits and any of . : _ -, and no - at the beginning")]
    Host(String),
    /// A program that a shell on the other side would take for something else.
    #[error("{0:?} cannot be run by another machine: expected a path of letters, digits and any of . _ / + @ : , = -")]
    Program(PathBuf),
    /// The request cannot be written as JSON.
    #[error("cannot write the request for the agent of \"{brick}\"")]
    Request {
        /// Host and path of the brick.
        brick: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The file for the answer cannot be made.
    #[error("cannot create the part {path:?}")]
    Part {
        /// The part.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The first word of the command is no program here.
    #[error("cannot run the agent of \"{brick}\": cannot start {program:?}")]
    Start {
        /// Host and path of the brick.
        brick: String,
        /// The first word of the command.
        program: OsString,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system lost track of the program.
    #[error("cannot wait for the agent of \"{brick}\"")]
    Wait {
        /// Host and path of the brick.
        brick: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The deadline passed.
    #[error("the agent of \"{brick}\" was ended: it had not answered after {deadline:?}{}", as_said(said))]
    Late {
        /// Host and path of the brick.
        brick: String,
        /// How long it had.
        deadline: Duration,
        /// The end of its standard error.
        said: String,
    },
    /// It did not work, by its exit code.
    #[error("the agent of \"{brick}\" ended with {status}{}", as_said(said))]
    Failed {
        /// Host and path of the brick.
        brick: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error.
        said: String,
    },
    /// It ended well, but what it wrote is no whole part.
    #[error("the agent of \"{brick}\" gave no whole answer{}", as_said(said))]
    Answer {
        /// Host and path of the brick.
        brick: String,
        /// The end of its standard error.
        said: String,
        /// What is wrong with the part.
        #[source]
        source: part_reader::Error,
    },
    /// Parts were brought, and this brick's is none of them.
    #[error("there is no part of \"{brick}\"")]
    NoPart {
        /// Host and path of the brick.
        brick: String,
    },
    /// It answered another question.
    #[error("the agent of \"{brick}\" answered for {what} \"{found}\": expected \"{expected}\"")]
    Other {
        /// Host and path of the brick.
        brick: String,
        /// What differs: `the brick`, `the volume id`, `the question`.
        what: &'static str,
        /// What the header tells.
        found: String,
        /// What the request told.
        expected: String,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Template(_) => Some("as in: ssh -o BatchMode=yes {host}".to_owned()),
            // What a shell on the other side says when it finds no program.
            Self::Failed { status, .. } if status.code() == Some(127) => {
                Some("asof has to be installed beside the brick, in the path of the agent command".to_owned())
            }
            // What ssh says of itself; a program of ours never ends so.
            Self::Failed { status, .. } if status.code() == Some(255) => {
                Some("the agent command has to work without a password: try it with `true` in place of asof".to_owned())
            }
            Self::Answer { source: part_reader::Error::Format { .. }, .. } => {
                Some("install the same version of asof on every machine".to_owned())
            }
            Self::Host(_)
            | Self::Program(_)
            | Self::Request { .. }
            | Self::Part { .. }
            | Self::Start { .. }
            | Self::Wait { .. }
            | Self::Late { .. }
            | Self::Failed { .. }
            | Self::Answer { .. }
            | Self::NoPart { .. }
            | Self::Other { .. } => None,
        }
    }
}

fn as_said(said: &str) -> String {
    if said.is_empty() { ", without a word".to_owned() } else { format!("; it said: {said}") }
}
