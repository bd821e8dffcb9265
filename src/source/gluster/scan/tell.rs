//! Tells what names point to and how nodes are, again where it does not add up.
//! Trouble with one node is a line and does not stop the scan.

use super::error::Error;
use super::writer::Part;
use crate::model::chain;
use crate::source::gluster::Gfid;
use crate::source::gluster::brick::{self, Look, Occupant, Reader};
use crate::source::gluster::part::{Line, Text};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What is to be told of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Touch {
    /// Its bytes changed.
    pub(super) data: bool,
    /// It was made.
    pub(super) made: bool,
    /// It was asked for, or a record names it in a directory that is not internal: so, if it has internal names only,
    /// it is gone for clients, as what `features.trash` took away.
    pub(super) outside: bool,
}

/// Tells what `names` point to and how `nodes` are.
///
/// In up to three passes: what does not add up is looked at a second time, since it may have changed the moment before,
/// and a third time after one walk over the brick has searched for it.
pub(super) fn tell(
    reader: &mut Reader<'_>,
    mut names: BTreeSet<(Gfid, Vec<u8>)>,
    mut nodes: BTreeMap<Gfid, Touch>,
    part: &mut Part<'_>,
) -> Result<(), Error> {
    for pass in 0..3 {
        let mut unsure = Unsure::default();
        for (parent, name) in names {
            tell_name(reader, parent, name, &mut unsure, part)?;
        }
        for (gfid, touch) in nodes {
            tell_node(reader, gfid, touch, &mut unsure, part)?;
        }
        if unsure.names.is_empty() && unsure.nodes.is_empty() {
            return Ok(());
        }
        if pass == 1 {
            reader.find(&unsure.inodes, &unsure.directories);
        }
        (names, nodes) = (unsure.names, unsure.nodes);
    }
    Ok(())
}

/// What does not add up, and what to search for.
#[derive(Debug, Default)]
struct Unsure {
    names: BTreeSet<(Gfid, Vec<u8>)>,
    nodes: BTreeMap<Gfid, Touch>,
    inodes: HashSet<u64>,
    directories: HashSet<Gfid>,
}

fn tell_name(
    reader: &mut Reader<'_>,
    parent: Gfid,
    name: Vec<u8>,
    unsure: &mut Unsure,
    part: &mut Part<'_>,
) -> Result<(), Error> {
    let gfid = match reader.occupant(parent, &name) {
        Ok(Occupant::Node(gfid)) => Some(gfid),
        Ok(Occupant::Nobody) => None,
        Ok(Occupant::Internal) => return Ok(()),
        Ok(Occupant::Unsure(_)) => {
            unsure.directories.insert(parent);
            unsure.names.insert((parent, name));
            return Ok(());
        }
        Err(error) => {
            let path = brick::join(parent.handle().as_bytes(), &name);
            return part.trouble(&path, chain(&error));
        }
    };
    part.line(&Line::Name { parent, name: Text(name), gfid })
}

fn tell_node(
    reader: &mut Reader<'_>,
    gfid: Gfid,
    touch: Touch,
    unsure: &mut Unsure,
    part: &mut Part<'_>,
) -> Result<(), Error> {
    match reader.node(gfid) {
        Ok(Look::Node(mut node)) => {
            node.data = touch.data;
            node.made = touch.made;
            part.line(&Line::Node(*node))
        }
        Ok(Look::Gone) => part.line(&Line::Gone { gfid }),
        Ok(Look::Internal) if touch.outside => part.line(&Line::Gone { gfid }),
        Ok(Look::Internal) => Ok(()),
        Ok(Look::Unsure { inode, .. }) => {
            match inode {
                Some(inode) => drop(unsure.inodes.insert(inode)),
                None => drop(unsure.directories.insert(gfid)),
            }
            unsure.nodes.insert(gfid, touch);
            Ok(())
        }
        Err(error) => part.trouble(gfid.handle().as_bytes(), chain(&error)),
    }
}
