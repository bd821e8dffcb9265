//! What is left when something ends in the middle: an index run, `init`, the daemon, the disk's space.
//!
//! Index runs are killed with SIGKILL at moments spread over the whole of a run, with the mount live all the time;
//! after each, what was published reads as before, nothing of the killed run can be seen anywhere, and the next
//! run gives the same catalog as a run that was never killed.

#[path = "common/site.rs"]
mod site;

use site::{Site, difference, said, sh, shell};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Directories and files of a copy: 40,000 names make an index run of about a second (not optimised), which commits
/// its first 50,000 rows in the middle, when nothing is known as well as when two files of three have changed.
const DIRECTORIES: u32 = 200;
const FILES: u32 = 200;

/// Makes a copy whose files have no content; what changes from day to day are stamps and names.
///
/// On the 19th every second file differs from the 18th, on the 20th every third from the 19th. Each day after the
/// 18th has lost a directory and has a new one.
fn make_copy(to: &Path, day: u32, directories: u32) {
    let gone = |d: u32| (day >= 19 && d == 1) || (day >= 20 && d == 2);
    for d in 0..directories + (day - 18) {
        if gone(d) {
            continue;
        }
        let dir = to.join(format!("directory {d}"));
        std::fs::create_dir_all(&dir).expect("a directory");
        for f in 0..FILES {
            let changes = u32::from(day >= 19 && f % 2 == 0) + u32::from(day >= 20 && f % 3 == 0);
            let file = File::create_new(dir.join(format!("file {f}"))).expect("a file");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + u64::from(changes)))
                .expect("a stamp");
        }
    }
}

/// Puts the copies on a tmpfs, where a hundred thousand files are made and removed in a second.
fn copies_in_memory(site: &Site) {
    sh(&site.path(""), "mount -t tmpfs -o mode=755,nr_inodes=400k tmpfs copies");
}

/// xorshift64*, so that every run of the test kills at the same parts of a run.
struct Random(u64);

impl Random {
    /// Returns a number from 0 up to 1.
    fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Returns what all views tell, but for paths and what differs between two runs (times, durations).
///
/// By the system's `sqlite3`: it has no part in how asof reads.
fn told(site: &Site, catalog: &Path) -> String {
    ask(
        site,
        catalog,
        "SELECT count(*) FROM generations;
         SELECT source, taken_at, entries, size_bytes, changed, losses, notices, copy_path FROM generations ORDER BY 1, 2;
         SELECT taken_at, count(*), sum(node), sum(node * (parent % 1009) % 65521), sum(mtime_unix), sum(length(name)), max(version_since) FROM files GROUP BY 1;
         SELECT since, until, count(*), sum(node), sum(node * (parent % 1009) % 65521), sum(mtime_unix) FROM versions GROUP BY 1, 2;
         SELECT taken_at, what, count(*), sum(node) FROM changes GROUP BY 1, 2;
         SELECT deleted_in, last_seen, count(*), sum(node) FROM deleted GROUP BY 1, 2;
         SELECT count(*) FROM findings; SELECT * FROM sources;",
    )
}

/// Returns all that is told under which path, without the numbers of nodes: what two catalogs of one history share.
fn told_by_path(site: &Site, catalog: &Path) -> String {
    ask(
        site,
        catalog,
        "SELECT source, taken_at, entries, size_bytes, changed, losses, notices, copy_path FROM generations ORDER BY 1, 2;
         SELECT taken_at, path, kind, mtime_unix, mode, nlink, version_since FROM files ORDER BY taken_at, path;
         SELECT path, since, until, kind, mtime_unix FROM versions ORDER BY path, since;
         SELECT taken_at, what, path, kind FROM changes ORDER BY taken_at, path, what;
         SELECT path, deleted_in, last_seen, kind FROM deleted ORDER BY path, deleted_in;",
    )
}

fn ask(site: &Site, catalog: &Path, sql: &str) -> String {
    let output = Command::new("sqlite3")
        .arg("-readonly")
        .arg(catalog)
        .arg(sql)
        .current_dir(site.path(""))
        .output()
        .expect("sqlite3 is installed");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn assert_same(found: &str, wanted: &str, when: &str) {
    for (found, wanted) in found.lines().zip(wanted.lines()) {
        assert_eq!(found, wanted, "{when}");
    }
    assert_eq!(found.lines().count(), wanted.lines().count(), "{when}");
}

fn on(site: &Site, catalog: &Path, args: &[&str]) -> Command {
    let mut command = site.asof(args);
    command.env("ASOF_CATALOG", catalog);
    command
}

fn output_of(site: &Site, catalog: &Path, args: &[&str], code: i32) -> Output {
    let output = on(site, catalog, args).output().expect("asof starts");
    assert_eq!(output.status.code(), Some(code), "asof {args:?}\n{}", said(&output));
    output
}

/// Copies a catalog that nobody writes to, with its log and its manifests.
fn copy_catalog(from: &Path, to: &Path) {
    for ending in ["", "-wal"] {
        let file = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
        let _ = std::fs::remove_file(file(to));
        if file(from).exists() {
            std::fs::copy(file(from), file(to)).expect("a copy of the catalog");
        }
    }
    let manifests = |path: &Path| PathBuf::from(format!("{}-manifests", path.display()));
    let _ = std::fs::remove_dir_all(manifests(to));
    if manifests(from).exists() {
        let copied = Command::new("cp").arg("-a").args([manifests(from), manifests(to)]).status();
        assert!(copied.expect("cp runs").success(), "a copy of the manifests");
    }
}

/// Starts a command and kills it after `moment`, if it is not done by then.
fn kill_after(mut command: Command, moment: Duration) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("asof starts");
    std::thread::sleep(moment);
    child.kill().expect("SIGKILL can be sent");
    child.wait().expect("it ends");
}

/// Returns the names of the instants that the live mount lists for the source.
fn listed(mount: &Path) -> Vec<String> {
    let names = std::fs::read_dir(mount.join("homes")).expect("the mount answers");
    let mut names: Vec<String> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("@20"));
    names.sort();
    names
}

/// Waits, as long as a reader of the mount may have to, until `holds`.
fn within_seconds(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A first generation, one after it, and one that is put in between.
const PHASES: [(&str, u32); 3] = [("2024-11-18", 17), ("2024-11-20", 17), ("2024-11-19", 16)];

#[test]
fn an_index_run_killed_at_any_moment_leaves_what_was_published_and_the_next_one_does_it_all() {
    let site = Site::with_source();
    copies_in_memory(&site);
    for (day, name) in [(18, "2024-11-18"), (19, "2024-11-19"), (20, "2024-11-20")] {
        make_copy(&site.path("copies").join(name), day, DIRECTORIES);
    }
    let (catalog, never_killed) = (site.path("catalog.db"), site.path("never-killed.db"));
    copy_catalog(&catalog, &never_killed);
    let mount = site.mount(&[]);
    let mut random = Random(20_241_118);
    let mut found_left = 0;
    let mut published: Vec<&str> = Vec::new();
    for (name, moments) in PHASES {
        let copy = format!("copies/{name}");
        let index = ["index", "homes", &copy];
        let before = told(&site, &catalog);
        let began = Instant::now();
        output_of(&site, &never_killed, &index, 0);
        let mut length = began.elapsed();
        let wanted = told_by_path(&site, &never_killed);
        // Should a run publish before its moment comes, the other kills come sooner and go to a copy of the state before.
        let spare = site.path(&format!("spare-{name}.db"));
        copy_catalog(&catalog, &spare);
        let mut victim = catalog.clone();
        let mut i = 0;
        while i < moments {
            let moment = length.mul_f64((f64::from(i) + random.fraction()) / f64::from(moments));
            let when = format!("killed {} ms into {name} of {} ms", moment.as_millis(), length.as_millis());
            kill_after(on(&site, &victim, &index), moment);
            let left = told(&site, &victim);
            if left.lines().next() != before.lines().next() {
                assert_same(&told_by_path(&site, &victim), &wanted, &when);
                if victim == catalog {
                    published.push(name);
                }
                victim = site.path("again.db");
                copy_catalog(&spare, &victim);
                length = length.mul_f64(0.85);
                continue;
            }
            i += 1;
            assert_same(&left, &before, &when);
            if victim == catalog {
                assert_eq!(listed(&mount), names_of(&published), "{when}");
                for day in &published {
                    let (kept, shown) =
                        (site.path("copies").join(day), mount.join("homes").join(format!("@{day}T000000Z")));
                    let part = format!("directory {}", 3 + i * 7);
                    assert_eq!(difference(&kept.join(&part), &shown.join(&part)), "", "{when}");
                }
            }
            // The next run on a copy, so that the killed state itself goes on to the next kill.
            if i % 4 == 0 {
                let next = site.path("next.db");
                copy_catalog(&victim, &next);
                let output = output_of(&site, &next, &index, 0);
                found_left +=
                    usize::from(said(&output).contains("removed what an interrupted run had left of generation"));
                assert_same(&told_by_path(&site, &next), &wanted, &when);
            }
        }
        if !published.contains(&name) {
            output_of(&site, &catalog, &index, 0);
            published.push(name);
        }
        assert_same(&told_by_path(&site, &catalog), &wanted, name);
        within_seconds(name, || listed(&mount) == names_of(&published));
    }
    assert!(found_left >= 4, "only {found_left} of the killed runs had committed anything: too small a copy");
    for name in published {
        let shown = mount.join("homes").join(format!("@{name}T000000Z"));
        assert_eq!(difference(&site.path("copies").join(name), &shown), "");
    }
}

fn names_of(published: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = published.iter().map(|day| format!("@{day}T000000Z")).collect();
    names.sort();
    names
}

#[test]
fn a_full_disk_stops_an_index_run_with_the_reason_and_keeps_what_was_published() {
    let site = Site::new();
    sh(&site.path(""), "mkdir small; mount -t tmpfs -o size=4m tmpfs small");
    let catalog = site.path("small/catalog.db");
    output_of(&site, &catalog, &["init"], 0);
    output_of(&site, &catalog, &["source", "add", "nfs", "homes", "--copies", "copies"], 0);
    copies_in_memory(&site);
    sh(
        &site.path("copies"),
        "mkdir -p 2024-11-18/{a..e}; touch 2024-11-18/{a..e}/{0..99}; cp -a 2024-11-18 2024-11-22",
    );
    make_copy(&site.path("copies/2024-11-20"), 18, DIRECTORIES);
    output_of(&site, &catalog, &["index", "homes", "copies/2024-11-18"], 0);
    let full = |copy: &str| {
        let before = told(&site, &catalog);
        let output = output_of(&site, &catalog, &["index", "homes", copy], 2);
        let text = said(&output);
        assert!(text.contains("asof: cannot index generation 2024-11-20T00:00:00Z of \"homes\": "), "{text}");
        assert!(text.contains(&format!(" in catalog {catalog:?}: the disk is full\n")), "{text}");
        assert!(text.ends_with("hint: nothing that was published is lost; make room and run it again: CATALOG.format* and CATALOG.log may be deleted, CATALOG-wal never\n"), "{text}");
        assert_same(&told(&site, &catalog), &before, copy);
        let listing = output_of(&site, &catalog, &["ls", "homes:a", "--at", "2024-11-18"], 0);
        assert_eq!(said(&listing).lines().filter(|l| !l.is_empty()).count(), 100);
    };
    // After all others, in chunks. What was committed of them is removed by the next run, which needs room for that.
    let fill = || said(&shell(&site.path(""), "cat /dev/zero >> small/ballast"));
    full("copies/2024-11-20");
    assert!(fill().contains("No space left on device"));
    let text = said(&output_of(&site, &catalog, &["index", "homes", "copies/2024-11-22"], 2));
    assert!(
        text.contains(": the disk is full\nhint: nothing that was published is lost; make room and run it again: CATALOG.format* and CATALOG.log may be deleted, CATALOG-wal never\n"),
        "{text}"
    );
    sh(&site.path(""), "rm small/ballast; mount -o remount,size=100m small");
    output_of(&site, &catalog, &["index", "homes", "copies/2024-11-22"], 0);
    // In between two, in one transaction, with two megabytes left.
    sh(&site.path(""), "mount -o remount,size=$(( $(du -sk small | cut -f1) + 2048 ))k small");
    full("copies/2024-11-20");
    // Not a byte is free, and nobody has the catalog open: SQLite needs 32 KiB beside it even to read.
    output_of(&site, &catalog, &["index", "homes", "copies/2024-11-18"], 0);
    assert_eq!(sh(&site.path("small"), "ls"), "catalog.db\ncatalog.db-locks\ncatalog.db-manifests\ncatalog.db.lock\n");
    assert!(fill().contains("No space left on device"));
    let refused = said(&output_of(&site, &catalog, &["ls"], 2));
    assert!(refused.contains(": the disk is full\nhint: nothing that was published is lost; make room"), "{refused}");
    let refused = said(&output_of(&site, &site.path("small/other.db"), &["init"], 2));
    assert!(refused.contains("the disk is full"), "{refused}");
    assert_eq!(sh(&site.path("small"), "ls | grep other || true"), "", "nothing is left of it");
    // A live mount goes on, and with it everybody who reads.
    sh(&site.path(""), "truncate -s -64K small/ballast");
    output_of(&site, &catalog, &["mount", "mnt"], 0);
    assert!(fill().contains("No space left on device"));
    let listing = output_of(&site, &catalog, &["ls", "homes:a", "--at", "2024-11-18"], 0);
    assert_eq!(said(&listing).lines().filter(|l| !l.is_empty()).count(), 100);
    assert_eq!(difference(&site.path("copies/2024-11-22"), &site.path("mnt/homes/@2024-11-22")), "");
    output_of(&site, &catalog, &["umount", "mnt"], 0);
    sh(&site.path(""), "rm small/ballast; mount -o remount,size=200m small");
    output_of(&site, &catalog, &["index", "homes"], 0);
    let generations = ask(&site, &catalog, "SELECT taken_at, entries FROM generations ORDER BY taken_at");
    assert_eq!(generations, "2024-11-18T00:00:00Z|505\n2024-11-20T00:00:00Z|40200\n2024-11-22T00:00:00Z|505\n");
    // As if there had always been room.
    let roomy = site.path("roomy.db");
    output_of(&site, &roomy, &["init"], 0);
    output_of(&site, &roomy, &["source", "add", "nfs", "homes", "--copies", "copies"], 0);
    for day in ["18", "22", "20"] {
        output_of(&site, &roomy, &["index", "homes", &format!("copies/2024-11-{day}")], 0);
    }
    assert_same(&told_by_path(&site, &catalog), &told_by_path(&site, &roomy), "after the disk had room");
}

#[test]
fn init_makes_a_whole_catalog_or_none() {
    let site = Site::new();
    let began = Instant::now();
    site.ok(&["init"]);
    let length = began.elapsed();
    let mut random = Random(7);
    let (mut none, mut whole) = (0, 0);
    for i in 0..40 {
        let catalog = site.path(&format!("catalog-{i}.db"));
        kill_after(on(&site, &catalog, &["init"]), length.mul_f64(random.fraction() * 1.2));
        if catalog.exists() {
            whole += 1;
        } else {
            none += 1;
            output_of(&site, &catalog, &["init"], 0);
        }
        assert!(!site.path(&format!("catalog-{i}.db.new")).exists() || whole > 0);
        output_of(&site, &catalog, &["source", "add", "nfs", "homes", "--copies", "copies"], 0);
        assert_eq!(ask(&site, &catalog, "SELECT source FROM sources; PRAGMA integrity_check"), "homes\nok\n");
        assert_eq!(said(&shell(&site.path(""), &format!("ls | grep 'catalog-{i}.db.new' || true"))), "\n");
    }
    assert!(none > 0, "all of {whole} were done before they were killed");
}

#[test]
fn of_two_index_runs_at_once_the_second_is_told_who_is_first() {
    let site = Site::with_source();
    copies_in_memory(&site);
    make_copy(&site.path("copies/2024-11-18"), 18, DIRECTORIES / 2);
    let mut first: Child = site.asof(&["index", "homes"]).stderr(Stdio::null()).spawn().expect("asof starts");
    let holder = || std::fs::read_to_string(site.path("catalog.db-locks/1")).unwrap_or_default();
    within_seconds("the lock", || holder().starts_with(&format!("pid={} ", first.id())));
    let second = said(&site.run(&["index", "homes", "--wait", "0"], 2));
    let busy = format!("\nasof: source \"homes\" is in use by process {} (asof index homes, since ", first.id());
    assert!(second.starts_with(&busy), "{second}");
    // Readers do not wait for it.
    assert_eq!(site.ok(&["ls"]), "homes\n");
    assert!(first.wait().expect("it ends").success());
    assert_eq!(site.ok(&["sql", "SELECT entries FROM generations"]), "entries\n20100\n");
}

#[test]
fn a_daemon_killed_while_cp_reads_gives_cp_an_error_and_the_next_mount_the_same_inode_numbers() {
    let site = Site::with_source();
    sh(&site.path("live"), "mkdir docs; echo x > docs/x; ln docs/x y; head -c 64M /dev/urandom > big");
    site.copy("2024-11-18");
    site.ok(&["index", "homes"]);
    let daemon = mount_daemon(&site);
    let numbers =
        || sh(&site.path("mnt"), "stat -c '%i %n' . @* @*/homes @*/homes/* homes homes/@*/docs/x | grep -v latest");
    let before = numbers();
    assert!(before.lines().count() >= 8, "{before}");
    let mut cp = Command::new("cp")
        .args([site.path("mnt/homes/@2024-11-18/big").as_os_str(), "/dev/stdout".as_ref()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cp starts");
    // cp fills the pipe and waits there, in the middle of the file.
    let mut head = vec![0; 1 << 20];
    let mut pipe = cp.stdout.take().expect("a pipe");
    pipe.read_exact(&mut head).expect("cp writes");
    sh(&site.path(""), &format!("kill -KILL {daemon}"));
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).expect("cp closes the pipe");
    let output = cp.wait_with_output().expect("cp ends");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("Transport endpoint is not connected") || text.contains("Software caused connection abort"),
        "{text}"
    );
    let copied = [head, rest].concat();
    let kept = std::fs::read(site.path("copies/2024-11-18/big")).unwrap();
    assert!(copied.len() < kept.len() && kept.starts_with(&copied), "what cp had read by then is right");
    mount_daemon(&site);
    assert_eq!(numbers(), before);
    assert_eq!(difference(&site.path("copies/2024-11-18"), &site.path("mnt/homes/@2024-11-18")), "");
    site.umount();
}

/// Mounts on `mnt` and returns the number of the daemon's process.
fn mount_daemon(site: &Site) -> u32 {
    let text = said(&site.run(&["mount", "mnt"], 0));
    let (_, after) = text.split_once("(process ").expect("mount tells the process");
    after.split_once(',').and_then(|(number, _)| number.parse().ok()).expect("a number")
}
