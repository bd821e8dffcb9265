//! Commands of the admin that run before and after a run: a dump before, a copy job after.
//!
//! Promises: a command is split into words as a shell would (quotes, backslashes) and run without one; it
//! gets what the run is about in variables of its environment. What it prints goes to standard error, where the rest of
//! the messages is: standard output belongs to the data. A command with a time limit has a session of its own, so that all
//! of it can be ended; it is not hit by what is typed at our terminal. Never decides what a failing command means:
//! whoever calls does.

use crate::sys::process;
use std::ffi::OsString;
use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a command with a time limit is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

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
    /// It took too long.
    #[error("the {when} command {command:?} was killed: it had not ended after {} s", .limit.as_secs())]
    TooLong {
        /// As above.
        when: &'static str,
        /// What was given.
        command: String,
        /// What it may take.
        limit: Duration,
    },
    /// The run was told to end meanwhile.
    #[error("the {when} command {command:?} was killed: the run was ended by a signal")]
    Stopped {
        /// As above.
        when: &'static str,
        /// What was given.
        command: String,
    },
}

/// What a command may take.
#[derive(Clone, Copy)]
pub struct Limit<'a> {
    /// Then it is killed, with all that it started.
    pub time: Duration,
    /// It is killed as soon as this says so.
    pub is_over: &'a dyn Fn() -> bool,
    /// It may go on when this process is killed. Else the command is killed, too, and what it has left in the background is
    /// not.
    pub may_outlive_us: bool,
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
    let failed = |source| Error::Start { when, command: command.to_owned(), source };
    let status = prepare(when, command, about)?.stdout(std::io::stderr()).status().map_err(failed)?;
    succeeded(when, command, status)
}

/// As [`run`], for no longer than `limit` says. What the command prints goes to `output`; none: where messages go.
///
/// # Errors
/// [`Error`].
pub fn run_within(
    when: &'static str,
    command: &str,
    about: &About,
    limit: Limit<'_>,
    output: Option<File>,
) -> Result<(), Error> {
    let failed = |source| Error::Start { when, command: command.to_owned(), source };
    let began = Instant::now();
    let mut prepared = prepare(when, command, about)?;
    prepared.stdout(output.map_or_else(|| std::io::stderr().into(), Stdio::from));
    process::in_new_session(&mut prepared);
    if !limit.may_outlive_us {
        process::ends_with_us(&mut prepared);
    }
    let mut child = prepared.spawn().map_err(failed)?;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return succeeded(when, command, status);
        }
        if (limit.is_over)() {
            kill(&mut child);
            return Err(Error::Stopped { when, command: command.to_owned() });
        }
        if began.elapsed() >= limit.time {
            kill(&mut child);
            return Err(Error::TooLong { when, command: command.to_owned(), limit: limit.time });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Kills a command that leads a session, with all that is in it, and waits for its end. One that hangs in the kernel (a
/// frozen file system) ends when it can; it is not waited for then.
fn kill(child: &mut Child) {
    // It was not waited for, so its number is still its own.
    let _ = process::kill_session(child.id());
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(LOOK_EVERY);
    }
}

fn prepare(when: &'static str, command: &str, about: &About) -> Result<Command, Error> {
    let (program, words) = split(when, command)?;
    let mut prepared = Command::new(program);
    prepared.args(words).envs(about.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
    Ok(prepared)
}

fn succeeded(when: &'static str, command: &str, status: ExitStatus) -> Result<(), Error> {
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
    fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        let command = format!("sh -c 'sleep 1000 & echo $! > {}; wait'", path.display());
        // Long enough for a shell to start on a machine that is busy with other tests.
        let limit = Limit { time: Duration::from_secs(3), is_over: &|| false, may_outlive_us: false };
        let error = run_within("pre", &command, &Vec::new(), limit, None).unwrap_err();
        assert!(error.to_string().ends_with("was killed: it had not ended after 3 s"), "{error}");
        let number = std::fs::read_to_string(path).unwrap();
        // It was killed with its parent, and ends when the kernel gets to it.
        let stat = format!("/proc/{}/stat", number.trim());
        let runs = || std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z ") && !text.contains(") X "));
        let began = Instant::now();
        while runs() {
            assert!(began.elapsed() < Duration::from_secs(30), "it still runs");
            std::thread::sleep(LOOK_EVERY);
        }
        let limit = Limit { time: Duration::from_secs(60), is_over: &|| true, may_outlive_us: false };
        let error = run_within("pre", "sleep 1000", &Vec::new(), limit, None).unwrap_err();
        assert!(matches!(error, Error::Stopped { .. }), "{error}");
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
