//! Reads the extended attributes of a file of a copy.
//!
//! Promises: all that were stored, and none that the file system makes up.

use crate::model::XattrSet;
use crate::sys::walk::{self as sys, FileAt, XattrCalls, errno};
use std::ffi::CStr;
use std::io;

/// Room for lists and values of extended attributes at the first try: the kernel allocates as much per call.
const XATTR_BYTES_FIRST: usize = 512;
/// `XATTR_LIST_MAX` and `XATTR_SIZE_MAX` (`include/uapi/linux/limits.h`): nothing is longer.
const XATTR_BYTES_MAX: usize = 65_536;

/// Extended attributes that a file system makes up about itself; they are no part of the file, and nothing
/// could set them elsewhere. A name that ends with a dot stands for all that begin with it.
///
/// All others are kept, also those of tools and of layers (`trusted.overlay.*`, `trusted.gfid`,
/// `btrfs.compression`, `system.nfs4_acl`): where they are listed they were stored.
const XATTRS_OF_FILE_SYSTEMS: [&[u8]; 5] = [
    b"system.sockprotoname", // every socket of sockfs
    b"ceph.",                // layout, quota and recursive sums
    b"glusterfs.",           // client mounts: path, pathinfo, gfid
    b"afs.",                 // cell, volume and file ids
    b"lustre.",              // striping
];

/// Buffers for extended attributes.
#[derive(Debug)]
pub(super) struct XattrBuffers {
    list: Vec<u8>,
    value: Vec<u8>,
}

impl Default for XattrBuffers {
    fn default() -> Self {
        Self { list: vec![0; XATTR_BYTES_MAX], value: vec![0; XATTR_BYTES_MAX] }
    }
}

impl XattrBuffers {
    /// Returns the extended attributes of the file at `at`. One call where there are none: what one file is said to know none of says nothing
    /// of the next one.
    pub(super) fn read(&mut self, calls: XattrCalls, at: FileAt<'_>) -> io::Result<XattrSet> {
        let listed = fit(&mut self.list, |room| sys::list_xattrs(calls, at, room));
        let length = match listed {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(errno::EOPNOTSUPP) => return Ok(XattrSet::default()),
            Err(error) => return Err(error),
        };
        if length == 0 {
            return Ok(XattrSet::default());
        }
        let mut items = Vec::new();
        for attribute in self.list[..length].split_inclusive(|b| *b == 0) {
            let Ok(attribute) = CStr::from_bytes_with_nul(attribute) else { continue };
            if attribute.is_empty() || is_of_file_system(attribute.to_bytes()) {
                continue;
            }
            let got = fit(&mut self.value, |room| sys::get_xattr(calls, at, attribute, room));
            match got {
                Ok(length) => items.push((attribute.to_bytes().to_vec(), self.value[..length].to_vec())),
                // Removed since it was listed, or listed for every file and held by few (`system.nfs4_acl`).
                Err(e) if matches!(e.raw_os_error(), Some(errno::ENODATA | errno::EOPNOTSUPP)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(XattrSet::new(items))
    }
}

/// Calls with little room, and with all that there can be where that is too small.
fn fit(buffer: &mut [u8], mut call: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
    match call(&mut buffer[..XATTR_BYTES_FIRST]) {
        Err(error) if error.raw_os_error() == Some(errno::ERANGE) => call(buffer),
        done => done,
    }
}

fn is_of_file_system(attribute: &[u8]) -> bool {
    XATTRS_OF_FILE_SYSTEMS
        .iter()
        .any(|name| attribute == *name || (name.ends_with(b".") && attribute.starts_with(name)))
}
