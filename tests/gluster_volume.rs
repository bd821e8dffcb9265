//! Volumes under random changes: what a backup of each moment must bring back is a plain copy of what a client
//! of the volume saw then.
//!
//! First the changes and the copy are tried on a plain directory; then real volumes are taken, whole and hurt. Those
//! run one at a time. Needs root, `/dev/fuse`, `rsync`, and GlusterFS, which `scripts/gluster-volume` installs.

mod common;

#[path = "common/gluster.rs"]
mod gluster;
#[path = "common/site.rs"]
mod site;
#[path = "common/volume.rs"]
mod volume;

use asof::model::Kind;
use common::{assert_same, picture_of_copy};
use gluster::{Churn, names_below, save};
use site::{said, sh, wait_until};
use std::collections::BTreeMap;
use volume::Live;

/// Every kind of change that a [`Churn`] knows.
const CHANGES: [&str; 27] = [
    "append",
    "chmod",
    "chown",
    "create",
    "create_sparse",
    "link",
    "mkdir",
    "mknod",
    "recreate",
    "remove_tree",
    "removexattr",
    "rename",
    "rename_directory",
    "rename_directory_over",
    "rename_over",
    "replace",
    "rewrite",
    "rmdir",
    "setfacl",
    "setxattr",
    "swap",
    "symlink",
    "truncate",
    "unlink",
    "utime",
    "write",
    "write_after_unlink",
];

#[test]
fn random_changes_do_all_that_they_know_and_know_what_they_did() {
    for seed in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let mut churn = Churn::new(dir.path(), seed, true);
        let done = churn.run(2000);
        assert_eq!(done.keys().copied().collect::<Vec<_>>(), CHANGES, "seed {seed}");
        assert_eq!(done.values().sum::<usize>(), 2000);
        assert_eq!(churn.log().len(), 2000);
        assert_eq!(names_below(dir.path()), *churn.names(), "seed {seed}");
    }
}

#[test]
fn the_same_seed_does_the_same() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&one, &other] {
        Churn::new(dir.path(), 7, true).run(500);
        // Goes on with what is there.
        Churn::new(dir.path(), 8, true).run(500);
    }
    let [one, other] = [one, other].map(|dir| {
        let mut picture = picture_of_copy(dir.path());
        // The times that nobody set are those of the disk, and so are the sizes of directories.
        for shown in picture.values_mut() {
            shown.mtime = (0, 0);
            if shown.kind == Kind::Directory {
                shown.size_bytes = 0;
            }
        }
        picture
    });
    assert_same(&one, &other, &"seed 7, then 8");
}

#[test]
fn two_seeds_do_different_things() {
    let logs = [1, 2].map(|seed| {
        let dir = tempfile::tempdir().unwrap();
        let mut churn = Churn::new(dir.path(), seed, true);
        churn.run(10);
        churn.log().to_vec()
    });
    assert_ne!(logs[0], logs[1]);
}

#[test]
fn without_acls_none_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let done = Churn::new(dir.path(), 3, false).run(1000);
    assert_eq!(done.get("setfacl"), None);
    let picture = picture_of_copy(dir.path());
    let with_acl = picture.values().filter(|s| s.xattrs.iter().any(|x| x.0.starts_with(b"system.posix_acl"))).count();
    assert_eq!((with_acl, picture.len() > 50), (0, true));
}

#[test]
fn a_saved_copy_is_the_tree() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut churn = Churn::new(dir.path(), 11, true);
    let mut kinds = BTreeMap::new();
    for round in 0..3 {
        churn.run(400);
        let copy = copies.path().join(round.to_string());
        save(dir.path(), &copy);
        let [mut found, mut expected] = [&copy, dir.path()].map(picture_of_copy);
        for shown in found.values_mut().chain(expected.values_mut()).filter(|s| s.kind == Kind::Directory) {
            shown.size_bytes = 0;
        }
        expected.values().for_each(|shown| *kinds.entry(shown.kind).or_insert(0) += 1);
        assert_same(&found, &expected, &format!("round {round}"));
    }
    assert_eq!(kinds.len(), 7, "a tree of all kinds: {kinds:?}");
}

// Real volumes.

/// Rounds of random changes, each taken in another way, and every one of them read back.
fn every_round_reads_back(shape: &str) {
    let mut live = Live::start(shape);
    let mut churn = Churn::new(&live.mnt(), 1, true);
    for options in [&[][..], &[], &["--differential"], &["--rescan"], &["--full"], &[]] {
        churn.run(200);
        // Of fragments, too: that a client has not written down yet that they agree is no reason to say that they are to be healed.
        live.take(options, 0);
    }
    live.assert_all_equal();
    assert_eq!(
        live.column("scan || ' ' || level || ' ' || gaps || ' ' || losses || ' ' || notices AS how"),
        [
            "walk full 0 0 0",
            "changelog incremental 0 0 0",
            "changelog incremental 0 0 0",
            "walk incremental 0 0 0",
            "walk full 0 0 0",
            "changelog incremental 0 0 0"
        ]
    );
}

#[test]
fn every_round_of_one_brick_reads_back() {
    every_round_reads_back("dist1");
}

#[test]
fn every_round_of_two_times_two_copies_reads_back() {
    every_round_reads_back("distrep");
}

#[test]
fn every_round_of_three_copies_reads_back() {
    every_round_reads_back("rep3");
}

#[test]
fn every_round_of_two_copies_and_an_arbiter_reads_back() {
    every_round_reads_back("arbiter");
}

#[test]
fn every_round_of_an_erasure_coded_volume_reads_back() {
    every_round_reads_back("disperse");
}

#[test]
fn every_round_of_a_sharded_volume_reads_back() {
    every_round_reads_back("shard");
}

/// Such a write leaves size and times of the file as they were: only the shard's own inode tells.
#[test]
fn a_write_into_a_later_shard_is_in_the_next_generation_and_in_one_by_a_walk() {
    use std::os::unix::fs::FileExt;
    let mut live = Live::start("shard");
    let path = live.mnt().join("disk.img");
    std::fs::write(&path, vec![b'a'; 10 << 20]).unwrap();
    live.take(&[], 0);
    let write = |text: &[u8]| {
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(text, 6 << 20).unwrap();
        file.sync_all().unwrap();
    };
    write(b"first");
    live.take(&[], 0);
    write(b"again");
    live.take(&["--rescan"], 0);
    live.take(&[], 0);
    live.assert_all_equal();
    let wanted = "SELECT taken_at FROM changes WHERE path = 'disk.img' AND what = 'modified' ORDER BY taken_at";
    let modified = live.site.ok(&["sql", wanted]);
    let instants = live.column("taken_at");
    // Once more is no harm: the brick may touch the inode of a shard a moment later.
    assert_eq!(modified.lines().skip(1).take(2).collect::<Vec<_>>(), instants[1..3], "{modified}");
}

#[test]
fn commands_of_the_admin_run_before_and_after_and_the_first_can_forbid() {
    let mut live = Live::start("dist1");
    std::fs::write(live.mnt().join("file"), b"bytes").unwrap();
    let told = live.dir.path().join("told");
    let post = format!("sh -c 'echo $ASOF_SOURCE $ASOF_VOLUME $ASOF_STATUS $ASOF_LEVEL >> {}'", told.display());
    live.site.ok(&["source", "set", "vol", "--pre", "sh -c 'exit 3'", "--post", &post]);
    let refused = said(&live.site.run(&["take", "vol"], 2));
    assert!(refused.contains("the pre command \"sh -c 'exit 3'\" ended with exit status: 3"), "{refused}");
    assert!(live.column("taken_at").is_empty());
    assert!(!told.exists(), "what did not begin does not end");
    live.site.ok(&["source", "set", "vol", "--pre", ""]);
    live.take(&[], 0);
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "vol vol taken full\n");
    live.site.ok(&["source", "set", "vol", "--gluster", "/no/such/gluster"]);
    live.site.run(&["take", "vol"], 2);
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "vol vol taken full\nvol vol failed\n");
    let wrong = said(&live.site.run(&["source", "set", "vol", "--zone", "UTC"], 2));
    assert!(wrong.contains("are for sources of kind nfs"), "{wrong}");
}

/// A store whose file system is not mounted is an empty directory: an increment in it would leave out what is nowhere.
#[test]
fn a_store_that_lost_the_copies_is_refused_and_goes_on_when_it_is_back() {
    let mut live = Live::start("dist1");
    std::fs::write(live.mnt().join("first"), b"bytes").unwrap();
    live.take(&[], 0);
    std::fs::write(live.mnt().join("second"), b"more").unwrap();
    let store = live.site.path("store");
    let away = live.site.path("away");
    std::fs::rename(&store, &away).unwrap();
    std::fs::create_dir(&store).unwrap();
    let refused = said(&live.site.run(&["take", "vol"], 2));
    assert!(
        refused.contains(" of the generation before, of ") && refused.contains("is the store mounted?"),
        "{refused}"
    );
    assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0, "nothing was put where the store is not");
    std::fs::remove_dir(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();
    live.take(&[], 0);
    live.assert_all_equal();
    // Copies that are gone, one after the other, are no reason to refuse: what the newest generation has in them is taken again.
    for (number, (gone, options)) in [(0, &[][..]), (1, &["--differential"]), (4, &["--full"])].into_iter().enumerate()
    {
        let copy = store.join("vol").join(live.column("taken_at")[gone].replace(':', ""));
        std::fs::remove_dir_all(&copy).unwrap();
        let told = live.take(options, 0);
        assert!(told.contains("is gone; what it held is taken again"), "{gone}: {told}");
        live.take(&[], 0);
        let states = live.site.ok(&["sql", "SELECT state FROM copies WHERE state <> 'present'"]);
        assert_eq!(states.lines().skip(1).collect::<Vec<_>>(), vec!["gone"; number + 1]);
        // Older ones have lost bytes.
        live.saved.drain(..live.saved.len() - 2);
        live.assert_all_equal();
    }
    // A copy that is there and has lost a file, or the end of one: a full scan looks at each, and so does whatever has a reason to look at the file.
    sh(&live.mnt(), "mkdir d; for n in 1 2 3 4; do echo $n > d/$n; done");
    live.take(&["--full"], 0);
    let copy = store.join("vol").join(live.newest("taken_at").replace(':', ""));
    // A new value closes the changelog: what it names is not looked at again.
    live.gluster("volume set vol changelog.rollover-time 60");
    live.take(&[], 0);
    sh(&live.mnt(), "mv d e; chmod 600 e/2");
    sh(&copy, "rm d/1 d/2; : > d/3");
    let told = live.take(&[], 1);
    assert!(told.contains("1 file was gone from the copy of the generation of "), "{told}");
    let told = live.take(&["--rescan"], 1);
    assert!(told.contains("2 files were gone from the copy of the generation of "), "{told}");
    live.take(&["--rescan"], 0);
    live.saved.drain(..live.saved.len() - 1);
    live.assert_all_equal();
    let found = live.site.ok(&["sql", "SELECT path FROM findings WHERE detail LIKE '%were taken again' ORDER BY 1"]);
    assert_eq!(found.lines().skip(1).collect::<Vec<_>>(), ["e/1", "e/2", "e/3"]);
    let damaged = live.site.ok(&["sql", "SELECT count(*) FROM copies WHERE state = 'damaged'"]);
    assert_eq!(damaged.lines().nth(1), Some("1"));
}

/// A network namespace with the name of a host: what runs in it reaches nobody, not even this machine.
struct Network(String);

impl Network {
    fn new(name: &str) -> Self {
        sh(std::path::Path::new("/"), &format!("ip netns add {name}"));
        Self(name.to_owned())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = std::process::Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[test]
fn agents_need_no_network_but_what_runs_them() {
    let mut live = Live::start("distrep");
    let _network = Network::new(&live.address);
    let program = env!("CARGO_BIN_EXE_asof");
    live.site.ok(&["source", "set", "vol", "--exec", "ip netns exec {host}", "--program", program]);
    let mut churn = Churn::new(&live.mnt(), 9, true);
    for _ in 0..2 {
        churn.run(150);
        live.take(&[], 0);
    }
    live.assert_all_equal();
    assert_eq!(live.column("scan"), ["walk", "changelog"]);
}

// Volumes that are hurt.

/// A brick of three is down and its disk is away, comes back, and is healed; a generation is taken at each step.
#[test]
fn a_brick_that_was_away_and_is_healed_hides_nothing() {
    let mut live = Live::start("rep3");
    let mut churn = Churn::new(&live.mnt(), 2, true);
    churn.run(300);
    live.take(&[], 0);
    churn.run(100);
    // The process is gone, its disk is there, and nobody asks it.
    live.kill_brick(2);
    churn.run(200);
    let told = live.take(&[], 1);
    assert_eq!(live.kinds(), ["absent", "unhealed"], "{told}");
    churn.run(100);
    live.take(&["--rescan"], 1);
    churn.run(100);
    live.hide_brick(2, true);
    let told = live.take(&[], 1);
    assert_eq!(live.kinds(), ["absent", "unhealed"], "{told}");
    live.hide_brick(2, false);
    live.start_bricks();
    // Healing goes on.
    live.take_while_healing(&[]);
    churn.run(100);
    // Of what is not healed yet the bricks tell different times, and so does a client.
    let not_healed = live.told_differently(&[1, 2, 3]);
    live.take_while_healing(&[]);
    live.take_while_healing(&["--rescan"]);
    live.wait_until_healed();
    live.take_while_healing(&[]);
    let mut told_differently = vec![live.told_differently(&[1, 2, 3])];
    churn.run(100);
    for options in [&[][..], &["--rescan"]] {
        live.take_while_healing(options);
        told_differently.push(live.told_differently(&[1, 2, 3]));
    }
    // A client may show rights and ACLs of a node that is just being healed as they were, so the truth of what was taken
    // meanwhile is that of before the brick came back, and that of after it was healed: nothing changed in between.
    live.saved[4].1 = live.saved[3].1.clone();
    live.saved[5].1 = live.saved[7].1.clone();
    live.saved[6].1 = live.saved[7].1.clone();
    // Bytes and names have to be right of these too.
    live.assert_all_equal_but(&|number, line| {
        let (how, path) = line.split_once(' ').unwrap();
        // rsync tells where a symbolic link leads to behind its path.
        let path = if how[1..].starts_with('L') { path.split(" -> ").next().unwrap() } else { path };
        let only_attributes = !how.contains('+') && !how[2..4].contains(['c', 's']);
        let Some(since_healed) = number.checked_sub(5) else { return false };
        let path = path.trim_end_matches('/');
        let was_in_healing = number < 7 && not_healed.contains(path);
        only_attributes && (was_in_healing || told_differently[since_healed.saturating_sub(2)].contains(path))
    });
    let how =
        ["walk", "changelog", "walk", "changelog", "changelog", "changelog", "walk", "changelog", "changelog", "walk"];
    assert_eq!(live.column("scan"), how);
}

/// Nobody heals by himself here, so a copy stays behind for as long as the test wants: a look-up makes what the brick
/// lacks, empty, and records that in the changelog of this brick alone.
#[test]
fn a_copy_that_is_behind_is_not_taken_for_the_file() {
    let mut live = Live::start("rep3");
    for option in [
        "cluster.self-heal-daemon off",
        "cluster.data-self-heal off",
        "cluster.metadata-self-heal off",
        "cluster.entry-self-heal off",
    ] {
        live.gluster(&format!("volume set vol {option}"));
    }
    let mnt = live.mnt();
    sh(&mnt, "mkdir a b c; echo one > a/f; ln a/f b/f; echo two > b/g; echo gone > c/gone; mkdir c/dir; touch c/dir/x");
    live.take(&[], 0);
    live.kill_brick(1);
    sh(
        &mnt,
        "head -c 100000 /dev/urandom > a/new; rm b/f; echo more >> b/g; rm c/gone; mv c/dir a/moved; mkdir a/sub; echo deep > a/sub/deep",
    );
    live.take(&[], 1);
    live.start_bricks();
    // Only now is there a record of each of them on the brick that is behind.
    sh(&mnt, "echo more >> a/f; chmod 640 b/g; touch c");
    live.take(&[], 1);
    assert_eq!(live.kinds(), ["unhealed"]);
    live.gluster("volume set vol cluster.entry-self-heal on");
    sh(
        live.dir.path(),
        &format!(
            "mkdir -p other; mount -t glusterfs -o log-file=$PWD/g/log/other.log {}:/vol other; find other -ls > /dev/null; find other >/dev/null; umount other",
            live.address
        ),
    );
    live.take(&[], 1);
    live.take(&["--rescan"], 1);
    live.gluster("volume set vol cluster.self-heal-daemon on");
    live.gluster("volume heal vol");
    live.wait_until_healed();
    live.take_while_healing(&[]);
    live.assert_all_equal();
    assert_eq!(live.column("scan"), ["walk", "changelog", "changelog", "changelog", "walk", "changelog"]);
}

/// Half of a volume is away. What it holds is as it was, the generation is said to be partial, and the next one looks at
/// everything.
#[test]
fn a_set_that_is_away_leaves_what_it_holds_as_it_was() {
    let mut live = Live::start("distrep");
    let mut churn = Churn::new(&live.mnt(), 3, true);
    churn.run(300);
    let away = |live: &Live, away: bool| {
        for brick in [3, 4] {
            if away {
                live.kill_brick(brick);
            }
            live.hide_brick(brick, away);
        }
        if !away {
            live.start_bricks();
        }
    };
    away(&live, true);
    let refused = live.site.run(&["take", "vol"], 2);
    let told = said(&refused);
    assert!(
        told.contains("no brick of replica set 2 answered, and a full scan is needed (this is the first generation)"),
        "{told}"
    );
    assert!(told.contains("hint: nothing was recorded; run it again when one brick of the set is up"), "{told}");
    assert_eq!(live.column("taken_at"), [""; 0]);
    away(&live, false);
    live.wait_until_healed();
    live.take_while_healing(&[]);
    churn.run(200);
    live.take_while_healing(&[]);
    away(&live, true);
    // Those that can be: the others are on the bricks that are away. No file is made anew.
    sh(
        &live.mnt(),
        "find . -type f -print0 | while IFS= read -r -d '' f; do truncate -c -s +5 \"$f\" 2>/dev/null || true; done",
    );
    let output = live.site.run(&["take", "vol", "--json"], 1);
    assert_eq!(live.kinds(), ["absent", "missing"], "{}", said(&output));
    assert_eq!(live.newest("scan || partial"), "changelog1");
    let partial: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    away(&live, false);
    live.wait_until_healed();
    // Only bytes changed, and only of files that were there: so this is the truth of both.
    live.save(partial["taken_at"].as_str().unwrap().to_owned());
    live.take_while_healing(&[]);
    assert_eq!(live.newest("scan || partial"), "walk0");
    churn.run(100);
    live.take_while_healing(&[]);
    assert_eq!(live.newest("scan"), "changelog");
    // Each set has times of its own of a directory; clients too are told those of the sets that are there.
    live.assert_all_equal_but(&|number, line| number == 2 && line.starts_with(".d..t...... "));
}

/// With both copies up a thin arbiter is not asked. Where one is left it tells whether that one missed something: then it is not believed, and the other's
/// disk is asked, though its process does not run.
#[test]
fn of_two_copies_the_one_that_a_thin_arbiter_knows_to_be_behind_is_not_believed() {
    let mut live = Live::start("thin");
    live.gluster("volume set vol cluster.self-heal-daemon off");
    sh(&live.mnt(), "mkdir d; echo one > f; echo x > d/x; echo same > same");
    live.take(&[], 0);
    live.kill_brick(2);
    sh(&live.mnt(), "echo two > f; rm d/x; echo new > d/new; mv same moved");
    live.take(&[], 1);
    assert_eq!(live.kinds(), ["absent", "unhealed"]);
    // The one that missed it comes back, and the other goes before it is healed. Clients get EIO for everything.
    live.start_bricks();
    live.kill_brick(1);
    let truth = live.saved.last().expect("it was saved").1.clone();
    for options in [&["take", "vol", "--json"][..], &["take", "vol", "--rescan", "--json"]] {
        let output = live.site.run(options, 1);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        live.saved.push((told["taken_at"].as_str().unwrap().to_owned(), truth.clone()));
        let told =
            live.site.ok(&["sql", "SELECT detail FROM findings WHERE kind = 'absent' ORDER BY taken_at DESC LIMIT 1"]);
        assert!(
            told.ends_with("vol-b1 is not running; no other of its set is believed, so its disk was asked\n"),
            "{told}"
        );
        let brick = "SELECT number, running, answered, to_heal > 0 FROM bricks ORDER BY taken_at DESC, number LIMIT 2";
        assert_eq!(live.site.ok(&["sql", "--csv", brick]).lines().skip(1).collect::<Vec<_>>(), ["1,0,1,1", "2,1,1,0"]);
    }
    // Without that disk nobody can tell anything.
    live.hide_brick(1, true);
    for options in [&["take", "vol"][..], &["take", "vol", "--rescan"]] {
        let told = said(&live.site.run(options, 2));
        assert!(told.contains("/vol-b2: it runs alone, and a client, which asks the thin arbiter 127."), "{told}");
        assert!(told.contains(", is not served: "), "{told}");
    }
    live.hide_brick(1, false);
    live.start_bricks();
    sh(&live.mnt(), "echo three > f; rmdir d 2>/dev/null || rm -r d");
    live.take_while_healing(&[]);
    live.assert_all_equal();
}

/// What changelogs do not tell is looked for: each hurt is a gap that is said, with its reason, and no change is lost.
#[test]
fn changelogs_that_were_off_or_are_hurt_are_a_gap_and_lose_no_change() {
    let mut live = Live::start("dist1");
    let mut churn = Churn::new(&live.mnt(), 4, true);
    churn.run(300);
    live.take(&[], 0);
    let folder = live.brick(1).join(".glusterfs/changelogs");
    let closed = |live: &Live| -> Vec<String> {
        let listed = sh(live.dir.path(), &format!("find {}/20* -name 'CHANGELOG.*' | sort", folder.display()));
        listed.lines().map(str::to_owned).collect()
    };
    let wait_for_slice =
        |live: &Live, before: usize| wait_until("a changelog is closed", || closed(live).len() > before);

    // Off and on.
    churn.run(60);
    live.gluster("volume set vol changelog.changelog off");
    churn.run(60);
    live.gluster("volume set vol changelog.changelog on");
    churn.run(60);
    let told = live.take(&[], 1);
    assert_eq!(live.newest("scan || gaps"), "walk1", "{told}");
    assert!(told.contains("changelogs were off for a while"), "{told}");

    // Still off.
    live.gluster("volume set vol changelog.changelog off");
    churn.run(60);
    let told = live.take(&[], 1);
    assert_eq!(live.newest("scan || gaps"), "walk1", "{told}");
    churn.run(60);
    let told = live.take(&[], 1);
    assert_eq!(live.newest("scan || gaps"), "walk1", "{told}");
    live.gluster("volume set vol changelog.changelog on");
    churn.run(60);
    let told = live.take(&[], 0);
    assert_eq!(live.newest("scan || gaps"), "walk0", "{told}");

    // Deleted.
    let before = closed(&live).len();
    churn.run(60);
    wait_for_slice(&live, before);
    sh(live.dir.path(), &format!("rm {}", closed(&live).pop().unwrap()));
    let told = live.take(&[], 1);
    assert_eq!(live.newest("scan || gaps"), "walk1", "{told}");
    assert!(told.contains("lists are missing"), "{told}");

    // Cut off, and with other bytes in it.
    for hurt in ["truncate -s -7", "sh -c 'printf XYZ | dd of=\"$0\" bs=1 seek=60 conv=notrunc 2>/dev/null'"] {
        churn.run(20);
        live.take(&[], 0);
        let before = closed(&live).len();
        churn.run(60);
        wait_for_slice(&live, before);
        sh(live.dir.path(), &format!("{hurt} {}", closed(&live)[before]));
        let told = live.take(&[], 1);
        assert_eq!(live.newest("scan || gaps"), "walk1", "{hurt}: {told}");
        churn.run(20);
        live.take(&[], 0);
        assert_eq!(live.newest("scan"), "changelog", "{hurt}");
    }
    live.assert_all_equal();
    let mount = live.site.mount(&[]);
    let told = std::fs::read_to_string(mount.join(".asof/gaps")).unwrap();
    assert_eq!(told.lines().filter(|line| line.contains("gaps=1")).count(), 6, "{told}");
    live.site.umount();
}

/// A brick of another volume in the place of ours is told, and never read.
#[test]
fn a_brick_of_another_volume_is_refused() {
    let mut live =
        Live::start_with("dist1", &["--exec", "env ASOF_TEST={host}", "--program", env!("CARGO_BIN_EXE_asof")]);
    let mut churn = Churn::new(&live.mnt(), 5, true);
    churn.run(200);
    live.take(&[], 0);
    churn.run(50);
    let brick = live.brick(1).display().to_string();
    let id = sh(
        live.dir.path(),
        &format!("getfattr --absolute-names -e hex -n trusted.glusterfs.volume-id {brick} | sed -n 's/.*=0x//p'"),
    )
    .trim()
    .to_owned();
    let set = |live: &Live, id: &str| {
        sh(live.dir.path(), &format!("setfattr -n trusted.glusterfs.volume-id -v 0x{id} {brick}"));
    };
    set(&live, "00112233445566778899aabbccddeeff");
    let told = said(&live.site.run(&["take", "vol"], 2));
    assert!(
        told.contains("no brick that is believed answered")
            && told.contains("the id 00112233-4455-6677-8899-aabbccddeeff"),
        "{told}"
    );
    assert_eq!(live.column("taken_at").len(), 1, "{told}");
    let output = live.site.run(&["take", "vol", "--full"], 2);
    assert!(said(&output).contains("00112233-4455-6677-8899-aabbccddeeff"), "{}", said(&output));
    set(&live, &id);
    live.take(&[], 0);
    assert_eq!(live.newest("scan"), "changelog");
    live.assert_all_equal();
}

/// Killed at 20 moments, then with a store that is full: nothing that was taken is hurt, and the next run goes on.
#[test]
fn a_run_that_is_killed_or_out_of_room_leaves_all_as_it_was() {
    let mut live = Live::start("dist1");
    sh(live.site.path("").as_path(), "mount -t tmpfs -o size=64m none store");
    let mut churn = Churn::new(&live.mnt(), 6, true);
    sh(
        &live.mnt(),
        "for d in 0 1 2 3 4 5 6 7 8 9; do mkdir many$d; for n in $(seq 200); do echo $d $n > many$d/$n; done; done",
    );
    let mut killed = 0;
    for moment in 0..20_u64 {
        if moment == 10 {
            live.take(&[], 0);
        }
        if moment > 10 {
            churn.run(30);
            sh(&live.mnt(), &format!("for n in $(seq 100); do echo {moment} $n >> many{}/$n; done", moment % 10));
        }
        let options: &[&str] = if moment % 4 == 3 { &["take", "vol", "--full"] } else { &["take", "vol"] };
        let mut child = live.site.asof(options).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(15 + 29 * (moment % 10)));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
    }
    assert!(killed >= 10, "{killed} of 20 runs were killed before they were done");
    live.take(&[], 0);
    churn.run(50);
    live.take(&[], 0);
    live.assert_all_equal();

    let before = live.column("taken_at");
    sh(&live.mnt(), "head -c 80000000 /dev/urandom > large; echo small > small");
    let output = live.site.run(&["take", "vol"], 2);
    let told = said(&output);
    assert!(told.contains("large") && told.contains("No space left on device"), "{told}");
    assert_eq!(live.column("taken_at"), before);
    sh(live.site.path("").as_path(), "mount -o remount,size=400m store");
    live.take(&[], 0);
    assert_eq!(live.newest("scan"), "changelog");
    live.assert_all_equal();
}
