//! Asks the command `gluster` about a volume.
//!
//! Promises: a name or a host that could be taken for an option is not put into a command line; an answer that does not
//! come in time is not waited for.

use super::error::Error;
use super::shape::{Volume, VolumeKind};
use super::xml::{odd, parse};
use crate::model::escape_bytes;
use crate::source::gluster::exec::is_host;
use crate::sys::child::{ChildError, Output, run_child};
use roxmltree::Document;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long one call of the tool may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes. A brick takes about 700.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Asks `tool` (`gluster`) about the volume `name`; on the machine `host` if one is given, else of the daemon here.
///
/// Cost: two calls of the tool at the same time, about 0.1 s when all nodes answer; at most 60 s; a third where one of two copies does not run. A status that cannot be
/// had (a node is down, somebody holds the lock of the volume) is no error: see [`Volume::status_unknown`].
///
/// # Errors
/// Every variant of [`Error`]. [`Error::NoVolume`] names the volumes that there are, at the cost of a third call.
pub fn load(tool: &Path, host: Option<&str>, name: &str) -> Result<Volume, Error> {
    Tool { tool, host, name, deadline: DEADLINE }.load()
}

/// Checks that `host`, whom nobody asked (`tool` asks somebody else), is of the pool of `volume`: a client of the volume would ask it.
///
/// Cost: none where a brick is on it; else one call of the tool, and look-ups of names.
///
/// # Errors
/// [`Error::NotInPool`] with what was found; those of a call.
pub fn check_host(tool: &Path, host: &str, volume: &Volume) -> Result<(), Error> {
    if is_this_machine(host) || volume.bricks.iter().any(|brick| brick.host == host) {
        return Ok(());
    }
    let pool = Tool { tool, host: None, name: &volume.name, deadline: DEADLINE }.pool()?;
    let mut names: BTreeSet<String> = volume.bricks.iter().map(|brick| brick.host.clone()).collect();
    names.extend(pool);
    let addresses = addresses_of(host);
    // A member may be known by another name of the same machine.
    let is_member = names.contains(host) || names.iter().any(|name| !addresses.is_disjoint(&addresses_of(name)));
    if is_member {
        return Ok(());
    }
    let pool = names.into_iter().collect();
    Err(Error::NotInPool { name: volume.name.clone(), host: host.to_owned(), pool })
}

/// Tells whether `host` is a name of whatever machine it is used on.
pub(in crate::source::gluster) fn is_this_machine(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1")
}

/// Returns the addresses that a name stands for; none where nobody knows it.
fn addresses_of(host: &str) -> BTreeSet<IpAddr> {
    (host, 0).to_socket_addrs().map(|all| all.map(|address| address.ip()).collect()).unwrap_or_default()
}

/// Tells whether it matters if a volume has a thin arbiter: only one that is a single set of two copies can, of which one runs.
fn may_need_thin_arbiter(volume: &Volume) -> bool {
    let running = volume.bricks.iter().filter(|brick| brick.online == Some(true)).count();
    volume.kind == VolumeKind::Replicate { copies: 2 } && volume.bricks.len() == 2 && running == 1
}

/// The command, and what it is asked about.
pub(super) struct Tool<'a> {
    pub(super) tool: &'a Path,
    pub(super) host: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) deadline: Duration,
}

impl Tool<'_> {
    pub(super) fn load(&self) -> Result<Volume, Error> {
        let name = self.name;
        if let Some(host) = self.host.filter(|host| !is_host(host)) {
            return Err(Error::Host(host.to_owned()));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        // `all` is a word of the command.
        if name.is_empty() || name.starts_with('-') || name == "all" || !name.bytes().all(is_plain) {
            return Err(Error::Name(name.to_owned()));
        }
        // Each takes as long as the other, most of it until the tool has begun.
        let (info, status) = std::thread::scope(|scope| {
            let status = scope.spawn(|| self.ask(&["volume", "status", name]));
            (self.ask(&["volume", "info", name]), status.join().expect("asking does not panic"))
        });
        let info = info?;
        let volume = match Volume::from_xml(&info, None, name) {
            Ok(volume) => volume,
            Err(Error::NoVolume { .. }) => {
                return Err(Error::NoVolume { name: name.to_owned(), others: self.list() });
            }
            Err(e) => return Err(e),
        };
        if !volume.started {
            return Err(Error::NotStarted(name.to_owned()));
        }
        let volume = match status {
            Ok(status) => Volume::from_xml(&info, Some(&status), name)?,
            // The other call worked; what this one lacks is another node.
            Err(e) => Volume { status_unknown: Some(e.to_string()), ..volume },
        };
        if !may_need_thin_arbiter(&volume) {
            return Ok(volume);
        }
        // XML does not name it (10.3).
        let told = self.run(&["volume", "info", name], &[])?;
        let line = told.lines().find_map(|line| line.trim().strip_prefix("Thin-arbiter-path:"));
        Ok(Volume { thin_arbiter: line.map(|place| place.trim().to_owned()), ..volume })
    }

    /// The volumes that there are; none if that cannot be told.
    fn list(&self) -> Vec<String> {
        let Ok(list) = self.ask(&["volume", "list"]) else { return Vec::new() };
        let Ok(document) = Document::parse(&list) else { return Vec::new() };
        let names = document.descendants().filter(|node| node.has_tag_name("volume")).filter_map(|node| node.text());
        names.map(str::to_owned).collect()
    }

    /// Returns the names of the machines in the pool.
    fn pool(&self) -> Result<Vec<String>, Error> {
        let list = self.ask(&["pool", "list"])?;
        let document = parse(&list, self.name)?;
        let names = document.descendants().filter(|node| node.has_tag_name("hostname")).filter_map(|node| node.text());
        Ok(names.map(|name| name.trim().to_owned()).filter(|name| !is_this_machine(name)).collect())
    }

    /// Runs `TOOL --mode=script [--remote-host=HOST] WORDS --xml` and returns what it wrote.
    fn ask(&self, words: &[&str]) -> Result<String, Error> {
        self.run(words, &["--xml"])
    }

    fn run(&self, words: &[&str], how: &[&str]) -> Result<String, Error> {
        let name = self.name.to_owned();
        let mut command = Command::new(self.tool);
        command.arg("--mode=script");
        if let Some(host) = self.host {
            command.arg(format!("--remote-host={host}"));
        }
        command.args(words).args(how);
        let line = || format!("{} {}", self.tool.display(), words.join(" "));
        let tool = || self.tool.to_owned();
        let finished = match run_child(command, Vec::new(), Output::Memory(ANSWER_BYTES_MAX), self.deadline) {
            Ok(finished) => finished,
            Err(ChildError::Start(e)) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoTool { name, tool: tool() });
            }
            Err(ChildError::Start(source) | ChildError::Wait(source)) => {
                return Err(Error::Run { name, tool: tool(), source });
            }
            Err(ChildError::Late(_)) => return Err(Error::Late { name, command: line(), deadline: self.deadline }),
        };
        let answer = String::from_utf8_lossy(&finished.stdout);
        // This one goes to standard output or standard error, by version.
        if finished.said.contains("Connection failed") || answer.starts_with("Connection failed") {
            return Err(Error::NoDaemon { name, host: self.host.map(str::to_owned) });
        }
        if !finished.status.success() {
            return Err(Error::Failed { name, command: line(), status: finished.status, said: finished.said });
        }
        // A path that is no UTF-8 would name another directory from here on.
        String::from_utf8(finished.stdout).map_err(|e| {
            let bytes = e.as_bytes();
            let start = e.utf8_error().valid_up_to();
            let around = &bytes[start.saturating_sub(30)..bytes.len().min(start + 10)];
            odd(self.name, "the answer", &escape_bytes(around), "UTF-8")
        })
    }
}
