//! A disk is taken while a database server writes to it: its tables are locked, its file system is frozen, its disk is
//! cloned, and both go on. What was taken is a database that a second server starts on, with every transaction that the first
//! one had acknowledged.
//!
//! The three commands are those of docs/disks.md, with other paths. The database is MariaDB, of which the packages
//! mariadb-server-core and mariadb-client-core have the programs and no service; it listens on a socket in the test's own
//! directory. Needs root, `/dev/fuse`, loop devices, and the packages e2fsprogs, xfsprogs, gdisk, rsync and util-linux, too.

#[path = "common/site.rs"]
mod site;

use serde_json::Value;
use site::{Site, difference, said, sh, shell, wait_until};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// The user and group that the servers run as, who must not be root: nobody's account.
const USER: u32 = 27_305;
/// Rows of a transaction.
const LINES: u64 = 8;

/// A file system that the database lies on.
struct FileSystem {
    /// Makes the disk `pool/db01.raw`.
    disk: &'static str,
    mkfs: &'static str,
    /// Where on the disk it lies, for `losetup`.
    place: &'static str,
    /// Where its files are in a view of the disk.
    shown: &'static str,
    /// How it is mounted from a disk that nobody may write to.
    options: &'static str,
}

const EXT4: FileSystem = FileSystem {
    disk: "truncate -s 320M pool/db01.raw",
    mkfs: "mkfs.ext4 -q -F",
    place: "",
    shown: "fs",
    // Without `noload`: one that was not frozen has a journal to be replayed, and is not mounted.
    options: "ro,loop",
};

const XFS: FileSystem = FileSystem {
    disk: "truncate -s 340M pool/db01.raw; sgdisk -n 1:2048:+330M pool/db01.raw >/dev/null",
    mkfs: "mkfs.xfs -q",
    place: "-o 1048576 --sizelimit 330M",
    shown: "p1",
    // A frozen one has nothing in its log, and is marked as if it had (xfs_log_quiesce, xfs_fs_freeze).
    options: "ro,norecovery,nouuid,loop,offset=1048576,sizelimit=346030080",
};

/// Undoes everything when its standard input is closed: also if the test is killed, which must not leave a frozen file
/// system behind. What is not a mount point is not thawed, since that would be the file system around it.
const KEEPER: &str = "
    cat >/dev/null
    mountpoint -q live && fsfreeze -u live
    rm -f run/hold run/wait
    for number in $(cat numbers 2>/dev/null); do kill -9 $number; done
    for dir in truth mnt live pool out; do
        for _ in $(seq 100); do
            mountpoint -q $dir || break
            fsfreeze -u $dir
            umount $dir && break
            sleep 0.05
        done
        mountpoint -q $dir && umount -l $dir
    done
";

/// A client that writes one transaction after the other, each acknowledged before the next.
struct Writer {
    acknowledged: Arc<AtomicU64>,
    longest_wait_ms: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    client: Child,
}

impl Writer {
    fn start(site: &Site, lane: usize) -> Self {
        let mut command = client(site, "db01");
        command.args(["--unbuffered", "--skip-column-names", "shop"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = command.spawn().expect("mariadb is installed");
        let mut into = client.stdin.take().expect("it is a pipe");
        let mut answers = BufReader::new(client.stdout.take().expect("it is a pipe")).lines();
        let (acknowledged, longest_wait_ms) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let is_over = Arc::<AtomicBool>::default();
        let (told, longest, ends) = (Arc::clone(&acknowledged), Arc::clone(&longest_wait_ms), Arc::clone(&is_over));
        let write = move || {
            for txn in 1.. {
                let mut text = "BEGIN;".to_owned();
                for line in 0..LINES {
                    text += &format!("SET @p = REPEAT(UUID(), 25); INSERT ledger VALUES ({lane}, {txn}, {line}, @p, ");
                    text += &format!("SHA2(CONCAT_WS('.', {lane}, {txn}, {line}, @p), 256));");
                }
                text += &format!("COMMIT; INSERT journal VALUES ({lane}, {txn}); SELECT {txn};\n");
                let began = Instant::now();
                if ends.load(Ordering::Relaxed) || into.write_all(text.as_bytes()).is_err() {
                    return;
                }
                let Some(Ok(answer)) = answers.next() else { return };
                assert_eq!(answer, txn.to_string());
                longest.fetch_max(began.elapsed().as_millis() as u64, Ordering::Relaxed);
                told.store(txn, Ordering::Relaxed);
            }
        };
        Self { acknowledged, longest_wait_ms, is_over, thread: Some(std::thread::spawn(write)), client }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.client.kill();
        let _ = self.client.wait();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A database that is written to, on a file system of its own, on a disk that can be cloned.
struct World {
    file_system: FileSystem,
    writers: Vec<Writer>,
    server: Option<Child>,
    keeper: Child,
    site: Site,
}

impl World {
    fn new(file_system: FileSystem) -> Self {
        let site = Site::new();
        site.let_everybody_pass();
        sh(&site.path(""), "mkdir pool run truth");
        // Not hit by what is typed at the terminal.
        let mut keeper = Command::new("bash");
        keeper.args(["-c", KEEPER]).current_dir(site.path("")).process_group(0);
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("bash");
        let mut world = Self { file_system, writers: Vec::new(), server: None, keeper, site };
        world.make_disk();
        world.server = Some(world.start_server("db01", &world.site.path("live/mysql")));
        world.sql(
            "db01",
            "CREATE DATABASE shop CHARACTER SET ascii COLLATE ascii_bin;
             CREATE TABLE shop.ledger (lane INT, txn INT, line INT, payload VARCHAR(1000), sum CHAR(64),
                 PRIMARY KEY (lane, txn, line)) ENGINE = InnoDB;
             CREATE TABLE shop.journal (lane INT, txn INT, PRIMARY KEY (lane, txn)) ENGINE = MyISAM;
             CREATE USER asof@localhost IDENTIFIED BY 'secret';
             GRANT RELOAD ON *.* TO asof@localhost",
        );
        world.set_password("secret");
        world.write_commands();
        world.site.ok(&["init"]);
        world.writers = (0..2).map(|lane| Writer::start(&world.site, lane)).collect();
        world.expect_writes();
        world
    }

    fn make_disk(&self) {
        let FileSystem { disk, mkfs, place, .. } = &self.file_system;
        self.site.keep_in_memory(&["out"]);
        let script = format!(
            "truncate -s 2G pool.img; mkfs.xfs -q pool.img; mount -o loop pool.img pool
             {disk}
             device=$(losetup -f --show {place} pool/db01.raw)
             trap 'losetup -d $device' EXIT      # it goes when it is unmounted
             {mkfs} $device
             mount $device live
             mkdir out/mysql; chown {USER}:{USER} out/mysql
             setpriv --reuid {USER} --regid {USER} --clear-groups mariadb-install-db --no-defaults \\
                 --datadir=$PWD/out/mysql --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve \\
                 --innodb-log-file-size=8M --innodb-flush-method=fsync 2>&1
             cp -a out/mysql live/; rm -r out/mysql",
        );
        sh(&self.site.path(""), &script);
    }

    /// Starts a server on `data`, which `name` is the folder of the socket and the log of.
    fn start_server(&self, name: &str, data: &Path) -> Child {
        let folder = self.site.path(name);
        sh(&self.site.path(""), &format!("mkdir -p {name}; chown {USER}:{USER} {name}"));
        let log = std::fs::File::create(folder.join("log")).expect("a file can be made");
        let user = USER.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "mariadbd", "--no-defaults"]);
        command.arg(format!("--datadir={}", data.display())).arg(format!("--tmpdir={}", folder.display()));
        command.arg(format!("--socket={}", folder.join("sock").display()));
        command.arg(format!("--pid-file={}", folder.join("number").display()));
        command.args(["--skip-networking", "--skip-name-resolve", "--performance-schema=off"]);
        command.args(["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M", "--innodb-flush-method=fsync"]);
        // Repairs nothing by itself.
        command.arg("--myisam-recover-options=OFF");
        command.current_dir(&folder).stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let mut server = command.spawn().expect("setpriv is installed");
        sh(&self.site.path(""), &format!("echo {} >> numbers", server.id()));
        wait_until("the server answers", || {
            let ended = server.try_wait().expect("it is a child");
            assert_eq!(ended, None, "{}", self.log(name));
            client(&self.site, name).args(["--execute", "DO 1"]).output().expect("mariadb").status.success()
        });
        server
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.site.path(name).join("log")).unwrap_or_default()
    }

    fn sql(&self, name: &str, statements: &str) -> String {
        let output = client(&self.site, name).args(["--skip-column-names", "--execute", statements]).output();
        let output = output.expect("mariadb is installed");
        assert!(output.status.success(), "{statements}\n{}", said(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Writes the file that the commands log in with.
    fn set_password(&self, password: &str) {
        let socket = self.site.path("db01/sock");
        let text = format!("[client]\nuser = asof\npassword = {password}\nsocket = {}\n", socket.display());
        std::fs::write(self.site.path("db01.cnf"), text).unwrap();
    }

    /// Writes the commands of the manual, and one around its copy that fails, or waits until it is killed or the file `wait`
    /// is gone.
    fn write_commands(&self) {
        let dir = self.site.path("").display().to_string();
        let dir = dir.trim_end_matches('/');
        let here = [
            ("/run/asof-db01", "run"),
            ("/etc/asof/db01.cnf", "db01.cnf"),
            ("/srv/db01", "live"),
            ("/srv/disks/db01.raw", "pool/db01.raw"),
        ];
        for name in ["db01-hold", "db01-copy", "db01-release"] {
            let mut script = of_manual(name);
            for (path, ours) in here {
                script = script.replace(path, &format!("{dir}/{ours}"));
            }
            self.write_command(name, &script);
        }
        self.write_command(
            "copy",
            &format!(
                "#!/bin/sh
                 cd {dir}/run
                 if [ -e fail ]; then echo 'the pool is full' >&2; exit 7; fi
                 if [ -e wait ]; then echo $$ > waits.part; mv waits.part waits; fi
                 while [ -e wait ]; do sleep 0.05; done
                 exec {dir}/db01-copy"
            ),
        );
        self.write_command(
            "freeze",
            &format!("#!/bin/sh\nmountpoint -q {dir}/live && exec fsfreeze --freeze {dir}/live\n"),
        );
    }

    fn write_command(&self, name: &str, script: &str) {
        std::fs::write(self.site.path(name), script).unwrap();
        sh(&self.site.path(""), &format!("chmod +x {name}; sh -n {name}"));
    }

    fn add(&self, source: &str, pre: &str, more: &[&str]) {
        self.add_with_folder(source, &self.site.path("pool").join(source), pre, more);
    }

    fn add_with_folder(&self, source: &str, images: &Path, pre: &str, more: &[&str]) {
        std::fs::create_dir(images).unwrap();
        let path = |name: &str| self.site.path(name).display().to_string();
        let (images, pre, snapshot, post) =
            (images.display().to_string(), path(pre), path("copy"), path("db01-release"));
        let mut args = vec!["source", "add", "block", source, "--images", &images, "--format", "raw"];
        args.extend(["--pre", &pre, "--snapshot", &snapshot, "--post", &post]);
        args.extend(more);
        self.site.ok(&args);
    }

    fn take(&self, source: &str) -> Value {
        serde_json::from_str(&self.site.ok(&["take", source, "--json"])).expect("JSON")
    }

    /// Begins to take a generation, and returns when the database is held and the copy waits.
    fn take_until_held(&self, source: &str) -> Child {
        for name in ["hold", "wait"] {
            let _ = std::fs::remove_file(self.site.path("run").join(name));
        }
        let waits = self.site.path("run/waits");
        let _ = std::fs::remove_file(&waits);
        std::fs::write(self.site.path("run/wait"), "").unwrap();
        let mut command = self.site.asof(&["take", source, "--json"]);
        let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        wait_until("the copy begins", || waits.exists());
        self.expect_held();
        run
    }

    fn acknowledged(&self) -> Vec<u64> {
        self.writers.iter().map(|writer| writer.acknowledged.load(Ordering::Relaxed)).collect()
    }

    fn expect_writes(&self) {
        let before = self.acknowledged();
        wait_until("all write", || self.acknowledged().iter().zip(&before).all(|(now, before)| *now > before + 2));
    }

    fn expect_held(&self) {
        let query = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for backup lock%'";
        let all = self.writers.len().to_string();
        wait_until("all wait for the lock", || self.sql("db01", query).trim() == all);
        let output = shell(&self.site.path(""), "mountpoint -q live && fsfreeze -f live");
        assert!(said(&output).contains("Device or resource busy"), "it is frozen: {}", said(&output));
    }

    fn generations(&self, source: &str) -> usize {
        let listed: Value = serde_json::from_str(&self.site.ok(&["generations", source, "--json"])).expect("JSON");
        listed.as_array().expect("a list").len()
    }

    /// Starts a server on a copy of what a view shows of a generation, calls `deed`, and has the server end in order.
    fn restored<T>(&self, source: &str, report: &Value, deed: impl FnOnce() -> T) -> T {
        let mount = self.site.mount(&[]);
        let at = report["taken_at"].as_str().unwrap().replace(':', "");
        let view = mount.join(format!("{source}/@{at}")).join(self.file_system.shown);
        let image = report["path"].as_str().unwrap();
        sh(&self.site.path(""), &format!("mount -o {} {image} truth", self.file_system.options));
        assert_eq!(difference(&self.site.path("truth"), &view), "", "the files as the kernel has them");
        sh(&self.site.path(""), &format!("umount truth; cp -a {} out/restored", view.join("mysql").display()));
        self.site.umount();
        let mut server = self.start_server("restored", &self.site.path("out/restored"));
        let done = deed();
        sh(Path::new("/"), &format!("kill {}", server.id()));
        assert!(server.wait().expect("it is a child").success(), "{}", self.log("restored"));
        sh(&self.site.path(""), &format!("rm -r out/restored; sed -i '/^{}$/d' numbers", server.id()));
        done
    }

    /// Asserts that a generation is the database as it was at one moment, which was when this much was acknowledged.
    fn expect_whole(&self, source: &str, report: &Value, acknowledged: &Acknowledged) {
        let query =
            format!("SELECT consistency FROM generations WHERE source = '{source}' ORDER BY taken_at DESC LIMIT 1");
        assert_eq!(self.site.ok(&["sql", "--csv", &query]).trim(), "consistency\napp");
        self.restored(source, report, || {
            let checked = self.sql("restored", "CHECK TABLE shop.ledger, shop.journal EXTENDED");
            assert_eq!(checked, "shop.ledger\tcheck\tstatus\tOK\nshop.journal\tcheck\tstatus\tOK\n");
            let torn = "SELECT COUNT(*) FROM shop.ledger
                WHERE sum <> CONVERT(SHA2(CONCAT_WS('.', lane, txn, line, payload), 256) USING ascii)";
            assert_eq!(self.sql("restored", torn), "0\n");
            for (lane, (before, after)) in acknowledged.before.iter().zip(&acknowledged.after).enumerate() {
                let query = format!(
                    "SELECT COUNT(*), MAX(txn), (SELECT COUNT(*) FROM shop.journal WHERE lane = {lane}),
                         (SELECT MAX(txn) FROM shop.journal WHERE lane = {lane})
                     FROM shop.ledger WHERE lane = {lane}"
                );
                let counts: Vec<u64> =
                    self.sql("restored", &query).split_whitespace().map(|number| number.parse().unwrap()).collect();
                let [rows, newest, noted, noted_newest] = counts[..] else { panic!("{counts:?}") };
                assert_eq!((rows, noted), (newest * LINES, noted_newest), "no transaction is missing or half");
                // One may have been committed whose acknowledgement was not there yet.
                assert!((*before..=after + 1).contains(&noted), "{before} to {after} acknowledged, {counts:?}");
                assert!(
                    (noted..=(noted + 1).min(after + 1)).contains(&newest),
                    "{before} to {after} acknowledged, {counts:?}"
                );
            }
            self.sql("restored", "INSERT shop.journal VALUES (9, 9)");
            // InnoDB applies its log, as it does whenever it was not shut down; nothing had to be mended.
            let log = self.log("restored").to_lowercase();
            for word in ["[error]", "corrupt", "crashed", "torn", "doublewrite", "repair"] {
                assert!(!log.contains(word), "{word}: {log}");
            }
        });
    }
}

/// How many transactions of each writer were acknowledged.
struct Acknowledged {
    /// At a moment not after that of a generation.
    before: Vec<u64>,
    /// At a moment not before it.
    after: Vec<u64>,
}

impl Drop for World {
    fn drop(&mut self) {
        // Thaws first: nothing on a frozen file system ends.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        let _ = self.server.take().map(|mut server| server.wait());
    }
}

fn client(site: &Site, server: &str) -> Command {
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--user=root", "--batch"]).stdin(Stdio::null());
    command.arg(format!("--socket={}", site.path(server).join("sock").display()));
    command
}

/// Returns the script of this name in docs/disks.md.
fn of_manual(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/disks.md");
    let manual = std::fs::read_to_string(path).expect("the manual is there");
    let mut scripts = manual.split("```").filter_map(|block| block.strip_prefix("sh\n"));
    let head = format!("#!/bin/sh\n# /etc/asof/{name}\n");
    scripts.find(|script| script.starts_with(&head)).expect("the manual has it").to_owned()
}

/// Takes two generations, one of which is held for as long as it takes to look at what had been acknowledged.
fn generations_are_whole(file_system: FileSystem) {
    let world = World::new(file_system);
    world.add("db01", "db01-hold", &[]);
    let before = world.acknowledged();
    let run = world.take_until_held("db01");
    // Nothing is acknowledged while it is held, so this is exact.
    let held = world.acknowledged();
    assert!(held.iter().zip(&before).all(|(held, before)| held >= before));
    std::fs::remove_file(world.site.path("run/wait")).unwrap();
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let first: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    world.expect_writes();
    world.writers.iter().for_each(|writer| writer.longest_wait_ms.store(0, Ordering::Relaxed));
    let between = world.acknowledged();
    let second = world.take("db01");
    world.expect_writes();
    let longest = world.writers.iter().map(|writer| writer.longest_wait_ms.load(Ordering::Relaxed)).max();
    eprintln!("while a generation was taken, a transaction waited for {} ms at most", longest.unwrap());
    assert_eq!(world.generations("db01"), 2);
    world.expect_whole("db01", &first, &Acknowledged { before: held.clone(), after: held });
    let after = world.acknowledged();
    world.expect_whole("db01", &second, &Acknowledged { before: between, after });
}

#[test]
fn a_database_on_ext4_is_taken_with_all_that_it_has_acknowledged_and_nothing_to_repair() {
    generations_are_whole(EXT4);
}

#[test]
fn a_database_on_a_partition_with_xfs_is_taken_with_all_that_it_has_acknowledged_and_nothing_to_repair() {
    generations_are_whole(XFS);
}

#[test]
fn without_the_lock_a_table_that_is_not_innodb_is_taken_half_written() {
    let world = World::new(EXT4);
    world.add("db01", "freeze", &["--consistency", "frozen"]);
    let report = world.take("db01");
    assert_eq!(report["consistency"], "frozen");
    world.expect_writes();
    // So this is what the tests above would see.
    let checked = world.restored("db01", &report, || world.sql("restored", "CHECK TABLE shop.ledger, shop.journal"));
    assert!(checked.contains("shop.ledger\tcheck\tstatus\tOK\n"), "{checked}");
    assert!(
        checked.contains("shop.journal\tcheck\twarning\t1 client is using or hasn't closed the table"),
        "{checked}"
    );
}

#[test]
fn a_database_goes_on_whatever_fails_and_what_failed_speaks_for_itself() {
    let world = World::new(EXT4);
    let refused = |source: &str| {
        let text = said(&world.site.run(&["take", source], 2));
        world.expect_writes();
        assert_eq!(world.generations(source), 0, "{text}");
        let left: Vec<_> = std::fs::read_dir(world.site.path("pool").join(source)).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        text
    };
    world.add("db01", "db01-hold", &[]);
    let fail = world.site.path("run/fail");
    std::fs::write(&fail, "").unwrap();
    let text = refused("db01");
    assert!(text.contains("the pool is full\n"), "{text}");
    assert!(text.contains("copy\" ended with exit status: 7"), "{text}");
    std::fs::remove_file(&fail).unwrap();

    world.set_password("wrong");
    let text = refused("db01");
    assert!(text.contains("Access denied for user 'asof'@'localhost' (using password: YES)\n"), "{text}");
    assert!(text.contains("db01-hold\" ended with exit status: 1"), "{text}");
    world.set_password("secret");

    // Somebody else has the lock.
    world.add("hasty", "db01-hold", &["--hook-timeout", "1"]);
    let mut other = client(&world.site, "db01");
    other.args(["--unbuffered", "--skip-column-names"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut other = other.spawn().expect("mariadb is installed");
    let mut into = other.stdin.take().unwrap();
    writeln!(into, "LOCK TABLES shop.ledger WRITE; SELECT 'locked';").unwrap();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let text = said(&world.site.run(&["take", "hasty"], 2));
    assert!(text.contains("db01-hold\" was killed: it had not ended after 1 s"), "{text}");
    let sessions = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'asof'";
    wait_until("its session has ended", || world.sql("db01", sessions) == "0\n");
    assert_eq!(world.generations("hasty"), 0);
    drop(into);
    other.wait().unwrap();
    world.expect_writes();
    world.take("hasty");
    world.expect_writes();
}

#[test]
fn a_database_that_a_killed_run_holds_is_let_go_without_another_run() {
    let world = World::new(EXT4);
    world.add("db01", "db01-hold", &[]);
    let kill = || {
        let mut run = world.take_until_held("db01");
        run.kill().unwrap();
        let output = run.wait_with_output().expect("nothing that it has started keeps its outputs");
        assert_eq!(output.status.code(), None, "{}", said(&output));
        std::fs::remove_file(world.site.path("run/wait")).unwrap();
        world.expect_writes();
    };
    kill();
    world.site.run(&["index", "db01"], 0);
    assert_eq!(world.generations("db01"), 0);

    kill();
    let before = world.acknowledged();
    let output = world.site.run(&["take", "db01", "--json"], 0);
    let after = world.acknowledged();
    world.expect_writes();
    assert_eq!(world.generations("db01"), 1);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    world.expect_whole("db01", &report, &Acknowledged { before, after });
}

#[test]
fn a_run_that_freezes_its_own_folder_lets_the_database_go() {
    let world = World::new(EXT4);
    let folder = world.site.path("live/generations");
    world.add_with_folder("db01", &folder, "db01-hold", &["--hook-timeout", "2"]);
    let text = said(&world.site.run(&["take", "db01"], 2));
    assert!(
        text.contains(&format!("nothing could be written to {folder:?} for 2 s while the guest was held\n")),
        "{text}"
    );
    assert!(
        text.contains("hint: does the pre command freeze the file system that the folder or the catalog is on?"),
        "{text}"
    );
    world.expect_writes();
    assert_eq!((world.generations("db01"), std::fs::read_dir(&folder).unwrap().count()), (0, 0));
}

#[test]
fn a_run_that_hangs_in_its_own_frozen_folder_can_be_told_to_end() {
    let world = World::new(EXT4);
    let frozen = world.site.path("run/frozen");
    let hold = world.site.path("db01-hold");
    world.write_command("hold", &format!("#!/bin/sh\n{} && touch {}\n", hold.display(), frozen.display()));
    world.add_with_folder("db01", &world.site.path("live/generations"), "hold", &[]);
    let mut command = world.site.asof(&["take", "db01"]);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    wait_until("the database is held", || frozen.exists());
    world.expect_held();
    // The state of a task that waits in the kernel: no signal reaches that one.
    let is_stuck = format!("cat /proc/{}/task/*/stat", run.id());
    wait_until("the run hangs", || sh(Path::new("/"), &is_stuck).contains(") D "));
    sh(Path::new("/"), &format!("kill -TERM {}", run.id()));
    world.expect_writes();
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("ended by a signal; nothing was published"), "{}", said(&output));
    assert_eq!(world.generations("db01"), 0);
}
