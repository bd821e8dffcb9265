//! What the look at a brick promises, on bricks made by hand; most need root, for `trusted.*`.
//! Never uses Gluster itself: what a real brick holds is what the sources and real volumes showed.

use super::super::Gfid;
use super::super::made_brick::{MadeBrick, VOLUME, VOLUME_ID};
use super::super::part::{Behind, Hex, Node, NodeName, Stamp, Text};
use super::*;
use crate::model::chain;
use crate::sys::walk as sys;
use crate::sys::walk::fixture::{exchange, is_root, make_node, while_another_does};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

fn open(made: &MadeBrick) -> Brick {
    Brick::open(made.path(), VOLUME, false).unwrap()
}

fn node(reader: &mut Reader<'_>, gfid: Gfid) -> Node {
    match reader.node(gfid).unwrap() {
        Look::Node(node) => *node,
        other => panic!("{gfid} is {other:?}"),
    }
}

fn name(parent: Gfid, name: &str) -> NodeName {
    NodeName { parent, name: Text(name.into()) }
}

/// Looks twice, as a scan does: the second time after the walk for lost names.
fn find(reader: &mut Reader<'_>, gfid: Gfid) -> Look {
    match reader.node(gfid).unwrap() {
        Look::Unsure { inode, .. } => {
            let directories = if inode.is_none() { HashSet::from([gfid]) } else { HashSet::new() };
            reader.find(&inode.into_iter().collect(), &directories);
            reader.node(gfid).unwrap()
        }
        other => panic!("{gfid} is {other:?} and not unsure"),
    }
}

fn mdata(ctime: (i64, u64), mtime: (i64, u64)) -> Vec<u8> {
    let mut value = vec![1];
    value.extend_from_slice(&[0; 8]);
    for (seconds, nanos) in [ctime, mtime, (7, 7)] {
        value.extend_from_slice(&seconds.to_be_bytes());
        value.extend_from_slice(&nanos.to_be_bytes());
    }
    value
}

#[test]
fn a_directory_that_is_no_brick_is_refused_with_what_it_lacks() {
    let text = |path: &Path| chain(&Brick::open(path, VOLUME, false).unwrap_err());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    assert_eq!(
        text(dir.path()),
        format!(
            "{path:?} is no brick: it shows no trusted.glusterfs.volume-id (root alone sees it, and the brick's disk must \
             be mounted)"
        )
    );
    assert_eq!(
        text(Path::new("/no/brick")),
        "cannot open the brick \"/no/brick\": No such file or directory (os error 2)"
    );
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let path = made.path().to_str().unwrap();
    made.set("", "trusted.gfid", &[9; 16]);
    assert_eq!(
        text(made.path()),
        format!(
            "{path:?} is no brick: its trusted.gfid is 09090909-0909-0909-0909-090909090909, expected \
             00000000-0000-0000-0000-000000000001"
        )
    );
    made.set("", "trusted.glusterfs.volume-id", b"short");
    assert_eq!(
        text(made.path()),
        format!("{path:?} is no brick: its trusted.glusterfs.volume-id is 5 bytes, expected 16")
    );
}

#[test]
fn a_node_is_told_as_a_client_sees_it() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let dir = made.directory("d");
    let gfid = made.file("d/f", b"hello");
    made.link("d/f", "g");
    made.set("d/f", "trusted.glusterfs.mdata", &mdata((1_700_000_000, 5), (-2, 999_999_999)));
    for hidden in [
        "trusted.pgfid.00000000-0000-0000-0000-000000000001",
        "trusted.glusterfs.dht",
        "trusted.afr.dirty",
        "trusted.ec.version",
        "trusted.bit-rot.version",
        "trusted.SGI_ACL_FILE",
        "trusted.gfs.squota.size",
    ] {
        made.set("d/f", hidden, &[0; 12]);
    }
    made.set("d/f", "user.note", b"\xff");
    made.set("d/f", "trusted.own", b"");
    made.set("d/f", "trusted.glusterfs.selinux", b"label");
    fs::set_permissions(made.at("d/f"), fs::Permissions::from_mode(0o4640)).unwrap();
    std::os::unix::fs::chown(made.at("d/f"), Some(12), Some(34)).unwrap();
    fs::set_permissions(made.at("d/f"), fs::Permissions::from_mode(0o4640)).unwrap();
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();

    let file = node(&mut reader, gfid);

    assert_eq!(file.names, [name(Gfid::ROOT, "g"), name(dir, "f")]);
    let state = &file.state;
    assert_eq!((state.gfid, state.mode, state.uid, state.gid, state.size), (gfid, 0o104640, 12, 34, 5));
    assert_eq!((state.nlink, state.rdev, state.linkto, &state.unreadable), (2, 0, false, &None));
    assert_eq!((state.ctime, state.mtime), (Stamp(1_700_000_000, 5), Stamp(-2, 999_999_999)));
    assert_eq!(
        state.xattrs,
        [
            (Text(b"security.selinux".to_vec()), Hex(b"label".to_vec())),
            (Text(b"trusted.own".to_vec()), Hex(Vec::new())),
            (Text(b"user.note".to_vec()), Hex(b"\xff".to_vec())),
        ]
    );
    assert_eq!(state.behind, []);
    let directory = node(&mut reader, dir);
    let metadata = fs::metadata(made.at("d")).unwrap();
    assert_eq!((directory.names, directory.state.mode), (vec![name(Gfid::ROOT, "d")], 0o040755));
    assert_eq!((directory.state.nlink, directory.state.size), (2, metadata.size()));
    // Without mdata the times of the inode count.
    assert_eq!(directory.state.mtime, Stamp(metadata.mtime(), metadata.mtime_nsec() as u32));
    assert_eq!(directory.state.ctime, Stamp(metadata.ctime(), metadata.ctime_nsec() as u32));
    assert_eq!(node(&mut reader, Gfid::ROOT).names, []);
}

#[test]
fn devices_pipes_and_links_are_told_with_what_they_are() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    make_node(&made.at("null"), 0o020666, 1, 3);
    make_node(&made.at("pipe"), 0o010600, 0, 0);
    let (null, pipe) = (made.adopt("null"), made.adopt("pipe"));
    let link = made.symlink("link", "no/such");
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    let state = node(&mut reader, null).state;
    assert_eq!((state.rdev, state.size, state.nlink), (0x103, 0, 1));
    let state = node(&mut reader, pipe).state;
    assert_eq!((state.rdev, state.size, state.target), (0, 0, None));
    let state = node(&mut reader, link).state;
    assert_eq!((state.mode, state.size, state.nlink, state.target), (0o120777, 7, 1, Some(Text(b"no/such".to_vec()))));
}

#[test]
fn times_that_are_none_are_told_as_unreadable_and_the_inodes_are_taken() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let short = made.file("short", b"");
    made.set("short", "trusted.glusterfs.mdata", &[1; 56]);
    let much = made.file("much", b"");
    made.set("much", "trusted.glusterfs.mdata", &mdata((1, 1_000_000_000), (1, 1)));
    let longer = made.file("longer", b"");
    made.set("longer", "trusted.glusterfs.mdata", &[&mdata((3, 4), (5, 6))[..], b"added"].concat());
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    let state = node(&mut reader, short).state;
    let expected = "trusted.glusterfs.mdata is no 57 bytes with times in them: 56 bytes";
    assert_eq!(state.unreadable.as_deref(), Some(expected));
    assert_eq!(state.mtime.0, fs::metadata(made.at("short")).unwrap().mtime());
    let state = node(&mut reader, much).state;
    assert!(state.unreadable.is_some() && state.ctime.1 < 1_000_000_000);
    assert_eq!(node(&mut reader, longer).state.mtime, Stamp(5, 6));
}

#[test]
fn a_users_link_that_looks_like_a_handle_is_a_link() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let dir = made.directory("d");
    let like_a_handle = "../../00/00/00000000-0000-0000-0000-000000000001/d";
    let link = made.symlink("link", like_a_handle);
    let nameless = made.symlink("nameless", like_a_handle);
    fs::remove_file(made.at("nameless")).unwrap();
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    let link = node(&mut reader, link);
    assert_eq!(link.names, [name(Gfid::ROOT, "link")]);
    assert_eq!(link.state.target, Some(Text(like_a_handle.into())));
    assert_eq!(node(&mut reader, dir).names, [name(Gfid::ROOT, "d")]);
    // Its last name went and its handle has one link, as those of directories.
    assert!(matches!(reader.node(nameless).unwrap(), Look::Gone));
}

#[test]
fn what_has_no_handle_or_no_name_left_is_gone() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let gfid = made.file("f", b"open and unlinked");
    fs::remove_file(made.at("f")).unwrap();
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    assert!(matches!(reader.node(gfid).unwrap(), Look::Gone));
    assert!(matches!(reader.node(made.new_gfid()).unwrap(), Look::Gone));
}

#[test]
fn a_claimed_name_that_is_not_there_or_is_anothers_is_dropped() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let gfid = made.file("f", b"");
    made.file("other", b"");
    made.directory("d");
    for stale in ["gone", "other", "d", "d/f"] {
        made.claim("f", stale);
    }
    made.set("f", "trusted.gfid2path.ffffffffffffffff", b"no gfid/f");
    made.set("f", "trusted.gfid2path.fffffffffffffffe", b"00000000-0000-0000-0000-000000000001/../f");
    let brick = open(&made);
    assert_eq!(node(&mut brick.reader().unwrap(), gfid).names, [name(Gfid::ROOT, "f")]);
}

#[test]
fn names_that_a_file_does_not_claim_are_found_by_a_walk() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let dir = made.directory("d");
    let gfid = made.file("f", b"");
    fs::hard_link(made.at("f"), made.at("d/unclaimed")).unwrap();
    made.directory_of(".trashcan", Gfid::TRASHCAN);
    fs::hard_link(made.at("f"), made.at(".trashcan/unclaimed")).unwrap();
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    let Look::Unsure { why, .. } = reader.node(gfid).unwrap() else { panic!("it is sure") };
    assert_eq!(why, "1 of its names are where they should be, the link count expects 3");
    let Look::Node(found) = find(&mut reader, gfid) else { panic!("it is not found") };
    assert_eq!(found.names, [name(Gfid::ROOT, "f"), name(dir, "unclaimed")]);
}

#[test]
fn a_directory_with_a_stale_handle_is_found_by_a_walk_with_all_below_it() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let top = made.directory("top");
    let dir = made.directory("top/d");
    let below = made.directory("top/d/below");
    let file = made.file("top/d/f", b"");
    made.set_handle(dir, Gfid::ROOT, b"d");
    let other = made.directory("d");
    let lost = made.directory("lost");
    fs::remove_dir(made.at("lost")).unwrap();
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    let Look::Unsure { why, inode: None } = reader.node(dir).unwrap() else { panic!("it is sure") };
    assert_eq!(why, format!("directory {dir} is not at \"d\": {other} is there"));
    assert_eq!(
        reader.occupant(dir, b"f").unwrap(),
        Occupant::Unsure(format!("directory {dir} is not at \"d\": {other} is there"))
    );
    let inode = fs::metadata(made.at("top/d/f")).unwrap().ino();
    assert!(matches!(reader.node(file).unwrap(), Look::Unsure { inode: Some(i), .. } if i == inode));
    assert!(matches!(reader.node(lost).unwrap(), Look::Unsure { .. }));

    reader.find(&HashSet::from([inode]), &HashSet::from([dir, below, lost]));

    assert_eq!(node(&mut reader, dir).names, [name(top, "d")]);
    assert_eq!(node(&mut reader, below).names, [name(dir, "below")]);
    assert_eq!(node(&mut reader, file).names, [name(dir, "f")]);
    assert_eq!(reader.occupant(dir, b"f").unwrap(), Occupant::Node(file));
    assert!(matches!(reader.node(lost).unwrap(), Look::Gone));
    assert_eq!(reader.occupant(lost, b"f").unwrap(), Occupant::Nobody);
}

#[test]
fn a_loop_of_handles_ends() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let (a, b) = (made.new_gfid(), made.new_gfid());
    made.set_handle(a, b, b"a");
    made.set_handle(b, a, b"b");
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    let Look::Unsure { why, .. } = reader.node(a).unwrap() else { panic!("it is sure") };
    assert_eq!(why, format!("the handles of directories form a loop through {a}"));
    assert!(matches!(find(&mut reader, b), Look::Gone));
}

#[test]
fn directories_below_sixty_others_and_beyond_the_longest_path_are_found() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    // From the bottom up, so that no call here needs a long path: each directory is put into the next one.
    let step = "n".repeat(200);
    let mut gfids = vec![made.directory(&step)];
    let bottom = made.file(format!("{step}/f"), b"deep");
    for _ in 1..60 {
        let above = made.directory("above");
        fs::rename(made.at(&step), made.at("above").join(&step)).unwrap();
        made.set_handle(*gfids.last().unwrap(), above, step.as_bytes());
        fs::rename(made.at("above"), made.at(&step)).unwrap();
        made.set_handle(above, Gfid::ROOT, step.as_bytes());
        gfids.push(above);
    }
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    assert_eq!(node(&mut reader, bottom).names, [name(gfids[0], "f")]);
    assert_eq!(node(&mut reader, gfids[0]).names, [name(gfids[1], &step)]);
    assert_eq!(reader.occupant(gfids[0], b"f").unwrap(), Occupant::Node(bottom));
    let path = vec![step.as_str(); 60].join("/");
    assert_eq!(path.len(), 12_059);
    assert!(reader.open_walked(path.as_bytes(), gfids[0]).unwrap().is_some());
}

#[test]
fn more_directories_than_are_kept_open_are_all_found() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let files: Vec<_> =
        (0..300).map(|number| (made.directory(format!("d{number}")), made.file(format!("d{number}/f"), b""))).collect();
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    for (dir, file) in files.iter().chain(&files[..10]) {
        assert_eq!(node(&mut reader, *file).names, [name(*dir, "f")]);
    }
    assert_eq!(reader.directories.len(), 256);
}

#[test]
fn what_is_internal_is_told_as_that_also_far_below_it() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    made.directory_of(".trashcan", Gfid::TRASHCAN);
    made.directory(".trashcan/a");
    let nested = made.directory(".trashcan/a/b");
    let thrown = made.file(".trashcan/a/b/f", b"");
    let half = made.file("half", b"");
    made.link("half", ".trashcan/a/half");
    let anonymous = format!(".glusterfs-anonymous-inode-{VOLUME_ID}");
    made.directory_of(&anonymous, "56575757-5757-5757-5757-575757575757".parse().unwrap());
    let moved = made.file(format!("{anonymous}/x"), b"");
    // Where shards were never on, this is a directory like any other.
    let users = made.directory(".shard");
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    for gfid in [Gfid::TRASHCAN, nested, thrown, moved] {
        assert!(matches!(reader.node(gfid).unwrap(), Look::Internal), "{gfid}");
    }
    assert_eq!(node(&mut reader, half).names, [name(Gfid::ROOT, "half")]);
    assert_eq!(node(&mut reader, users).names, [name(Gfid::ROOT, ".shard")]);
    assert_eq!(reader.occupant(nested, b"f").unwrap(), Occupant::Internal);
    assert_eq!(reader.occupant(Gfid::ROOT, b".trashcan").unwrap(), Occupant::Internal);
    assert_eq!(reader.occupant(Gfid::ROOT, b".glusterfs").unwrap(), Occupant::Internal);
    assert_eq!(reader.occupant(Gfid::ROOT, b".shard").unwrap(), Occupant::Node(users));
}

#[test]
fn an_occupant_is_told_by_its_gfid_pointer_files_too() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let dir = made.directory("d");
    let pointer = made.pointer("d/p");
    let raw = OsStr::from_bytes(b"d/caf\xe9\n,");
    let odd = made.file(raw, b"");
    fs::write(made.at("d/by-hand"), b"").unwrap();
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    assert_eq!(reader.occupant(dir, b"p").unwrap(), Occupant::Node(pointer));
    assert_eq!(reader.occupant(dir, b"caf\xe9\n,").unwrap(), Occupant::Node(odd));
    assert_eq!(node(&mut reader, odd).names, [NodeName { parent: dir, name: Text(b"caf\xe9\n,".to_vec()) }]);
    assert_eq!(reader.occupant(dir, b"by-hand").unwrap(), Occupant::Nobody);
    assert_eq!(reader.occupant(dir, b"none").unwrap(), Occupant::Nobody);
    assert_eq!(reader.occupant(made.new_gfid(), b"none").unwrap(), Occupant::Nobody);
    // A file is no directory, whatever a record says.
    assert_eq!(reader.occupant(odd, b"none").unwrap(), Occupant::Nobody);
}

#[test]
fn a_pointer_file_is_flagged_and_one_that_only_looks_so_is_not() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let pointer = made.pointer("pointer");
    let sticky = made.file("sticky", b"");
    fs::set_permissions(made.at("sticky"), fs::Permissions::from_mode(0o1000)).unwrap();
    let data = made.file("data", b"under way");
    made.set("data", "trusted.glusterfs.dht.linkto", b"vol-client-1\0");
    fs::set_permissions(made.at("data"), fs::Permissions::from_mode(0o3644)).unwrap();
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    let node_of_pointer = node(&mut reader, pointer);
    assert!(node_of_pointer.state.linkto);
    assert_eq!(node_of_pointer.names, [name(Gfid::ROOT, "pointer")]);
    assert!(!node(&mut reader, sticky).state.linkto);
    // Rebalance copies it away; clients do not see the two bits that say so.
    let state = node(&mut reader, data).state;
    assert_eq!((state.linkto, state.mode), (false, 0o100644));
}

#[test]
fn sizes_of_sharded_and_dispersed_files_are_those_of_the_whole() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let sharded = made.file("sharded", b"first shard");
    let mut value = [0; 32];
    value[..8].copy_from_slice(&10_000_000_u64.to_be_bytes());
    made.set("sharded", "trusted.glusterfs.shard.file-size", &value);
    let dispersed = made.file("dispersed", &[1; 1536]);
    made.set("dispersed", "trusted.ec.size", &3000_u64.to_be_bytes());
    let odd = made.file("odd", &[1; 512]);
    let empty = made.file("empty", b"");
    let hurt = made.file("hurt", b"");
    made.set("hurt", "trusted.ec.size", b"hurt");
    let whole = open(&made);
    let state = node(&mut whole.reader().unwrap(), sharded).state;
    assert_eq!((state.size, state.allocated), (10_000_000, 10_000_000));
    assert_eq!(node(&mut whole.reader().unwrap(), dispersed).state.size, 1536);
    let fragments = Brick::open(made.path(), VOLUME, true).unwrap();
    let mut reader = fragments.reader().unwrap();
    let state = node(&mut reader, dispersed).state;
    assert_eq!((state.size, state.allocated, state.unreadable), (3000, 3000, None));
    assert_eq!(node(&mut reader, empty).state.unreadable, None);
    assert_eq!(
        node(&mut reader, odd).state.unreadable.unwrap(),
        "trusted.ec.size is missing, so the length is that of a fragment"
    );
    assert_eq!(node(&mut reader, hurt).state.unreadable.unwrap(), "trusted.ec.size is 4 bytes, expected 8");
}

#[test]
fn copies_that_are_behind_are_told_by_number_and_a_dirty_copy_accuses_none() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let gfid = made.file("f", b"");
    let counts = |data: u32, metadata: u32, entries: u32| {
        [data.to_be_bytes(), metadata.to_be_bytes(), entries.to_be_bytes()].concat()
    };
    made.set("f", "trusted.afr.vol-client-10", &counts(0, 1, 0));
    made.set("f", "trusted.afr.vol-client-2", &counts(256, 0, 7));
    made.set("f", "trusted.afr.vol-client-3", &counts(0, 0, 0));
    made.set("f", "trusted.afr.dirty", &counts(1, 1, 1));
    made.set("f", "trusted.afr.other-client-1", &counts(1, 1, 1));
    made.set("f", "trusted.afr.vol-client-x", &counts(1, 1, 1));
    let brick = open(&made);
    let state = node(&mut brick.reader().unwrap(), gfid).state;
    assert_eq!(
        state.behind,
        [
            Behind { brick: 2, data: true, metadata: false, entries: true },
            Behind { brick: 10, data: false, metadata: true, entries: false },
        ]
    );
    assert_eq!(state.xattrs, []);
}

#[test]
fn a_handle_of_another_node_is_an_error() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let (one, other) = (made.file("one", b""), made.file("other", b""));
    fs::remove_file(made.at(one.handle())).unwrap();
    fs::hard_link(made.at("other"), made.at(one.handle())).unwrap();
    let brick = open(&made);
    let error = brick.reader().unwrap().node(one).unwrap_err();
    assert_eq!(chain(&error), format!("handle \"{}\" is {other}, expected {one}", one.handle()));
}

#[test]
fn a_directory_that_moved_during_a_walk_is_listed_where_it_is_and_a_removed_one_is_empty() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let moved = made.directory("moved");
    let removed = made.directory("removed");
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    fs::rename(made.at("moved"), made.at("now")).unwrap();
    made.set_handle(moved, Gfid::ROOT, b"now");
    made.directory("moved");
    fs::remove_dir(made.at("removed")).unwrap();
    fs::remove_file(made.at(removed.handle())).unwrap();
    let opened = reader.open_walked(b"moved", moved).unwrap().unwrap();
    assert_eq!(sys::stat_fd(opened.as_fd()).unwrap().inode, fs::metadata(made.at("now")).unwrap().ino());
    assert!(reader.open_walked(b"removed", removed).unwrap().is_none());
}

#[test]
fn handles_names_and_shards_that_are_none_are_refused() {
    let root = "00000000-0000-0000-0000-000000000001";
    assert_eq!(state::parse_handle(format!("../../00/00/{root}/a b").as_bytes()), Some(name(Gfid::ROOT, "a b")));
    for target in [
        "",
        "../../..",
        &format!("../../00/01/{root}/a"),
        &format!("../../00/00/{root}/"),
        &format!("../../00/00/{root}/.."),
        &format!("../../00/00/{root}/a/b"),
        &format!("../../00/00/{root}"),
        &format!("../00/00/{root}/a"),
        "../../00/00/not-a-gfid-0000-0000-000000000001xx/a",
    ] {
        assert_eq!(state::parse_handle(target.as_bytes()), None, "{target}");
    }
    assert_eq!(state::parse_shard(format!("{root}.12").as_bytes()), Some(Gfid::ROOT));
    for shard in ["", root, &format!("{root}."), &format!("{root}.1x"), &format!("{root}12")] {
        assert_eq!(state::parse_shard(shard.as_bytes()), None, "{shard}");
    }
}

#[test]
fn a_node_is_what_its_own_inode_says_though_names_are_exchanged_meanwhile() {
    if !is_root() {
        return;
    }
    let made = MadeBrick::new();
    let (small, large) = (made.file("small", b""), made.file("large", b"12345"));
    let brick = open(&made);
    let mut reader = brick.reader().unwrap();
    let root = sys::open_root(made.path()).unwrap();
    while_another_does(
        || exchange(&made.at("small"), &made.at("large")),
        || {
            for _ in 0..3000 {
                let Sight::Node(state) = reader.sight(sys::FileAt::Named(root.as_fd(), c"small")).unwrap() else {
                    panic!("it has a gfid")
                };
                assert_eq!((state.gfid == small, state.gfid == large), (state.size == 0, state.size == 5));
            }
        },
    );
}
