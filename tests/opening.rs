//! How a catalog is made and opened: on full disks, on read-only ones, in older formats, and what is none.
//!
//! Needs root (tmpfs, bind mounts) and the sqlite3 tool.

#[path = "common/site.rs"]
mod site;

use asof::catalog::FORMAT;
use site::{Site, as_nobody, said, sh};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Makes the catalog `name` as an asof of format 3 made it, with a row in it.
fn catalog_of_format_3(site: &Site, name: &str) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog-schema");
    let script = format!(
        "(echo 'PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;'; cat {}/000[123]_*.sql
          echo \"INSERT INTO store(path) VALUES (x'2f61');\") | sqlite3 {name} > out/journal",
        schema.display()
    );
    sh(&site.path(""), &script);
}

fn dump(site: &Site, name: &str) -> String {
    sh(&site.path(""), &format!("sqlite3 -readonly {name} .dump; sqlite3 -readonly {name} 'PRAGMA user_version'"))
}

fn format_of(site: &Site, name: &str) -> i64 {
    sh(&site.path(""), &format!("sqlite3 -readonly {name} 'PRAGMA user_version'")).trim().parse().expect("a number")
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs asof on the catalog `name`; it has to come to an end.
fn on(site: &Site, name: &str, args: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_asof"), "--catalog", name]).args(args);
    command.current_dir(site.path("")).env("TZ", "UTC").output().expect("timeout is installed")
}

#[track_caller]
fn ok(site: &Site, name: &str, args: &[&str]) -> String {
    let output = on(site, name, args);
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    said(&output).trim().to_owned()
}

#[track_caller]
fn refused(site: &Site, name: &str, args: &[&str]) -> String {
    let output = on(site, name, args);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
    said(&output).trim().to_owned()
}

#[test]
fn a_reader_refuses_an_older_format_by_both_numbers_and_changes_nothing() {
    let site = Site::new();
    catalog_of_format_3(&site, "old.db");
    let bytes = fs::read(site.path("old.db")).unwrap();
    let readers: [&[&str]; 8] = [
        &["ls"],
        &["show", "homes"],
        &["generations"],
        &["resolve", "latest"],
        &["sql", "SELECT 1"],
        &["source", "list"],
        &["source", "show", "homes"],
        &["mount", "mnt"],
    ];
    for args in readers {
        assert_eq!(
            refused(&site, "old.db", args),
            format!(
                "asof: catalog \"old.db\" has format 3, and this asof reads format {FORMAT}\n\
                 hint: asof --catalog \"old.db\" migrate brings it up to date, and keeps a copy of it as it is"
            ),
            "{args:?}"
        );
    }
    assert!(fs::read(site.path("old.db")).unwrap() == bytes);
    let made: Vec<String> = names_in(&site.path("")).into_iter().filter(|name| name.contains("format")).collect();
    assert_eq!(made, Vec::<String>::new());
}

#[test]
fn where_there_is_no_catalog_an_empty_folder_may_be_one_without_its_disk() {
    let site = Site::with_source();
    sh(&site.path(""), "mkdir disk full; echo x > full/x");
    let empty = refused(&site, "disk/asof/catalog.db", &["ls"]);
    let hint = format!("hint: {:?} is empty: is its disk mounted? If so, asof init makes it, ", site.path("disk"));
    assert!(empty.contains(&hint), "{empty}");
    let full = refused(&site, "full/catalog.db", &["ls"]);
    assert!(full.contains("hint: asof init makes it, asof rebuild DIR makes a lost one again"), "{full}");
}

#[test]
fn migrate_keeps_the_catalog_as_it_was_and_does_nothing_a_second_time() {
    let site = Site::new();
    catalog_of_format_3(&site, "old.db");
    let before = dump(&site, "old.db");
    fs::write(site.path("old.db.format3"), "of somebody else").unwrap();
    let copy = site.path("old.db.format3.2");
    assert_eq!(
        ok(&site, "old.db", &["migrate"]),
        format!("brought the catalog \"old.db\" from format 3 to {FORMAT}; as it was it is kept in {copy:?}")
    );
    assert_eq!(dump(&site, "old.db.format3.2"), before);
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read(site.path("old.db.format3")).unwrap(), b"of somebody else");
    assert_eq!(ok(&site, "old.db", &["migrate"]), format!("the catalog \"old.db\" has format {FORMAT} already"));
    assert_eq!(ok(&site, "old.db", &["ls"]), "");
    assert_eq!(sh(&site.path(""), "sqlite3 -readonly old.db 'SELECT hex(path) FROM store'"), "2F61\n");
    let left = names_in(&site.path(""));
    assert!(!left.iter().any(|name| name.contains(".new") || name.ends_with(".3")), "{left:?}");
}

#[test]
fn whatever_writes_brings_an_older_format_up_to_date_and_says_so() {
    let site = Site::new();
    for (name, args) in [
        ("add.db", &["source", "add", "nfs", "homes", "--copies", "copies"][..]),
        ("index.db", &["index", "homes"]),
        ("take.db", &["take", "homes"]),
        ("set.db", &["source", "set", "homes", "--checksum"]),
        ("remove.db", &["source", "remove", "homes"]),
    ] {
        catalog_of_format_3(&site, name);
        let text = said(&on(&site, name, args));
        let copy = site.path(name).with_extension("db.format3");
        let line =
            format!("brought the catalog {name:?} from format 3 to {FORMAT}; as it was it is kept in {copy:?}\n");
        assert!(text.trim_start().starts_with(&line), "{text}");
        assert_eq!((format_of(&site, name), copy.exists()), (FORMAT, true), "{name}");
    }
}

/// The log has rows that are not in the file yet: another program has the catalog open.
#[test]
fn the_copy_of_an_older_format_has_what_is_only_in_the_log() {
    let site = Site::new();
    catalog_of_format_3(&site, "source.db");
    fs::write(
        site.path("statements"),
        "INSERT INTO store(path) VALUES (x'2f62');\n.shell cp source.db old.db; cp source.db-wal old.db-wal\n",
    )
    .unwrap();
    sh(&site.path(""), "sqlite3 source.db < statements; test -s old.db-wal");
    ok(&site, "old.db", &["migrate"]);
    for name in ["old.db.format3", "old.db"] {
        assert_eq!(
            sh(&site.path(""), &format!("sqlite3 -readonly {name} 'SELECT hex(path) FROM store'")),
            "2F61\n2F62\n"
        );
    }
}

#[test]
fn without_room_for_the_copy_or_the_change_nothing_is_changed() {
    let site = Site::new();
    catalog_of_format_3(&site, "old.db");
    sh(&site.path(""), "mkdir small");
    let before = dump(&site, "old.db");
    let catalog_kib = fs::metadata(site.path("old.db")).unwrap().len() / 1024;
    let (mut refusals, mut done) = (0, 0);
    // The folder, the lock, shared memory and the file itself fit; then the copy does, then the change does.
    for more_kib in (48..catalog_kib * 4).step_by(16) {
        let size_kib = catalog_kib + more_kib;
        sh(&site.path(""), &format!("mount -t tmpfs -o size={size_kib}k none small; cp old.db small/old.db"));
        let output = on(&site, "small/old.db", &["migrate"]);
        let (text, names) = (said(&output), names_in(&site.path("small")));
        match output.status.code() {
            Some(0) => {
                done += 1;
                // Where there is no room to write the log back it stays, and is read.
                let made = names.iter().filter(|name| !["old.db-wal", "old.db-shm"].contains(&name.as_str()));
                assert!(made.eq(["old.db", "old.db.format3", "old.db.lock"]), "{size_kib} KiB: {names:?}");
            }
            _ => {
                refusals += 1;
                assert!(
                    text.contains("in catalog \"small/old.db\": the disk is full\nhint: "),
                    "{size_kib} KiB: {text}"
                );
                assert!(!names.iter().any(|name| name.contains("format")), "{size_kib} KiB: {names:?}");
            }
        }
        // Looked at where there is room for what SQLite makes beside it.
        sh(&site.path(""), "cp small/old.db* out; umount small");
        match output.status.success() {
            true => {
                assert_eq!(dump(&site, "out/old.db.format3"), before, "{size_kib} KiB");
                assert_eq!(format_of(&site, "out/old.db"), FORMAT, "{size_kib} KiB");
                assert_eq!(ok(&site, "out/old.db", &["ls"]), "", "{size_kib} KiB");
            }
            false => assert_eq!(dump(&site, "out/old.db"), before, "{size_kib} KiB"),
        }
        sh(&site.path(""), "rm out/*");
    }
    assert!(refusals > 3 && done > 0, "{refusals} refused, {done} done");
}

#[test]
fn init_on_a_nearly_full_disk_makes_a_whole_catalog_or_says_that_the_disk_is_full() {
    let site = Site::new();
    sh(&site.path(""), "mkdir small");
    let (mut refusals, mut made) = (0, 0);
    for size_kib in (8..840).step_by(20) {
        sh(&site.path(""), &format!("mount -t tmpfs -o size={size_kib}k none small"));
        let output = on(&site, "small/folder/catalog.db", &["init"]);
        match output.status.code() {
            Some(0) => {
                made += 1;
                assert_eq!(names_in(&site.path("small/folder")), ["catalog.db"], "{size_kib} KiB");
                assert_eq!(ok(&site, "small/folder/catalog.db", &["ls"]), "", "{size_kib} KiB");
                let check = "sqlite3 -readonly small/folder/catalog.db 'PRAGMA integrity_check'";
                assert_eq!(sh(&site.path(""), check), "ok\n", "{size_kib} KiB");
            }
            code => {
                refusals += 1;
                assert_eq!(code, Some(2), "{size_kib} KiB");
                let text = said(&output);
                assert_eq!(
                    text.trim(),
                    "asof: creating tables in catalog \"small/folder/catalog.db\": the disk is full\n\
                     hint: nothing that was published is lost; make room and run it again: CATALOG.format* and CATALOG.log may be deleted, CATALOG-wal never",
                    "{size_kib} KiB"
                );
                assert_eq!(names_in(&site.path("small")), Vec::<String>::new(), "{size_kib} KiB");
            }
        }
        sh(&site.path(""), "umount small");
    }
    assert!(refusals > 10 && made > 5, "{refusals} refused, {made} made");
}

#[test]
fn init_makes_nothing_in_place_of_what_is_there() {
    let site = Site::new();
    sh(&site.path(""), "ln -s elsewhere.db link.db; mkfifo fifo");
    assert_eq!(
        refused(&site, "link.db", &["init"]),
        "asof: creating catalog \"link.db\": it is a symbolic link to something that is not there"
    );
    assert!(refused(&site, "fifo", &["init"]).starts_with("asof: \"fifo\" is not a catalog of asof: a fifo\n"));
    // Another one is being made at this moment.
    let draft = fs::File::create(site.path("new.db.new")).unwrap();
    draft.lock().unwrap();
    assert_eq!(
        refused(&site, "new.db", &["init"]),
        "asof: creating catalog \"new.db\": somebody else makes it at this moment"
    );
    assert!(site.path("new.db.new").exists() && !site.path("new.db").exists());
    drop(draft);
    ok(&site, "new.db", &["init"]);
    assert!(!site.path("new.db.new").exists());
}

#[test]
fn what_is_made_beside_a_catalog_is_closed_to_others_whatever_the_umask() {
    for umask in ["000", "022", "377"] {
        let site = Site::new();
        let run = |args: &str| {
            let script = format!("umask {umask}; exec {} {args}", env!("CARGO_BIN_EXE_asof"));
            let mut command = Command::new("bash");
            command.args(["-c", &script]).current_dir(site.path("")).env("ASOF_CATALOG", site.path("catalog.db"));
            let output = command.output().expect("bash starts");
            assert!(output.status.success(), "{args}: {}", said(&output));
        };
        run("init");
        run("source add nfs homes --copies copies");
        run("index homes");
        let _live = site.mount(&[]);
        run("index homes");
        let mode = |path: PathBuf| fs::metadata(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")).permissions().mode();
        for name in ["", "-wal", "-shm", ".lock", "-locks/1"] {
            assert_eq!(mode(site.path(&format!("catalog.db{name}"))) & 0o7777, 0o600, "{name:?}, umask {umask}");
        }
        assert_eq!(mode(site.path("catalog.db-locks")) & 0o7777, 0o700, "umask {umask}");
        site.umount();
    }
}

#[test]
fn what_is_no_file_is_refused_at_once_by_what_it_is() {
    let site = Site::new();
    sh(&site.path(""), "mkfifo fifo; mknod block b 7 0");
    let _socket = UnixListener::bind(site.path("socket")).unwrap();
    for (name, what) in [
        ("fifo", "a fifo"),
        ("socket", "a socket"),
        ("/dev/null", "a character device"),
        ("block", "a block device"),
        ("out", "a directory"),
    ] {
        for args in [&["ls"][..], &["index", "homes"], &["migrate"], &["sql", "SELECT 1"], &["mount", "mnt"]] {
            assert_eq!(
                refused(&site, name, args),
                format!(
                    "asof: {name:?} is not a catalog of asof: {what}\n\
                     hint: nothing was changed; --catalog FILE or ASOF_CATALOG names another"
                ),
                "{args:?}"
            );
        }
    }
}

/// Makes `disk/catalog.db` with one generation of `homes` on a file system in memory.
fn catalog_on_a_disk_of_its_own(site: &Site) {
    sh(
        &site.path(""),
        "mkdir disk seen; mount -t tmpfs none disk; mkdir copies/2024-11-18; echo one > copies/2024-11-18/a",
    );
    ok(site, "disk/catalog.db", &["init"]);
    ok(site, "disk/catalog.db", &["source", "add", "nfs", "homes", "--copies", "copies"]);
    ok(site, "disk/catalog.db", &["index", "homes"]);
}

#[test]
fn on_a_read_only_file_system_readers_work_and_writers_say_why_not() {
    let site = Site::new();
    catalog_on_a_disk_of_its_own(&site);
    sh(&site.path("disk"), "cp catalog.db '%41 odd?name#.db'; mount -o remount,ro .");
    for name in ["disk/catalog.db", "disk/%41 odd?name#.db"] {
        assert_eq!(ok(&site, name, &["ls", "homes"]), "a");
        assert_eq!(ok(&site, name, &["sql", "SELECT entries FROM generations"]), "entries\n1");
        ok(&site, name, &["mount", "mnt", "--log-file", "log"]);
        assert_eq!(fs::read(site.path("mnt/homes/@latest/a")).unwrap(), b"one\n");
        ok(&site, name, &["umount", "mnt"]);
    }
    for args in
        [&["index", "homes"][..], &["source", "remove", "homes"], &["source", "add", "nfs", "x", "--copies", "copies"]]
    {
        assert_eq!(
            refused(&site, "disk/catalog.db", args),
            "asof: catalog \"disk/catalog.db\" cannot be written: its file system is read-only\n\
             hint: reading and mounting work; mount the file system writable to change anything",
            "{args:?}"
        );
    }
    let init = refused(&site, "disk/new.db", &["init"]);
    assert!(
        init.starts_with("asof: catalog \"disk/new.db\" cannot be written: its file system is read-only"),
        "{init}"
    );
}

#[test]
fn a_log_that_cannot_be_read_on_a_read_only_file_system_is_not_left_out() {
    let site = Site::new();
    catalog_on_a_disk_of_its_own(&site);
    // A generation is in the log only: something had the catalog open when this was copied.
    fs::write(
        site.path("statements"),
        "UPDATE source SET name = 'users';\n.shell mkdir log; cp catalog.db catalog.db-wal log\n",
    )
    .unwrap();
    sh(&site.path("disk"), "sqlite3 catalog.db < ../statements; test -s log/catalog.db-wal; mount -o remount,ro .");
    for args in [&["ls"][..], &["sql", "SELECT source FROM sources"], &["mount", "mnt"]] {
        assert_eq!(
            refused(&site, "disk/log/catalog.db", args),
            "asof: catalog \"disk/log/catalog.db\" cannot be read where it is: its file system is read-only, and a part of it is \
             in its log (-wal) only\n\
             hint: copy it, and its log if there is one, to where files can be made; --catalog FILE names the copy",
            "{args:?}"
        );
    }
    // As the hint says.
    sh(&site.path(""), "cp disk/log/catalog.db* out");
    assert_eq!(ok(&site, "out/catalog.db", &["ls"]), "users");
}

/// A container that is given the folder of the catalog read-only: somebody else writes it.
#[test]
fn through_a_read_only_mount_a_catalog_is_read_while_somebody_has_it_open_and_else_refused() {
    let site = Site::new();
    catalog_on_a_disk_of_its_own(&site);
    sh(&site.path(""), "mount --bind disk seen; mount -o remount,bind,ro seen");
    assert_eq!(
        refused(&site, "seen/catalog.db", &["ls"]),
        "asof: catalog \"seen/catalog.db\" cannot be read where it is: nobody has it open, and its file system, which can be written \
         elsewhere, is mounted read-only here\n\
         hint: copy it, and its log if there is one, to where files can be made; --catalog FILE names the copy"
    );
    ok(&site, "disk/catalog.db", &["mount", "mnt", "--log-file", "log"]);
    assert_eq!(ok(&site, "seen/catalog.db", &["ls"]), "homes");
    ok(&site, "disk/catalog.db", &["umount", "mnt"]);
}

#[test]
fn a_user_who_may_not_read_the_catalog_is_told_so() {
    let site = Site::new();
    site.let_everybody_pass();
    let program = site.path("asof");
    fs::copy(env!("CARGO_BIN_EXE_asof"), &program).unwrap();
    ok(&site, "catalog.db", &["init"]);
    let read = |name: &str| said(&as_nobody(&site.path(""), &format!("./asof --catalog {name} ls"))).trim().to_owned();
    assert_eq!(read("catalog.db"), "asof: opening catalog \"catalog.db\": Permission denied (os error 13)");
    // One that the admin has opened to others, while nobody else reads it.
    sh(&site.path(""), "chmod 644 catalog.db; rm -f catalog.db-*");
    assert_eq!(
        read("catalog.db"),
        "asof: catalog \"catalog.db\" cannot be read where it is: nobody has it open, and this user may not make files beside it\n\
         hint: copy it, and its log if there is one, to where files can be made; --catalog FILE names the copy"
    );
}

/// SQLite waits for a fifo, and gives what it finds to the owner of the catalog.
#[test]
fn what_has_the_name_of_a_log_and_is_none_is_refused_and_stays_whose_it_is() {
    let site = Site::with_source();
    sh(&site.path(""), "mkfifo catalog.db-journal");
    let told = said(&site.run(&["generations"], 2));
    assert!(told.contains("catalog.db-journal\" is a fifo; move it away"), "{told}");
    sh(
        &site.path(""),
        "rm catalog.db-journal; printf secret > letter; chmod 600 letter; chown 65534 catalog.db; mv letter catalog.db-wal",
    );
    for verb in [&["generations"][..], &["index"], &["mount", "mnt"]] {
        let told = said(&site.run(verb, 2));
        assert!(told.contains("catalog.db-wal\" belongs to user 0, and the catalog to user 65534"), "{told}");
    }
    assert_eq!(sh(&site.path(""), "stat -c '%u %s' catalog.db-wal"), "0 6\n");
    // A lock that root had there before is not given away either.
    sh(
        &site.path(""),
        "rm -r catalog.db-wal catalog.db.lock catalog.db-locks 2> /dev/null || true; printf secret > catalog.db.lock",
    );
    let told = said(&site.run(&["index"], 2));
    assert!(told.contains("belongs to user 0, and not to user 65534, whose catalog it is"), "{told}");
    assert_eq!(sh(&site.path(""), "stat -c %u catalog.db.lock; cat catalog.db.lock"), "0\nsecret");
}

/// > `asof init --group GROUP` lets the members of a group read the catalog, its manifests and its log.
#[test]
fn a_catalog_for_a_group_can_be_read_by_its_members_and_by_nobody_else() {
    let site = Site::new();
    site.let_everybody_pass();
    sh(
        &site.path(""),
        "mkdir -p live store copies/2026-11-20 copies/2026-11-21; touch copies/2026-11-20/a copies/2026-11-21/a",
    );
    let in_group = |groups: &str, args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--groups", groups]).arg(env!("CARGO_BIN_EXE_asof"));
        command.args(["--catalog", "store/state/catalog.db"]).args(args);
        command.current_dir(site.path("")).env("TZ", "UTC").output().expect("setpriv is installed")
    };
    let catalog = "store/state/catalog.db";
    for umask in ["000", "077"] {
        sh(
            &site.path(""),
            &format!("umask {umask}; {} --catalog {catalog} init --group 4711", env!("CARGO_BIN_EXE_asof")),
        );
        let read = |groups: &str, args: &[&str]| {
            let output = in_group(groups, args);
            (output.status.code(), said(&output))
        };
        // Nobody has it open, and the members may make no file beside it.
        assert_eq!(read("4711", &["source", "list"]).0, Some(0), "{}", read("4711", &["source", "list"]).1);
        assert_eq!(read("4712", &["source", "list"]).0, Some(2));
        ok(&site, catalog, &["source", "add", "nfs", "homes", "--copies", "copies"]);
        ok(&site, catalog, &["index", "homes"]);
        let (code, told) = read("4711", &["sql", "SELECT path FROM files WHERE source = 'homes' AND path <> ''"]);
        assert!(code == Some(0) && told.contains("a\n"), "{told}");
        ok(&site, catalog, &["mount", "mnt"]);
        ok(&site, catalog, &["forget", "homes@2026-11-20"]);
        let (code, told) = read("4711", &["generations"]);
        assert!(code == Some(0) && told.contains("2026-11-21") && !told.contains("2026-11-20"), "{told}");
        ok(&site, catalog, &["umount", "mnt"]);
        assert_eq!(read("4711", &["generations"]).0, Some(0));
        // Others than the owner hold no lock, and write nothing.
        let shown = sh(
            &site.path("store"),
            "find . -printf '%P %m %G\n' | sed -E 's/[0-9a-f]{8}-[0-9a-f-]{27}/UUID/g' | LC_ALL=C sort",
        );
        assert_eq!(shown, GROUP_FILES, "umask {umask}");
        assert_eq!(read("4711", &["init"]).0, Some(2));
        assert_eq!(read("4711", &["source", "remove", "homes", "--force"]).0, Some(2));
        sh(&site.path(""), "rm -r store; mkdir store");
    }
}

/// `-shm` and `-wal` stay, as SQLite takes them from the catalog.
const GROUP_FILES: &str = " 755 0
state 750 4711
state/catalog.db 640 4711
state/catalog.db-locks 700 0
state/catalog.db-locks/1 600 0
state/catalog.db-manifests 750 4711
state/catalog.db-manifests/UUID 750 4711
state/catalog.db-manifests/UUID/.UUID.newest 640 4711
state/catalog.db-manifests/UUID/1.manifest 640 4711
state/catalog.db-manifests/UUID/1.tombstone 640 4711
state/catalog.db-manifests/UUID/2.manifest 640 4711
state/catalog.db-shm 640 4711
state/catalog.db-wal 640 4711
state/catalog.db.lock 600 0
state/catalog.db.log 640 4711
";

#[test]
fn a_backup_is_the_catalog_of_one_moment_and_takes_the_place_of_the_one_before() {
    let site = Site::with_source();
    sh(&site.path("live"), "echo one > one");
    site.copy("2026-11-18");
    site.ok(&["index"]);
    let to = site.path("out/copy.db");
    let back_up = ["catalog", "backup", to.to_str().unwrap()];
    let told = said(&site.run(&back_up, 0));
    assert!(told.contains("copied the catalog"), "{told}");
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(dump(&site, "out/copy.db"), dump(&site, "catalog.db"));
    // The next night, while a mount reads and a run has the lock.
    site.mount(&[]);
    site.copy("2026-11-19");
    site.ok(&["index"]);
    assert_eq!(site.ok(&[&["-q"], &back_up[..]].concat()), "");
    assert_eq!(sh(&site.path("out"), "ls"), "copy.db\n");
    assert_eq!(dump(&site, "out/copy.db"), dump(&site, "catalog.db"));
    site.umount();
    let mut restored = site.asof(&["generations", "homes"]);
    let listed = restored.env("ASOF_CATALOG", &to).output().unwrap();
    assert_eq!(listed.stdout, site.run(&["generations", "homes"], 0).stdout);

    // What cannot be made leaves the one before.
    let before = fs::read(&to).unwrap();
    let full = site.path("small");
    sh(&site.path(""), "mkdir small; mount -t tmpfs -o size=200k none small");
    sh(&site.path(""), "head -c 20000 /dev/zero > small/filler");
    let told = said(&site.run(&["catalog", "backup", full.join("copy.db").to_str().unwrap()], 2));
    assert!(told.contains("No space left") || told.contains("full"), "{told}");
    assert_eq!(sh(&full, "ls"), "filler\n");
    sh(&site.path(""), "umount small");
    fs::write(site.path("out/mine"), "my letter").unwrap();
    let told = said(&site.run(&["catalog", "backup", site.path("out/mine").to_str().unwrap()], 2));
    assert!(told.contains("not a catalog") || told.contains("is no catalog"), "{told}");
    assert_eq!(fs::read_to_string(site.path("out/mine")).unwrap(), "my letter");
    let told = said(&site.run(&["catalog", "backup", site.path("catalog.db").to_str().unwrap()], 2));
    assert!(told.contains("it is the catalog itself"), "{told}");
    // A catalog that somebody is writing to is no copy that may go.
    sh(&site.path(""), "printf 'log' > out/copy.db-wal");
    let told = said(&site.run(&back_up, 2));
    assert!(told.contains("copy.db-wal"), "{told}");
    assert_eq!(fs::read(&to).unwrap(), before);
}

#[test]
fn what_is_there_already_is_opened_to_the_group_too() {
    let site = Site::with_source();
    site.let_everybody_pass();
    site.copy("2026-11-18");
    site.mount(&[]);
    sh(
        &site.path(""),
        "chgrp 65534 catalog.db; chmod 640 catalog.db; ls catalog.db-shm; [ $(stat -c %a catalog.db-shm) = 600 ]",
    );
    site.ok(&["index"]);
    let program = env!("CARGO_BIN_EXE_asof");
    let asked = as_nobody(&site.path(""), &format!("ASOF_CATALOG=$PWD/catalog.db {program} generations homes"));
    let told = said(&asked);
    site.umount();
    assert!(told.contains("2026-11-18"), "{told}");
}
