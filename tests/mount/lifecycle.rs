//! A mount from its beginning to its end: how it is made and ended, and what becomes of it when the catalog grows.

use crate::site::{Site, as_nobody, said, sh, shell, wait_until};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A site with one generation for each of `days` of November 2026, whose file `day` holds its day.
fn site_with_days(days: &[&str]) -> Site {
    let site = Site::with_source();
    days.iter().for_each(|day| add_day(&site, day));
    site.ok(&["index", "homes"]);
    site
}

fn add_day(site: &Site, day: &str) {
    sh(&site.path("live"), &format!("printf {day} > day"));
    site.copy(&format!("2026-11-{day}"));
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{dir:?}: {e}"))
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .collect();
    names.sort();
    names
}

fn mount_line(dir: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc");
    let own = mounts.lines().filter(|line| line.split(' ').nth(1) == dir.to_str());
    own.collect::<Vec<_>>().join("\n")
}

/// A shell that stays inside a directory and runs a line at a time.
pub(crate) struct Insider {
    shell: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Insider {
    pub(crate) fn new(dir: &Path) -> Self {
        let mut shell = Command::new("bash")
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let lines = BufReader::new(shell.stdout.take().expect("a pipe")).lines();
        Self { shell, lines }
    }

    /// Runs a command that tells one line.
    pub(crate) fn tells(&mut self, command: &str) -> String {
        let stdin = self.shell.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "echo $({command} 2>&1)").expect("bash reads");
        self.lines.next().expect("bash answers").expect("text")
    }
}

impl Drop for Insider {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

#[test]
fn any_date_leads_to_the_newest_generation_by_then() {
    let site = site_with_days(&["17", "19", "20"]);
    let mount = site.mount(&[]);
    let dates = [
        ("@2026-11-17T000000Z", "17"),
        ("@2026-11-17", "17"),
        ("@2026-11-18", "17"),
        ("@2026-11-18T23:59:59Z", "17"),
        ("@2026-11-19", "19"),
        ("@2026-11-19T00:00", "19"),
        ("@2026-11-20T01:00:00+02:00", "19"),
        ("@1795046400", "19"),
        ("@2026-W47", "20"),
        ("@2026-11", "20"),
        ("@2026", "20"),
        ("@latest", "20"),
        ("@oldest", "17"),
    ];
    for (date, day) in dates {
        assert_eq!(read(&mount.join(date).join("homes/day")), day, "{date}");
        assert_eq!(read(&mount.join("homes").join(date).join("day")), day, "{date}");
    }
    let listed = ["@2026-11-17T000000Z", "@2026-11-19T000000Z", "@2026-11-20T000000Z"];
    assert_eq!(names(&mount), [".asof"].into_iter().chain(listed).chain(["homes"]).collect::<Vec<_>>());
    assert_eq!(names(&mount.join("homes")), listed);
    for not_there in ["@2026-11-16", "@2026-13-01", "@2026-11-31", "@soon", "@", "2026-11-20", "latest", "@2026-11-20x"]
    {
        for dir in [mount.clone(), mount.join("homes")] {
            let error = std::fs::metadata(dir.join(not_there)).expect_err(not_there);
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{not_there}");
        }
    }
    site.umount();
}

#[test]
fn a_source_without_a_generation_by_then_is_not_there_and_asof_absent_says_why() {
    let site = site_with_days(&["18", "20"]);
    sh(&site.path(""), "mkdir -p more/2026-11-19 none; printf m > more/2026-11-19/file");
    for (name, copies) in [("late", "more"), ("empty", "none")] {
        let copies = site.path(copies);
        site.ok(&["source", "add", "nfs", name, "--copies", copies.to_str().expect("a plain path")]);
    }
    site.ok(&["index", "late"]);
    let mount = site.mount(&[]);
    let sources = |view: &str| names(&mount.join(view));
    assert_eq!(sources("@2026-11-18"), ["homes"]);
    assert_eq!(sources("@2026-11-19"), ["homes", "late"]);
    assert_eq!(sources("@2026-11-20"), ["homes", "late"]);
    let missing = std::fs::metadata(mount.join("@2026-11-18/late")).expect_err("it is not there");
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(
        read(&mount.join("@2026-11-18/.asof/absent")),
        "source=empty\twhy=no generation yet\tabsent_before=none\n\
         source=late\twhy=no generation by then\tabsent_before=2026-11-19T00:00:00Z\n"
    );
    assert_eq!(
        read(&mount.join("@2026-11-19/.asof/absent")),
        "source=empty\twhy=no generation yet\tabsent_before=none\n"
    );
    let listed = sh(&mount.join(".asof"), "cat absent.json");
    assert!(listed.contains("\"late\"") && listed.contains("\"empty\""), "{listed}");
    site.umount();
}

/// mount(8) hands its work to /sbin/mount.fuse3, which finds `asof` in the usual folders only, whatever PATH says: so
/// the program is put there, in a mount namespace that only this test sees.
#[test]
fn mount_8_and_a_line_of_fstab_mount_a_catalog() {
    let site = site_with_days(&["20"]);
    let (catalog, dir) = (site.path("catalog.db"), site.path("mnt"));
    let (catalog, dir) = (catalog.display(), dir.display());
    let installed = |script: &str| {
        let program = env!("CARGO_BIN_EXE_asof");
        let install =
            format!("mkdir -p bin; cp --remove-destination {program} bin/asof; mount --bind bin /usr/local/sbin");
        let script = format!("set -euo pipefail; {install}; {script}");
        let output = Command::new("unshare")
            .args(["--mount", "bash", "-c", &script])
            .current_dir(site.path(""))
            .env("TZ", "UTC")
            .output()
            .expect("unshare is installed");
        assert!(output.status.success(), "{script}\n{}", said(&output));
        String::from_utf8(output.stdout).expect("text")
    };
    let look =
        format!("cat {dir}/homes/@latest/day; echo; grep ' {dir} ' /proc/self/mounts; umount {dir}; ls {dir} | wc -l");
    let expected = format!(
        "20\n{catalog} {dir} fuse.asof ro,nosuid,nodev,relatime,user_id=0,group_id=0,default_permissions,allow_other 0 0\n0\n"
    );
    // As an admin may write it; what weakens the mount has no effect.
    let told = installed(&format!("mount -t fuse.asof {catalog} {dir} -o rw,suid,dev,nofail,store_timeout=3; {look}"));
    assert_eq!(told, expected);
    let line = format!("{catalog} {dir} fuse.asof ro,noauto,nofail,_netdev,x-systemd.automount,passthrough 0 0");
    let told = installed(&format!("echo '{line}' > fstab; mount -T fstab {dir}; {look}"));
    assert_eq!(told, expected);
    assert!(site.log().contains("passthrough"), "{}", site.log());
    // Where it is installed elsewhere, its path goes before the catalog.
    let program = env!("CARGO_BIN_EXE_asof");
    let told = sh(&site.path(""), &format!("mount -t fuse {program}#{catalog} {dir}; {look}"));
    assert_eq!(told, expected);
    let refused = shell(&site.path(""), &format!("mount -t fuse {program}#{catalog} {dir} -o sync_everything"));
    assert!(!refused.status.success());
    assert!(said(&refused).contains("asof: mount option \"sync_everything\" is not known"), "{}", said(&refused));
}

#[test]
fn umount_8_ends_the_mount_and_its_daemon() {
    let site = site_with_days(&["20"]);
    let process = site.mount_process(&[]);
    sh(&site.path(""), "umount mnt");
    wait_until("the daemon has ended", || !is_running(process));
    assert_eq!(names(&site.path("mnt")), Vec::<String>::new());
}

#[test]
fn sigterm_unmounts() {
    let site = site_with_days(&["20"]);
    let process = site.mount_process(&[]);
    assert_eq!(read(&site.path("mnt/homes/@latest/day")), "20");
    sh(&site.path(""), &format!("kill {process}"));
    wait_until("the daemon has ended", || !is_running(process));
    assert_eq!(mount_line(&site.path("mnt")), "");
}

#[test]
fn the_daemon_of_a_mount_that_hangs_is_named_when_it_was_unmounted_and_nothing_is_called_done() {
    let site = site_with_days(&["20"]);
    let process = site.mount_process(&[]);
    assert_eq!(read(&site.path("mnt/homes/@latest/day")), "20");
    sh(&site.path(""), &format!("kill -STOP {process}"));
    let told = said(&site.run(&["umount", "mnt"], 1));
    sh(&site.path(""), &format!("kill -CONT {process}"));
    assert!(told.contains(&format!("a daemon of its catalog (process {process}) does not answer")), "{told}");
    wait_until("the daemon has ended", || !is_running(process));
}

/// A daemon that hangs holds up nobody but those who mean its mount.
#[test]
fn umount_does_not_wait_for_the_daemons_of_other_catalogs() {
    let (site, other) = (site_with_days(&["20"]), site_with_days(&["20"]));
    let (ours, hangs) = (site.mount_process(&[]), other.mount_process(&[]));
    sh(&other.path(""), &format!("kill -STOP {hangs}"));
    let began = std::time::Instant::now();
    site.umount();
    let took = began.elapsed();
    sh(&other.path(""), &format!("kill -CONT {hangs}"));
    assert!(!is_running(ours), "umount waits for the end of its own daemon");
    // It would be waited for 5 s.
    assert!(took < std::time::Duration::from_secs(4), "it took {took:?}");
    other.umount();
}

/// A process that nobody has waited for yet is a zombie, and has ended.
pub(crate) fn is_running(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[test]
fn a_mount_whose_daemon_was_killed_is_cleared_by_the_next_mount_and_by_umount() {
    let site = site_with_days(&["20"]);
    let dir = site.path("mnt");
    let killed = || {
        let process = site.mount_process(&[]);
        sh(&site.path(""), &format!("kill -9 {process}"));
        wait_until("the kernel has noticed", || {
            said(&shell(&site.path(""), "stat -f mnt")).contains("endpoint is not connected")
        });
    };
    killed();
    site.mount(&[]);
    assert_eq!(read(&dir.join("homes/@latest/day")), "20");
    assert_eq!(mount_line(&dir).lines().count(), 1, "nothing lies under it");
    site.umount();
    killed();
    site.umount();
    assert_eq!(mount_line(&dir), "");
}

#[test]
fn what_is_published_is_shown_when_index_returns_and_a_daemon_that_hangs_is_named() {
    let site = site_with_days(&["10"]);
    let process = site.mount_process(&[]);
    let latest = site.path("mnt/homes/@latest/day");
    for day in 11..21 {
        add_day(&site, &day.to_string());
        site.ok(&["index", "homes"]);
        assert_eq!(read(&latest), day.to_string());
    }
    site.ok(&["forget", "homes@2026-11-20"]);
    assert_eq!(read(&latest), "19");
    sh(&site.path(""), &format!("kill -STOP {process}"));
    add_day(&site, "21");
    let told = site.run(&["index", "homes"], 1);
    sh(&site.path(""), &format!("kill -CONT {process}"));
    let expected = format!("a mount of the catalog (process {process}) does not answer");
    assert!(said(&told).contains(&expected), "{}", said(&told));
    wait_until("it shows it", || read(&latest) == "21");
    site.umount();
}

#[test]
fn a_daemon_keeps_nothing_of_its_caller_and_umount_waits_for_its_end() {
    let site = site_with_days(&["20"]);
    let program = env!("CARGO_BIN_EXE_asof");
    let catalog = site.path("catalog.db");
    sh(
        &site.path(""),
        &format!(
            "mkdir disk; mount -t tmpfs none disk; top=$PWD; \
             (cd disk; flock -n 9; {program} --catalog {} mount $top/mnt --log-file ../log) 9> lock; \
             flock -n lock true; umount disk; test -f log",
            catalog.display()
        ),
    );
    let process = sh(&site.path(""), "pgrep -f -- \"$PWD/mnt --foreground\"");
    site.umount();
    assert!(!is_running(process.trim().parse().expect("one process")), "{process}");
}

#[test]
fn a_log_that_was_moved_away_is_left_at_sighup_and_a_link_is_not_followed() {
    let site = site_with_days(&["20"]);
    let process = site.mount_process(&[]);
    sh(&site.path(""), "rm -r copies/2026-11-20; mv catalog.db.log old.log");
    let fails = || assert!(!shell(&site.path(""), "cat mnt/homes/@2026-11-20/day").status.success());
    fails();
    let old = || read(&site.path("old.log"));
    assert!(old().contains("day"), "{}", old());
    let before = old();
    sh(&site.path(""), &format!("kill -HUP {process}"));
    wait_until("it has the new one", || site.path("catalog.db.log").exists());
    fails();
    assert!(site.log().contains("day"), "{}", site.log());
    assert_eq!(old(), before);
    // What any user can do as often as he likes.
    sh(&site.path(""), "for n in $(seq 3000); do read -r line < mnt/homes/@2026-11-20/day; done 2> /dev/null || true");
    let lines = site.log().lines().count();
    assert!((50..70).contains(&lines), "{lines} lines:\n{}", site.log());
    assert!(site.log().contains("more lines as the one before are left out for a minute"), "{}", site.log());
    site.umount();
    // What somebody else put there is not written to, and keeps nothing from being mounted.
    for (plant, why) in [
        ("printf kept > else; ln -s else catalog.db.log", "is a symbolic link"),
        ("printf kept > catalog.db.log; chmod 666 catalog.db.log; chown 65534 catalog.db.log", "belongs to user 65534"),
        ("printf kept > else; ln else catalog.db.log", "has another name"),
        ("mkfifo catalog.db.log", "is a fifo"),
        ("mkdir catalog.db.log", "is a directory"),
    ] {
        sh(&site.path(""), &format!("rm -rf catalog.db.log else; {plant}"));
        let told = said(&site.run(&["mount", "mnt"], 0));
        let expected = format!(
            "no log is kept: cannot open the log {:?}: it {why}; move it away if it is not yours\nhint: --log-file FILE has it written elsewhere\n",
            site.path("catalog.db.log")
        );
        assert!(told.contains(&expected) && told.contains(", no log)\n"), "{told}");
        fails();
        site.umount();
        assert_eq!(
            sh(&site.path(""), "find else catalog.db.log -type f -exec cat {} + 2> /dev/null || true")
                .replace("kept", ""),
            ""
        );
    }
    sh(&site.path(""), "rm -r catalog.db.log; touch catalog.db.log; chmod 666 catalog.db.log");
    site.ok(&["mount", "mnt"]);
    assert_eq!(sh(&site.path(""), "stat -c %a catalog.db.log"), "640\n");
    site.umount();
}

#[test]
fn what_cannot_be_mounted_on_is_left_alone_with_the_reason() {
    let site = site_with_days(&["20"]);
    sh(&site.path(""), "mkdir full; printf kept > full/file; ln -s mnt link");
    let path = |name: &str| site.path(name).display().to_string();
    assert_eq!(told_by_mount(&site, "full"), format!("asof: mount point \"{}\" is not empty\n", path("full")));
    assert_eq!(told_by_mount(&site, "missing"), {
        format!("asof: mount point \"{0}\" does not exist\nhint: mkdir {0}\n", path("missing"))
    });
    assert_eq!(told_by_mount(&site, "full/file"), {
        format!("asof: mount point \"{}\" is not a directory\n", path("full/file"))
    });
    site.mount(&[]);
    let twice = format!(
        "asof: catalog \"{}\" is already mounted at \"{1}\"\nhint: asof umount {1} ends that mount\n",
        path("catalog.db"),
        path("mnt")
    );
    assert_eq!(told_by_mount(&site, "mnt"), twice);
    let link = format!("asof: \"{}\" is a symbolic link to \"mnt\"\nhint: name the directory itself\n", path("link"));
    assert_eq!(told_by_mount(&site, "link"), link);
    assert_eq!(read(&site.path("mnt/homes/@latest/day")), "20");
    site.umount();
    let not_mounted = site.run(&["umount", "mnt"], 2);
    assert_eq!(said(&not_mounted), format!("\nasof: no catalog is mounted at \"{}\"\n", path("mnt")));
    assert_eq!(read(&site.path("full/file")), "kept");
}

fn told_by_mount(site: &Site, dir: &str) -> String {
    String::from_utf8(site.run(&["mount", dir], 2).stderr).expect("text")
}

#[test]
fn a_mount_in_use_is_not_taken_away_unless_it_is_asked_for() {
    let site = site_with_days(&["20"]);
    let mount = site.mount(&[]);
    let mut insider = Insider::new(&mount.join("homes/@latest"));
    let refused = said(&site.run(&["umount", "mnt"], 2));
    assert!(refused.contains(&format!("asof: {mount:?} is in use\nhint: ")), "{refused}");
    assert_eq!(insider.tells("cat day"), "20");
    site.ok(&["umount", "--lazy", "mnt"]);
    assert_eq!(mount_line(&mount), "");
    assert_eq!(insider.tells("cat day"), "20");
}

#[test]
fn a_new_generation_appears_in_a_live_mount_and_a_reader_inside_an_old_one_goes_on() {
    let site = site_with_days(&["18"]);
    let mount = site.mount(&[]);
    let mut insider = Insider::new(&mount.join("@latest/homes"));
    assert_eq!(insider.tells("cat day"), "18");
    assert_eq!(read(&mount.join("homes/@latest/day")), "18");
    assert_eq!(names(&mount.join("homes")), ["@2026-11-18T000000Z"]);

    add_day(&site, "19");
    site.ok(&["index", "homes"]);

    wait_until("@latest leads to the new one", || read(&mount.join("homes/@latest/day")) == "19");
    wait_until("so it does at the top", || read(&mount.join("@latest/homes/day")) == "19");
    assert_eq!(names(&mount.join("homes")), ["@2026-11-18T000000Z", "@2026-11-19T000000Z"]);
    assert_eq!(names(&mount), [".asof", "@2026-11-18T000000Z", "@2026-11-19T000000Z", "homes"]);
    assert_eq!(insider.tells("cat day"), "18");
    assert_eq!(insider.tells("ls"), "day");
    assert_eq!(read(&mount.join("homes/@2026-11-18T000000Z/day")), "18");
    site.umount_when_left(insider);
}

/// `db` has a generation of the 20th; what the view of that instant shows of `homes` changes when a generation of the
/// 19th is indexed late.
#[test]
fn a_generation_that_is_indexed_late_is_seen_wherever_it_is_the_newest_by_then() {
    let site = site_with_days(&["18", "21"]);
    sh(&site.path(""), "mkdir -p db/2026-11-20; printf d > db/2026-11-20/file");
    site.ok(&["source", "add", "nfs", "db", "--copies", site.path("db").to_str().expect("a plain path")]);
    site.ok(&["index", "db"]);
    let mount = site.mount(&[]);
    let day = |path: &str| read(&mount.join(path));
    assert_eq!(day("@2026-11-20T000000Z/homes/day"), "18");
    assert_eq!(day("@2026-11-20/homes/day"), "18");
    assert_eq!(day("homes/@2026-11-19/day"), "18");
    let mut insider = Insider::new(&mount.join("@2026-11-20T000000Z/homes"));

    add_day(&site, "19");
    site.ok(&["index", "homes"]);

    for path in
        ["@2026-11-20T000000Z/homes/day", "@2026-11-20/homes/day", "homes/@2026-11-19/day", "@2026-11-19/homes/day"]
    {
        wait_until(path, || day(path) == "19");
    }
    assert_eq!(names(&mount.join("homes")), ["@2026-11-18T000000Z", "@2026-11-19T000000Z", "@2026-11-21T000000Z"]);
    assert_eq!((day("homes/@2026-11-18/day"), day("homes/@latest/day")), ("18".to_owned(), "21".to_owned()));
    assert_eq!(read(&mount.join("@2026-11-20/db/file")), "d");
    assert_eq!(insider.tells("cat day"), "18");
    site.umount_when_left(insider);
}

/// The kernel asks only once whether there are attributes, so the first ones take a new mount.
#[test]
fn the_first_acl_is_enforced_at_once_without_a_moment_in_which_the_mount_is_gone() {
    let site = site_with_days(&["18"]);
    site.let_everybody_pass();
    sh(&site.path("live"), "mkdir -p sub; printf below > sub/below; printf told > secret; chmod 644 secret");
    site.copy("2026-11-19");
    site.ok(&["index", "homes"]);
    let mount = site.mount(&[]);
    // Asked for an attribute, the kernel takes note that there are none.
    let asked = said(&shell(&mount.join("homes/@latest"), "getfattr -d -m - day secret"));
    assert!(asked.contains("day: Operation not supported"), "{asked}");
    assert!(as_nobody(&mount, "cat homes/@latest/secret").status.success());
    let before = device_of(&mount);
    let mut insider = Insider::new(&mount.join("homes/@latest"));
    assert_eq!(insider.tells("cat day"), "18");

    let ends = Arc::new(AtomicBool::new(false));
    let watch = std::thread::spawn({
        let (ends, mount) = (Arc::clone(&ends), mount.clone());
        move || watch_until(&ends, &mount)
    });
    sh(&site.path("live"), "setfacl -m u:65534:- secret; setfattr -n user.first -v yes day");
    site.copy("2026-11-20");
    site.ok(&["index", "homes"]);
    wait_until("it is mounted anew", || device_of(&mount) != before);
    let refused = as_nobody(&mount, "cat homes/@2026-11-20/secret");
    ends.store(true, Ordering::SeqCst);
    let looks = watch.join().expect("the mount was never gone");

    assert!(!refused.status.success() && said(&refused).contains("Permission denied"), "{}", said(&refused));
    assert!(as_nobody(&mount, "cat homes/@2026-11-19/secret").status.success(), "that day had no ACL");
    assert_eq!(sh(&mount.join("homes/@latest"), "getfattr --only-values -n user.first day"), "yes");
    assert!(looks > 10, "only {looks} looks");
    assert_eq!(mount_line(&mount).lines().count(), 1, "one mount, not two: {}", mount_line(&mount));
    // Also to what it had not asked for before.
    assert_eq!(insider.tells("cat sub/below"), "below");
    assert_eq!(insider.tells("cat day"), "18");
    drop(insider);
    site.umount();
    assert_eq!(mount_line(&mount), "");
}

/// Looks again and again, and returns how often; panics when the mount point is not what it should be.
fn watch_until(ends: &AtomicBool, mount: &Path) -> u64 {
    let mut looks = 0;
    while !ends.load(Ordering::SeqCst) {
        assert!(names(mount).contains(&"homes".to_owned()), "the mount point was empty");
        assert_eq!(read(&mount.join("homes/@2026-11-18/day")), "18");
        looks += 1;
    }
    looks
}

fn device_of(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).expect("it is there").dev()
}

/// Through fusermount3. In a mount namespace of its own, where `/dev/fuse` is open to all, as udev makes it.
#[test]
fn a_user_without_rights_mounts_his_own_catalog() {
    let site = Site::new();
    site.let_everybody_pass();
    sh(&site.path(""), "mkdir copies/2026-11-20; printf his > copies/2026-11-20/file; chown -R 65534 .");
    // The folder in which the program was built may be closed to others.
    let program = env!("CARGO_BIN_EXE_asof");
    sh(&site.path(""), &format!("cp {program} asof; chmod 755 asof; mknod -m 666 fuse c 10 229"));
    let user = "setpriv --reuid 65534 --regid 65534 --clear-groups bash -euc";
    let script = "export ASOF_CATALOG=$PWD/catalog.db
        ./asof init; ./asof source add nfs homes --copies copies; ./asof index homes; ./asof mount mnt
        cat mnt/homes/@latest/file; echo
        cut -d' ' -f3,4 /proc/self/mounts | grep -o 'fuse.asof ro,nosuid,nodev,.*user_id=65534'
        ./asof umount mnt
        ls mnt | wc -l";
    let output = Command::new("unshare")
        .args(["--mount", "bash", "-euc", &format!("mount --bind fuse /dev/fuse; {user} \"$0\""), script])
        .current_dir(site.path(""))
        .env("TZ", "UTC")
        .output()
        .expect("unshare is installed");
    assert!(output.status.success(), "{}", said(&output));
    let told = String::from_utf8(output.stdout).expect("text");
    assert!(told.starts_with("his\nfuse.asof ro,nosuid,nodev,") && told.ends_with("user_id=65534\n0\n"), "{told}");
}

impl Site {
    fn umount_when_left(&self, insider: Insider) {
        drop(insider);
        self.umount();
    }
}

/// > Put the new program in the place of the old one with `install` or `mv`; a mount goes on with the old one until it is mounted again.
#[test]
fn a_new_program_in_the_place_of_the_old_one_tells_the_mount_that_goes_on_and_ends_it() {
    let site = site_with_days(&["18"]);
    let program = env!("CARGO_BIN_EXE_asof");
    sh(&site.path(""), &format!("cp {program} asof"));
    let asof = |args: &str| sh(&site.path(""), &format!("ASOF_CATALOG=$PWD/catalog.db ./asof {args} 2>&1"));
    let process_of = |told: &str| -> u32 {
        told.split_once("(process ")
            .and_then(|(_, rest)| rest.split_once(','))
            .expect("told")
            .0
            .parse()
            .expect("a number")
    };
    let old = process_of(&asof("mount mnt"));
    let latest = site.path("mnt/homes/@latest/day");
    assert_eq!(read(&latest), "18");
    sh(&site.path(""), &format!("cp {program} asof.new; mv asof.new asof"));
    assert!(sh(&site.path(""), &format!("readlink /proc/{old}/exe")).ends_with("asof (deleted)\n"));
    add_day(&site, "19");
    asof("index homes");
    assert_eq!(read(&latest), "19", "shown when index returns");
    // What a daemon does in the course of a mount needs its program file no more.
    sh(&site.path("live"), "setfacl -m u:65534:r day; printf 20 > day");
    site.copy("2026-11-20");
    asof("index homes");
    wait_until("it is mounted anew", || site.log().contains("mounted anew"));
    assert_eq!(read(&latest), "20");
    assert_eq!(asof("umount mnt"), "unmounted \"mnt\"\n");
    wait_until("the old daemon has ended", || !is_running(old));
    let new = process_of(&asof("mount mnt"));
    assert_eq!(read(&latest), "20");

    // A program that is newer still has changed the format: the mount can be ended all the same, and nothing else is done.
    sh(&site.path(""), "sqlite3 catalog.db 'PRAGMA user_version = 1000' > out/told");
    let refused = said(&site.run(&["index", "homes"], 2));
    assert!(refused.contains("1000"), "{refused}");
    asof("umount mnt");
    wait_until("the daemon has ended", || !is_running(new));
}

/// How the catalog of a live mount is taken away from it.
const REPLACED: [&str; 3] = [
    "mv kept.db catalog.db; rm -f catalog.db-wal catalog.db-shm",
    // A file that has the same rows, and from now on others.
    "cp catalog.db c; mv c catalog.db",
    "rm catalog.db-wal",
];

#[test]
fn a_mount_whose_catalog_is_replaced_ends_and_says_why() {
    for script in REPLACED {
        let site = Site::with_source();
        sh(&site.path("live"), "echo x > f");
        site.copy("2026-11-18");
        site.ok(&["index", "homes"]);
        sh(&site.path(""), "sqlite3 catalog.db '.backup kept.db'");
        site.copy("2026-11-19");
        site.ok(&["index", "homes"]);
        let mnt = site.mount(&[]);
        assert_eq!(sh(&mnt, "cat homes/@2026-11-19/f"), "x\n");
        sh(&site.path(""), script);
        wait_until("the mount is gone", || !mnt.join("homes").exists());
        wait_until("the log says why", || {
            site.log().contains("catalog.db\" is not the one that was opened: it was put back")
        });
    }
}

#[test]
fn a_run_that_changed_the_catalog_says_which_mounts_have_no_daemon_any_more() {
    let site = site_with_days(&["18"]);
    let process = site.mount_process(&[]);
    let dir = site.path("mnt");
    add_day(&site, "19");
    let gone = format!("the mount of the catalog at {dir:?} has no daemon any more");
    let told = said(&site.run(&["index", "homes"], 0));
    assert!(!told.contains("no daemon"), "{told}");
    sh(&site.path(""), &format!("kill -9 {process}"));
    wait_until("reading is an error", || std::fs::read_dir(&dir).is_err());
    add_day(&site, "20");
    let told = said(&site.run(&["index", "homes"], 1));
    let hint = format!("hint: asof mount {} mounts it again\n", dir.display());
    assert!(told.contains(&gone) && told.contains(&hint), "{told}");
    site.ok(&["mount", "mnt"]);
    let told = said(&site.run(&["forget", "homes@2026-11-18"], 0));
    assert!(!told.contains("no daemon"), "{told}");
    site.umount();
}

/// What was backed up can be read all the same.
#[test]
fn a_catalog_on_a_read_only_disk_is_mounted_without_a_log() {
    let site = Site::new();
    let script = "mkdir disk; mount -t tmpfs none disk; mkdir copies/2026-11-18; echo one > copies/2026-11-18/f";
    sh(&site.path(""), script);
    let on_disk = |args: &[&str], code| said(&site.run(&[&["--catalog", "disk/catalog.db"], args].concat(), code));
    on_disk(&["init"], 0);
    on_disk(&["source", "add", "nfs", "homes", "--copies", "copies"], 0);
    on_disk(&["index", "homes"], 0);
    sh(&site.path(""), "mount -o remount,ro disk");
    let told = on_disk(&["mount", "mnt"], 0);
    let log = site.path("disk/catalog.db.log");
    let expected = format!(
        "no log is kept: cannot open the log {log:?}: Read-only file system (os error 30)\nhint: --log-file FILE has it written elsewhere\n"
    );
    assert!(told.contains(&expected) && told.contains(", no log)\n"), "{told}");
    assert_eq!(sh(&site.path("mnt"), "cat @latest/homes/f"), "one\n");
    on_disk(&["umount", "mnt"], 0);
    // What was named is not left out.
    let told = on_disk(&["mount", "mnt", "--log-file", "disk/log"], 2);
    assert!(told.contains("cannot open the log") && told.contains("hint: --log-file FILE"), "{told}");
    on_disk(&["mount", "mnt", "--log-file", "log"], 0);
    assert!(read(&site.path("log")).contains("mounted"));
    on_disk(&["umount", "mnt"], 0);
    sh(&site.path(""), "umount disk");
}
