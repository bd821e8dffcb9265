//! A disk of which a command makes each moment, and takes of it while everything goes wrong that can: runs are killed, stopped or have no
//! room, servers go away in the middle, the folder of images is unmounted, bitmaps lie, catalogs are put back from older copies. The exports are at a
//! Unix socket, at a port, or at a port with TLS.
//!
//! What is published is the disk as it was at one moment, whatever happened; and nothing is written where the folder of images is not mounted.

use super::dice::{Dice, number};
use super::site::{Site, said, sh, shell};
use super::{add, map_of, sha256, start, take};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// Writes to the disk, notes what it is then, begins the bitmap of this moment, and exports the one that counts from the newest generation.
/// `lie` says what it does wrong, `at` where the export is; with `slow` it gives 8 MiB a second.
const MOMENT: &str = r#"#!/bin/bash
set -eu
exec >/dev/null 2>&1 </dev/null
cd "$(dirname "$0")"
# A run that was killed leaves what this one had begun: only then this one is alone.
exec 9>lock
servers() {
    for comm in $(grep -slx qemu-nbd /proc/[0-9]*/comm); do
        ! grep -qsaF "$PWD/nbd" "${comm%comm}cmdline" || echo "$comm" | cut -d/ -f3
    done
}
# Servers that went away in the middle were none of a moment that is to come.
[ "${1-}" != gone ] || { kill -9 $(servers) || true; exit 0; }
until flock -w 0.05 9 && [ -z "$(servers)" ]; do kill -9 $(servers) || true; done
[ "${1-}" != end ] || exit 0
lie=$(cat lie || true)
since=${ASOF_SINCE:-}
stamp() { qemu-io -c "write -q -P $((RANDOM % 255 + 1)) $((RANDOM % 96 * 65536)) 64k" disk.qcow2; }
stamp
stamp
qemu-img info disk.qcow2 | grep -q "name: $since\$" || since=
[ -z "$since" ] || [ "$lie" != cleared ] || { qemu-img bitmap --clear disk.qcow2 "$since"; stamp; }
[ -z "$since" ] || [ "$lie" != anew ] || { qemu-img bitmap --remove disk.qcow2 "$since"; qemu-img bitmap --add -g 64k disk.qcow2 "$since"; }
case $lie in
    none) ;;
    disabled) qemu-img bitmap --add --disable -g 64k disk.qcow2 "$ASOF_CHECKPOINT" ;;
    *) qemu-img bitmap --add -g 64k disk.qcow2 "$ASOF_CHECKPOINT" ;;
esac
qemu-img convert -O raw disk.qcow2 truth.raw
sha256sum <truth.raw | cut -d' ' -f1 >"truth/$ASOF_CHECKPOINT"
file=driver=qcow2,file.driver=file,file.filename=disk.qcow2
if [ -e slow ]; then
    limit="--object throttle-group,id=t,x-bps-read=8388608,x-bps-read-max=8388608"
    file=driver=throttle,throttle-group=t,file.driver=qcow2,file.file.driver=file,file.file.filename=disk.qcow2
fi
qemu-nbd --fork -t -r -e 4 -x vda --pid-file "$PWD/nbd.pid" $(cat at) ${since:+-B "$since"} ${limit-} --image-opts "$file" 9>&-
"#;

/// Where the exports are.
#[derive(Clone, Copy, Debug)]
enum Transport {
    Unix,
    Tcp,
    Tls,
}

struct Moments<'s> {
    site: &'s Site,
    command: String,
    uri: String,
}

impl<'s> Moments<'s> {
    fn new(site: &'s Site, transport: Transport) -> Self {
        let path = site.path("moment");
        std::fs::write(&path, MOMENT).unwrap();
        sh(
            &site.path(""),
            "chmod 755 moment; mkdir -p truth images
             qemu-img create -q -f qcow2 disk.qcow2 6M; qemu-io -c 'write -q -P 1 0 1M' -c 'write -q -P 2 4M 1M' disk.qcow2",
        );
        let place = site.path("").display().to_string();
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (at, uri) = match transport {
            Transport::Unix => (format!("-k {place}nbd"), format!("nbd+unix:///vda?socket={place}nbd")),
            Transport::Tcp => {
                let port = port();
                (format!("-b 127.0.0.1 -p {port}"), format!("nbd://127.0.0.1:{port}/vda"))
            }
            Transport::Tls => {
                make_certificates(&site.path(""));
                let (port, dir) = (port(), format!("{place}pki"));
                let tls = format!("--object tls-creds-x509,id=tls,endpoint=server,verify-peer=no,dir={dir}");
                (
                    format!("-b 127.0.0.1 -p {port} {tls} --tls-creds tls"),
                    format!("nbds://127.0.0.1:{port}/vda?tls-certificates={dir}"),
                )
            }
        };
        std::fs::write(site.path("at"), at).unwrap();
        Self { site, command: path.display().to_string(), uri }
    }

    fn add(&self, more: &[&str]) {
        add(self.site, &[&["--nbd", &*self.uri, "--snapshot", &*self.command, "--bitmap", "own"], more].concat());
    }

    fn lie(&self, what: &str) {
        std::fs::write(self.site.path("lie"), what).unwrap();
    }

    /// Ends the servers that there are.
    fn end_servers(&self) {
        sh(Path::new("/"), &format!("{} gone", self.command));
    }

    /// Checks that every generation is the disk as it was at its moment, and returns how many there are, and how many are increments.
    fn check(&self, what: &str) -> (usize, usize) {
        let listed = self.site.ok(&[
            "sql",
            "--csv",
            "SELECT replace(taken_at, ':', ''), checkpoint, parent IS NOT NULL FROM disks",
        ]);
        let mount = self.site.mount(&[]);
        let (mut all, mut increments) = (0, 0);
        for line in listed.lines().skip(1) {
            let words: Vec<&str> = line.split(',').collect();
            let truth = std::fs::read_to_string(self.site.path("truth").join(words[1])).unwrap();
            let shown = sha256(&mount.join(format!("vda/@{}/disk.raw", words[0])));
            assert_eq!(shown, truth.trim(), "{what}: {line}");
            all += 1;
            increments += usize::from(words[2] == "1");
        }
        self.site.umount();
        (all, increments)
    }
}

impl Drop for Moments<'_> {
    fn drop(&mut self) {
        let _ = Command::new("bash").args([&*self.command, "end"]).output();
    }
}

/// Makes an authority and the certificate of a server in `pki`.
fn make_certificates(place: &Path) {
    sh(
        place,
        "mkdir pki; cd pki
         new='req -newkey rsa:2048 -nodes'
         openssl $new -x509 -days 2 -subj /CN=authority -addext keyUsage=critical,keyCertSign -keyout ca-key.pem -out ca-cert.pem 2>&1
         openssl $new -subj /CN=server -keyout server-key.pem -out request.pem 2>&1
         printf '%s\\n' subjectAltName=IP:127.0.0.1 keyUsage=critical,digitalSignature,keyEncipherment extendedKeyUsage=serverAuth >more
         openssl x509 -req -days 2 -in request.pem -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -extfile more -out server-cert.pem 2>&1",
    );
}

/// The folder of images as a mount: of a file system with a size, whose root is at `store`.
struct Store<'s>(&'s Site);

impl<'s> Store<'s> {
    fn new(site: &'s Site) -> Self {
        sh(&site.path(""), "mkdir -p store images; mount -t tmpfs -o size=4G tmpfs store; mount --bind store images");
        Self(site)
    }

    /// Leaves so much room in it.
    fn starve(&self, room_kib: usize) {
        sh(
            &self.0.path(""),
            &format!(
                "used=$(df -k --output=used store | tail -1); mount -o remount,size=$((used + {room_kib}))k store"
            ),
        );
    }

    fn feed(&self) {
        sh(&self.0.path(""), "mount -o remount,size=4G store");
    }

    fn unmount(&self) {
        sh(&self.0.path(""), "umount -l images");
    }

    /// Mounts it again. Nothing may lie where it was not.
    fn mount(&self, what: &str) {
        let left: Vec<_> = std::fs::read_dir(self.0.path("images")).unwrap().collect();
        assert!(left.is_empty(), "{what}: written where nothing is mounted: {left:?}");
        sh(&self.0.path(""), "mount --bind store images");
    }
}

fn signal(run: &Child, name: &str) {
    shell(Path::new("/"), &format!("kill -{name} {}", run.id()));
}

fn wait_a_little(dice: &mut Dice) {
    std::thread::sleep(Duration::from_millis(dice.roll(900) as u64));
}

#[test]
fn a_bitmap_of_the_name_that_was_given_out_makes_increments_and_one_that_lies_is_found_out() {
    let site = Site::new();
    let moments = Moments::new(&site, Transport::Unix);
    moments.add(&[]);
    let because = |report: &Value| report["full_because"].as_str().unwrap_or_default().to_owned();
    assert_eq!(take(&site, &[])["level"], "full");
    let report = take(&site, &[]);
    assert_eq!(report["level"], "incremental", "{report}");
    assert_eq!(map_of(&report)["counted_by"], "own");
    for (lie, why) in [("cleared", "does not have all that changed"), ("anew", "does not have all that changed")] {
        moments.lie(lie);
        let report = take(&site, &[]);
        assert!(because(&report).contains(why), "{lie}: {report}");
        moments.lie("");
        assert_eq!(take(&site, &[])["level"], "incremental");
    }
    // A bitmap that is not there is no checkpoint, and neither is one that records nothing.
    for (lie, why) in
        [("none", "has no context \"qemu:dirty-bitmap:asof-"), ("disabled", "does not have all that changed")]
    {
        moments.lie(lie);
        take(&site, &[]);
        moments.lie("");
        let report = take(&site, &[]);
        assert!(because(&report).contains(why), "{lie}: {report}");
    }
    // A name that was not given out may be that of any bitmap.
    take(&site, &["--checkpoint", "monday"]);
    assert!(because(&take(&site, &[])).contains("has no name that asof gave out"));
    let (all, increments) = moments.check("in the end");
    assert_eq!((all, increments), (12, 6));
}

/// What happens in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Lie(&'static str),
    Kill,
    /// The server goes away.
    Gone,
    /// The run is stopped and goes on later; a second one comes meanwhile, and maybe the server goes away.
    Stop,
    /// There is so much room, in KiB.
    Starve(usize),
    /// The folder of images is unmounted while a run is under way.
    Unmount,
    /// It is not mounted when one begins.
    Unmounted,
    Keep,
    PutBack,
    Plain,
}

fn deed(dice: &mut Dice) -> Deed {
    match dice.roll(20) {
        lie @ 0..=3 => Deed::Lie(["cleared", "anew", "none", "disabled"][lie]),
        4..=6 => Deed::Kill,
        7 | 8 => Deed::Gone,
        9 | 10 => Deed::Stop,
        11 | 12 => Deed::Starve([0, 4, 8, 16, 64, 256, 1024, 4096][dice.roll(8)] + 4 * dice.roll(8)),
        13 => Deed::Unmount,
        14 => Deed::Unmounted,
        15 => Deed::Keep,
        16 => Deed::PutBack,
        _ => Deed::Plain,
    }
}

/// Without a seed some rounds over each transport are played.
#[test]
fn takes_that_go_wrong_in_any_way_publish_nothing_that_the_disk_never_was() {
    let seed = number("ASOF_SEED", 0);
    let seeds = if seed == 0 { 6..9 } else { seed..seed + 1 };
    seeds.for_each(|seed| play(seed, number("ASOF_ROUNDS", 6)));
}

fn play(seed: u64, rounds: u64) {
    let transport = [Transport::Unix, Transport::Tcp, Transport::Tls][seed as usize % 3];
    let mut dice = Dice::new(seed);
    let site = Site::new();
    let store = Store::new(&site);
    let moments = Moments::new(&site, transport);
    moments.add(&[]);
    take(&site, &[]);
    let mut played = std::collections::BTreeMap::<String, usize>::new();
    for round in 0..rounds {
        let deed = deed(&mut dice);
        let what = format!("seed {seed} ({transport:?}), round {round}, {deed:?}");
        let counted = format!("{deed:?}");
        *played.entry(counted.split('(').next().unwrap().to_owned()).or_default() += 1;
        moments.lie(if let Deed::Lie(lie) = deed { lie } else { "" });
        let is_slow = matches!(deed, Deed::Kill | Deed::Gone | Deed::Stop | Deed::Unmount) && dice.roll(2) == 0;
        sh(&site.path(""), if is_slow { ": >slow" } else { "rm -f slow" });
        let begun = || start(&site, &["take", "vda"]);
        match deed {
            Deed::Kill => {
                let mut run = begun();
                wait_a_little(&mut dice);
                run.kill().unwrap();
                run.wait().unwrap();
            }
            Deed::Gone => {
                let run = begun();
                wait_a_little(&mut dice);
                moments.end_servers();
                run.wait_with_output().unwrap();
            }
            Deed::Stop => {
                let run = begun();
                wait_a_little(&mut dice);
                signal(&run, "STOP");
                if dice.roll(2) == 0 {
                    moments.end_servers();
                }
                let output = site.asof(&["take", "vda", "--wait", "0"]).output().unwrap();
                signal(&run, "CONT");
                let first = run.wait_with_output().unwrap();
                let is_refused = output.status.code() == Some(2);
                assert!(is_refused || first.status.code() != Some(2), "{what}: {}", said(&output));
            }
            Deed::Starve(room_kib) => {
                store.starve(room_kib);
                let output = site.asof(&["take", "vda"]).output().unwrap();
                store.feed();
                let text = said(&output);
                assert!(output.status.code() != Some(2) || text.contains("No space left on device"), "{what}: {text}");
            }
            Deed::Unmount => {
                let run = begun();
                wait_a_little(&mut dice);
                store.unmount();
                run.wait_with_output().unwrap();
                store.mount(&what);
            }
            Deed::Unmounted => {
                store.unmount();
                let output = site.asof(&["take", "vda"]).output().unwrap();
                assert_eq!(output.status.code(), Some(2), "{what}: {}", said(&output));
                store.mount(&what);
            }
            Deed::Keep => drop(sh(&site.path(""), "rm -rf kept; sqlite3 catalog.db '.backup kept'")),
            Deed::PutBack if site.path("kept").exists() => {
                sh(&site.path(""), "rm -f catalog.db-wal catalog.db-shm; cp kept catalog.db");
            }
            Deed::Lie(_) | Deed::Plain | Deed::PutBack => {
                let output = site.asof(&["take", "vda"]).output().unwrap();
                assert!(output.status.code() != Some(2), "{what}: {}", said(&output));
            }
        }
        if round % 50 == 49 {
            moments.check(&what);
        }
    }
    moments.lie("");
    sh(&site.path(""), "rm -f slow");
    take(&site, &[]);
    let (all, increments) = moments.check(&format!("seed {seed} ({transport:?})"));
    site.ok(&["check", "--deep"]);
    println!(
        "seed {seed} ({transport:?}): {rounds} rounds {played:?}, {all} generations, {increments} of them increments, none wrong"
    );
    assert!(all > 1);
}
