//! From a fresh connection to an export that can be read.
//!
//! Promises: answers are bounded in length and number; contexts are all there or the first that lacks is named with those
//! that are.

use super::error::Error;
use super::export::Export;
use super::tls::Tls;
use super::wire::Wire;
use crate::source::block::bytes::Fields;
use std::collections::{BTreeMap, BTreeSet};

const MAGIC: u64 = u64::from_be_bytes(*b"NBDMAGIC");
const MAGIC_OPTIONS: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const MAGIC_REPLY: u64 = 0x0003_e889_0455_65a9;

const FIXED_NEWSTYLE: u16 = 1;
const NO_ZEROES: u16 = 2;

const OPT_LIST: u32 = 3;
const OPT_STARTTLS: u32 = 5;
const OPT_GO: u32 = 7;
const OPT_STRUCTURED_REPLY: u32 = 8;
const OPT_LIST_META_CONTEXT: u32 = 9;
const OPT_SET_META_CONTEXT: u32 = 10;

const REP_ACK: u32 = 1;
const REP_SERVER: u32 = 2;
const REP_INFO: u32 = 3;
const REP_META_CONTEXT: u32 = 4;
const REP_IS_ERROR: u32 = 1 << 31;
const REP_ERR_UNSUPPORTED: u32 = REP_IS_ERROR | 1;
const REP_ERR_TLS_REQUIRED: u32 = REP_IS_ERROR | 5;
const REP_ERR_UNKNOWN: u32 = REP_IS_ERROR | 6;

const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

/// The most that one answer to an option takes: two strings of the protocol and some numbers.
const REPLY_BYTES_MAX: u32 = 16 << 10;

/// The most answers to one option: a server has no more exports or bitmaps than this.
const REPLIES_MAX: usize = 10_000;

/// What a server without a word about it wants: requests of whole sectors of 512 bytes and no more than 32 MiB at once.
const BLOCK_BYTES_MIN: u32 = 512;
const READ_BYTES_MAX: u32 = 32 << 20;

/// How an option went.
enum Outcome {
    Done,
    Refused { kind: u32, text: String },
}

/// Exchanges greetings and, with `tls`, goes on encrypted.
pub(super) fn greet(mut wire: Wire, tls: Option<&Tls>) -> Result<Wire, Error> {
    greet_plainly(&mut wire)?;
    let Some(tls) = tls else {
        return Ok(wire);
    };
    match ask(&mut wire, OPT_STARTTLS, &[], |_, _| Ok(()))? {
        Outcome::Done => wire.encrypted(tls),
        Outcome::Refused { kind, text } => Err(refused("TLS", kind, text)),
    }
}

/// Opens the export `name` with `contexts`.
pub(super) fn negotiate(wire: &mut Wire, name: &str, contexts: &[String]) -> Result<Export, Error> {
    let structured = match ask(wire, OPT_STRUCTURED_REPLY, &[], |_, _| Ok(()))? {
        Outcome::Done => true,
        Outcome::Refused { kind: REP_ERR_TLS_REQUIRED, .. } => return Err(Error::NeedsTls { export: name.to_owned() }),
        Outcome::Refused { .. } if contexts.is_empty() => false,
        Outcome::Refused { kind, text } => return Err(refused("to tell what is dirty or allocated", kind, text)),
    };
    let contexts = set_contexts(wire, name, contexts)?;
    let mut export = Export {
        name: name.to_owned(),
        size_bytes: 0,
        flags: 0,
        block_bytes_min: BLOCK_BYTES_MIN,
        read_bytes_max: READ_BYTES_MAX,
        structured,
        contexts,
    };
    go(wire, name, &mut export)?;
    Ok(export)
}

fn greet_plainly(wire: &mut Wire) -> Result<(), Error> {
    const DOING: &str = "it should greet";
    let greeting = wire.receive::<18>(DOING)?;
    let fields = Fields { bytes: &greeting, what: "greeting" };
    let (magic, style, flags) = (word(fields.be64(0))?, word(fields.be64(8))?, word(fields.be16(16))?);
    if magic != MAGIC {
        return Err(Error::Protocol("it does not greet as an NBD server does".to_owned()));
    }
    if style != MAGIC_OPTIONS || flags & FIXED_NEWSTYLE == 0 {
        return Err(Error::Protocol("it speaks a form of the protocol that was given up in 2011".to_owned()));
    }
    wire.send(&u32::from(flags & (FIXED_NEWSTYLE | NO_ZEROES)).to_be_bytes(), DOING)
}

/// Sends an option and calls `each` with kind and payload of every answer before the last.
fn ask(
    wire: &mut Wire,
    option: u32,
    data: &[u8],
    mut each: impl FnMut(u32, Fields<'_>) -> Result<(), Error>,
) -> Result<Outcome, Error> {
    const DOING: &str = "opening the export";
    let mut frame = MAGIC_OPTIONS.to_be_bytes().to_vec();
    frame.extend(option.to_be_bytes());
    frame.extend((data.len() as u32).to_be_bytes());
    frame.extend(data);
    wire.send(&frame, DOING)?;
    for _ in 0..REPLIES_MAX {
        let header = wire.receive::<20>(DOING)?;
        let fields = Fields { bytes: &header, what: "answer to an option" };
        let (magic, answered) = (word(fields.be64(0))?, word(fields.be32(8))?);
        let (kind, length) = (word(fields.be32(12))?, word(fields.be32(16))?);
        if magic != MAGIC_REPLY || answered != option {
            return Err(Error::Protocol(format!("option {option} is answered by something else")));
        }
        let payload = wire.receive_payload(length, REPLY_BYTES_MAX, DOING)?;
        match kind {
            REP_ACK => return Ok(Outcome::Done),
            kind if kind & REP_IS_ERROR != 0 => {
                return Ok(Outcome::Refused { kind, text: String::from_utf8_lossy(&payload).into_owned() });
            }
            kind => each(kind, Fields { bytes: &payload, what: "answer to an option" })?,
        }
    }
    Err(Error::Protocol(format!("option {option} has more than {REPLIES_MAX} answers")))
}

/// Asks for `contexts` and returns their numbers.
fn set_contexts(wire: &mut Wire, name: &str, contexts: &[String]) -> Result<BTreeMap<String, u32>, Error> {
    let mut found = BTreeMap::new();
    if contexts.is_empty() {
        return Ok(found);
    }
    let outcome = ask(wire, OPT_SET_META_CONTEXT, &context_query(name, contexts), |kind, payload| {
        if kind == REP_META_CONTEXT {
            found.insert(context_name(payload)?, word(payload.be32(0))?);
        }
        Ok(())
    })?;
    if let Outcome::Refused { kind, text } = outcome {
        return Err(no_export(wire, name, kind, text));
    }
    if let Some(context) = contexts.iter().find(|context| !found.contains_key(*context)) {
        let (export, context) = (name.to_owned(), context.clone());
        return Err(Error::NoContext { export, context, there: list_contexts(wire, name) });
    }
    found.retain(|context, _| contexts.contains(context));
    if found.values().collect::<BTreeSet<_>>().len() < found.len() {
        return Err(Error::Protocol("two contexts have one number".to_owned()));
    }
    Ok(found)
}

fn context_query(name: &str, contexts: &[String]) -> Vec<u8> {
    let mut data = string(name);
    data.extend((contexts.len() as u32).to_be_bytes());
    data.extend(contexts.iter().flat_map(|context| string(context)));
    data
}

/// Returns `text` as the protocol writes it.
fn string(text: &str) -> Vec<u8> {
    let mut data = (text.len() as u32).to_be_bytes().to_vec();
    data.extend(text.as_bytes());
    data
}

fn context_name(payload: Fields<'_>) -> Result<String, Error> {
    let length = payload.bytes.len().saturating_sub(4);
    Ok(String::from_utf8_lossy(word(payload.slice(4, length))?).into_owned())
}

/// Returns the contexts of an export, or none if the server does not tell: this only helps to say what is wrong.
fn list_contexts(wire: &mut Wire, name: &str) -> Vec<String> {
    let mut names = Vec::new();
    let _ = ask(wire, OPT_LIST_META_CONTEXT, &context_query(name, &[]), |kind, payload| {
        if kind == REP_META_CONTEXT {
            names.push(context_name(payload)?);
        }
        Ok(())
    });
    names
}

fn list_exports(wire: &mut Wire) -> Vec<String> {
    let mut names = Vec::new();
    let _ = ask(wire, OPT_LIST, &[], |kind, payload| {
        if kind == REP_SERVER {
            let length = word(payload.be32(0))? as usize;
            names.push(String::from_utf8_lossy(word(payload.slice(4, length))?).into_owned());
        }
        Ok(())
    });
    names
}

fn go(wire: &mut Wire, name: &str, export: &mut Export) -> Result<(), Error> {
    let mut data = string(name);
    data.extend(1_u16.to_be_bytes());
    data.extend(INFO_BLOCK_SIZE.to_be_bytes());
    let mut told = false;
    let outcome = ask(wire, OPT_GO, &data, |kind, payload| {
        if kind != REP_INFO {
            return Ok(());
        }
        match word(payload.be16(0))? {
            INFO_EXPORT => {
                (export.size_bytes, export.flags) = (word(payload.be64(2))?, word(payload.be16(10))?);
                told = true;
            }
            INFO_BLOCK_SIZE => {
                (export.block_bytes_min, export.read_bytes_max) = (word(payload.be32(2))?, word(payload.be32(10))?);
            }
            _ => {}
        }
        Ok(())
    })?;
    if let Outcome::Refused { kind, text } = outcome {
        return Err(no_export(wire, name, kind, text));
    }
    check(export, told)
}

/// A size that fits `off_t`; a smallest block of at most 64 KiB, as the protocol says, and a largest that holds it.
fn check(export: &Export, told: bool) -> Result<(), Error> {
    let (size, smallest, largest) = (export.size_bytes, export.block_bytes_min, export.read_bytes_max);
    if !told || size > i64::MAX as u64 {
        return Err(Error::Protocol(format!("it says that the disk has {size} bytes")));
    }
    if !smallest.is_power_of_two() || smallest > 64 << 10 || largest < smallest {
        return Err(Error::Protocol(format!("it says that requests have {smallest} to {largest} bytes")));
    }
    Ok(())
}

fn no_export(wire: &mut Wire, name: &str, kind: u32, text: String) -> Error {
    match kind {
        REP_ERR_UNKNOWN => Error::NoExport { export: name.to_owned(), there: list_exports(wire) },
        REP_ERR_TLS_REQUIRED => Error::NeedsTls { export: name.to_owned() },
        kind => refused("the export", kind, text),
    }
}

fn refused(what: &'static str, kind: u32, text: String) -> Error {
    let why = match (kind, text.as_str()) {
        (REP_ERR_UNSUPPORTED, "") => "it does not know how".to_owned(),
        (kind, "") => format!("answer {:#x}", kind),
        (_, text) => crate::model::escape_bytes(text.as_bytes()).into_owned(),
    };
    Error::Refused { what, why }
}

/// Turns an answer that is too short into an error of this floor.
pub(super) fn word<T>(number: Result<T, crate::source::block::Error>) -> Result<T, Error> {
    number.map_err(|error| Error::Protocol(error.to_string()))
}
