//! The connection and the frames on it.
//!
//! Promises: no frame makes more memory than its caller allows; every wait ends.

use super::error::Error;
use super::options::Options;
use super::place::Place;
use super::tls::Tls;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Reads bytes from a disk.
pub(super) const CMD_READ: u16 = 0;
/// Ends the connection.
pub(super) const CMD_DISC: u16 = 2;
/// Asks what contexts say of a run.
pub(super) const CMD_BLOCK_STATUS: u16 = 7;

const REQUEST_MAGIC: u32 = 0x2560_9513;

/// Returns a request for bytes of the disk.
pub(super) fn request(command: u16, handle: u64, offset: u64, length: u32) -> [u8; 28] {
    let mut frame = [0; 28];
    frame[0..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
    frame[6..8].copy_from_slice(&command.to_be_bytes());
    frame[8..16].copy_from_slice(&handle.to_be_bytes());
    frame[16..24].copy_from_slice(&offset.to_be_bytes());
    frame[24..28].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Both directions of a connection.
trait Link: Read + Write + Send + Sync {}

impl<T: Read + Write + Send + Sync> Link for T {}

/// A connection to a server.
pub(super) struct Wire {
    link: BufReader<Box<dyn Link>>,
    timeout: Duration,
}

impl Wire {
    /// Connects to `place`; of a host that has several addresses to the first that answers.
    pub(super) fn connect(place: &Place, options: &Options) -> Result<Self, Error> {
        let failed = |source| Error::Connect { place: place.clone(), source };
        match place {
            Place::Unix(path) => Self::over_unix(UnixStream::connect(path).map_err(failed)?, options.timeout),
            Place::Tcp { host, port } => Self::over_tcp(tcp(host, *port, options).map_err(failed)?, options.timeout),
        }
        .map_err(failed)
    }

    /// Talks over a socket that is connected.
    pub(super) fn over_unix(socket: UnixStream, timeout: Duration) -> io::Result<Self> {
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        Ok(Self { link: BufReader::new(Box::new(socket)), timeout })
    }

    /// Goes on encrypted. What came in plain text behind the server's consent is not taken for its word later.
    pub(super) fn encrypted(self, tls: &Tls) -> Result<Self, Error> {
        if !self.link.buffer().is_empty() {
            return Err(Error::Protocol("plain text came after encryption was agreed on".to_owned()));
        }
        let failed = |source: io::Error| match broken(source, self.timeout, "agreeing on encryption") {
            Error::Broken { source, .. } => Error::Tls { source },
            silent => silent,
        };
        let mut link = self.link.into_inner();
        let mut connection = ClientConnection::new(tls.config.clone(), tls.name.clone())
            .map_err(|error| failed(io::Error::other(error)))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut link).map_err(failed)?;
        }
        let link: Box<dyn Link> = Box::new(StreamOwned::new(connection, link));
        Ok(Self { link: BufReader::new(link), timeout: self.timeout })
    }

    fn over_tcp(socket: TcpStream, timeout: Duration) -> io::Result<Self> {
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        socket.set_nodelay(true)?;
        Ok(Self { link: BufReader::new(Box::new(socket)), timeout })
    }

    /// Sends all of `frame`.
    pub(super) fn send(&mut self, frame: &[u8], doing: &'static str) -> Result<(), Error> {
        let link = self.link.get_mut();
        link.write_all(frame).and_then(|()| link.flush()).map_err(|source| self.broken(source, doing))
    }

    /// Receives exactly so many bytes.
    pub(super) fn receive<const LENGTH: usize>(&mut self, doing: &'static str) -> Result<[u8; LENGTH], Error> {
        let mut bytes = [0; LENGTH];
        self.fill(&mut bytes, doing)?;
        Ok(bytes)
    }

    /// Fills `buffer`.
    pub(super) fn fill(&mut self, buffer: &mut [u8], doing: &'static str) -> Result<(), Error> {
        self.link.read_exact(buffer).map_err(|source| self.broken(source, doing))
    }

    /// Receives `length` bytes, if that is no more than `length_max`.
    pub(super) fn receive_payload(
        &mut self,
        length: u32,
        length_max: u32,
        doing: &'static str,
    ) -> Result<Vec<u8>, Error> {
        if length > length_max {
            return Err(Error::Protocol(format!("an answer of {length} bytes came while {doing}")));
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes, doing)?;
        Ok(bytes)
    }

    fn broken(&self, source: io::Error, doing: &'static str) -> Error {
        broken(source, self.timeout, doing)
    }
}

fn broken(source: io::Error, timeout: Duration, doing: &'static str) -> Error {
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Silent { waited: timeout, doing },
        _ => Error::Broken { doing, source },
    }
}

fn tcp(host: &str, port: u16, options: &Options) -> io::Result<TcpStream> {
    let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    for address in (host, port).to_socket_addrs()? {
        outcome = TcpStream::connect_timeout(&address, options.connect_timeout);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
