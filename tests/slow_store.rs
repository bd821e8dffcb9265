//! A store that does not answer: it delays only those who read from it, and not for ever.
//!
//! The store is the mount of another catalog whose daemon is stopped with SIGSTOP, which is what a file server that
//! died looks like. Times are compared with the timeout of the mount, which is what a call that waited for the
//! store takes; nothing here measures speed.

#[path = "common/site.rs"]
mod site;

use site::{Site, said, sh, shell};
use std::path::Path;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(2);
/// What does not wait for the store takes less.
const PROMPT: Duration = Duration::from_secs(1);

/// The daemon behind the store. Goes on when this is dropped, so that everything can be unmounted.
struct Server(u32);

impl Server {
    fn signal(&self, name: &str) {
        sh(Path::new("/"), &format!("kill -{name} {}", self.0));
    }

    /// Returns once every thread of it stands still.
    fn stop(&self) {
        self.signal("STOP");
        site::wait_until("the server has stopped", || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0)).expect("it is there");
            tasks.flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
            })
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal("CONT");
    }
}

/// Dropped in this order: the server goes on, the mount over it is taken away, then the store's.
struct World {
    server: Server,
    site: Site,
    _store: Site,
}

/// A site with two sources: `near` on a plain disk, `far` in a store whose server can be stopped. Each has the
/// files `one`, `two`, `large` (3 MiB), `dir/three` and a link.
fn world() -> World {
    world_with("true")
}

/// Does the same; `script` makes further files.
fn world_with(script: &str) -> World {
    let store = Site::with_source();
    let fill = "mkdir dir; printf 1 > one; printf 2 > two; printf 3 > dir/three; ln -s one link
        head -c 3M /dev/zero | tr '\\0' x > large";
    sh(&store.path("live"), fill);
    sh(&store.path("live"), script);
    store.copy("2026-11-20");
    store.ok(&["index", "homes"]);
    let server = Server(store.mount_process(&[]));
    let site = Site::new();
    site.ok(&["init"]);
    sh(&site.path("copies"), &format!("mkdir 2026-11-20; cd 2026-11-20; {fill}"));
    for (name, copies) in [("near", "copies"), ("far", "out")] {
        site.ok(&["source", "add", "nfs", name, "--copies", copies]);
    }
    // Only now: what a mount of asof shows is refused as a folder of copies.
    let far = store.path("mnt/homes");
    sh(&site.path(""), &format!("mount --bind {} out", far.to_str().expect("a plain path")));
    for name in ["near", "far"] {
        site.ok(&["index", name]);
    }
    World { server, site, _store: store }
}

/// Runs a script and returns what it said and how long it took.
fn timed(dir: &Path, script: &str) -> (String, Duration) {
    let began = Instant::now();
    let output = shell(dir, script);
    (said(&output), began.elapsed())
}

fn assert_prompt(dir: &Path, script: &str, expected: &str) {
    let (told, took) = timed(dir, script);
    assert_eq!(told, format!("{expected}\n"), "{script}");
    assert!(took < PROMPT, "{script} took {took:?}");
}

fn assert_hangs_until_the_timeout(dir: &Path, script: &str) {
    let (told, took) = timed(dir, script);
    assert!(told.contains("Input/output error"), "{script}: {told}");
    assert!(took >= TIMEOUT && took < 4 * TIMEOUT, "{script} took {took:?}");
}

/// > A store that hangs (a dead NFS server) delays only reads from it, and those get EIO after 30 s (`-o store_timeout=SECONDS`).
/// > Listings come from the catalog and never wait.
#[test]
fn a_hung_store_delays_only_its_own_readers_and_they_get_an_error_in_time() {
    let world = world();
    let mount = world.site.mount(&["store_timeout=2"]);
    world.server.stop();

    assert_hangs_until_the_timeout(&mount, "cat far/@latest/one");

    // While somebody waits for the store, everybody else goes on.
    let view = mount.clone();
    let waiting = std::thread::spawn(move || assert_hangs_until_the_timeout(&view, "cat @latest/far/large"));
    std::thread::yield_now();
    assert_prompt(&mount, "ls", "@2026-11-20T000000Z\nfar\nnear\n");
    assert_prompt(&mount, "ls far far/@latest/ @latest/far/dir", {
        "@latest/far/dir:\nthree\n\nfar:\n@2026-11-20T000000Z\n\nfar/@latest/:\ndir\nlarge\nlink\none\ntwo\n"
    });
    assert_prompt(&mount, "stat -c %s far/@latest/large; readlink far/@latest/link", "3145728\none\n");
    assert_prompt(&mount, "find @latest -type f | wc -l", "8\n");
    assert_prompt(&mount, "cat near/@latest/one near/@latest/dir/three @latest/near/two", "132");
    assert_prompt(&mount, "cat near/@latest/large | wc -c", "3145728\n");
    assert_prompt(&mount, "wc -l < .asof/sources", "2\n");
    waiting.join().expect("it was an error in time");

    let log = world.site.log();
    let late = "read of \"far/one\" as of 2026-11-20T00:00:00Z: its store gave no answer within 2 s";
    assert!(log.contains(late), "{log}");

    drop(world.server);
    site::wait_until("reads come through again", || {
        shell(&mount, "cat far/@latest/one far/@latest/dir/three").stdout == b"13"
    });
    assert_eq!(sh(&mount, "cat @latest/far/large | wc -c"), "3145728\n");
    world.site.umount();
}

#[test]
fn many_readers_of_a_hung_store_do_not_keep_others_from_theirs() {
    let world = world();
    let mount = world.site.mount(&["store_timeout=2"]);
    world.server.stop();
    // More than there are threads for a store; each from another place, so that each asks for itself.
    let readers: Vec<_> = (0..24)
        .map(|reader| {
            let mount = mount.clone();
            std::thread::spawn(move || timed(&mount, &format!("dd if=far/@latest/large bs=64k skip={reader} count=1")))
        })
        .collect();
    std::thread::yield_now();
    assert_prompt(&mount, "cat near/@latest/one; ls -l far/@latest/ | wc -l", "16\n");
    for reader in readers {
        let (told, took) = reader.join().expect("it ends");
        assert!(told.contains("Input/output error"), "{told}");
        assert!(took < 4 * TIMEOUT, "took {took:?}");
    }
    // All threads of the store hang: who comes now need not wait to learn it.
    assert_prompt(&mount, "cat near/@latest/two", "2");
    let (told, took) = timed(&mount, "cat far/@latest/two");
    assert!(told.contains("Input/output error") && took < 4 * TIMEOUT, "{told} after {took:?}");
    drop(world.server);
    site::wait_until("reads come through again", || shell(&mount, "cat far/@latest/two").stdout == b"2");
    world.site.umount();
}

#[test]
fn more_than_a_thousand_reads_that_hang_leave_other_stores_alone_and_are_answered_when_the_store_is_back() {
    let world = world_with("mkdir many; for n in $(seq 1200); do echo $n > many/$n; done");
    let mount = world.site.mount(&["store_timeout=100", "no_store_ahead"]);
    sh(
        &mount,
        "ls -lR far/@latest/many near/@latest > /dev/null; mkdir ../connections; mount -t fusectl none ../connections",
    );
    world.server.stop();
    let readers: Vec<_> = (1..=1200)
        .map(|n| {
            let file = mount.join(format!("far/@latest/many/{n}"));
            let read = move || std::fs::read_to_string(file).expect("it can be read in the end");
            std::thread::Builder::new().stack_size(1 << 17).spawn(read).expect("a thread")
        })
        .collect();
    let minor = sh(&mount, "stat -c %Ld .").trim().to_owned();
    let waiting = world.site.path("connections").join(minor).join("waiting");
    site::wait_until("all of them hang", || {
        std::fs::read_to_string(&waiting).expect("a connection").trim().parse::<u32>().expect("a number") >= 1200
    });
    let near = shell(&mount, "timeout 10 cat near/@latest/large near/@latest/one | wc -c");
    assert_eq!(said(&near), "3145729\n\n");
    drop(world.server);
    for (n, reader) in (1..).zip(readers) {
        assert_eq!(reader.join().expect("it was read"), format!("{n}\n"));
    }
    sh(&world.site.path(""), "umount connections");
    world.site.umount();
}

#[test]
fn opening_by_the_kernel_itself_does_not_hang_either() {
    let world = world();
    let mount = world.site.mount(&["passthrough,store_timeout=2"]);
    world.server.stop();
    assert_hangs_until_the_timeout(&mount, "cat far/@latest/one");
    assert_prompt(&mount, "cat near/@latest/one near/@latest/dir/three", "13");
    assert_prompt(&mount, "ls far/@latest/", "dir\nlarge\nlink\none\ntwo\n");
    drop(world.server);
    site::wait_until("reads come through again", || shell(&mount, "cat far/@latest/one").stdout == b"1");
    world.site.umount();
}

#[test]
fn a_mount_over_a_hung_store_can_be_unmounted_and_ends() {
    let world = world();
    let process = world.site.mount_process(&["store_timeout=2"]);
    let mount = world.site.path("mnt");
    world.server.stop();
    assert_hangs_until_the_timeout(&mount, "cat far/@latest/one");
    let (told, took) = timed(&world.site.path(""), "umount mnt; ls mnt");
    assert_eq!(told, "\n");
    assert!(took < TIMEOUT, "took {took:?}");
    let stat = format!("/proc/{process}/stat");
    let has_ended = || {
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.starts_with(" Z"))
    };
    // The thread that waits inside the store cannot be ended before the store lets it go: a rule of the kernel.
    drop(world.server);
    site::wait_until("the daemon has ended", has_ended);
}
