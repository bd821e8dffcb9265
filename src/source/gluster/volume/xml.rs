//! What `gluster volume info --xml` and `gluster volume status --xml` tell, understood.
//!
//! Promises: pure; an answer that lacks something, or holds something that cannot be, is refused with what was found. A
//! status that tells of trouble is no error: it leaves open which bricks are up.

use super::error::Error;
use super::shape::{Brick, Volume, VolumeKind};
use crate::model::escape_bytes;
use crate::source::gluster::exec::is_host;
use roxmltree::{Document, Node};
use std::path::{Path, PathBuf};

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
        let name_of = name.to_owned();
        let (status_unknown, thin_arbiter) = (None, None);
        let mut volume = Self { name: name_of, id, started, kind, bricks, options, status_unknown, thin_arbiter };
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
            self.status_unknown = Some(format!("nothing is known of {}", untold.join(", ")));
        }
    }
}

pub(super) fn parse<'a>(xml: &'a str, name: &str) -> Result<Document<'a>, Error> {
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
pub(super) fn text<'a>(node: Node<'a, '_>, tag: &str) -> &'a str {
    node.children().find(|child| child.has_tag_name(tag)).and_then(|child| child.text()).unwrap_or("").trim()
}

pub(super) fn odd(name: &str, what: &str, found: &str, expected: &'static str) -> Error {
    Error::Odd { name: name.to_owned(), what: what.to_owned(), found: found.to_owned(), expected }
}
