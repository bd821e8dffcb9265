//! The law for volumes whose bricks do not agree: whatever became of one of them, `take` and `take --rescan` show what a fresh client sees.
//!
//! Each shape of a volume goes through the same life: a brick is down, is up again and not healed, is replaced by an empty one and being
//! healed, is healed; while it is down and while it is not healed, everything is done to the tree that makes what it has a lie. Names and
//! bytes have to be right in each generation. Attributes may differ where the bricks tell different ones, if there is a finding.
//! Then the volume gets bricks, is rebalanced and loses them again.
//!
//! Short by default (2 x 2 copies, and a part of it of fragments); `ASOF_LAW=long` plays every shape, with 400 renamed files. Real bricks: needs what `tests/gluster_volume.rs` needs.

mod common;

#[path = "common/gluster.rs"]
mod gluster;
#[path = "common/site.rs"]
mod site;
#[path = "common/volume.rs"]
mod volume;

use site::{difference, said, sh, shell};
use std::path::{Path, PathBuf};
use volume::{Live, as_rsync_writes};

type Operation = (&'static str, &'static str, &'static str);

/// What is done to a tree, by name: what has to be there, and what then happens to it, both in a directory of its own.
const OPERATIONS: [Operation; 9] = [
    (
        "renames that remove old parents",
        "mkdir -p p/m/d; echo one > p/m/d/f; echo g > p/m/g",
        "mkdir new; mv p/m/* new/; rm -r p; mv new p; echo two >> p/d/f",
    ),
    (
        "a directory that moves, and another in its place",
        "mkdir -p a/in b; echo 1 > a/in/f; echo 2 > a/g",
        "mv a b/a; mkdir a; echo 3 > a/h; mv b/a/in a/in; rm b/a/g",
    ),
    (
        "deletes",
        "mkdir -p sub/deep; echo x > x; echo y > sub/y; echo z > sub/deep/z; mkdir empty",
        "rm x; rm -r sub; rmdir empty",
    ),
    (
        "type changes",
        "echo f > file; mkdir directory; echo in > directory/in; ln -s file link; mkfifo pipe",
        "rm file; mkdir file; echo in > file/in; rm -r directory; echo now > directory; rm link; echo now > link; rm pipe; ln -s x pipe",
    ),
    (
        "hard links",
        "mkdir a b; echo one > a/1; ln a/1 a/2; ln a/1 b/3; echo other > b/4",
        "rm a/1; ln a/2 b/5; mv b/3 a/6; ln b/4 a/7; echo more >> a/7",
    ),
    (
        "attributes and ACLs",
        "echo f > f; mkdir d; echo g > d/g; setfattr -n user.a -v 1 f",
        "setfacl -m u:1000:rw f; setfacl -d -m u:33:rx d; chmod 640 d/g; chown 1000:33 d; setfattr -n user.a -v 2 f; setfattr -n user.b -v 3 d",
    ),
    (
        "writes",
        "echo 12345 > same; echo 12345 > long; echo 12345 > short; : > empty; touch -d 2020-01-01 same",
        "echo abcde > same; touch -d 2020-01-01 same; head -c 300000 /dev/urandom >> long; truncate -s 2 short; echo now > empty; echo new > new",
    ),
    (
        "names that change places",
        "echo a > a; echo b > b; mkdir c d; echo c > c/in; echo d > d/in",
        "mv a t; mv b a; mv t b; mv c t; mv d c; mv t d",
    ),
    (
        "many renamed files",
        "for n in $(seq $MANY); do echo $n > from-$n; done",
        "for n in $(seq $MANY); do mv from-$n to-$n; done",
    ),
];

fn is_long() -> bool {
    std::env::var("ASOF_LAW").is_ok_and(|value| value == "long")
}

/// A volume that goes through its life, and what was found amiss.
struct Law {
    live: Live,
    many: u32,
    /// The mount of asof.
    view: PathBuf,
    wrong: Vec<String>,
    /// How many generations were compared.
    compared: u32,
}

impl Law {
    fn start(shape: &str) -> Self {
        let live = Live::start(shape);
        let many = if is_long() { 400 } else { 30 };
        Self { live, many, view: PathBuf::new(), wrong: Vec::new(), compared: 0 }
    }

    /// Makes what the operations need in the directory `stage` of the volume.
    fn set_up(&self, stage: &str) {
        self.each(stage, |operation| operation.1);
    }

    fn change(&self, stage: &str) {
        self.each(stage, |operation| operation.2);
    }

    fn each(&self, stage: &str, script: impl Fn(&Operation) -> &'static str) {
        for (number, operation) in OPERATIONS.iter().enumerate() {
            let (many, what) = (self.many, script(operation));
            let done = shell(
                &self.live.mnt(),
                &format!("MANY={many}; mkdir -p {stage}/{number}; cd {stage}/{number}; {what}"),
            );
            assert!(done.status.success(), "{}: {}", operation.0, said(&done));
        }
    }

    /// Keeps what a fresh client sees now.
    fn truth(&mut self) -> PathBuf {
        self.live.save(String::new());
        let saved = self.live.saved.last().expect("it was saved").1.clone();
        // Rebalancing leaves where it moved hard links from, and clients show that (GlusterFS 10.3). It belongs to the volume, not to the files.
        let moved = "trusted.glusterfs.dht.linkto";
        sh(
            &saved,
            &format!(
                "getfattr -R -h -m '^{moved}$' . 2>/dev/null | sed -n 's/^# file: //p' |
                 while IFS= read -r file; do setfattr -h -x {moved} \"$file\" 2>/dev/null || true; done"
            ),
        );
        saved
    }

    /// Takes a generation by the changelogs and one by a walk, and compares both with the truth.
    fn hold(&mut self, when: &str, truth: &Path) {
        self.take(when, &[], truth);
        self.take(when, &["--rescan"], truth);
    }

    fn take(&mut self, when: &str, options: &[&str], truth: &Path) {
        let words: Vec<&str> = ["take", "vol", "--json"].into_iter().chain(options.iter().copied()).collect();
        let output = self.live.site.asof(&words).output().unwrap();
        let label = format!("{when}, take {}", options.join(" "));
        if !matches!(output.status.code(), Some(0 | 1)) {
            self.wrong.push(format!("{label}: {}", said(&output)));
            return;
        }
        self.compared += 1;
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let at = told["taken_at"].as_str().unwrap();
        if self.view.as_os_str().is_empty() {
            self.view = self.live.site.mount(&[]);
        }
        let shown = site::await_view(&self.view.join("vol"), at);
        let lines = [difference(truth, &shown), difference(&shown, truth)].concat();
        let mut attributes: Vec<&str> = Vec::new();
        for line in lines.lines() {
            // A directory that cannot be listed whole is no difference of names if it is said.
            if is_of_attributes(line) { attributes.push(line) } else { self.wrong.push(format!("{label}: {line}")) }
        }
        if !attributes.is_empty() {
            let bricks: Vec<u32> = (1..).take_while(|number| self.live.brick(*number).exists()).collect();
            let paths: String = attributes.iter().map(|line| format!(" './{}'", path_of(line))).collect();
            let differ = self.live.told_differently_of(&bricks, &format!("printf '%s\\0'{paths}"));
            let is_told = output.status.code() == Some(1);
            // The first client that looks at a node which is not healed may be told what it was, and has it healed.
            let again = self.truth();
            let still = [difference(&again, &shown), difference(&shown, &again)].concat();
            let is_wrong = |line: &&&str| {
                !(is_told && differ.contains(path_of(line)))
                    && still.lines().any(|other| path_of(other) == path_of(line))
            };
            let wrong = attributes.iter().filter(is_wrong);
            self.wrong.extend(wrong.map(|line| format!("{label}: {line}, finding {is_told}")));
        }
    }

    #[track_caller]
    fn assert_held(&self, takes: u32) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        assert_eq!(self.compared, takes, "generations compared");
    }

    /// Nobody heals by himself.
    fn heal(&self, on: bool) {
        let word = if on { "on" } else { "off" };
        for option in ["self-heal-daemon", "data-self-heal", "metadata-self-heal", "entry-self-heal"] {
            self.live.gluster(&format!("volume set vol cluster.{option} {word}"));
        }
    }

    /// Does so for fragments: also the client that meets one has it healed.
    fn heal_fragments(&self, on: bool) {
        let (word, at_once) = if on { ("enable", 8) } else { ("disable", 0) };
        self.live.gluster(&format!("volume set vol cluster.disperse-self-heal-daemon {word}"));
        self.live.gluster(&format!("volume set vol disperse.background-heals {at_once}"));
    }

    /// Puts an empty brick in the place of one that is down.
    fn replace_brick(&self, number: u32) {
        let (brick, address) = (self.live.brick(number).display().to_string(), &self.live.address);
        self.live.gluster(&format!("volume reset-brick vol {address}:{brick} start"));
        sh(self.live.dir.path(), &format!("mv {brick} g/old-{number}; mkdir {brick}"));
        self.live.gluster(&format!("volume reset-brick vol {address}:{brick} {address}:{brick} commit force"));
    }
}

/// Tells whether a line of `rsync` tells of attributes alone: names and bytes are as they are.
fn is_of_attributes(line: &str) -> bool {
    let how = line.split(' ').next().unwrap_or_default();
    !how.starts_with('*') && !how.contains('+') && !how.get(2..4).is_some_and(|how| how.contains(['c', 's']))
}

/// Returns the path of such a line.
fn path_of(line: &str) -> &str {
    let path = line.split_once(' ').map_or("", |(_, path)| path);
    path.split(" -> ").next().unwrap_or_default().trim_end_matches('/')
}

/// What happens in the life of a brick, the one with the number `down`: all of it, or until it is not healed.
fn a_brick_of(shape: &str, down: u32, all: bool) {
    let mut law = Law::start(shape);
    let dispersed = shape == "disperse";
    for stage in ["down", "unhealed", "twice"] {
        law.set_up(stage);
    }
    let truth = law.truth();
    law.hold("all is well", &truth);

    law.live.kill_brick(down);
    law.change("down");
    law.change("twice");
    let truth = law.truth();
    law.hold("a brick is down", &truth);

    if dispersed {
        law.heal_fragments(false)
    } else {
        law.heal(false)
    }
    law.live.start_bricks();
    let truth = law.truth();
    law.hold("it is up and not healed", &truth);
    law.change("unhealed");
    sh(
        &law.live.mnt(),
        "mv down moved; echo more >> moved/0/p/d/f; mv twice again; mkdir twice; echo more > twice/more",
    );
    let truth = law.truth();
    law.hold("it is up and not healed, and more changed", &truth);
    if !all {
        return law.assert_held(2 * 4);
    }

    law.live.kill_brick(down);
    let truth = law.truth();
    if dispersed {
        law.heal_fragments(true)
    } else {
        law.heal(true)
    }
    law.replace_brick(down);
    law.take("it was replaced by an empty one", &[], &truth);
    let _ = shell(law.live.dir.path(), "g/gluster --mode=script volume heal vol full");
    // Nothing changes meanwhile: a client that asks may be told of what is half made.
    for _ in 0..2 {
        law.hold("it is being healed", &truth);
    }
    law.live.wait_until_healed();
    law.hold("it is healed", &truth);
    sh(&law.live.mnt(), "mv moved/4/a moved/4/z; echo last >> twice/more; rm unhealed/6/long");
    let truth = law.truth();
    law.hold("it is healed, and more changed", &truth);
    law.assert_held(2 * 4 + 1 + 2 * 2 + 2 * 2);
}

#[test]
fn of_two_times_two_copies_one_that_is_down_unhealed_replaced_or_healed_hides_nothing() {
    a_brick_of("distrep", 2, true);
}

#[test]
fn of_fragments_one_that_is_down_or_unhealed_hides_nothing_and_in_the_long_form_any_other() {
    a_brick_of("disperse", 2, is_long());
}

#[test]
fn of_all_shapes_none_hides_anything() {
    if !is_long() {
        eprintln!(
            "ASOF_LAW=long plays all shapes of volumes, which takes some minutes; ASOF_LAW_SHAPE=rep3-2 one of them"
        );
        return;
    }
    let wanted = std::env::var("ASOF_LAW_SHAPE").ok();
    for (shape, down) in
        [("rep2", 1), ("rep3", 2), ("rep3", 1), ("arbiter", 1), ("arbiter", 3), ("distrep", 3), ("disperse", 1)]
    {
        if wanted.as_ref().is_none_or(|wanted| *wanted == format!("{shape}-{down}")) {
            eprintln!("{shape}, brick {down}");
            a_brick_of(shape, down, true);
        }
    }
}

/// Bricks that come and go: nothing of what rebalance does is recorded.
#[test]
fn of_bricks_that_are_added_and_removed_nothing_is_lost() {
    if !is_long() {
        eprintln!("ASOF_LAW=long adds and removes bricks");
        return;
    }
    let mut law = Law::start("distrep");
    law.set_up("a");
    law.set_up("b");
    let truth = law.truth();
    law.hold("two sets", &truth);
    let bricks = |law: &Law| {
        format!("{0}:{1} {0}:{2}", law.live.address, law.live.brick(5).display(), law.live.brick(6).display())
    };
    law.live.gluster(&format!("volume add-brick vol {} force", bricks(&law)));
    law.change("a");
    let truth = law.truth();
    law.hold("a set was added", &truth);
    law.live.gluster("volume rebalance vol start force");
    for _ in 0..3 {
        law.hold("it is being rebalanced", &truth);
    }
    wait_for(&law, "rebalance vol status");
    law.hold("it is rebalanced", &truth);
    law.live.gluster(&format!("volume remove-brick vol {} start", bricks(&law)));
    for _ in 0..3 {
        law.hold("it is being emptied", &truth);
    }
    wait_for(&law, &format!("remove-brick vol {} status", bricks(&law)));
    // GlusterFS 10.3 may skip files that it was asked to move (hard links, mostly); what is left is moved by the next run, and if nothing else helps
    // clients lose it.
    let command = format!("g/gluster --mode=script volume remove-brick vol {}", bricks(&law));
    let is_committed = (0..3).any(|_| {
        if shell(law.live.dir.path(), &format!("{command} commit")).status.success() {
            return true;
        }
        law.live.gluster(&format!("volume remove-brick vol {} start", bricks(&law)));
        wait_for(&law, &format!("remove-brick vol {} status", bricks(&law)));
        false
    });
    if !is_committed {
        law.live.gluster(&format!("volume remove-brick vol {} commit force", bricks(&law)));
    }
    let truth = if is_committed { truth } else { law.truth() };
    law.hold("it was removed", &truth);
    law.change("b");
    let truth = law.truth();
    law.hold("it was removed, and more changed", &truth);
    law.assert_held(2 * 11);
}

fn wait_for(law: &Law, words: &str) {
    // Minutes, where much else runs.
    for _ in 0..900 {
        let told = law.live.gluster(&format!("volume {words}"));
        if told.contains("completed") && !told.contains("in progress") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    panic!("bricks move what they have to for ever: {}", law.live.gluster(&format!("volume {words}")));
}

/// Who removes a directory that is not healed leaves what was in it on the brick that was away, and no brick is blamed: GlusterFS itself
/// makes it on all bricks again when a client looks it up, so that is what a generation has, with a finding.
#[test]
fn what_bricks_contradict_each_other_about_is_what_healing_makes() {
    let mut law = Law::start("rep3");
    sh(
        &law.live.mnt(),
        "mkdir -p a/b moved/in keep probe; echo x > a/x; echo y > a/b/y; echo m > moved/in/m; echo k > keep/k",
    );
    let truth = law.truth();
    law.take("all is well", &[], &truth);
    law.heal(false);
    law.live.kill_brick(2);
    sh(&law.live.mnt(), "echo new > a/new; rm a/x; rm -r a/b; rm moved/in/m");
    law.live.start_bricks();
    // A client that has not found it yet would have it blamed.
    let brick = law.live.brick(2).display().to_string();
    site::wait_until("the client has found the brick", || {
        let tried = format!("name=probe/$RANDOM-$RANDOM; : > $name; if [ -e {brick}/$name ]; then echo found; fi");
        sh(&law.live.mnt(), &tried).contains("found")
    });
    sh(&law.live.mnt(), "rm -r a; mv moved/in keep/in; rm -r keep/in");
    for options in [&[][..], &["--rescan"]] {
        let output = law.live.site.run(&[&["take", "vol"], options].concat(), 1);
        assert!(law.live.kinds().contains(&"changed".to_owned()), "{options:?}: {}", said(&output));
    }
    let told = law
        .live
        .site
        .ok(&["sql", "SELECT path FROM findings WHERE kind = 'changed' AND detail LIKE 'a brick has it and%'"]);
    assert!(told.lines().any(|line| line == "a"), "{told}");
    law.heal(true);
    law.live.wait_until_healed();
    sh(&law.live.mnt(), "stat a a/x a/b a/b/y keep/in keep/in/m");
    law.live.wait_until_healed();
    let healed = law.truth();
    for at in law.live.column("taken_at").split_off(1) {
        let shown = site::await_view(&law.view.join("vol"), &at);
        let lines = [difference(&healed, &shown), difference(&shown, &healed)].concat();
        law.wrong.extend(lines.lines().filter(|line| !is_of_attributes(line)).map(|line| format!("{at}: {line}")));
    }
    law.assert_held(1);
}

/// Of three copies each was down once and none was healed. Where one is left that missed changes, Gluster serves nobody; what it has is not taken.
#[test]
fn a_copy_that_is_left_alone_is_not_believed() {
    if !is_long() {
        eprintln!("ASOF_LAW=long takes copies away in turns");
        return;
    }
    let mut law = Law::start("rep3");
    law.heal(false);
    sh(&law.live.mnt(), "mkdir -p d/e; for n in 1 2 3 4 5 6; do echo $n > d/f$n; done");
    let truth = law.truth();
    law.hold("all is well", &truth);
    law.live.kill_brick(2);
    sh(&law.live.mnt(), "echo more >> d/f1; mv d/f2 d/e/f2; rm d/f3; mkdir new; mv d/e moved");
    let truth = law.truth();
    law.hold("one is down", &truth);
    law.live.start_bricks();
    law.live.kill_brick(1);
    law.live.kill_brick(3);
    // The disks of the others are there and say what it missed; without them nobody can tell.
    law.hold("the others are down", &truth);
    law.live.hide_brick(1, true);
    law.live.hide_brick(3, true);
    let told = said(&law.live.site.run(&["take", "vol"], 2));
    assert!(told.contains("no brick that is believed answered: brick "), "{told}");
    let told = said(&law.live.site.run(&["take", "vol", "--rescan"], 2));
    assert!(told.contains("no brick of replica set 1 answered, and a full scan is needed"), "{told}");
    law.live.hide_brick(1, false);
    law.live.hide_brick(3, false);
    law.live.start_bricks();
    let truth = law.truth();
    law.hold("all are up again", &truth);
    law.assert_held(2 * 4);
}

/// The clocks of bricks are those of their machines: here of agents under libfaketime (`faketime`, which nothing else needs).
#[test]
fn clocks_that_are_off_are_told_and_hide_nothing() {
    if !is_long() {
        eprintln!("ASOF_LAW=long puts clocks forward and back");
        return;
    }
    let mut law = Law::start("rep2");
    for (stage, offset) in [("right", 0), ("ahead", 3600), ("behind", -90)] {
        let exec = format!("env HOST={{host}} faketime -f {offset:+}s");
        law.live.site.ok(&["source", "set", "vol", "--exec", &exec, "--program", env!("CARGO_BIN_EXE_asof")]);
        law.set_up(stage);
        let truth = law.truth();
        law.hold(stage, &truth);
        law.change(stage);
        let truth = law.truth();
        law.hold(stage, &truth);
    }
    let told = law.live.site.ok(&["sql", "--csv", "SELECT clock_ahead_s FROM skewed_clocks ORDER BY taken_at, brick"]);
    let told: Vec<f64> = told.lines().skip(1).map(|seconds| seconds.parse().unwrap()).collect();
    let expected = [3600.0; 8].into_iter().chain([-90.0; 8]);
    assert_eq!(told.len(), 16, "{told:?}");
    assert!(told.iter().zip(expected).all(|(told, expected)| (told - expected).abs() < 10.0), "{told:?}");
    law.assert_held(2 * 6);
}

#[test]
fn lines_of_rsync_are_told_apart() {
    assert!(is_of_attributes(".d..tpog.ax a/b/"));
    assert_eq!(path_of(".L..t...... a/b -> c"), "a/b");
    assert_eq!(as_rsync_writes("/a/b\n"), "a/b\\#012");
    assert!(
        ![">fcst...... f", ">f+++++++++ f", "*deleting   f", ">f.s....... f"].iter().any(|line| is_of_attributes(line))
    );
}
