//! The command line of an agent: which words, and for which host.
//!
//! Promises: pure; nothing that an option, or a shell on the other side, would take for something else gets into it.

use super::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// What follows the program in an agent's command line.
const AGENT_WORDS: [&str; 6] = ["gluster", "scan-brick", "--request", "-", "--out", "-"];

/// How the agent of one host is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub(super) host: String,
    pub(super) words: Vec<OsString>,
    pub(super) deadline: Duration,
}

impl Agent {
    /// Returns the agent of `host`: the words of `template` with `{host}` replaced, then `program` and what it is told.
    ///
    /// `template` is split as a shell would (quotes, backslashes), and nothing more: no variables, no patterns. An
    /// empty one runs `program` on this machine. A template like `ssh {host}` hands the words to a shell over there;
    /// so `program` may then hold nothing that means something to a shell.
    ///
    /// Pure. `deadline` is for the whole run.
    ///
    /// # Errors
    /// [`Error::Template`], [`Error::Host`], [`Error::Program`].
    pub fn new(template: &str, program: &Path, host: &str, deadline: Duration) -> Result<Self, Error> {
        if !is_host(host) {
            return Err(Error::Host(host.to_owned()));
        }
        let template_words = shlex::split(template).ok_or_else(|| Error::Template(template.to_owned()))?;
        if !template_words.is_empty() && !is_plain_program(program) {
            return Err(Error::Program(program.to_owned()));
        }
        let mut words: Vec<OsString> = template_words.iter().map(|word| word.replace("{host}", host).into()).collect();
        words.push(program.into());
        words.extend(AGENT_WORDS.map(OsString::from));
        Ok(Self { host: host.to_owned(), words, deadline })
    }

    /// Returns the command line, program first.
    pub fn words(&self) -> &[OsString] {
        &self.words
    }
}

/// Tells whether `host` can stand in a command line as one word that is no option.
pub(in crate::source::gluster) fn is_host(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'_' | b'-');
    !host.is_empty() && !host.starts_with('-') && host.bytes().all(is_plain)
}

fn is_plain_program(program: &Path) -> bool {
    let bytes = program.as_os_str().as_encoded_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._/+@:,=-".contains(byte);
    !bytes.is_empty() && !bytes.starts_with(b"-") && bytes.iter().all(is_plain)
}
