//! Commands of the admin that run before and after a run: a dump before, a copy job after.
//!
//! Promises: a command is split into words as a shell would (quotes, backslashes) and run without one; it
//! gets what the run is about in variables of its environment. What it prints goes to standard error, where the rest of
//! the messages is: standard output belongs to the data. Never decides what a failing command means: whoever
//! calls does.

use std::ffi::OsString;
use std::process::{Command, ExitStatus, Stdio};

/// What the run is about: the names of variables and their values.
pub type About = Vec<(&'static str, OsString)>;

/// What keeps a command from doing its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no command line.
    #[error("the {when} command {command:?} cannot be split into words: a quote is not closed, or it is empty")]
    Words {
        /// `pre` or `post`.
        when: &'static str,
        /// What was given.
        command: String,
    },
    /// It cannot be started.
    #[error("cannot run the {when} command {command:?}")]
    Start {
        /// `pre` or `post`.
        when: &'static str,
        /// What was given.
        command: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It says that it did not do its work.
    #[error("the {when} command {command:?} ended with {status}")]
    Failed {
        /// `pre` or `post`.
        when: &'static str,
        /// What was given.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
}

/// Checks that `command` is a command line.
///
/// # Errors
/// [`Error::Words`].
pub fn check(when: &'static str, command: &str) -> Result<(), Error> {
    split(when, command).map(drop)
}

/// Runs `command` and waits until it ends. `when` is `pre` or `post`, for messages.
///
/// # Errors
/// [`Error`].
pub fn run(when: &'static str, command: &str, about: &About) -> Result<(), Error> {
    let (program, words) = split(when, command)?;
    let failed = |source| Error::Start { when, command: command.to_owned(), source };
    let status = Command::new(program)
        .args(words)
        .envs(about.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(failed)?;
    if status.success() { Ok(()) } else { Err(Error::Failed { when, command: command.to_owned(), status }) }
}

fn split(when: &'static str, command: &str) -> Result<(String, Vec<String>), Error> {
    let mut words = shlex::split(command).unwrap_or_default();
    if words.is_empty() {
        return Err(Error::Words { when, command: command.to_owned() });
    }
    let program = words.remove(0);
    Ok((program, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_its_words_and_what_the_run_is_about() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("said");
        let command = format!("sh -c 'printf \"%s|%s\" \"$ASOF_SESSION\" \"$0\" > {}' 'two words'", out.display());
        run("pre", &command, &vec![("ASOF_SESSION", "nightly".into())]).unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), "nightly|two words");
    }

    #[test]
    fn a_command_that_does_not_do_its_work_is_told_with_what_it_was() {
        let said = |command: &str| crate::model::chain(&run("post", command, &Vec::new()).unwrap_err());
        assert_eq!(said("sh -c 'exit 3'"), "the post command \"sh -c 'exit 3'\" ended with exit status: 3");
        assert_eq!(
            said("/no/such/program x"),
            "cannot run the post command \"/no/such/program x\": No such file or directory (os error 2)"
        );
        for command in ["", "  ", "a 'b"] {
            assert_eq!(
                said(command),
                format!(
                    "the post command {command:?} cannot be split into words: a quote is not closed, or it is empty"
                )
            );
        }
    }
}
