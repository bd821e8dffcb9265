//! A server that says what a test tells it to, on the other end of a socket.
//! Real servers are asked in `tests/block_nbd.rs`.

use super::*;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

const SIZE: u64 = 10 << 20;
const OPT: u64 = u64::from_be_bytes(*b"IHAVEOPT");

/// What the server of a test is.
#[derive(Clone, Copy)]
struct Fake {
    size: u64,
    block_bytes: [u32; 3],
    structured: bool,
    contexts: &'static [(&'static str, u32)],
    /// Answers to an option by an error: (option, kind, text).
    refuses: Option<(u32, u32, &'static str)>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            size: SIZE,
            block_bytes: [1, 4096, 32 << 20],
            structured: true,
            contexts: &[("base:allocation", 3), ("qemu:dirty-bitmap:b0", 7)],
            refuses: None,
        }
    }
}

/// A request as it came: command, handle, offset, length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    command: u16,
    handle: u64,
    offset: u64,
    length: u32,
}

fn take<const LENGTH: usize>(socket: &mut UnixStream) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    socket.read_exact(&mut bytes).ok().map(|()| bytes)
}

fn reply(option: u32, kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = 0x0003_e889_0455_65a9_u64.to_be_bytes().to_vec();
    for number in [option, kind, payload.len() as u32] {
        frame.extend(number.to_be_bytes());
    }
    frame.extend(payload);
    frame
}

fn chunk(flags: u16, kind: u16, handle: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = 0x668e_33ef_u32.to_be_bytes().to_vec();
    frame.extend(flags.to_be_bytes());
    frame.extend(kind.to_be_bytes());
    frame.extend(handle.to_be_bytes());
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame
}

fn data(flags: u16, handle: u64, offset: u64, bytes: &[u8]) -> Vec<u8> {
    chunk(flags, 1, handle, &[&offset.to_be_bytes(), bytes].concat())
}

fn hole(flags: u16, handle: u64, offset: u64, length: u32) -> Vec<u8> {
    chunk(flags, 2, handle, &[&offset.to_be_bytes()[..], &length.to_be_bytes()].concat())
}

fn extents(flags: u16, handle: u64, id: u32, extents: &[(u32, u32)]) -> Vec<u8> {
    let numbers = std::iter::once(id).chain(extents.iter().flat_map(|(length, flags)| [*length, *flags]));
    chunk(flags, 5, handle, &numbers.flat_map(u32::to_be_bytes).collect::<Vec<_>>())
}

impl Fake {
    /// Greets and answers options until the export is open.
    fn shake_hands(self, socket: &mut UnixStream) -> Option<()> {
        socket.write_all(&[&b"NBDMAGICIHAVEOPT"[..], &[0, 3]].concat()).ok()?;
        assert_eq!(take::<4>(socket)?, [0, 0, 0, 3]);
        loop {
            let head = take::<16>(socket)?;
            assert_eq!(head[..8], OPT.to_be_bytes());
            let option = u32::from_be_bytes(head[8..12].try_into().unwrap());
            let mut payload = vec![0; u32::from_be_bytes(head[12..16].try_into().unwrap()) as usize];
            socket.read_exact(&mut payload).ok()?;
            let refused = self.refuses.filter(|(refused, ..)| *refused == option);
            let answer = match (refused, option) {
                (Some((_, kind, text)), _) => reply(option, kind, text.as_bytes()),
                (None, 3) => [reply(3, 2, b"\0\0\0\x04disk"), reply(3, 1, b"")].concat(),
                (None, 8) if !self.structured => reply(8, 1 << 31 | 1, b""),
                (None, 9 | 10) => {
                    let context = |(name, id): &(&str, u32)| [&id.to_be_bytes()[..], name.as_bytes()].concat();
                    let asked = |(name, _): &&(&str, u32)| {
                        option == 9 || payload.windows(name.len()).any(|bytes| bytes == name.as_bytes())
                    };
                    let told = self.contexts.iter().filter(asked).map(|found| reply(option, 4, &context(found)));
                    [told.collect::<Vec<_>>().concat(), reply(option, 1, b"")].concat()
                }
                (None, 7) => {
                    let export = [&[0, 0], &self.size.to_be_bytes()[..], &[0, 3]].concat();
                    let blocks = self.block_bytes.map(u32::to_be_bytes).concat();
                    [reply(7, 3, &export), reply(7, 3, &[&[0, 3], &blocks[..]].concat()), reply(7, 1, b"")].concat()
                }
                _ => reply(option, 1, b""),
            };
            socket.write_all(&answer).ok()?;
            if option == 7 && refused.is_none() {
                return Some(());
            }
        }
    }

    /// Runs it; `answer` says what to send for each request. Returns the client's end and what came.
    fn run(self, mut answer: impl FnMut(Asked) -> Vec<u8> + Send + 'static) -> (Wire, JoinHandle<Vec<Asked>>) {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let mut came = Vec::new();
            if self.shake_hands(&mut ours).is_none() {
                return came;
            }
            while let Some(frame) = take::<28>(&mut ours) {
                assert_eq!(frame[..6], [0x25, 0x60, 0x95, 0x13, 0, 0]);
                let asked = Asked {
                    command: u16::from_be_bytes(frame[6..8].try_into().unwrap()),
                    handle: u64::from_be_bytes(frame[8..16].try_into().unwrap()),
                    offset: u64::from_be_bytes(frame[16..24].try_into().unwrap()),
                    length: u32::from_be_bytes(frame[24..28].try_into().unwrap()),
                };
                came.push(asked);
                if asked.command == 2 || ours.write_all(&answer(asked)).is_err() {
                    break;
                }
            }
            came
        });
        (Wire::over_unix(theirs, Duration::from_secs(10)).unwrap(), server)
    }

    fn open(self, answer: impl FnMut(Asked) -> Vec<u8> + Send + 'static) -> (Client, JoinHandle<Vec<Asked>>) {
        let (wire, server) = self.run(answer);
        let contexts: &[_] =
            if self.structured { &["base:allocation".into(), "qemu:dirty-bitmap:b0".into()] } else { &[] };
        (Client::open(wire, None, "disk", contexts).unwrap(), server)
    }

    fn refusal(self, contexts: &[&str]) -> String {
        let (wire, _server) = self.run(|_| Vec::new());
        let contexts: Vec<_> = contexts.iter().map(|context| (*context).to_owned()).collect();
        Client::open(wire, None, "gone", &contexts).err().unwrap().to_string()
    }
}

/// The byte of the disk of these tests at an offset.
fn byte(offset: u64) -> u8 {
    (offset / 512 + offset) as u8
}

fn bytes(offset: u64, length: u64) -> Vec<u8> {
    (offset..offset + length).map(byte).collect()
}

fn honest(asked: Asked) -> Vec<u8> {
    data(1, asked.handle, asked.offset, &bytes(asked.offset, asked.length.into()))
}

/// Reads `ranges` and returns what came, with holes as zeros, by offset.
fn all_of(client: &mut Client, ranges: &[(u64, u64)]) -> Result<BTreeMap<u64, Vec<u8>>, Error> {
    let mut all = BTreeMap::new();
    client.read(ranges.iter().copied(), |offset, chunk| {
        let bytes = match chunk {
            Chunk::Data(bytes) => bytes.to_vec(),
            Chunk::Hole(length) => vec![0; length as usize],
        };
        assert!(all.insert(offset, bytes).is_none());
        Ok(())
    })?;
    Ok(all)
}

fn refused_read(answer: impl FnMut(Asked) -> Vec<u8> + Send + 'static) -> String {
    let (mut client, _server) = Fake::default().open(answer);
    let error = all_of(&mut client, &[(4096, 1024)]).unwrap_err().to_string();
    assert!(matches!(all_of(&mut client, &[(0, 1)]), Err(Error::Spent)));
    error
}

fn refused_status(answer: impl FnMut(Asked) -> Vec<u8> + Send + 'static) -> String {
    let (mut client, _server) = Fake::default().open(answer);
    client.status("qemu:dirty-bitmap:b0", 0, SIZE, |_| ()).unwrap_err().to_string()
}

#[test]
fn addresses_are_taken_apart() {
    let tcp = |host: &str, port| Place::Tcp { host: host.into(), port };
    let cases = [
        ("nbd://host", tcp("host", 10809), ""),
        ("nbd://host:10810/", tcp("host", 10810), ""),
        ("nbd://[::1]:99/a/b%20c", tcp("::1", 99), "a/b c"),
        ("nbd+unix:///disk?socket=/run/a%3fb.sock", Place::Unix("/run/a?b.sock".into()), "disk"),
        ("nbd+unix://?socket=s", Place::Unix("s".into()), ""),
    ];
    for (text, place, export) in cases {
        let expected = Uri { place, export: export.into(), certificates: None, tls_name: None };
        assert_eq!(Uri::parse(text).unwrap(), expected, "{text}");
    }
    let expected = Uri {
        place: tcp("10.0.0.1", 10809),
        export: "disk".into(),
        certificates: Some("/etc/pki".into()),
        tls_name: Some("host".into()),
    };
    assert_eq!(Uri::parse("nbds://10.0.0.1/disk?tls-certificates=/etc/pki&tls-hostname=host").unwrap(), expected);
}

#[test]
fn what_is_no_address_is_refused_with_the_reason() {
    let cases = [
        ("disk.img", "it has no \"://\""),
        ("http://host/", "it does not begin with nbd://, nbds://, nbd+unix:// or nbds+unix://"),
        ("nbd:///disk", "it lacks a host, or its port is no number"),
        ("nbd://host:0/", "it lacks a host, or its port is no number"),
        ("nbd://host:x/", "it lacks a host, or its port is no number"),
        ("nbd://[::1/", "it lacks a host, or its port is no number"),
        ("nbd://h/?socket=/s", "a socket goes with nbd+unix://"),
        ("nbd+unix:///disk", "it lacks ?socket=PATH"),
        ("nbd+unix://h/disk?socket=/s", "a host and a socket are one too many"),
        ("nbd+unix:///disk?socket=", "what follows its ? is empty, not UTF-8, or a % begins no byte"),
        ("nbds://h/disk", "nbds and ?tls-certificates=DIR, the folder with ca-cert.pem, go together"),
        (
            "nbd://h/disk?tls-certificates=/etc",
            "nbds and ?tls-certificates=DIR, the folder with ca-cert.pem, go together",
        ),
        ("nbd://h/%zz", "its export is not UTF-8, or a % begins no byte"),
        ("nbd://h/%00", "its export is not UTF-8, or a % begins no byte"),
    ];
    for (text, why) in cases {
        let expected = format!("{text:?} is not a disk of an NBD server: {why}");
        assert_eq!(Uri::parse(text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn ranges_are_read_whole_and_each_byte_once() {
    let (mut client, server) = Fake::default().open(honest);
    assert_eq!((client.size_bytes(), client.flags(), client.is_read_only()), (SIZE, 3, true));
    let all = all_of(&mut client, &[(0, 1), (5, 0), (1000, 3 << 20), (SIZE - 7, 7)]).unwrap();
    drop(client);
    let lengths: Vec<_> = all.iter().map(|(offset, bytes)| (*offset, bytes.len())).collect();
    let mib = 1 << 20;
    let expected = [(0, 1), (1000, mib), (1000 + mib as u64, mib), (1000 + 2 * mib as u64, mib), (SIZE - 7, 7)];
    assert_eq!(lengths, expected);
    assert!(all.iter().all(|(offset, found)| *found == bytes(*offset, found.len() as u64)));
    let commands: Vec<_> = server.join().unwrap().iter().map(|asked| asked.command).collect();
    assert_eq!(commands, [0, 0, 0, 0, 0, 2], "reading and taking leave, nothing else");
}

#[test]
fn requests_keep_to_the_blocks_of_the_server_and_no_more_is_passed_on() {
    let fake = Fake { block_bytes: [4096, 4096, 8192], ..Fake::default() };
    let (mut client, server) = fake.open(honest);
    let all = all_of(&mut client, &[(4100, 10_000)]).unwrap();
    drop(client);
    assert_eq!(all.values().flatten().copied().collect::<Vec<_>>(), bytes(4100, 10_000));
    let asked: Vec<_> = server.join().unwrap().iter().map(|asked| (asked.offset, asked.length)).collect();
    assert_eq!(asked, [(4096, 8192), (12_288, 4096), (0, 0)]);
}

#[test]
fn answers_may_come_in_any_order_and_in_pieces_with_holes() {
    let mut first = None;
    let (mut client, _server) = Fake::default().open(move |asked| match first.take() {
        None => {
            first = Some(asked);
            data(0, asked.handle, 512, &bytes(512, 512))
        }
        Some(early) => [honest(asked), hole(0, early.handle, 0, 512), chunk(1, 0, early.handle, b"")].concat(),
    });
    let mut order = Vec::new();
    let ranges = [(0, 1024), (2048, 8)];
    client
        .read(ranges.into_iter(), |offset, chunk| {
            order.push((offset, matches!(chunk, Chunk::Hole(512))));
            Ok(())
        })
        .unwrap();
    assert_eq!(order, [(512, false), (2048, false), (0, true)]);
}

#[test]
fn sixteen_requests_are_under_way_at_a_time() {
    let mut waiting = Vec::new();
    let (mut client, server) = Fake::default().open(move |asked| {
        waiting.push(asked);
        if waiting.len() == 16 { waiting.drain(..).rev().flat_map(honest).collect() } else { Vec::new() }
    });
    let ranges: Vec<_> = (0..32).map(|index| (index * 8192, 512)).collect();
    assert_eq!(all_of(&mut client, &ranges).unwrap().len(), 32);
    drop(client);
    assert_eq!(server.join().unwrap().len(), 33);
}

#[test]
fn a_server_without_structured_answers_can_be_read() {
    let fake = Fake { structured: false, ..Fake::default() };
    let (mut client, _server) = fake.open(|asked| {
        let head = [&0x6744_6698_u32.to_be_bytes()[..], &[0; 4], &asked.handle.to_be_bytes()].concat();
        [head, bytes(asked.offset, asked.length.into())].concat()
    });
    assert_eq!(all_of(&mut client, &[(3, 5)]).unwrap(), BTreeMap::from([(3, bytes(3, 5))]));
}

#[test]
fn status_goes_on_where_a_short_answer_ends_and_stops_where_the_range_does() {
    let (mut client, _server) = Fake::default().open(|asked| {
        let other = extents(0, asked.handle, 3, &[(1 << 30, 0)]);
        let long = (4 << 20, 1);
        let runs: &[_] = if asked.offset == 0 { &[(1 << 20, 0), (1 << 20, 1)] } else { &[long, long] };
        [other, extents(1, asked.handle, 7, runs)].concat()
    });
    let mut told = Vec::new();
    client
        .status("qemu:dirty-bitmap:b0", 0, 9 << 20, |status| told.push((status.offset, status.length, status.flags)))
        .unwrap();
    let mib = 1 << 20;
    assert_eq!(told, [(0, mib, 0), (mib, mib, 1), (2 * mib, 4 * mib, 1), (6 * mib, 3 * mib, 1)]);
}

#[test]
fn a_context_that_lacks_is_named_with_those_that_are_there() {
    assert_eq!(
        Fake::default().refusal(&["base:allocation", "qemu:dirty-bitmap:x"]),
        "export \"gone\" has no context \"qemu:dirty-bitmap:x\"; it has \"base:allocation\", \"qemu:dirty-bitmap:b0\""
    );
    let (mut client, _server) = Fake::default().open(honest);
    assert_eq!(
        client.status("x", 0, 1, |_| ()).unwrap_err().to_string(),
        "export \"disk\" has no context \"x\"; it has \"base:allocation\", \"qemu:dirty-bitmap:b0\""
    );
}

#[test]
fn servers_that_do_not_open_the_export_are_told_apart() {
    let refusing = |option, kind, text| Fake { refuses: Some((option, kind, text)), ..Fake::default() };
    let error = 1 << 31;
    let cases = [
        (refusing(7, error | 6, ""), "the NBD server has no export \"gone\"; it has \"disk\""),
        (refusing(10, error | 6, ""), "the NBD server has no export \"gone\"; it has \"disk\""),
        (
            refusing(8, error | 5, ""),
            "the NBD server gives export \"gone\" over TLS only; its address begins with nbds:// then",
        ),
        (refusing(7, error | 2, "not\nyou"), "the NBD server refuses the export: not\\nyou"),
        (
            Fake { structured: false, ..Fake::default() },
            "the NBD server refuses to tell what is dirty or allocated: it does not know how",
        ),
        (
            Fake { size: 1 << 63, ..Fake::default() },
            "the NBD server does not keep to the protocol: it says that the disk has 9223372036854775808 bytes",
        ),
        (
            Fake { block_bytes: [3, 4096, 4096], ..Fake::default() },
            "the NBD server does not keep to the protocol: it says that requests have 3 to 4096 bytes",
        ),
    ];
    for (fake, expected) in cases {
        assert_eq!(fake.refusal(&["base:allocation"]), expected);
    }
    let twins = Fake { contexts: &[("base:allocation", 1), ("qemu:x", 1)], ..Fake::default() };
    let expected = "the NBD server does not keep to the protocol: two contexts have one number";
    assert_eq!(twins.refusal(&["base:allocation", "qemu:x"]), expected);
}

#[test]
fn what_is_no_server_of_today_is_refused() {
    let cases: [(&[u8], &str); 3] = [
        (
            b"SSH-2.0-OpenSSH_9.2p1\r\n",
            "the NBD server does not keep to the protocol: it does not greet as an NBD server does",
        ),
        (
            &[0x4e, 0x42, 0x44, 0x4d, 0x41, 0x47, 0x49, 0x43, 0, 0, 0x42, 2, 0x81, 0x86, 0x12, 0x53, 0, 0],
            "the NBD server does not keep to the protocol: it speaks a form of the protocol that was given up in 2011",
        ),
        (b"NBDMAG", "the connection to the NBD server broke while it should greet"),
    ];
    for (greeting, expected) in cases {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(greeting).unwrap();
        drop(ours);
        let wire = Wire::over_unix(theirs, Duration::from_secs(10)).unwrap();
        assert_eq!(Client::open(wire, None, "", &[]).err().unwrap().to_string(), expected);
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let wire = Wire::over_unix(theirs, Duration::from_millis(1)).unwrap();
    let error = Client::open(wire, None, "", &[]).err().unwrap().to_string();
    assert_eq!(error, "the NBD server said nothing for 0.001 s while it should greet");
}

#[test]
fn answers_that_lie_about_a_read_are_refused() {
    let full = bytes(4096, 1024);
    let came = "came, not asked for or for the second time, for 1024 bytes at byte 4096";
    let protocol = |text: &str| format!("the NBD server does not keep to the protocol: {text}");
    let text = refused_read(|asked| data(1, asked.handle + 1, 4096, &[0; 1024]));
    assert_eq!(text, protocol("an answer to request 2, which is not under way came"));
    let text = refused_read(|asked| data(1, asked.handle, 4095, &[0; 1024]));
    assert_eq!(text, protocol(&format!("1024 bytes at byte 4095 {came}")));
    let text = refused_read(|asked| data(1, asked.handle, 4096, &[0; 1025]));
    assert_eq!(text, protocol(&format!("1025 bytes at byte 4096 {came}")));
    let text = refused_read(|asked| hole(1, asked.handle, u64::MAX, 2));
    assert_eq!(text, protocol(&format!("2 bytes at byte 18446744073709551615 {came}")));
    let text = refused_read(|asked| hole(1, asked.handle, 4096, 0));
    assert_eq!(text, protocol(&format!("0 bytes at byte 4096 {came}")));
    let text = refused_read(move |asked| [data(0, asked.handle, 4096, &full), hole(1, asked.handle, 5000, 9)].concat());
    assert_eq!(text, protocol(&format!("9 bytes at byte 5000 {came}")));
    let text = refused_read(|asked| data(1, asked.handle, 4096, &[0; 1023]));
    assert_eq!(text, protocol("of 1024 bytes at byte 4096 only 1023 came"));
    let text = refused_read(|asked| chunk(1, 0, asked.handle, b""));
    assert_eq!(text, protocol("of 1024 bytes at byte 4096 only 0 came"));
    let text = refused_read(|asked| chunk(1, 9, asked.handle, b"abc"));
    assert_eq!(text, protocol("a chunk of kind 9 and 3 bytes to a reading request came"));
    let text = refused_read(|asked| chunk(1, 1, asked.handle, &[0; 8]));
    assert_eq!(
        text,
        protocol("0 bytes at byte 0 came, not asked for or for the second time, for 1024 bytes at byte 4096")
    );
    let text = refused_read(|_| vec![0; 20]);
    assert_eq!(text, protocol("an answer that begins with 0x00000000 came"));
    let simple = |asked: Asked| [&0x6744_6698_u32.to_be_bytes()[..], &[0; 4], &asked.handle.to_be_bytes()].concat();
    assert_eq!(refused_read(simple), protocol("a simple answer to a reading request came"));
}

#[test]
fn a_request_that_is_answered_in_dust_is_refused() {
    let text = {
        let (mut client, _server) = Fake::default()
            .open(|asked| (0..5000).flat_map(|index| hole(0, asked.handle, asked.offset + 2 * index, 1)).collect());
        all_of(&mut client, &[(0, 1 << 20)]).unwrap_err().to_string()
    };
    assert_eq!(text, "the NBD server does not keep to the protocol: one answer has more than 4096 runs");
}

#[test]
fn errors_of_the_server_and_a_cut_connection_are_told() {
    let failing = |asked: Asked| chunk(1, 0x8002, asked.handle, &[&[0, 0, 0, 5, 0, 4][..], b"disk", &[0; 8]].concat());
    let expected = "the NBD server cannot describe 1024 bytes at byte 4096: disk: Input/output error (os error 5)";
    assert_eq!(refused_read(failing), expected);
    let lying = |asked: Asked| chunk(1, 0x8001, asked.handle, &[0, 0, 0, 5, 0, 9]);
    let expected = "the NBD server does not keep to the protocol: error has 6 bytes, and 9 at byte 6 are needed";
    assert_eq!(refused_read(lying), expected);
    let (mut client, _server) = Fake::default().open(|_| panic!("gone"));
    let error = all_of(&mut client, &[(0, 1)]).unwrap_err();
    assert_eq!(error.to_string(), "the connection to the NBD server broke while it should answer");
}

#[test]
fn answers_that_lie_about_a_status_are_refused() {
    let protocol = |text: &str| format!("the NBD server does not keep to the protocol: {text} came");
    let text = refused_status(|asked| extents(1, asked.handle, 7, &[(0, 1)]));
    assert_eq!(text, protocol("an extent of no bytes"));
    let text = refused_status(|asked| extents(1, asked.handle, 7, &[]));
    assert_eq!(text, protocol("a status of 4 bytes"));
    let text = refused_status(|asked| extents(1, asked.handle, 3, &[(512, 1)]));
    assert_eq!(text, protocol("no answer for the context that was asked for"));
    let text = refused_status(|asked| extents(0, asked.handle, 7, &[(512, 1)]).repeat(2));
    assert_eq!(text, protocol("two answers for one context"));
    let text = refused_status(|asked| data(1, asked.handle, 0, &[1]));
    assert_eq!(text, protocol("a chunk of kind 1 to a request for status"));
    let text = refused_status(|asked| chunk(1, 5, asked.handle, b"")[..16].iter().chain(&[0xff; 4]).copied().collect());
    let expected = "an answer of 4294967295 bytes came while telling what is allocated or dirty";
    assert_eq!(text, format!("the NBD server does not keep to the protocol: {expected}"));
}

#[test]
fn what_is_not_on_the_disk_is_not_asked_for() {
    let (mut client, server) = Fake::default().open(honest);
    let expected = format!("2 bytes at byte {} are not on the disk of {SIZE} bytes", SIZE - 1);
    assert_eq!(client.status("base:allocation", SIZE - 1, 2, |_| ()).unwrap_err().to_string(), expected);
    assert_eq!(all_of(&mut client, &[(SIZE - 1, 2)]).unwrap_err().to_string(), expected);
    drop(client);
    assert_eq!(server.join().unwrap(), []);
}

#[test]
fn who_cannot_take_the_bytes_stops_the_reading() {
    let (mut client, _server) = Fake::default().open(honest);
    let error = client.read([(512, 1)].into_iter(), |_, _| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
    assert_eq!(error.to_string(), "cannot keep what the NBD server gave of byte 512");
}

#[test]
fn a_place_where_nobody_listens_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("no.sock");
    let uri = Uri::parse(&format!("nbd+unix:///disk?socket={}", socket.display())).unwrap();
    let error = Client::connect(&uri, &[], &Options::default()).err().unwrap();
    assert_eq!(error.to_string(), format!("cannot connect to {socket:?}"));
}

#[test]
fn a_folder_without_certificates_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let uri = Uri::parse(&format!("nbds://localhost/disk?tls-certificates={}", dir.path().display())).unwrap();
    let error = Client::connect(&uri, &[], &Options::default()).err().unwrap();
    assert_eq!(error.to_string(), format!("cannot use the TLS certificates in {:?}", dir.path()));
}
