//! Locks between threads, each with a file of its own as another process has one, and what holders leave in them.
//! What only whole processes show is in `tests/locks.rs`.

use super::*;
use crate::catalog::{NewSource, Reader, Writer};
use crate::model::SourceKind;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::channel;

const LONG: Duration = Duration::from_secs(600);
const SINCE: Time = Time(1_763_604_000);

/// A catalog with one source, `homes`.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        Writer::create(&world.catalog()).unwrap();
        let new = NewSource {
            name: "homes",
            kind: SourceKind::Nfs,
            settings: "{}",
            rule: crate::model::Rule::COPIES,
            added_at: SINCE,
        };
        Writer::open(&world.catalog()).unwrap().add_source(&new).unwrap();
        world
    }

    fn catalog(&self) -> PathBuf {
        self.folder.path().join("catalog.db")
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.path().join("catalog.db.lock")
    }

    fn source(&self) -> SourceRow {
        Reader::open(&self.catalog()).unwrap().source("homes").unwrap()
    }

    /// Holds the catalog's lock as something that is no asof does, with `text` in it.
    fn held_by_another(&self, text: &[u8]) -> File {
        let file = File::options().write(true).create(true).truncate(true).open(self.lock_path()).unwrap();
        file.lock().unwrap();
        file.write_all_at(text, 0).unwrap();
        file
    }

    /// Returns what is said of the holder when the lock is refused.
    fn refusal(&self) -> String {
        CatalogLock::acquire(&self.catalog(), &LockWait::refuse("ls")).err().expect("it is locked").to_string()
    }
}

fn waiting(verb: &str) -> LockWait<'_> {
    LockWait { wait: LONG, verb, now: Some(SINCE), report: &|_| () }
}

#[test]
fn a_refusal_names_process_verb_and_since_when() {
    let world = World::new();
    let (pid, catalog) = (std::process::id(), world.catalog());
    let lock = CatalogLock::acquire(&catalog, &waiting("index homes")).unwrap();
    let says = |about: &str| format!("catalog {catalog:?} is being written by process {pid}{about}");
    assert_eq!(world.refusal(), says(" (asof index homes, since 2025-11-20T02:00:00Z)"));
    drop(lock);
    let source = world.source();
    let lock = SourceLock::acquire(&catalog, &source, &waiting("take homes")).unwrap();
    let refused = SourceLock::acquire(&catalog, &source, &LockWait::refuse("index homes")).err().unwrap();
    assert_eq!(
        refused.to_string(),
        format!("source \"homes\" is in use by process {pid} (asof take homes, since 2025-11-20T02:00:00Z)")
    );
    drop(lock);
    let _writer = Writer::open(&catalog).unwrap();
    assert_eq!(world.refusal(), says(""));
}

#[test]
fn a_holder_that_is_not_there_any_more_is_not_named_by_its_number() {
    let world = World::new();
    let us = Identity::of_us().unwrap();
    let told = |identity: Identity| {
        let _held = world.held_by_another(format!("{}\n", line(identity, "index homes", None)).as_bytes());
        let text = world.refusal();
        text.split_once(" is being written by ").expect("a holder").1.to_owned()
    };
    assert_eq!(told(us), format!("process {} (asof index homes)", us.pid));
    let of_another_start = Identity { start: us.start + 1, ..us };
    assert_eq!(told(of_another_start), "a process that ended (asof index homes)");
    // Numbers go up to 2^22 (pid_max, proc_sys_kernel(5)).
    let never = Identity { pid: (1 << 22) + 1, ..us };
    assert_eq!(told(never), "a process that ended (asof index homes)");
    let elsewhere = Identity { namespace: us.namespace + 1, pid: 7, ..us };
    assert_eq!(told(elsewhere), "process 7 of another container (asof index homes)");
}

#[test]
fn a_lock_that_tells_nothing_is_held_by_nobody_who_has_a_name() {
    let world = World::new();
    let whole = line(Identity::of_us().unwrap(), "index homes", Some(SINCE));
    let cut = &whole[..whole.find("verb").unwrap()];
    for text in ["", "4711\n", "pid=x start=1 ns=1 since= verb=\n", cut, &whole] {
        let _held = world.held_by_another(text.as_bytes());
        assert_eq!(
            world.refusal(),
            format!("catalog {:?} is being written by a process that the lock does not name", world.catalog()),
            "{text:?}"
        );
    }
}

#[test]
fn what_a_verb_holds_cannot_act_on_a_terminal_or_hide_who_runs_it() {
    let world = World::new();
    for verb in ["source add \u{1b}[2J\n\nx", &format!("index {}", "é".repeat(LINE_BYTES))] {
        let _lock = CatalogLock::acquire(&world.catalog(), &waiting(verb)).unwrap();
        let text = world.refusal();
        assert!(text.contains(&format!("by process {} (asof ", std::process::id())), "{text}");
        assert!(!text.chars().any(char::is_control), "{text}");
    }
}

#[test]
fn a_lock_that_was_let_go_names_nobody() {
    let world = World::new();
    drop(CatalogLock::acquire(&world.catalog(), &waiting("index homes")).unwrap());
    assert_eq!(std::fs::read_to_string(world.lock_path()).unwrap().trim(), "");
}

#[test]
fn whoever_waits_is_told_once_for_whom_and_an_error_names_the_holder_after_the_wait() {
    let world = World::new();
    let _lock = CatalogLock::acquire(&world.catalog(), &waiting("index homes")).unwrap();
    let told = Mutex::new(Vec::new());
    let report = |busy: &Busy| told.lock().unwrap().push(busy.to_string());
    let how = LockWait { wait: REPORT_AFTER + Duration::from_millis(200), report: &report, ..waiting("take homes") };
    let error = CatalogLock::acquire(&world.catalog(), &how).err().expect("it is locked").to_string();
    let busy = world.refusal();
    assert_eq!(error, format!("{busy}, also after a wait of 1 s"));
    assert_eq!(told.into_inner().unwrap(), [busy]);
}

#[test]
fn a_lock_that_is_let_go_and_taken_again_goes_first_to_those_who_wait() {
    let world = World::new();
    let catalog = world.catalog();
    let ours = CatalogLockFile::open(&catalog).unwrap();
    let lock = ours.lock(&waiting("index homes")).unwrap();
    let (sender, had_it) = channel();
    let theirs = thread::spawn({
        let (catalog, sender) = (catalog.clone(), sender.clone());
        move || {
            let _lock = CatalogLock::acquire(&catalog, &waiting("index web")).unwrap();
            sender.send("they").unwrap();
        }
    });
    // Whoever waits holds the turn.
    let probe = File::options().read(true).write(true).open(world.lock_path()).unwrap();
    while lock::try_lock_byte(&probe).unwrap() {
        lock::unlock_byte(&probe).unwrap();
        thread::yield_now();
    }
    drop(lock);
    let _lock = ours.lock(&waiting("index homes")).unwrap();
    sender.send("we").unwrap();
    assert_eq!([had_it.recv().unwrap(), had_it.recv().unwrap()], ["they", "we"]);
    theirs.join().unwrap();
}

#[test]
fn sources_are_locked_one_by_one_and_by_all_names_of_the_catalog() {
    let world = World::new();
    let homes = world.source();
    let web = SourceRow { id: crate::model::SourceId(homes.id.0 + 1), name: "web".to_owned(), ..homes.clone() };
    let _homes = SourceLock::acquire(&world.catalog(), &homes, &LockWait::refuse("")).unwrap();
    let _web = SourceLock::acquire(&world.catalog(), &web, &LockWait::refuse("")).unwrap();
    let link = world.folder.path().join("link.db");
    std::os::unix::fs::symlink("catalog.db", &link).unwrap();
    assert!(SourceLock::acquire(&link, &homes, &LockWait::refuse("")).is_err());
    let _catalog = CatalogLock::acquire(&link, &LockWait::refuse("")).unwrap();
    assert!(CatalogLock::acquire(&world.catalog(), &LockWait::refuse("")).is_err());
}

#[test]
fn locks_are_closed_to_others_and_so_are_those_that_an_older_program_left_open() {
    let world = World::new();
    std::fs::set_permissions(world.lock_path(), PermissionsExt::from_mode(0o644)).unwrap();
    drop(SourceLock::acquire(&world.catalog(), &world.source(), &LockWait::refuse("")).unwrap());
    drop(CatalogLock::acquire(&world.catalog(), &LockWait::refuse("")).unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    let folder = world.folder.path().join("catalog.db-locks");
    assert_eq!([world.lock_path(), folder.clone(), folder.join("1")].map(|path| mode(&path)), [0o600, 0o700, 0o600]);
}

#[test]
fn whoever_waited_for_a_source_that_was_removed_locks_a_new_file() {
    let world = World::new();
    let (catalog, source) = (world.catalog(), world.source());
    let lock = SourceLock::acquire(&catalog, &source, &LockWait::refuse("")).unwrap();
    let waiter = thread::spawn({
        let (catalog, source) = (catalog.clone(), source.clone());
        move || SourceLock::acquire(&catalog, &source, &waiting("index homes")).map(drop)
    });
    let path = world.folder.path().join("catalog.db-locks/1");
    let probe = File::options().read(true).write(true).open(&path).unwrap();
    while lock::try_lock_byte(&probe).unwrap() {
        lock::unlock_byte(&probe).unwrap();
        thread::yield_now();
    }
    lock.remove();
    waiter.join().unwrap().unwrap();
    assert!(path.exists() && !lock::is_still_at(&probe, &path).unwrap());
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "a source is locked before its catalog")]
fn a_source_is_never_locked_after_the_catalog() {
    let world = World::new();
    let source = world.source();
    let _catalog = CatalogLock::acquire(&world.catalog(), &LockWait::refuse("")).unwrap();
    let _source = SourceLock::acquire(&world.catalog(), &source, &LockWait::refuse(""));
}

#[test]
#[should_panic(expected = "is locked twice")]
fn a_lock_is_not_taken_twice_through_one_file() {
    let world = World::new();
    let file = CatalogLockFile::open(&world.catalog()).unwrap();
    let _lock = file.lock(&LockWait::refuse("")).unwrap();
    let _again = file.lock(&LockWait::refuse(""));
}
