//! The documents: every example in `README.md`, `docs/` and `asof VERB --help` is run, on a machine that has what it names.
//!
//! An example is a block of code. `console` blocks are sessions of root: lines that begin with `# ` are commands, the others what they
//! print, on either output. `...` at the end of a line, or for a line, stands for anything; durations, process numbers and, in lines that
//! begin with `took `, times are not compared, and blanks and tabs are alike. A block that begins with `# /PATH` is that file; a script
//! has its `#!` line first. Sessions with a second word after `console` need what a small machine has not, and are run by the tests that
//! [`ELSEWHERE`] names. A block of any other kind fails the test: there is nothing that nobody runs.
//!
//! The machine is a tree in memory with the system's programs in it, in mount and process namespaces of its own: paths are as they are
//! written, and nothing is left when it ends.

#[path = "common/examples.rs"]
mod examples;
#[path = "common/site.rs"]
mod site;

use examples::{Example, is_like, session};
use site::said;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Sessions that need more than the machine has, and which test runs them.
const ELSEWHERE: [(&str, &str); 3] = [
    ("gluster", "tests/gluster_lists.rs"),
    ("libvirt", "tests/block_libvirt.rs"),
    ("mariadb", "tests/block_database.rs"),
];

/// Two nights of homes, and empty homes to restore to.
const HOMES: &str = r#"
mkdir -p /srv/copies/homes/2026-11-18/{alice/letters,bob} /home/{alice,bob} /srv/old /mnt/other
cd /srv/copies/homes/2026-11-18
printf 'rent 700\n' >alice/budget.csv; printf 'Dear Ada,\n' >alice/letters/ada.txt; printf 'to do: nothing\n' >bob/list
ln -s list bob/today
find . -exec touch -h -d 2026-11-17T12:00:00Z {} +; chown -R 1000:1000 alice; chown -hR 1001:1001 bob
cp -a . ../2026-11-19; cd ../2026-11-19
rm -r alice/letters; printf 'rent 720\nbooks 40\n' >alice/budget.csv; chmod 600 alice/budget.csv
touch -d 2026-11-18T15:00:00Z alice/budget.csv alice
cp -a . /srv/old/homes
"#;

/// Another disk, with a folder for manifests.
const OTHER_DISK: &str = "mount -t tmpfs none /mnt/other; mkdir /mnt/other/manifests";

/// Both nights are indexed and mounted.
const INDEXED: &str = "asof -q init; asof -q source add nfs homes --copies /srv/copies/homes; asof -q index
mkdir /backups; asof -q mount /backups";

/// A disk with an ext4 file system, an increment of it, an export, and what another tool listed and copied.
const IMAGES: &str = r#"
mkdir -p /srv/images/{vm1,db01} /var/lib/libvirt/images /backups guest/etc /srv/backup/monday/files
printf 'fstab\n\n\n' >guest/etc/fstab; touch -d 2026-11-17T12:00:00Z guest/etc/fstab guest/etc
truncate -s 8M /srv/images/vm1/vm1-2026-11-18T0200Z.raw
mkfs.ext4 -q -d guest /srv/images/vm1/vm1-2026-11-18T0200Z.raw
qemu-img create -q -f qcow2 -F raw -b vm1-2026-11-18T0200Z.raw /srv/images/vm1/vm1-2026-11-19T0200Z.qcow2
cp --sparse=always /srv/images/vm1/vm1-2026-11-18T0200Z.raw live.raw
qemu-storage-daemon --daemonize --blockdev driver=file,node-name=vda,filename=live.raw \
    --nbd-server addr.type=unix,addr.path=/run/db01.nbd --export type=nbd,id=vda,node-name=vda,name=vda
asof -q init
"#;

/// What another tool listed and copied.
const LISTS: &str = r#"
mkdir -p /srv/backup/monday/files; printf 'one\n' >/srv/backup/monday/files/a; printf '2\n' >/srv/backup/monday/files/b
printf 'NEW a\nNEW b\n' >/srv/backup/monday/list.txt
asof -q init
"#;

/// What is on the machine for each page, and what must hold at its end.
const PAGES: [(&str, &[&str], &str); 11] = [
    ("README.md", &[HOMES, OTHER_DISK], CRON_AND_FSTAB),
    ("docs/shares.md", &[HOMES, "asof -q init"], ""),
    ("docs/disks.md", &[IMAGES, "mkdir -p /srv/disks"], ""),
    ("docs/gluster.md", &[LISTS], ""),
    ("docs/ask.md", &[HOMES, INDEXED], ""),
    ("docs/cookbook.md", &[], ""),
    ("docs/mount.md", &[HOMES, INDEXED, "asof -q umount /backups"], CRON_AND_FSTAB),
    ("docs/operations.md", &[HOMES, OTHER_DISK, INDEXED], CRON_AND_FSTAB),
    ("docs/troubleshooting.md", &[], ""),
    ("docs/limits.md", &[], ""),
    ("docs/speed.md", &[], ""),
];

/// The commands of cron run and print nothing; the line of fstab mounts.
const CRON_AND_FSTAB: &str = r#"
if [ -e /etc/cron.d/asof ]; then
    while read -r _ _ _ _ _ user command; do
        [ "$user" != root ] || { said=$($command 2>&1); [ -z "$said" ] || { echo "$command: $said"; exit 1; }; }
    done </etc/cron.d/asof
fi
if grep -q fuse.asof /etc/fstab 2>/dev/null; then
    mountpoint -q /backups && umount /backups
    mount /backups && ls /backups/@2026-11-18/homes/alice >/dev/null && umount /backups
fi
"#;

/// What is done on the machine.
enum Step {
    /// A file is there.
    File { path: String, text: String },
    /// A command is run.
    Command(Example),
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the steps of a page.
fn steps(page: &str, text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for block in text.split("\n```").skip(1).step_by(2) {
        let (kind, body) = block.split_once('\n').expect("a block has lines");
        let mut words = kind.split(' ');
        match (words.next(), words.next()) {
            // Run by tests/sql.rs, which compares what two programs say.
            (Some("sql"), _) if page == "docs/cookbook.md" => {
                assert!(std::fs::read_to_string(root().join("tests/sql.rs")).expect("the test").contains(page));
            }
            (Some("console"), None) => steps.extend(session(body).into_iter().map(Step::Command)),
            (Some("console"), Some(needs)) => {
                let (_, test) =
                    ELSEWHERE.iter().find(|(name, _)| *name == needs).unwrap_or_else(|| panic!("{page}: {kind}"));
                let test = std::fs::read_to_string(root().join(test)).expect("the test");
                assert!(test.contains(&format!("docs/{}", page.trim_start_matches("docs/"))), "{page}: {kind}");
            }
            _ => match file(body) {
                Some(step) => steps.push(step),
                None => assert!(is_picture(body), "{page}: nobody runs this block:\n{body}"),
            },
        }
    }
    steps
}

/// Returns the file that a block is, if it is one.
fn file(body: &str) -> Option<Step> {
    let mut lines = body.lines();
    let first = lines.next()?;
    let named = if first.starts_with("#!") { lines.next()? } else { first };
    let path = named.strip_prefix("# ").filter(|path| path.starts_with('/') && !path.contains(' '))?;
    Some(Step::File { path: path.to_owned(), text: format!("{body}\n") })
}

/// Tells whether a block shows paths or lists scripts of this repository, all of which are there.
fn is_picture(body: &str) -> bool {
    if body.starts_with("/backups/\n") {
        return true;
    }
    let scripts: Vec<&str> = body.lines().filter(|line| !line.starts_with(' ')).collect();
    let is_there = |line: &&str| {
        let script = line.split(' ').next().unwrap_or_default();
        script.starts_with("scripts/") && root().join(script).is_file()
    };
    !scripts.is_empty() && scripts.iter().all(is_there)
}

/// Makes the machine in `$1` and runs `$1/plan/steps` in it. Its first process ends with it, and so does all that it has started.
const MACHINE: &str = r#"
set -euo pipefail
machine=$1 asof=$2
mount -t tmpfs -o mode=755 asof-machine "$machine"
mkdir -p "$machine"/{dev,etc,home,mnt,proc,plan,root,run,srv,sys,tmp,usr} "$machine"/var/{lib,log,tmp,cache}
for name in bin sbin lib lib32 lib64 libx32; do
    [ ! -L /$name ] || cp -P /$name "$machine/$name"
    [ -L /$name ] || [ ! -d /$name ] || { mkdir "$machine/$name"; mount --rbind /$name "$machine/$name"; }
done
for name in dev usr; do mount --rbind /$name "$machine/$name"; done
mount -t proc proc "$machine/proc"
mount --rbind /sys "$machine/sys"
cp -a /etc/{passwd,group,nsswitch.conf,ld.so.cache,alternatives} "$machine/etc/" 2>/dev/null || true
mkdir -p "$machine"/etc/{asof,cron.d,bash_completion.d}
mount -o bind,ro,remount "$machine/usr"
mount -t tmpfs none "$machine/usr/local"
mkdir -p "$machine"/usr/local/bin
touch "$machine/usr/local/bin/asof"
mount --bind "$asof" "$machine/usr/local/bin/asof"
cp -a "$3"/. "$machine/plan/"
chroot "$machine" /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TZ=UTC LC_ALL=C.UTF-8 \
    bash -uo pipefail /plan/steps
cp -a "$machine"/plan/said/. "$3/said/"
"#;

/// Runs a script on a machine; returns what each of its commands printed, and how it ended.
struct Machine {
    work: tempfile::TempDir,
    steps: String,
    commands: usize,
}

impl Machine {
    /// Begins a machine on which `setup` was run; it must succeed.
    fn with(setup: &[&str]) -> Self {
        assert!(Path::new("/dev/fuse").exists(), "this test needs /dev/fuse");
        let work = tempfile::Builder::new().prefix("asof-machine-").tempdir().unwrap();
        std::fs::create_dir(work.path().join("said")).unwrap();
        let mut machine = Self { work, steps: String::new(), commands: 0 };
        for script in setup {
            machine.must(script);
        }
        machine
    }

    /// Runs a script in a folder of its own; it must succeed.
    fn must(&mut self, script: &str) {
        let number = self.command(&format!("(set -e; mkdir -p /var/tmp/setup; cd /var/tmp/setup\n{script}\n)"));
        writeln!(self.steps, "[ $(cat /plan/said/{number}.code) = 0 ] || exit 0").unwrap();
    }

    /// Adds a command; returns its number.
    fn command(&mut self, command: &str) -> usize {
        let number = self.commands;
        self.commands += 1;
        std::fs::write(self.work.path().join(format!("{number}.sh")), command).unwrap();
        writeln!(self.steps, ". /plan/{number}.sh >/plan/said/{number} 2>&1 </dev/null").unwrap();
        writeln!(self.steps, "echo $? >/plan/said/{number}.code").unwrap();
        number
    }

    fn file(&mut self, path: &str, text: &str) {
        let name = format!("file-{}", self.steps.len());
        std::fs::write(self.work.path().join(&name), text).unwrap();
        let mode = if text.starts_with("#!") { "755" } else { "644" };
        writeln!(self.steps, "mkdir -p $(dirname {path}); cat /plan/{name} >>{path}; chmod {mode} {path}").unwrap();
    }

    /// Runs all of it; returns what each command printed, with its exit code. Commands after a setup that failed are not there.
    fn run(self) -> Vec<(String, Option<i32>)> {
        let place = tempfile::Builder::new().prefix("asof-machine-root-").tempdir().unwrap();
        std::fs::write(self.work.path().join("steps"), &self.steps).unwrap();
        let output = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "--pid",
                "--fork",
                "--kill-child",
                "bash",
                "-c",
                MACHINE,
                "machine",
            ])
            .arg(place.path())
            .arg(env!("CARGO_BIN_EXE_asof"))
            .arg(self.work.path())
            .stdin(Stdio::null())
            .output()
            .expect("unshare is there");
        assert!(output.status.success(), "the machine does not run\n{}", said(&output));
        (0..self.commands)
            .map(|number| {
                let read = |name: String| std::fs::read(self.work.path().join("said").join(name)).ok();
                let text = read(number.to_string()).unwrap_or_default();
                let code = read(format!("{number}.code"));
                let code = code.and_then(|code| String::from_utf8(code).ok()?.trim().parse().ok());
                (String::from_utf8_lossy(&text).into_owned(), code)
            })
            .collect()
    }
}

#[test]
fn every_example_in_the_documents_does_what_it_says() {
    let mut pages: Vec<String> = std::fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|page| format!("docs/{}", page.unwrap().file_name().to_str().unwrap()))
        .filter(|page| !["docs/json.md", "docs/proof.md"].contains(&page.as_str()))
        .collect();
    pages.push("README.md".to_owned());
    pages.sort();
    let mut known: Vec<&str> = PAGES.iter().map(|(page, ..)| *page).collect();
    known.sort_unstable();
    assert_eq!(pages, known, "pages with a machine of their own");
    for (page, setup, epilogue) in PAGES {
        let text = std::fs::read_to_string(root().join(page)).expect("the page");
        let steps = steps(page, &text);
        let mut machine = Machine::with(setup);
        let mut numbers = Vec::new();
        for step in &steps {
            match step {
                Step::File { path, text } => machine.file(path, text),
                Step::Command(example) => numbers.push((machine.command(&example.command), example)),
            }
        }
        let last = machine.command(&format!("( set -e\n{epilogue}\n)"));
        let outcomes = machine.run();
        for (text, code) in &outcomes[..numbers.first().map_or(last, |(first, ..)| *first)] {
            assert_eq!(*code, Some(0), "what {page} begins with is not there\n{text}");
        }
        for (number, example) in numbers {
            let (text, code) = &outcomes[number];
            assert_eq!(*code, Some(0), "{page}: {}\n{text}", example.command);
            example.must_be_like(text);
        }
        assert_eq!(outcomes[last].1, Some(0), "the end of {page}\n{}", outcomes[last].0);
    }
}

/// Verbs whose examples need a volume or a guest: that their words are understood is checked here.
const UNDERSTOOD: [&str; 2] = ["asof take", "asof gluster"];

#[test]
fn every_example_of_a_verb_runs() {
    let text = std::fs::read_to_string(root().join("src/cli/pages/examples.txt")).expect("the examples");
    let mut machine =
        Machine::with(&[HOMES, OTHER_DISK, "mkdir -p /srv/copies/web /srv/images/vm1 /srv/asof /backups"]);
    let mut numbers = Vec::new();
    for command in text.lines().filter_map(|line| line.strip_prefix("    ")) {
        numbers.push((machine.command(command), command));
    }
    let outcomes = machine.run();
    for (number, command) in numbers {
        let (text, code) = &outcomes[number];
        if UNDERSTOOD.iter().any(|verb| command.starts_with(verb)) {
            assert!(!text.contains("Usage:"), "{command}\n{text}");
        } else {
            assert_eq!(*code, Some(0), "{command}\n{text}");
        }
        if command.contains(" -q ") {
            assert_eq!(text, "", "{command}");
        }
    }
}

/// Links between documents, and to headings in them.
#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut pages: Vec<PathBuf> =
        std::fs::read_dir(root().join("docs")).unwrap().map(|page| page.unwrap().path()).collect();
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "catalog-schema/README.md"] {
        pages.push(root().join(page));
    }
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{page:?}: {e}"));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let there = std::fs::read_to_string(&target).unwrap_or_else(|e| panic!("{page:?} links to {link}: {e}"));
            let anchor = |line: &str| -> String {
                let line = line.trim_start_matches('#').trim().to_lowercase();
                line.chars()
                    .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                    .map(|c| if c == ' ' { '-' } else { c })
                    .collect()
            };
            let has = there.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
            assert!(heading.is_empty() || has, "{page:?} links to {link}, and there is no such heading");
        }
    }
}

#[test]
fn a_difference_between_an_example_and_what_is_printed_is_seen() {
    let like = |written: &[&str], printed: &str| {
        is_like(&written.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), printed)
    };
    assert!(like(&["a  b in 4 ms"], "a\tb in 1.2 s\n"));
    assert!(like(
        &["took 2026-11-20T02:00:00Z of \"x\": full, ..."],
        "took 2025-01-01T00:00:00Z of \"x\": full, 3 entries\n"
    ));
    assert!(!like(&["a 1"], "a 2\n"));
    assert!(!like(&["a"], "a\nb\n"));
    assert!(!like(
        &["took 2026-11-20T02:00:00Z of \"x\": full, ..."],
        "took 2025-01-01T00:00:00Z of \"y\": full, 3 entries\n"
    ));
}
