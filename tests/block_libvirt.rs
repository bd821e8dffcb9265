//! Disks of guests are taken by a real libvirt from a real QEMU.
//!
//! The guest is a machine without a system that is kept paused: what a guest would write is written through QEMU's block
//! layer by its monitor (`qemu-io`), so that its bitmaps see it, and is known to the byte: states of a disk that the kernel's
//! ext4 made. A guest with a system of its own is `scripts/try-libvirt`. Where libvirtd does not run it is started,
//! and ends by itself when nobody has asked it for half a minute. Needs root and the packages libvirt-daemon-system,
//! libvirt-clients, libvirt-daemon-driver-qemu, qemu-system-x86, qemu-utils, e2fsprogs.

#[path = "common/examples.rs"]
mod examples;
#[path = "common/site.rs"]
mod site;

use examples::examples_of;
use serde_json::Value;
use site::{Site, await_view, difference, said, sh, shell, wait_until};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const DISK_BYTES: u64 = 64 << 20;
const GRAIN_BYTES: usize = 64 << 10;

/// One guest at a time: what a test does to libvirt, another one would see.
static LIBVIRT: Mutex<()> = Mutex::new(());

/// Starts libvirt where it does not run. Before each guest: what has a time limit may have ended since the one before, on a busy machine.
fn start_libvirt() {
    // No systemd is needed. With its time limit each ends when it has nothing to do any more.
    let script = "
            # Of one that was killed the socket is left. Where it runs a second one ends at once.
            virtlogd -d -t 30 2>/dev/null || true
            virsh -q -c qemu:///system list >/dev/null 2>&1 && exit
            # udev does that where it runs. libvirt asks QEMU anew for each answer where the user that QEMU runs as may not use it.
            [ ! -e /dev/kvm ] || { chgrp kvm /dev/kvm && chmod 660 /dev/kvm; }
            libvirtd -d -t 30
            for i in $(seq 100); do virsh -q -c qemu:///system list >/dev/null 2>&1 && exit; sleep 0.1; done
            exit 1";
    let output = shell(Path::new("/"), script);
    assert!(output.status.success(), "libvirtd does not run\n{}", said(&output));
}

/// A paused machine with two disks, `vda` and `vdb`, its source `vm1`, and states of `vda`.
struct Guest {
    site: Site,
    name: String,
    _alone: MutexGuard<'static, ()>,
}

impl Guest {
    fn new() -> Self {
        let alone = LIBVIRT.lock().unwrap_or_else(PoisonError::into_inner);
        start_libvirt();
        let site = Site::new();
        site.let_everybody_pass();
        let name = format!("asof-test-{}", std::process::id());
        let guest = Self { site, name, _alone: alone };
        // State 0 as mkfs left it; each further one is what the kernel made of the one before.
        guest.sh(&format!(
            "mkdir images scratch live0 && chmod 777 scratch
             truncate -s {DISK_BYTES} 0.raw && mkfs.ext4 -q 0.raw
             qemu-img convert -O qcow2 0.raw vda.qcow2
             qemu-img create -q -f qcow2 vdb.qcow2 8M
             chmod 666 *.qcow2"
        ));
        let dir = guest.dir().display().to_string();
        let disk = |target: &str| {
            format!(
                "<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/>\
                 <source file='{dir}/{target}.qcow2'/><target dev='{target}' bus='virtio'/></disk>"
            )
        };
        let xml = format!(
            "<domain type='qemu'><name>{}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><seclabel type='none'/>\
             <devices>{}{}<memballoon model='none'/></devices></domain>",
            guest.name,
            disk("vda"),
            disk("vdb")
        );
        std::fs::write(guest.dir().join("domain.xml"), xml).unwrap();
        guest.virsh(&["define", &guest.dir().join("domain.xml").display().to_string()]);
        guest.virsh(&["start", &guest.name, "--paused"]);
        guest.site.ok(&["init"]);
        guest
    }

    /// Adds the source.
    fn add(&self, more: &[&str]) {
        let (images, scratch) = (self.images().display().to_string(), self.scratch().display().to_string());
        let mut args = vec!["source", "add", "block", "vm1", "--images", &images, "--domain", &self.name];
        args.extend(["--disk", "vda", "--scratch", &scratch]);
        args.extend(more);
        self.site.ok(&args);
    }

    fn dir(&self) -> PathBuf {
        self.site.path("")
    }

    fn images(&self) -> PathBuf {
        self.site.path("images")
    }

    fn scratch(&self) -> PathBuf {
        self.site.path("scratch")
    }

    fn sh(&self, script: &str) -> String {
        sh(&self.dir(), script)
    }

    fn try_virsh(&self, words: &[&str]) -> Output {
        let mut command = Command::new("virsh");
        command.args(["-q", "-c", "qemu:///system"]).args(words).env("LC_ALL", "C");
        command.output().expect("libvirt-clients is installed")
    }

    fn virsh(&self, words: &[&str]) -> String {
        let output = self.try_virsh(words);
        assert!(output.status.success(), "virsh {words:?}\n{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes to a disk as the guest would.
    fn qemu_io(&self, disk: usize, command: &str) {
        let device = format!("/machine/peripheral/virtio-disk{disk}/virtio-backend");
        let hmp = format!("qemu-io -d {device} \"{command}\"");
        let told = self.virsh(&["qemu-monitor-command", &self.name, "--hmp", &hmp]);
        assert!(!told.contains("rror") && !told.contains("failed"), "{hmp}: {told}");
    }

    /// Has the kernel make state `k` of the disk from the one before it by `script`, which runs in its top directory, and has the
    /// guest write what differs.
    fn become_state(&self, k: usize, script: &str) {
        let before = k - 1;
        self.sh(&format!(
            "cp --sparse=always {before}.raw {k}.raw && mkdir -p change && mount -o loop,noatime {k}.raw change
             (cd change && {script}); umount change"
        ));
        let open = |k: usize| std::fs::File::open(self.dir().join(format!("{k}.raw"))).unwrap();
        let (then, now) = (open(before), open(k));
        let (mut old, mut new) = (vec![0; GRAIN_BYTES], vec![0; GRAIN_BYTES]);
        let grain = self.dir().join("grain");
        for at in (0..DISK_BYTES).step_by(GRAIN_BYTES) {
            then.read_exact_at(&mut old, at).unwrap();
            now.read_exact_at(&mut new, at).unwrap();
            if old != new {
                std::fs::write(&grain, &new).unwrap();
                self.qemu_io(0, &format!("write -q -s {} {at} {GRAIN_BYTES}", grain.display()));
            }
        }
    }

    fn take(&self, more: &[&str]) -> Value {
        serde_json::from_str(&self.take_told(more).0).expect("JSON")
    }

    /// Takes a generation; returns the JSON of it, and what was told to the admin.
    fn take_told(&self, more: &[&str]) -> (String, String) {
        let mut args = vec!["take", "vm1", "--json"];
        args.extend(more);
        let output = self.site.run(&args, 0);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    }

    fn refused(&self, more: &[&str]) -> String {
        let mut args = vec!["take", "vm1"];
        args.extend(more);
        said(&self.site.run(&args, 2)).trim().to_owned()
    }

    fn checkpoints(&self) -> Vec<String> {
        let told = self.virsh(&["checkpoint-list", &self.name, "--name", "--topological"]);
        told.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    fn backup_runs(&self) -> bool {
        self.try_virsh(&["backup-dumpxml", &self.name]).status.success()
    }

    /// Asserts that libvirt runs nothing of ours and that nothing is left of it.
    fn nothing_is_left(&self) {
        assert!(!self.backup_runs(), "a backup runs");
        let left: Vec<_> = std::fs::read_dir(self.scratch()).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?} is left");
        let hidden = self.sh("cd images && ls -A | grep -E '^[.]|part$' | grep -v '[.]newest$' || true");
        assert_eq!(hidden, "");
    }

    /// Asserts that the newest generation is state `k` of the disk, and its files those of that state.
    fn newest_is(&self, mnt: &Path, taken: &Value, k: usize) {
        let at = taken["taken_at"].as_str().expect("an instant");
        let view = await_view(&mnt.join("vm1"), at);
        let sum = |path: &Path| self.sh(&format!("sha256sum < {:?}", path));
        assert_eq!(sum(&view.join("disk.raw")), sum(&self.dir().join(format!("{k}.raw"))), "the disk of {at}");
        self.sh(&format!("mkdir -p truth && mount -o loop,ro,noload {k}.raw truth"));
        let differs = difference(&self.dir().join("truth"), &view.join("fs"));
        self.sh("umount truth");
        assert_eq!(differs, "", "the files of {at}");
    }

    /// Starts `asof take` with a `virsh` that does not come back from `verb`, and returns it when it is there.
    fn take_that_hangs_in(&self, verb: &str, more: &[&str]) -> Child {
        let tools = self.dir().join("tools");
        std::fs::create_dir_all(&tools).unwrap();
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *' {verb} '*) touch {0}/hangs; exec sleep 100;; esac\nexec /usr/bin/virsh \"$@\"\n",
            self.dir().display()
        );
        std::fs::write(tools.join("virsh"), script).unwrap();
        std::fs::set_permissions(tools.join("virsh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let _ = std::fs::remove_file(self.dir().join("hangs"));
        let mut args = vec!["take", "vm1"];
        args.extend(more);
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        let child = self.site.asof(&args).env("PATH", path).stderr(Stdio::null()).spawn().unwrap();
        wait_until("it hangs", || self.dir().join("hangs").exists());
        child
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        for words in [vec!["destroy", &self.name], vec!["undefine", &self.name, "--checkpoints-metadata"]] {
            let _ = self.try_virsh(&words);
        }
        let _ = shell(&self.dir(), "pkill -f \"^sleep 100$\" -P 1 2>/dev/null; umount change truth 2>/dev/null; true");
    }
}

const CHANGES: [&str; 6] = [
    "true",
    "mkdir -p a/b && seq 20000 > a/numbers && ln a/numbers a/b/linked && setfattr -n user.k -v v a && truncate -s 1M a/hole",
    "seq 30000 > a/b/more && rm a/hole && chmod 600 a/numbers",
    "mv a/b c && head -c 300000 /dev/urandom > c/noise",
    "rm -r c && echo end > end",
    "seq 50000 > again && truncate -s 0 end",
];

/// The session of `docs/disks.md` that needs libvirt, with other paths.
#[test]
fn the_examples_of_the_manual_do_what_they_say() {
    let guest = Guest::new();
    let images = guest.images().display().to_string();
    let (domain, scratch) = (format!("--domain {}", guest.name), guest.scratch().display().to_string());
    let asof =
        format!("ASOF_CATALOG={} TZ=UTC {}", guest.site.path("catalog.db").display(), env!("CARGO_BIN_EXE_asof"));
    for example in examples_of("docs/disks.md", "libvirt") {
        let example = example.with(&[("/srv/images/vm1", &images), ("--domain vm1", &domain)]);
        let rest = example.command.strip_prefix("asof").expect("a command of asof");
        let more = if rest.contains(" add ") { format!(" --scratch {scratch}") } else { String::new() };
        let output = shell(&guest.dir(), &format!("{asof}{rest}{more} 2>&1"));
        assert!(output.status.success(), "{}\n{}", example.command, said(&output));
        example.must_be_like(&String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn a_guest_is_taken_pulled_and_pushed_and_each_generation_is_its_disk_at_that_moment() {
    let guest = Guest::new();
    guest.add(&[]);
    guest.become_state(1, CHANGES[1]);
    let mnt = guest.site.mount(&[]);
    // What is in the other disk is nobody's business here.
    guest.qemu_io(1, "write -q -P 7 0 1M");

    let full = guest.take(&[]);
    assert_eq!((full["level"].as_str(), full["consistency"].as_str()), (Some("full"), Some("crash")));
    guest.nothing_is_left();
    guest.newest_is(&mnt, &full, 1);

    guest.become_state(2, CHANGES[2]);
    let pulled = guest.take(&[]);
    assert_eq!((pulled["level"].as_str(), &pulled["parent"]), (Some("incremental"), &full["taken_at"]));
    assert!(pulled["fetched_bytes"].as_u64().unwrap() < DISK_BYTES / 8, "{pulled}");
    guest.nothing_is_left();
    guest.newest_is(&mnt, &pulled, 2);

    guest.become_state(3, CHANGES[3]);
    let pushed = guest.take(&["--method", "push"]);
    assert_eq!((pushed["level"].as_str(), &pushed["parent"]), (Some("incremental"), &pulled["taken_at"]));
    assert!(pushed["path"].as_str().unwrap().ends_with(".qcow2"));
    guest.nothing_is_left();
    guest.newest_is(&mnt, &pushed, 3);

    guest.become_state(4, CHANGES[4]);
    let full = guest.take(&["--method", "push", "--full", "--consistency", "none", "--location", "cinder://5f1e"]);
    assert_eq!((full["level"].as_str(), full["consistency"].as_str()), (Some("full"), Some("none")));
    guest.newest_is(&mnt, &full, 4);
    let last = guest.take(&[]);
    assert_eq!((last["level"].as_str(), &last["parent"]), (Some("incremental"), &full["taken_at"]));
    assert_eq!((last["dirty_bytes"].as_u64(), last["changed"].as_u64()), (Some(0), Some(0)));

    let sql = "SELECT acquire || ' ' || format || ' ' || consistency FROM disks ORDER BY taken_at";
    let told = guest.site.ok(&["sql", "--csv", sql]);
    let told: Vec<&str> = told.lines().skip(1).collect();
    assert_eq!(told, ["pull pull crash", "pull pull crash", "push qcow2 crash", "push qcow2 none", "pull pull crash"]);
    let told = guest.site.ok(&["sql", "--csv", "SELECT location FROM generations ORDER BY taken_at LIMIT 1 OFFSET 3"]);
    assert_eq!(told.lines().last(), Some("cinder://5f1e"));
    // The older ones were deleted: each is a bitmap that QEMU keeps.
    assert_eq!(guest.checkpoints().len(), 4);

    // Another catalog finds the same in the folder.
    guest.site.umount();
    let again = |args: &[&str]| {
        let output = guest.site.asof(args).env("ASOF_CATALOG", guest.dir().join("again.db")).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        output
    };
    let images = guest.images().display().to_string();
    again(&["init"]);
    again(&["source", "add", "block", "vm1", "--images", &images]);
    again(&["index", "vm1"]);
    again(&["mount", "mnt"]);
    for (taken, k) in [(&pulled, 2), (&pushed, 3), (&full, 4)] {
        guest.newest_is(&mnt, taken, k);
    }
    again(&["umount", "mnt"]);
    let told = again(&[
        "sql",
        "--csv",
        "SELECT taken_at, parent, acquire, consistency, location FROM disks ORDER BY taken_at",
    ]);
    let first = guest.site.ok(&[
        "sql",
        "--csv",
        "SELECT taken_at, parent, acquire, consistency, location FROM disks ORDER BY taken_at",
    ]);
    assert_eq!(String::from_utf8(told.stdout).unwrap(), first);
}

#[test]
fn what_a_deleted_checkpoint_counted_is_in_the_next_increment_and_a_forgotten_one_is_told_again() {
    let guest = Guest::new();
    guest.add(&[]);
    guest.become_state(1, CHANGES[1]);
    let mnt = guest.site.mount(&[]);
    let first = guest.take(&[]);
    guest.become_state(2, CHANGES[2]);
    let second = guest.take(&[]);
    guest.become_state(3, CHANGES[3]);

    let newest = second["checkpoint"].as_str().unwrap();
    guest.virsh(&["checkpoint-delete", &guest.name, newest]);
    let (json, told) = guest.take_told(&[]);
    let third: Value = serde_json::from_str(&json).unwrap();
    assert!(
        told.contains(&format!("libvirt has forgotten checkpoint {newest:?}, and it cannot be redefined")),
        "{told}"
    );
    assert_eq!((third["level"].as_str(), &third["parent"]), (Some("incremental"), &first["taken_at"]));
    guest.newest_is(&mnt, &third, 3);

    // As when a domain was undefined and defined again: the bitmap is in the image, and libvirt knows nothing of it.
    guest.become_state(4, CHANGES[4]);
    let newest = third["checkpoint"].as_str().unwrap();
    guest.virsh(&["checkpoint-delete", &guest.name, newest, "--metadata"]);
    let (json, told) = guest.take_told(&["--method", "push"]);
    let fourth: Value = serde_json::from_str(&json).unwrap();
    assert!(told.contains(&format!("libvirt had forgotten checkpoint {newest:?}; it was redefined")), "{told}");
    assert_eq!(fourth["parent"], third["taken_at"]);
    guest.newest_is(&mnt, &fourth, 4);
    // Where nothing beside the image tells of a forgotten one, the one before it counts for both.
    guest.become_state(5, CHANGES[5]);
    let newest = fourth["checkpoint"].as_str().unwrap();
    guest.virsh(&["checkpoint-delete", &guest.name, newest, "--metadata"]);
    std::fs::remove_file(Path::new(fourth["path"].as_str().unwrap()).with_extension("json")).unwrap();
    let (json, told) = guest.take_told(&[]);
    let fifth: Value = serde_json::from_str(&json).unwrap();
    assert!(told.contains("it cannot be redefined: there is no file about it beside the image"), "{told}");
    assert_eq!(fifth["parent"], third["taken_at"]);
    guest.newest_is(&mnt, &fifth, 5);
    // The generation whose checkpoint was deleted is what it was.
    guest.newest_is(&mnt, &second, 2);
    guest.newest_is(&mnt, &first, 1);
}

#[test]
fn a_run_that_was_killed_leaves_no_export_and_no_checkpoint_behind_the_next_one() {
    let guest = Guest::new();
    guest.add(&[]);
    guest.become_state(1, CHANGES[1]);
    let mnt = guest.site.mount(&[]);
    let first = guest.take(&[]);
    let mut state = 1;
    for method in ["pull", "push"] {
        state += 1;
        guest.become_state(state, CHANGES[state]);
        let known = guest.checkpoints();
        // It has begun the backup, and asks for what libvirt knows of the checkpoint.
        let mut run = guest.take_that_hangs_in("checkpoint-dumpxml", &["--method", method]);
        run.kill().unwrap();
        run.wait().unwrap();
        assert_eq!(guest.checkpoints().len(), known.len() + 1);
        if method == "pull" {
            assert!(guest.backup_runs());
        }
        let (json, told) = guest.take_told(&["--method", method]);
        let taken: Value = serde_json::from_str(&json).unwrap();
        if method == "pull" {
            let ended = format!("ended the backup of domain {:?} that an interrupted run had left", guest.name);
            assert!(told.contains(&ended), "{told}");
            assert_eq!(taken["parent"], first["taken_at"]);
        }
        assert_eq!(taken["level"].as_str(), Some("incremental"));
        assert_eq!(guest.checkpoints().len(), known.len() + 1);
        guest.nothing_is_left();
        guest.newest_is(&mnt, &taken, state);
    }
    // One that is told to end ends its backup itself.
    let mut run = guest.take_that_hangs_in("checkpoint-dumpxml", &[]);
    assert!(guest.backup_runs());
    sh(Path::new("/"), &format!("kill -TERM {}", run.id()));
    assert_eq!(run.wait().unwrap().code(), Some(2));
    assert!(!guest.backup_runs());
    let taken = guest.take(&[]);
    assert_eq!(taken["level"].as_str(), Some("incremental"));
    guest.nothing_is_left();
}

#[test]
fn where_the_bitmaps_were_lost_everything_is_read_and_that_is_said() {
    let guest = Guest::new();
    guest.add(&[]);
    guest.become_state(1, CHANGES[1]);
    let mnt = guest.site.mount(&[]);
    guest.take(&[]);
    // What QEMU had not written to the image is lost when it is killed, to the guest too.
    guest.qemu_io(0, "flush");
    let qemu = guest.sh(&format!("pgrep -f guest={}", guest.name));
    guest.sh(&format!("kill -9 {qemu}"));
    wait_until("the guest is off", || guest.virsh(&["domstate", &guest.name]).contains("shut off"));
    let off = format!(
        "asof: cannot take a generation of \"vm1\": domain {:?} is shut off, and only of a running one (or a paused one) a \
         backup can be begun\nhint: virsh start it; the image of a guest that is off can be copied, and asof index indexes it",
        guest.name
    );
    assert_eq!(guest.refused(&[]), off);
    guest.virsh(&["start", &guest.name, "--paused"]);
    guest.become_state(2, CHANGES[2]);
    let (json, told) = guest.take_told(&[]);
    let taken: Value = serde_json::from_str(&json).unwrap();
    assert!(told.contains("the whole disk is read: libvirt gives no increment: "), "{told}");
    assert_eq!(taken["level"].as_str(), Some("full"));
    assert!(taken["full_because"].as_str().unwrap().contains("missing or broken bitmap"), "{taken}");
    guest.newest_is(&mnt, &taken, 2);
    guest.become_state(3, CHANGES[3]);
    let next = guest.take(&[]);
    assert_eq!((next["level"].as_str(), &next["parent"]), (Some("incremental"), &taken["taken_at"]));
    guest.newest_is(&mnt, &next, 3);
}

#[test]
fn what_cannot_be_taken_is_told_and_leaves_libvirt_as_it_was() {
    let guest = Guest::new();
    guest.add(&["--post", &format!("touch {}/thawed", guest.dir().display())]);
    let cannot = "asof: cannot take a generation of \"vm1\":";
    let name = &guest.name;
    assert_eq!(
        guest.refused(&["--disk", "vdz"]),
        format!(
            "{cannot} domain {name:?} has no disk \"vdz\", only vda, vdb\nhint: --disk names it; a source is one disk"
        )
    );
    assert_eq!(
        guest.refused(&["--domain", "no-such-guest"]),
        format!(
            "{cannot} \"virsh domstate no-such-guest\": failed to get domain 'no-such-guest'\nhint: nothing was taken"
        )
    );

    // The backup of another program goes on.
    let other = guest.dir().join("other.xml");
    let socket = guest.scratch().join("other.sock");
    let xml =
        format!("<domainbackup mode='pull'><server transport='unix' socket='{}'/></domainbackup>", socket.display());
    std::fs::write(&other, xml).unwrap();
    guest.virsh(&["backup-begin", name, &other.display().to_string()]);
    let busy = format!(
        "{cannot} a backup of domain {name:?} is running that this source did not begin\n\
         hint: virsh domjobinfo shows it; wait for its end, or end it with virsh domjobabort"
    );
    assert_eq!(guest.refused(&[]), busy);
    assert!(guest.backup_runs() && !guest.dir().join("thawed").exists(), "nothing was held");
    assert_eq!(guest.checkpoints(), Vec::<String>::new());
    guest.virsh(&["domjobabort", name]);
    wait_until("libvirt has ended it", || !guest.backup_runs());
    guest.nothing_is_left();

    // No agent is in this guest.
    guest.site.ok(&["source", "set", "vm1", "--freeze"]);
    let told = guest.refused(&[]);
    assert!(
        told.contains(&format!("{cannot} the file systems of the guest were not frozen: \"virsh domfsfreeze {name}\"")),
        "{told}"
    );
    assert!(
        told.ends_with(
            "hint: the guest has to run, with the agent qemu-guest-agent in it; or take it without --freeze"
        ),
        "{told}"
    );
    assert!(guest.dir().join("thawed").exists(), "the post command ran, whatever became of thawing");
    assert_eq!(guest.checkpoints(), Vec::<String>::new());
    guest.site.ok(&["source", "set", "vm1", "--freeze=no", "--post", ""]);
    guest.site.run(&["index", "vm1"], 0);
    guest.take(&[]);
    guest.nothing_is_left();

    let add = |more: &[&str]| {
        let images = guest.images().display().to_string();
        let mut args = vec!["source", "add", "block", "vm2", "--images", &images];
        args.extend(more);
        said(&guest.site.run(&args, 2)).trim().to_owned()
    };
    assert_eq!(
        add(&["--domain", name, "--connect", "qemu+ssh://host/system"]),
        "asof: the address of libvirt \"qemu+ssh://host/system\" cannot be: it is on another machine"
    );
    assert_eq!(
        add(&["--domain", name, "--nbd", "nbd://host/vda"]),
        format!(
            "asof: the domain {name:?} cannot be: an export, its bitmap and a snapshot command are other ways to take a disk; choose one"
        )
    );
    assert_eq!(
        add(&["--freeze"]),
        "asof: --connect, --freeze and --scratch are for guests of libvirt\nhint: --domain NAME names the guest"
    );
}

/// Adds the guest with all its disks, which libvirt tells.
fn add_all(guest: &Guest, more: &[&str]) {
    let (images, scratch) = (guest.images().display().to_string(), guest.scratch().display().to_string());
    let mut args =
        vec!["source", "add", "block", "vm1", "--images", &images, "--domain", &guest.name, "--scratch", &scratch];
    args.extend(more);
    let text = said(&guest.site.run(&args, 0));
    assert!(text.contains("added source \"vm1\": all disks of a guest (vda, vdb), images in"), "{text}");
}

/// Takes all disks. One of them holds bytes and no file system, which is a finding.
fn take_all(guest: &Guest, more: &[&str]) -> Value {
    let args = [&["take", "vm1", "--json"], more].concat();
    let output = guest.site.run(&args, 1);
    assert!(said(&output).contains("what it holds is not known; it is in vdb/disk.raw as it was"), "{}", said(&output));
    assert!(!said(&output).contains("missing"), "{}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Ends the writer, also after a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A program in the guest writes a record to one disk, and then what is recorded to the other: at no moment is there anything that has no
/// record, and at most one record of what is not there yet.
#[test]
fn all_disks_of_a_guest_are_of_one_moment() {
    for method in ["pull", "push"] {
        let guest = Guest::new();
        if method == "push" {
            guest.sh("chmod 777 images");
        }
        add_all(&guest, &["--method", method]);
        let (is_over, written) = (AtomicBool::new(false), AtomicU64::new(0));
        // Where the file system of vda has nothing.
        let place = [60 << 20, 4 << 20];
        let stamp = |disk: usize, number: u64| {
            guest.qemu_io(disk, &format!("write -q -P {} {} 4k", number % 250, place[disk]));
        };
        let mut taken = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let number = written.load(Ordering::Relaxed) + 1;
                    stamp(0, number);
                    stamp(1, number);
                    written.store(number, Ordering::Relaxed);
                }
            });
            let _over = Over(&is_over);
            for round in 0..3 {
                let before = written.load(Ordering::Relaxed);
                wait_until("it writes", || written.load(Ordering::Relaxed) > before);
                let from = written.load(Ordering::Relaxed);
                let report = take_all(&guest, &[]);
                assert_eq!(report["level"], if round == 0 { "full" } else { "incremental" }, "{report}");
                assert_eq!(report["full_because"], Value::Null);
                taken.push((report["taken_at"].as_str().unwrap().to_owned(), from, written.load(Ordering::Relaxed)));
            }
        });
        guest.nothing_is_left();
        // What nobody writes to any more is what QEMU has; its tables are in the image when it was told to write them.
        (0..2).for_each(|disk| guest.qemu_io(disk, "flush"));
        let last = take_all(&guest, &[]);
        let mnt = guest.site.mount(&[]);
        let view = await_view(&mnt.join("vm1"), last["taken_at"].as_str().unwrap());
        for disk in ["vda", "vdb"] {
            let sum = |path: &Path| guest.sh(&format!("sha256sum < {path:?}"));
            guest.sh(&format!("qemu-img convert -U -O raw {disk}.qcow2 now.raw"));
            assert_eq!(sum(&view.join(disk).join("disk.raw")), sum(&guest.dir().join("now.raw")), "{method} {disk}");
        }
        for (at, from, until) in taken {
            let view = await_view(&mnt.join("vm1"), &at);
            let read = |disk: &str, place: u64| {
                let mut bytes = vec![0; 4096];
                let file = std::fs::File::open(view.join(disk).join("disk.raw")).unwrap();
                file.read_exact_at(&mut bytes, place).unwrap();
                assert!(bytes.iter().all(|byte| *byte == bytes[0]));
                u64::from(bytes[0])
            };
            let (record, bytes) = (read("vda", place[0]), read("vdb", place[1]));
            let (earliest, latest) = (from % 250, (until + 1) % 250);
            assert!(record == bytes || record == (bytes + 1) % 250, "{method} {at}: {record} on vda, {bytes} on vdb");
            assert!(
                earliest > latest || (earliest..=latest).contains(&record),
                "{method} {at}: {record} of {from} to {until}"
            );
        }
        let sql = "SELECT count(*) FROM findings WHERE kind = 'missing'";
        assert_eq!(guest.site.ok(&["sql", "--csv", sql]).lines().nth(1), Some("0"));
        guest.site.ok(&["check", "--deep"]);
        guest.site.umount();
    }
}

#[test]
fn a_disk_that_a_guest_gets_is_full_beside_increments_and_one_that_it_has_no_more_is_deleted() {
    let guest = Guest::new();
    add_all(&guest, &[]);
    guest.qemu_io(1, "write -q -P 7 1M 64k");
    take_all(&guest, &[]);
    // vdb is replaced by vdc, a raw image, of which QEMU cannot say what changes.
    let dir = guest.dir().display().to_string();
    guest.sh("truncate -s 4M vdc.raw && chmod 666 vdc.raw");
    let xml = guest.sh("cat domain.xml");
    let xml = xml.replace(&format!("{dir}/vdb.qcow2"), &format!("{dir}/vdc.raw")).replace("'vdb'", "'vdc'");
    let at = xml.rfind("type='qcow2'").expect("the driver of the second disk");
    let xml = format!("{}type='raw'{}", &xml[..at], &xml[at + "type='qcow2'".len()..]);
    let uuid = guest.virsh(&["domuuid", &guest.name]);
    let xml = xml.replace("</name>", &format!("</name><uuid>{}</uuid>", uuid.trim()));
    std::fs::write(guest.dir().join("domain.xml"), xml).unwrap();
    guest.virsh(&["destroy", &guest.name, "--graceful"]);
    guest.virsh(&["define", &guest.dir().join("domain.xml").display().to_string()]);
    guest.virsh(&["start", &guest.name, "--paused"]);
    let report = guest.take(&[]);
    let why = report["full_because"].as_str().expect("of one disk everything is read").to_owned();
    assert!(why.contains("the image of disk \"vdc\" is raw") || why.contains("libvirt"), "{why}");
    let sql = "SELECT volume || ' ' || size_bytes FROM volumes v WHERE kind = 'disk' AND taken_at = (SELECT max(taken_at) FROM generations)";
    assert_eq!(
        guest.site.ok(&["sql", "--csv", sql]).lines().skip(1).collect::<Vec<_>>(),
        ["vda 67108864", "vdc 4194304"]
    );
    let sql = "SELECT count(*) FROM findings WHERE kind = 'missing'";
    assert_eq!(guest.site.ok(&["sql", "--csv", sql]).lines().nth(1), Some("0"));
    let sql = "SELECT path FROM deleted WHERE path IN ('vda', 'vdb', 'vdc')";
    assert_eq!(guest.site.ok(&["sql", "--csv", sql]).lines().skip(1).collect::<Vec<_>>(), ["vdb"]);
    guest.nothing_is_left();
}

/// What was written to both disks before each moment is on both in every generation; `ASOF_ROUNDS` takes are killed, each a little later than the
/// one before.
#[test]
fn a_take_of_all_disks_that_is_killed_is_a_generation_of_all_of_them_or_of_none() {
    let rounds: u32 = std::env::var("ASOF_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4);
    let guest = Guest::new();
    guest.sh("chmod 777 images");
    add_all(&guest, &[]);
    let place = [60 << 20, 4 << 20];
    let stamp = |number: u32| {
        for (disk, at) in place.iter().enumerate() {
            guest.qemu_io(disk, &format!("write -q -P {} {at} 4k", number % 250));
        }
    };
    stamp(1);
    let began = std::time::Instant::now();
    take_all(&guest, &[]);
    let whole = began.elapsed();
    for round in 0..rounds {
        stamp(round + 2);
        let method = ["pull", "push"][round as usize % 2];
        let mut run = guest.site.asof(&["take", "vm1", "--quiet", "--method", method]);
        let mut run = run.stderr(Stdio::null()).spawn().expect("the program starts");
        std::thread::sleep(whole * 2 * (round + 1) / rounds);
        let _ = run.kill();
        run.wait().expect("it ends");
    }
    stamp(rounds + 2);
    take_all(&guest, &[]);
    guest.nothing_is_left();
    let listed = guest.site.ok(&["sql", "--csv", "SELECT replace(taken_at, ':', '') FROM generations"]);
    let mnt = guest.site.mount(&[]);
    let mut numbers = Vec::new();
    for at in listed.lines().skip(1) {
        let stamped = ["vda", "vdb"].map(|disk| {
            let mut bytes = vec![0; 4096];
            let path = mnt.join(format!("vm1/@{at}/{disk}/disk.raw"));
            let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            file.read_exact_at(&mut bytes, place[usize::from(disk == "vdb")]).unwrap();
            assert!(bytes.iter().all(|byte| *byte == bytes[0]));
            bytes[0]
        });
        assert_eq!(stamped[0], stamped[1], "{at}");
        numbers.push(stamped[0]);
    }
    println!("{rounds} takes were killed after up to {whole:?}: generations of moments {numbers:?}");
    let sql = "SELECT count(*) FROM findings WHERE kind = 'missing'";
    assert_eq!(guest.site.ok(&["sql", "--csv", sql]).lines().nth(1), Some("0"));
    guest.site.ok(&["check", "--deep"]);
    guest.site.umount();
}
