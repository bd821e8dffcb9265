//! The NBD client against the servers of QEMU: what they tell of a disk and its dirty bitmap, and what is fetched for it.
//!
//! Needs `qemu-img`, `qemu-io`, `qemu-nbd` and `qemu-storage-daemon` (Debian: `qemu-utils`, `qemu-system-common`), and
//! `openssl` for certificates.

use asof::source::block::nbd::{self, Chunk, Client, Options, Status, Uri};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tempfile::TempDir;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const DISK: u64 = 64 * MIB;
const BITMAP: &str = "qemu:dirty-bitmap:b0";

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed here (qemu-utils): {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A qcow2 disk of 64 MiB: written to, given a bitmap, and written to again at what [`DIRTY`] says.
fn disk(dir: &Path) -> PathBuf {
    let path = dir.join("disk.qcow2");
    let name = path.to_str().unwrap();
    run("qemu-img", &["create", "-q", "-f", "qcow2", name, "64M"]);
    let write = |commands: &[&str]| {
        let arguments = commands.iter().flat_map(|command| ["-c", command]);
        run("qemu-io", &[&["-f", "qcow2"], &*arguments.collect::<Vec<_>>(), &[name]].concat());
    };
    write(&["write -q -P 0x11 0 3M", "write -q -P 0x12 20M 2M", "write -q -P 0x13 63M 1M"]);
    run("qemu-img", &["bitmap", "--add", "-g", "64k", name, "b0"]);
    write(&["write -q -P 0x21 5M 64k", "write -q -P 0x22 10244k 4k", "write -q -z 20M 1M", "discard -q 63M 64k"]);
    path
}

/// What the second writes of [`disk`] made dirty, in grains of 64 KiB.
const DIRTY: [(u64, u64); 4] = [(5 * MIB, 64 * KIB), (10 * MIB, 64 * KIB), (20 * MIB, MIB), (63 * MIB, 64 * KIB)];

/// A server that ends with its value.
struct Server {
    pid: String,
}

impl Server {
    fn start(program: &str, arguments: &[&str], pid_file: &Path) -> Self {
        // A forked server keeps the ends of pipes that it inherits, so it gets none.
        let status = Command::new(program).args(arguments).stdout(std::process::Stdio::null()).status();
        assert!(status.expect(program).success(), "{program} {arguments:?}");
        Self { pid: std::fs::read_to_string(pid_file).unwrap().trim().to_owned() }
    }

    /// `qemu-nbd` with the disk as export `disk`, read-only, at the socket of this path.
    fn qemu_nbd(dir: &Path, disk: &Path, socket: &Path) -> Self {
        let pid_file = dir.join("nbd.pid");
        let pid_option = format!("--pid-file={}", pid_file.display());
        let (socket, disk) = (socket.to_str().unwrap(), disk.to_str().unwrap());
        let options = ["--fork", "-t", "-r", "-f", "qcow2", "-x", "disk", "-B", "b0", "-k", socket, &pid_option, disk];
        Self::start("qemu-nbd", &options, &pid_file)
    }

    /// The same over TLS, for those that have a certificate of the authority in `certificates`.
    fn qemu_nbd_tls(dir: &Path, disk: &Path, port: u16, certificates: &Path) -> Self {
        let pid_file = dir.join("nbd.pid");
        let pid_option = format!("--pid-file={}", pid_file.display());
        let dir = certificates.display();
        let object = format!("tls-creds-x509,id=tls,endpoint=server,verify-peer=yes,dir={dir}");
        let (port, disk) = (port.to_string(), disk.to_str().unwrap());
        let common = ["--fork", "-t", "-r", "-f", "qcow2", "-x", "disk", "-B", "b0", "-b", "127.0.0.1", "-p", &port];
        let tls = ["--object", &object, "--tls-creds", "tls", &pid_option, disk];
        Self::start("qemu-nbd", &[&common[..], &tls].concat(), &pid_file)
    }

    /// `qemu-storage-daemon` with the same at a port of this host.
    fn storage_daemon(dir: &Path, disk: &Path, port: u16) -> Self {
        let pid_file = dir.join("qsd.pid");
        let file = format!("driver=file,node-name=file,read-only=on,filename={}", disk.display());
        let server = format!("addr.type=inet,addr.host=127.0.0.1,addr.port={port}");
        let options = [
            "--blockdev",
            &file,
            "--blockdev",
            "driver=qcow2,node-name=disk,read-only=on,file=file",
            "--nbd-server",
            &server,
            "--export",
            "type=nbd,id=export,node-name=disk,name=disk,bitmaps.0=b0",
            "--daemonize",
            "--pidfile",
            pid_file.to_str().unwrap(),
        ];
        Self::start("qemu-storage-daemon", &options, &pid_file)
    }
}

/// Makes the certificate of an authority in `dir`.
fn make_authority(dir: &Path) {
    std::fs::create_dir(dir).unwrap();
    let subject = format!("/CN=authority {}", dir.file_name().unwrap().display());
    let (key, certificate) = (dir.join("ca-key.pem"), dir.join("ca-cert.pem"));
    let (key, certificate) = (key.to_str().unwrap(), certificate.to_str().unwrap());
    let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &subject];
    let extensions = ["-addext", "keyUsage=critical,keyCertSign"];
    run("openssl", &[&new[..], &extensions, &["-keyout", key, "-out", certificate]].concat());
}

/// Makes a certificate of the authority in `dir` for what QEMU calls `server` or `client`.
fn make_certificate(dir: &Path, whose: &str) {
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (key, request) = (file(&format!("{whose}-key.pem")), file("request.pem"));
    let subject = format!("/CN={whose}");
    let new = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &request];
    run("openssl", &new);
    let extensions = format!(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nkeyUsage=critical,digitalSignature,keyEncipherment\n\
         extendedKeyUsage={whose}Auth\nbasicConstraints=critical,CA:FALSE\n"
    );
    std::fs::write(dir.join("extensions"), extensions).unwrap();
    let (authority, authority_key) = (file("ca-cert.pem"), file("ca-key.pem"));
    let (out, extensions) = (file(&format!("{whose}-cert.pem")), file("extensions"));
    let sign = ["x509", "-req", "-days", "2", "-in", &request, "-CA", &authority, "-CAkey", &authority_key];
    run("openssl", &[&sign[..], &["-CAcreateserial", "-extfile", &extensions, "-out", &out]].concat());
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(&self.pid).status();
    }
}

/// Both ends of a connection to a server, with what went over it.
struct Wiretap {
    socket: PathBuf,
    sent: Arc<Mutex<Vec<u8>>>,
    received: JoinHandle<u64>,
}

impl Wiretap {
    /// Passes one connection to `socket` in `dir` on to `server`.
    fn new(dir: &Path, server: PathBuf) -> Self {
        let socket = dir.join("tap.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = sent.clone();
        let received = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut behind = UnixStream::connect(server).unwrap();
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), behind.try_clone().unwrap());
            let up = std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = from_client.read(&mut buffer) {
                    kept.lock().unwrap().extend(&buffer[..length]);
                    to_server.write_all(&buffer[..length]).unwrap();
                }
            });
            let received = std::io::copy(&mut behind, &mut client).unwrap_or(0);
            up.join().unwrap();
            received
        });
        Self { socket, sent, received }
    }

    /// Returns the commands that the client sent, and how many bytes the server did.
    fn finish(self) -> (Vec<u16>, u64) {
        let received = self.received.join().unwrap();
        let sent = self.sent.lock().unwrap();
        let magic = [0x25, 0x60, 0x95, 0x13];
        let first = sent.windows(4).position(|window| window == magic).unwrap();
        let requests = sent[first..].chunks(28).inspect(|frame| assert_eq!(frame[..4], magic));
        (requests.map(|frame| u16::from_be_bytes([frame[6], frame[7]])).collect(), received)
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn uri_of(socket: &Path, export: &str) -> Uri {
    Uri::parse(&format!("nbd+unix:///{export}?socket={}", socket.display())).unwrap()
}

fn contexts() -> Vec<String> {
    vec![nbd::BASE_ALLOCATION.to_owned(), BITMAP.to_owned()]
}

/// What a context says of the whole disk, neighbours of equal flags as one.
fn status(client: &mut Client, context: &str) -> Vec<Status> {
    let mut all: Vec<Status> = Vec::new();
    let size = client.size_bytes();
    client
        .status(context, 0, size, |status| match all.last_mut() {
            Some(last) if last.flags == status.flags => last.length += status.length,
            _ => all.push(status),
        })
        .unwrap();
    all
}

fn dirty(client: &mut Client) -> Vec<(u64, u64)> {
    let all = status(client, BITMAP);
    all.iter()
        .filter(|status| status.flags & nbd::STATE_DIRTY != 0)
        .map(|status| (status.offset, status.length))
        .collect()
}

/// Reads `ranges` into a disk of zeros; returns it and how many bytes came as such.
fn fetch(client: &mut Client, ranges: &[(u64, u64)]) -> (Vec<u8>, u64) {
    let mut disk = vec![0; client.size_bytes() as usize];
    let mut fetched = 0;
    let each = |offset: u64, chunk: Chunk<'_>| {
        if let Chunk::Data(bytes) = chunk {
            disk[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
            fetched += bytes.len() as u64;
        }
        Ok(())
    };
    client.read(ranges.iter().copied(), each).unwrap();
    (disk, fetched)
}

/// The disk as `qemu-img` reads it.
fn truth(dir: &Path, disk: &Path) -> Vec<u8> {
    let raw = dir.join("disk.raw");
    run("qemu-img", &["convert", "-O", "raw", disk.to_str().unwrap(), raw.to_str().unwrap()]);
    std::fs::read(raw).unwrap()
}

#[test]
fn the_bitmap_of_a_disk_and_its_allocation_are_told_as_qemu_img_tells_them() {
    let dir = TempDir::new().unwrap();
    let (disk, socket) = (disk(dir.path()), dir.path().join("nbd.sock"));
    let map = run("qemu-img", &["map", "--output=json", disk.to_str().unwrap()]);
    let _server = Server::qemu_nbd(dir.path(), &disk, &socket);
    let mut client = Client::connect(&uri_of(&socket, "disk"), &contexts(), &Options::default()).unwrap();
    assert_eq!((client.size_bytes(), client.is_read_only()), (DISK, true));
    assert_eq!(dirty(&mut client), DIRTY);
    let map: Vec<serde_json::Value> = serde_json::from_slice(&map).unwrap();
    let mut expected: Vec<(u64, u64, bool)> = Vec::new();
    for run in &map {
        let zero = run["zero"].as_bool().unwrap();
        let (start, length) = (run["start"].as_u64().unwrap(), run["length"].as_u64().unwrap());
        match expected.last_mut() {
            Some(last) if last.2 == zero => last.1 += length,
            _ => expected.push((start, length, zero)),
        }
    }
    let mut told: Vec<(u64, u64, bool)> = Vec::new();
    for run in status(&mut client, nbd::BASE_ALLOCATION) {
        let zero = run.flags & nbd::STATE_ZERO != 0;
        match told.last_mut() {
            Some(last) if last.2 == zero => last.1 += run.length,
            _ => told.push((run.offset, run.length, zero)),
        }
    }
    assert_eq!(told, expected);
}

#[test]
fn the_whole_disk_is_read_as_qemu_img_reads_it() {
    let dir = TempDir::new().unwrap();
    let (disk, socket) = (disk(dir.path()), dir.path().join("nbd.sock"));
    let truth = truth(dir.path(), &disk);
    let _server = Server::qemu_nbd(dir.path(), &disk, &socket);
    let mut client = Client::connect(&uri_of(&socket, "disk"), &[], &Options::default()).unwrap();
    let (read, fetched) = fetch(&mut client, &[(0, DISK)]);
    assert!(read == truth);
    assert!(fetched < 8 * MIB, "{fetched}: holes come as holes");
    let (read, _) = fetch(&mut client, &[(10 * MIB + 4000, 200), (3 * MIB - 1, 2)]);
    assert!(read[10 * MIB as usize + 4000..][..200] == truth[10 * MIB as usize + 4000..][..200]);
    assert_eq!(read[3 * MIB as usize - 1..][..2], [0x11, 0]);
}

#[test]
fn of_an_incremental_only_what_is_dirty_goes_over_the_wire_and_nothing_but_reading_is_asked_for() {
    let dir = TempDir::new().unwrap();
    let (disk, socket) = (disk(dir.path()), dir.path().join("nbd.sock"));
    let truth = truth(dir.path(), &disk);
    let _server = Server::qemu_nbd(dir.path(), &disk, &socket);
    let tap = Wiretap::new(dir.path(), socket);
    let mut client = Client::connect(&uri_of(&tap.socket, "disk"), &contexts(), &Options::default()).unwrap();
    let dirty = dirty(&mut client);
    let (read, fetched) = fetch(&mut client, &dirty);
    drop(client);
    for (offset, length) in DIRTY {
        let range = offset as usize..(offset + length) as usize;
        assert!(read[range.clone()] == truth[range]);
    }
    let written = 128 * KIB;
    assert!(fetched <= written, "{fetched} bytes came; 1 MiB and 64 KiB of what is dirty are zeros");
    let (commands, received) = tap.finish();
    assert!((fetched..written + 4 * KIB).contains(&received), "{received} bytes came over the wire");
    assert!(commands.contains(&0) && commands.contains(&7) && commands.last() == Some(&2), "{commands:?}");
    assert!(commands.iter().all(|command| [0, 7, 2].contains(command)), "{commands:?}");
}

#[test]
fn the_storage_daemon_is_read_over_tcp() {
    let dir = TempDir::new().unwrap();
    let disk = disk(dir.path());
    let truth = truth(dir.path(), &disk);
    let port = free_port();
    let _server = Server::storage_daemon(dir.path(), &disk, port);
    let uri = Uri::parse(&format!("nbd://127.0.0.1:{port}/disk")).unwrap();
    let mut client = Client::connect(&uri, &contexts(), &Options::default()).unwrap();
    assert_eq!(dirty(&mut client), DIRTY);
    let (read, _) = fetch(&mut client, &[(0, DISK)]);
    assert!(read == truth);
}

#[test]
fn a_bitmap_or_an_export_that_is_not_there_is_named_with_those_that_are() {
    let dir = TempDir::new().unwrap();
    let (disk, socket) = (disk(dir.path()), dir.path().join("nbd.sock"));
    let _server = Server::qemu_nbd(dir.path(), &disk, &socket);
    let missing = [nbd::BASE_ALLOCATION.to_owned(), "qemu:dirty-bitmap:b9".to_owned()];
    let error = Client::connect(&uri_of(&socket, "disk"), &missing, &Options::default()).err().unwrap();
    let expected =
        "export \"disk\" has no context \"qemu:dirty-bitmap:b9\"; it has \"base:allocation\", \"qemu:dirty-bitmap:b0\"";
    assert_eq!(error.to_string(), expected);
    for contexts in [contexts(), vec![]] {
        let error = Client::connect(&uri_of(&socket, "other"), &contexts, &Options::default()).err().unwrap();
        assert_eq!(error.to_string(), "the NBD server has no export \"other\"; it has \"disk\"");
    }
}

/// The message of an error and those of its causes.
fn chain(error: &nbd::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[test]
fn over_tls_both_ends_have_to_prove_who_they_are() {
    let dir = TempDir::new().unwrap();
    let disk = disk(dir.path());
    let truth = truth(dir.path(), &disk);
    let [both, other, nobody] = ["both", "other", "nobody"].map(|name| dir.path().join(name));
    make_authority(&both);
    make_certificate(&both, "server");
    make_certificate(&both, "client");
    make_authority(&other);
    std::fs::create_dir(&nobody).unwrap();
    std::fs::copy(both.join("ca-cert.pem"), nobody.join("ca-cert.pem")).unwrap();
    let port = free_port();
    let _server = Server::qemu_nbd_tls(dir.path(), &disk, port, &both);
    let connect = |text: &str| {
        let uri = Uri::parse(&format!("nbd{text}").replace("PORT", &port.to_string())).unwrap();
        Client::connect(&uri, &contexts(), &Options::default())
    };
    let encrypted = |dir: &Path| connect(&format!("s://127.0.0.1:PORT/disk?tls-certificates={}", dir.display()));
    let mut client = encrypted(&both).unwrap();
    assert_eq!(dirty(&mut client), DIRTY);
    let (read, _) = fetch(&mut client, &[(0, DISK)]);
    assert!(read == truth);
    drop(client);
    let told = |client: Result<Client, nbd::Error>| chain(&client.err().unwrap());
    let plain = "the NBD server gives export \"disk\" over TLS only; its address begins with nbds:// then";
    assert_eq!(told(connect("://127.0.0.1:PORT/disk")), plain);
    let broke = "the connection to the NBD server broke while";
    let refused = "no encrypted connection to the NBD server: invalid peer certificate";
    assert_eq!(told(encrypted(&other)), format!("{refused}: UnknownIssuer"));
    let unnamed =
        told(connect(&format!("s://127.0.0.1:PORT/disk?tls-certificates={}&tls-hostname=else", both.display())));
    assert!(unnamed.starts_with(&format!("{refused}: certificate not valid for name")), "{unnamed}");
    assert!(told(encrypted(&nobody)).starts_with(&format!("{broke} opening the export")));
    let absent = told(encrypted(&dir.path().join("absent")));
    assert!(
        absent.starts_with(&format!("cannot use the TLS certificates in {:?}", dir.path().join("absent"))),
        "{absent}"
    );
}
