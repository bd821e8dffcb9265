//! What a volume is made of: its bricks and their sets, its options, and which bricks are up.
//!
//! Asks the `gluster` command, because the management daemon's protocol is private and changes, and its files
//! (`/var/lib/glusterd/vols`) are on the servers only. Promises: bricks come in the volume's own order, which is what
//! `trusted.afr.VOLUME-client-N` counts; a shape that is not known is refused, not guessed. Never changes a volume.
//!
//! Format: `gluster volume info|status|list ... --xml` (`cli/src/cli-xml-output.c`), as of 10.3 and checked there on
//! every shape. Two traps: the exit code is 0 for a volume that does not exist (`opRet` tells), and where no
//! daemon answers there is no XML at all.

use super::Gfid;
use super::exec::is_host;
use crate::model::{Hinted, escape_bytes};
use crate::sys::child::{ChildError, Output, run_child};
use roxmltree::{Document, Node};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long one call of the tool may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes. A brick takes about 700.
const ANSWER_BYTES_MAX: usize = 16 << 20;

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
    /// It is stopped, or was never started.
    #[error("volume {0:?} is not started")]
    NotStarted(String),
    /// The daemon said no.
    #[error("glusterd tells nothing about volume {name:?}: \"{why}\"")]
    Refused {
        /// The volume.
        name: String,
        /// What it said.
        why: String,
    },
    /// The answer is no XML.
    #[error("what gluster tells about volume {name:?} is no XML")]
    Xml {
        /// The volume.
        name: String,
        /// Where it goes wrong.
        #[source]
        source: roxmltree::Error,
    },
    /// The answer lacks something, or holds something that cannot be.
    #[error("what gluster tells about volume {name:?} is not understood: {what} is {found:?}, expected {expected}")]
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

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// `trusted.glusterfs.volume-id` of its bricks.
    pub id: Gfid,
    /// Clients can use it.
    pub started: bool,
    /// How the bricks of one set share what they hold.
    pub kind: VolumeKind,
    /// Its bricks, in the volume's order: set after set.
    pub bricks: Vec<Brick>,
    /// The options that were set, by name. What is not here has its default.
    pub options: BTreeMap<String, String>,
    /// Why it is not known which bricks are up; none if it is known.
    pub status_unknown: Option<String>,
}

/// How the bricks of one set share what they hold. With more than one set, names are distributed over the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// Every set is one brick.
    Distribute,
    /// Every brick of a set holds all of it.
    Replicate {
        /// Bricks in a set.
        copies: u32,
    },
    /// As [`VolumeKind::Replicate`], but files are empty on the arbiters.
    Arbiter {
        /// Bricks in a set that hold bytes.
        copies: u32,
        /// Bricks in a set that do not.
        arbiters: u32,
    },
    /// Every brick of a set holds a fragment of every file, and all names.
    Disperse {
        /// Bricks in a set.
        fragments: u32,
        /// How many of them may be lacking.
        redundancy: u32,
    },
}

/// A brick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brick {
    /// Its place in the volume, from 0.
    pub number: u32,
    /// The machine, by the name or address that the volume knows it by.
    pub host: String,
    /// Its root directory there, absolute.
    pub path: PathBuf,
    /// It holds names and attributes, and no bytes.
    pub arbiter: bool,
    /// The set that it belongs to, from 0.
    pub set: u32,
    /// Whether its process runs; none where that is not known.
    pub online: Option<bool>,
    /// The id of the machine in the pool; none where it is not told.
    pub host_uuid: Option<Gfid>,
}

impl VolumeKind {
    /// Returns how many bricks make a set.
    pub fn bricks_per_set(self) -> u32 {
        match self {
            Self::Distribute => 1,
            Self::Replicate { copies } => copies,
            Self::Arbiter { copies, arbiters } => copies + arbiters,
            Self::Disperse { fragments, .. } => fragments,
        }
    }
}

impl Volume {
    /// Reads what `gluster volume info NAME --xml` and, if there, `gluster volume status NAME --xml` tell.
    ///
    /// A status that tells of trouble leaves [`Brick::online`] open and says so in [`Volume::status_unknown`].
    ///
    /// # Errors
    /// [`Error::NoVolume`] (without others), [`Error::Refused`], [`Error::Xml`], [`Error::Odd`].
    pub fn from_xml(info: &str, status: Option<&str>, name: &str) -> Result<Self, Error> {
        let document = parse(info, name)?;
        let root = document.root_element();
        check_op(root, name)?;
        let found = root.descendants().find(|node| node.has_tag_name("volume") && text(*node, "name") == name);
        let node = found.ok_or_else(|| Error::NoVolume { name: name.to_owned(), others: Vec::new() })?;
        let kind = parse_kind(node, name)?;
        let bricks = parse_bricks(node, kind, name)?;
        let id = text(node, "id");
        let id = id.parse().map_err(|_| odd(name, "id", id, "a UUID"))?;
        let started = match text(node, "status") {
            "1" => true,
            // Created, stopped.
            "0" | "2" => false,
            other => return Err(odd(name, "status", other, "0, 1 or 2")),
        };
        let options = node
            .descendants()
            .filter(|node| node.has_tag_name("option"))
            .map(|option| (text(option, "name").to_owned(), text(option, "value").to_owned()))
            .collect();
        let mut volume = Self { name: name.to_owned(), id, started, kind, bricks, options, status_unknown: None };
        match status {
            Some(status) => volume.take_status(status),
            None => volume.status_unknown = Some("nobody was asked".to_owned()),
        }
        Ok(volume)
    }

    /// Notes which bricks are up. They are known by host and path: the daemons for healing and quota stand in the
    /// same list.
    fn take_status(&mut self, status: &str) {
        let document = match parse(status, &self.name).and_then(|document| {
            check_op(document.root_element(), &self.name)?;
            Ok(document)
        }) {
            Ok(document) => document,
            Err(Error::Refused { why, .. }) => return self.status_unknown = Some(why),
            Err(e) => return self.status_unknown = Some(e.to_string()),
        };
        for node in document.descendants().filter(|node| node.has_tag_name("node")) {
            let (host, path) = (text(node, "hostname"), Path::new(text(node, "path")));
            let online = match text(node, "status") {
                "1" => Some(true),
                "0" => Some(false),
                _ => None,
            };
            for brick in self.bricks.iter_mut().filter(|brick| brick.host == host && brick.path == path) {
                brick.online = online;
            }
        }
        let untold: Vec<String> =
            self.bricks.iter().filter(|brick| brick.online.is_none()).map(|brick| brick.to_string()).collect();
        if !untold.is_empty() {
            // A node that is down tells nothing of its bricks, and its daemon is not in the list.
            self.status_unknown = Some(format!("nothing is told of {}", untold.join(", ")));
        }
    }

    /// Returns how many sets there are.
    pub fn sets(&self) -> usize {
        self.bricks.len() / self.kind.bricks_per_set() as usize
    }

    /// Returns the bricks of a set, in order.
    pub fn bricks_of(&self, set: u32) -> impl Iterator<Item = &Brick> {
        self.bricks.iter().filter(move |brick| brick.set == set)
    }

    /// Tells whether large files are cut: bytes after the first block lie below `.shard`.
    ///
    /// Files that were made while the option was on stay cut when it is off: a brick with `.shard` tells that.
    pub fn is_sharded(&self) -> bool {
        self.is_on("features.shard")
    }

    /// Tells whether files on bricks are fragments.
    pub fn is_dispersed(&self) -> bool {
        matches!(self.kind, VolumeKind::Disperse { .. })
    }

    /// Tells whether bricks keep changelogs.
    pub fn changelog_on(&self) -> bool {
        self.is_on("changelog.changelog") || self.is_on("changelog")
    }

    /// Tells whether the switch `option` is on. Off, as by default, if it was never set.
    pub fn is_on(&self, option: &str) -> bool {
        // The words of gf_string2boolean.
        let is_yes =
            |value: &String| ["1", "on", "yes", "true", "enable"].iter().any(|yes| value.eq_ignore_ascii_case(yes));
        self.options.get(option).is_some_and(is_yes)
    }
}

impl std::fmt::Display for Brick {
    /// Writes `HOST:PATH`, as Gluster does.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.path.display())
    }
}

/// Asks `tool` (`gluster`) about the volume `name`; on the machine `host` if one is given, else of the daemon here.
///
/// Cost: two calls of the tool, each about 0.15 s when all nodes answer; at most 60 s each. A status that cannot be
/// had (a node is down, somebody holds the lock of the volume) is no error: see [`Volume::status_unknown`].
///
/// # Errors
/// Every variant of [`Error`]. [`Error::NoVolume`] names the volumes that there are, at the cost of a third call.
pub fn load(tool: &Path, host: Option<&str>, name: &str) -> Result<Volume, Error> {
    Tool { tool, host, name, deadline: DEADLINE }.load()
}

/// The command, and what it is asked about.
struct Tool<'a> {
    tool: &'a Path,
    host: Option<&'a str>,
    name: &'a str,
    deadline: Duration,
}

impl Tool<'_> {
    fn load(&self) -> Result<Volume, Error> {
        let name = self.name;
        if let Some(host) = self.host.filter(|host| !is_host(host)) {
            return Err(Error::Host(host.to_owned()));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        // `all` is a word of the command.
        if name.is_empty() || name.starts_with('-') || name == "all" || !name.bytes().all(is_plain) {
            return Err(Error::Name(name.to_owned()));
        }
        let info = self.ask(&["info", name])?;
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
        match self.ask(&["status", name]) {
            Ok(status) => Volume::from_xml(&info, Some(&status), name),
            // The first call worked; what this one lacks is another node.
            Err(e) => Ok(Volume { status_unknown: Some(e.to_string()), ..volume }),
        }
    }

    /// The volumes that there are; none if that cannot be told.
    fn list(&self) -> Vec<String> {
        let Ok(list) = self.ask(&["list"]) else { return Vec::new() };
        let Ok(document) = Document::parse(&list) else { return Vec::new() };
        let names = document.descendants().filter(|node| node.has_tag_name("volume")).filter_map(|node| node.text());
        names.map(str::to_owned).collect()
    }

    /// Runs `TOOL --mode=script [--remote-host=HOST] volume WORDS --xml` and returns what it wrote.
    fn ask(&self, words: &[&str]) -> Result<String, Error> {
        let name = self.name.to_owned();
        let mut command = Command::new(self.tool);
        command.arg("--mode=script");
        if let Some(host) = self.host {
            command.arg(format!("--remote-host={host}"));
        }
        command.arg("volume").args(words).arg("--xml");
        let line = || format!("{} volume {}", self.tool.display(), words.join(" "));
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

fn parse<'a>(xml: &'a str, name: &str) -> Result<Document<'a>, Error> {
    Document::parse(xml).map_err(|source| Error::Xml { name: name.to_owned(), source })
}

/// Checks the result that stands before every answer.
fn check_op(root: Node<'_, '_>, name: &str) -> Result<(), Error> {
    // EG_NOVOL of `xlators/mgmt/glusterd/src/glusterd-errno.h`; `volume status` says it by EG_INTRNL and a text.
    const NO_VOLUME: &str = "30806";
    let name = name.to_owned();
    match (text(root, "opRet"), text(root, "opErrno"), text(root, "opErrstr")) {
        ("0", _, _) => Ok(()),
        ("", _, _) => Err(odd(&name, "opRet", "", "a number")),
        (_, NO_VOLUME, _) => Err(Error::NoVolume { name, others: Vec::new() }),
        (_, _, why) if why.contains("does not exist") => Err(Error::NoVolume { name, others: Vec::new() }),
        (result, errno, "") => Err(Error::Refused { name, why: format!("result {result}, error {errno}") }),
        (_, _, why) => Err(Error::Refused { name, why: escape_bytes(why.as_bytes()).into_owned() }),
    }
}

fn parse_kind(node: Node<'_, '_>, name: &str) -> Result<VolumeKind, Error> {
    let number = |what: &'static str| match text(node, what) {
        // Not there before the version that brought the kind.
        "" => Ok(0),
        found => found.parse::<u32>().map_err(|_| odd(name, what, found, "a number")),
    };
    let (replicas, arbiters) = (number("replicaCount")?, number("arbiterCount")?);
    let (fragments, redundancy) = (number("disperseCount")?, number("redundancyCount")?);
    // Striped and tiered volumes ended with 6.0 and 7.0.
    match (text(node, "typeStr"), replicas, arbiters, fragments) {
        ("Distribute", 0 | 1, 0, 0) => Ok(VolumeKind::Distribute),
        ("Replicate" | "Distributed-Replicate", 2.., 0, 0) => Ok(VolumeKind::Replicate { copies: replicas }),
        ("Replicate" | "Distributed-Replicate", 2.., 1.., 0) if arbiters < replicas => {
            Ok(VolumeKind::Arbiter { copies: replicas - arbiters, arbiters })
        }
        ("Disperse" | "Distributed-Disperse", 0 | 1, 0, 2..) => Ok(VolumeKind::Disperse { fragments, redundancy }),
        (kind, ..) => Err(odd(
            name,
            "typeStr",
            &format!("{kind} (replica {replicas}, arbiter {arbiters}, disperse {fragments})"),
            "Distribute, Replicate or Disperse, distributed or not, with counts to match",
        )),
    }
}

fn parse_bricks(node: Node<'_, '_>, kind: VolumeKind, name: &str) -> Result<Vec<Brick>, Error> {
    let mut bricks = Vec::new();
    let nodes = node.children().filter(|node| node.has_tag_name("bricks")).flat_map(|bricks| bricks.children());
    for (number, node) in (0..).zip(nodes.filter(|node| node.has_tag_name("brick"))) {
        let place = text(node, "name");
        // At the first ":/", because an IPv6 address has colons of its own.
        let (host, path) = match place.find(":/") {
            Some(colon) if is_host(&place[..colon]) => (&place[..colon], &place[colon + 1..]),
            _ => return Err(odd(name, "the name of a brick", place, "HOST:/PATH")),
        };
        let host_uuid = match text(node, "hostUuid") {
            "" => None,
            uuid => Some(uuid.parse().map_err(|_| odd(name, "hostUuid", uuid, "a UUID"))?),
        };
        bricks.push(Brick {
            number,
            host: host.to_owned(),
            path: PathBuf::from(path),
            arbiter: text(node, "isArbiter") == "1",
            set: number / kind.bricks_per_set(),
            online: None,
            host_uuid,
        });
    }
    let told = text(node, "brickCount");
    if told.parse() != Ok(bricks.len()) {
        return Err(odd(name, "brickCount", told, "the number of bricks"));
    }
    let per_set = kind.bricks_per_set() as usize;
    if bricks.is_empty() || bricks.len() % per_set != 0 {
        return Err(odd(name, "brickCount", told, "a multiple of the bricks in a set"));
    }
    let arbiters = match kind {
        VolumeKind::Arbiter { arbiters, .. } => arbiters as usize,
        VolumeKind::Distribute | VolumeKind::Replicate { .. } | VolumeKind::Disperse { .. } => 0,
    };
    // Bytes would be looked for on a brick that has none.
    if bricks.chunks(per_set).any(|set| set.iter().filter(|brick| brick.arbiter).count() != arbiters) {
        return Err(odd(name, "isArbiter", "another number of bricks", "as many in every set as arbiterCount tells"));
    }
    Ok(bricks)
}

/// Returns the text of the child `tag`, trimmed; empty if there is none.
fn text<'a>(node: Node<'a, '_>, tag: &str) -> &'a str {
    node.children().find(|child| child.has_tag_name(tag)).and_then(|child| child.text()).unwrap_or("").trim()
}

fn odd(name: &str, what: &str, found: &str, expected: &'static str) -> Error {
    Error::Odd { name: name.to_owned(), what: what.to_owned(), found: found.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gluster");

    fn sample(name: &str) -> String {
        std::fs::read_to_string(format!("{DATA}/volumes/{name}.xml")).unwrap()
    }

    fn volume(shape: &str) -> Volume {
        let (info, status) = (sample(&format!("{shape}-info")), sample(&format!("{shape}-status")));
        Volume::from_xml(&info, Some(&status), &format!("gv-{shape}")).unwrap()
    }

    fn tool(host: Option<&'static str>, name: &str) -> Result<Volume, Error> {
        load(Path::new(&format!("{DATA}/gluster")), host, name)
    }

    /// What the volume `gv-shape` is refused for when `from` in its info is `to`.
    fn hurt(shape: &str, from: &str, to: &str) -> String {
        let info = sample(&format!("{shape}-info"));
        assert!(info.contains(from), "{from} is not in the sample");
        Volume::from_xml(&info.replacen(from, to, 1), None, &format!("gv-{shape}")).unwrap_err().to_string()
    }

    #[test]
    fn every_shape_is_read_as_it_was_made() {
        use VolumeKind::{Arbiter, Disperse, Distribute, Replicate};
        for (shape, kind, bricks, sets) in [
            ("dist1", Distribute, 1, 1),
            ("dist3", Distribute, 3, 3),
            ("shard", Distribute, 2, 2),
            ("rep3", Replicate { copies: 3 }, 3, 1),
            ("distrep", Replicate { copies: 2 }, 4, 2),
            ("arbiter", Arbiter { copies: 2, arbiters: 1 }, 3, 1),
            ("disperse", Disperse { fragments: 3, redundancy: 1 }, 3, 1),
        ] {
            let volume = volume(shape);
            assert_eq!((volume.kind, volume.bricks.len(), volume.sets()), (kind, bricks, sets), "{shape}");
            assert!(volume.started && volume.changelog_on(), "{shape}");
            assert_eq!(volume.status_unknown, None, "{shape}");
            assert!(volume.bricks.iter().all(|brick| brick.online == Some(true)), "{shape}");
            assert_eq!(volume.is_sharded(), shape == "shard");
            assert_eq!(volume.is_dispersed(), shape == "disperse");
            assert_eq!(volume.options["changelog.rollover-time"], "3");
        }
    }

    #[test]
    fn bricks_come_in_the_order_of_the_volume_with_their_sets() {
        let volume = volume("distrep");
        let told: Vec<_> = volume
            .bricks
            .iter()
            .map(|brick| (brick.number, brick.set, brick.host.as_str(), brick.path.to_str().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                (0, 0, "127.1.1.1", "/bricks/gv-distrep-b1"),
                (1, 0, "127.1.1.1", "/bricks/gv-distrep-b2"),
                (2, 1, "127.1.1.1", "/bricks/gv-distrep-b3"),
                (3, 1, "127.1.1.1", "/bricks/gv-distrep-b4"),
            ]
        );
        assert_eq!(volume.bricks_of(1).map(|brick| brick.number).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(volume.bricks[3].to_string(), "127.1.1.1:/bricks/gv-distrep-b4");
        assert!(volume.bricks[0].host_uuid.is_some());
    }

    #[test]
    fn the_arbiter_is_the_third_brick_of_its_set() {
        let arbiters: Vec<bool> = volume("arbiter").bricks.iter().map(|brick| brick.arbiter).collect();
        assert_eq!(arbiters, [false, false, true]);
    }

    #[test]
    fn a_brick_that_is_down_is_told_so() {
        let status = sample("distrep-brick-down-status");
        let volume = Volume::from_xml(&sample("distrep-info"), Some(&status), "gv-distrep").unwrap();
        let online: Vec<_> = volume.bricks.iter().map(|brick| brick.online).collect();
        assert_eq!(online, [Some(true), Some(false), Some(true), Some(true)]);
    }

    #[test]
    fn a_brick_that_the_status_does_not_tell_of_is_unknown() {
        let status = sample("distrep-status").replace("<path>/bricks/gv-distrep-b3<", "<path>/else<");
        let volume = Volume::from_xml(&sample("distrep-info"), Some(&status), "gv-distrep").unwrap();
        assert_eq!(volume.bricks[2].online, None);
        assert_eq!(volume.status_unknown.unwrap(), "nothing is told of 127.1.1.1:/bricks/gv-distrep-b3");
    }

    #[test]
    fn an_ipv6_host_is_cut_at_the_path() {
        let info = sample("dist1-info").replace("<name>127.1.1.1:/", "<name>fe80::1:/");
        let volume = Volume::from_xml(&info, None, "gv-dist1").unwrap();
        assert_eq!(volume.bricks[0].host, "fe80::1");
        assert_eq!(volume.bricks[0].path, Path::new("/bricks/gv-dist1-b1"));
        assert_eq!(volume.bricks[0].online, None);
    }

    #[test]
    fn a_switch_is_on_by_any_word_of_gluster() {
        for (word, is_on) in [("on", true), ("enable", true), ("TRUE", true), ("1", true), ("off", false), ("0", false)]
        {
            let info = sample("shard-info").replace("<value>on</value>", &format!("<value>{word}</value>"));
            assert_eq!(Volume::from_xml(&info, None, "gv-shard").unwrap().is_sharded(), is_on, "{word}");
        }
    }

    #[test]
    fn an_answer_that_is_not_understood_is_refused_with_what_was_found() {
        let about = |shape: &str| format!("what gluster tells about volume \"gv-{shape}\" is not understood: ");
        for (shape, from, to, expected) in [
            ("dist1", "<opRet>0</opRet>", "", "opRet is \"\", expected a number"),
            ("dist1", "<id>5c", "<id>xx", "id is \"xx55c033-fe5c-4a54-89ea-77b0ac50fec5\", expected a UUID"),
            ("dist1", "<status>1<", "<status>7<", "status is \"7\", expected 0, 1 or 2"),
            ("dist1", "<brickCount>1<", "<brickCount>2<", "brickCount is \"2\", expected the number of bricks"),
            (
                "dist1",
                "<name>127.1.1.1:/",
                "<name>-o:/",
                "the name of a brick is \"-o:/bricks/gv-dist1-b1\", expected HOST:/PATH",
            ),
            ("dist1", "<replicaCount>1<", "<replicaCount>-1<", "replicaCount is \"-1\", expected a number"),
            (
                "dist1",
                "<typeStr>Distribute<",
                "<typeStr>Stripe<",
                "typeStr is \"Stripe (replica 1, arbiter 0, disperse 0)\", expected Distribute, Replicate or \
                 Disperse, distributed or not, with counts to match",
            ),
            (
                "rep3",
                "<replicaCount>3<",
                "<replicaCount>2<",
                "brickCount is \"3\", expected a multiple of the bricks in a set",
            ),
            (
                "arbiter",
                "<isArbiter>1<",
                "<isArbiter>0<",
                "isArbiter is \"another number of bricks\", expected as many in every set as arbiterCount tells",
            ),
            ("rep3", "<hostUuid>", "<hostUuid>x", "hostUuid is"),
        ] {
            let found = hurt(shape, from, to);
            assert!(found.starts_with(&format!("{}{expected}", about(shape))), "{found}");
        }
        assert_eq!(hurt("dist1", "</cliOutput>", ""), "what gluster tells about volume \"gv-dist1\" is no XML");
    }

    #[test]
    fn a_volume_is_loaded_with_its_status() {
        let volume = tool(None, "gv-distrep").unwrap();
        assert_eq!((volume.bricks.len(), volume.status_unknown), (4, None));
        assert_eq!(tool(Some("n2.lan"), "gv-rep3").unwrap().bricks[2].online, Some(true));
    }

    #[test]
    fn a_status_that_cannot_be_had_leaves_open_which_bricks_are_up() {
        let volume = tool(None, "locked").unwrap();
        assert_eq!(
            volume.status_unknown.unwrap(),
            "Another transaction is in progress for locked. Please try again after some time."
        );
        assert!(volume.bricks.iter().all(|brick| brick.online.is_none()));
    }

    #[test]
    fn what_cannot_be_loaded_is_told_with_a_hint() {
        let told = |result: Result<Volume, Error>| {
            let error = result.unwrap_err();
            let cause = error.source().map(|e| format!(": {e}")).unwrap_or_default();
            (format!("{error}{cause}"), error.hint().unwrap_or_default())
        };
        for (result, text, hint) in [
            (
                tool(None, "gv9"),
                "there is no volume \"gv9\"; there are gv-arbiter, gv-disperse, gv-dist1, gv-dist3, gv-distrep, \
                 gv-rep3, gv-shard",
                "",
            ),
            (
                tool(None, "gv-not-started"),
                "volume \"gv-not-started\" is not started",
                "gluster volume start gv-not-started",
            ),
            (
                tool(Some("down"), "gv-rep3"),
                "cannot ask about volume \"gv-rep3\": no glusterd answers on down",
                "gluster --remote-host=down pool list has to work (port 24007)",
            ),
            (
                load(Path::new("/nowhere/gluster"), None, "gv0"),
                "cannot ask about volume \"gv0\": there is no program \"/nowhere/gluster\"",
                "apt-get install glusterfs-server, or glusterfs-cli on a machine without bricks",
            ),
            (
                load(Path::new("false"), None, "gv0"),
                "cannot ask about volume \"gv0\": \"false volume info gv0\" ended with exit status: 1, and said \"\"",
                "",
            ),
            (
                load(Path::new("/dev/null"), None, "gv0"),
                "cannot ask about volume \"gv0\": cannot run \"/dev/null\": Permission denied (os error 13)",
                "",
            ),
            (tool(None, "odd"), "what gluster tells about volume \"odd\" is no XML: unknown token at 1:1", ""),
            (
                tool(None, "all"),
                "\"all\" is no name of a volume: expected letters, digits, _ and -, and no - at the beginning",
                "",
            ),
            (
                tool(Some("-x"), "gv0"),
                "\"-x\" is no name of a host: expected letters, digits and any of . : _ -, and no - at the beginning",
                "",
            ),
        ] {
            assert_eq!(told(result), (text.to_owned(), hint.to_owned()));
        }
    }

    #[test]
    fn a_tool_that_does_not_answer_is_ended() {
        let path = format!("{DATA}/gluster");
        let tool = Tool { tool: Path::new(&path), host: None, name: "hangs", deadline: Duration::from_millis(300) };
        assert_eq!(
            tool.load().unwrap_err().to_string(),
            format!(
                "cannot ask about volume \"hangs\": \"{path} volume info hangs\" had not answered after 300ms and was ended"
            )
        );
    }
}
