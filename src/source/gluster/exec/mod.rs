//! Runs the agent of one brick: beside the brick, by a command that the admin chose (`ssh -o BatchMode=yes {host}`).
//!
//! Promises: no shell of this machine sees any of it; every program has a deadline, after which it is killed by its
//! handle; what comes back counts only with its end mark, for the brick and the volume that were asked about. Never
//! looks at what lines in between say.
//!
//! Several agents run at once by the caller's threads: [`run`] blocks its own.

mod agent;
mod error;
#[cfg(test)]
mod tests;

use super::part::{End, Header, Request};
use super::part_reader;
use crate::model::escape_bytes;
use crate::sys::child::{ChildError, Finished, Output, run_child};
pub use agent::Agent;
pub(super) use agent::is_host;
pub use error::Error;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How an agent ended that gave a whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The first line of the part.
    pub header: Header,
    /// Its last line.
    pub end: End,
    /// How far the agent's clock is ahead of ours, in ms, at most. The way to the agent is in it: the true number is
    /// less by up to `took`.
    pub clock_ahead_ms: i64,
    /// How long all of it took.
    pub took: Duration,
    /// It ended with 1, "done with losses": there are [`super::part::Line::Trouble`] lines.
    pub losses: bool,
    /// The end of what it said on standard error, escaped and in one line; usually empty.
    pub said: String,
}

/// Asks `agent` about one brick and has its answer written to `part`, which is created or replaced.
///
/// `now_ns` is this machine's clock, in ns since the epoch, right before the call. Blocks until the agent has ended.
/// After an error the part may be there, as far as it came. Cost: one process, two threads, and one pass over the
/// part, which the agent writes by itself.
///
/// # Errors
/// Every variant of [`Error`] but those of [`Agent::new`].
pub fn run(agent: &Agent, request: &Request, part: &Path, now_ns: i64) -> Result<Ended, Error> {
    let brick = format!("{}:{}", agent.host, escape_bytes(&request.brick.0));
    let input = match serde_json::to_vec(request) {
        Ok(input) => input,
        Err(source) => return Err(Error::Request { brick, source }),
    };
    let output = match File::create(part) {
        Ok(output) => output,
        Err(source) => return Err(Error::Part { path: part.to_owned(), source }),
    };
    let mut command = Command::new(&agent.words[0]);
    command.args(&agent.words[1..]);
    let finished = match run_child(command, input, Output::File(output), agent.deadline) {
        Ok(finished) => finished,
        Err(ChildError::Start(source)) => return Err(Error::Start { brick, program: agent.words[0].clone(), source }),
        Err(ChildError::Wait(source)) => return Err(Error::Wait { brick, source }),
        Err(ChildError::Late(said)) => return Err(Error::Late { brick, deadline: agent.deadline, said }),
    };
    let Finished { status, said, took, .. } = finished;
    let losses = match status.code() {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(Error::Failed { brick, status, said }),
    };
    let (header, end) = match part_reader::load_ends(part) {
        Ok(ends) => ends,
        // An exit code above 0 tells more than a part that is not whole.
        Err(_) if losses => return Err(Error::Failed { brick, status, said }),
        Err(source) => return Err(Error::Answer { brick, said, source }),
    };
    let facts = [
        ("the volume id", header.volume_id.to_string(), request.volume_id.to_string()),
        ("the brick", escape_bytes(&header.brick.0).into_owned(), escape_bytes(&request.brick.0).into_owned()),
        ("the question", header.want.clone(), request.want.word().to_owned()),
    ];
    for (what, found, expected) in facts {
        if found != expected {
            return Err(Error::Other { brick, what, found, expected });
        }
    }
    let clock_ahead_ms = header.began_ns.saturating_sub(now_ns) / 1_000_000;
    Ok(Ended { header, end, clock_ahead_ms, took, losses, said })
}
