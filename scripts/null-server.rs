//! A FUSE server that shows a tree from memory and does nothing else: whatever it costs to go through it, it costs through every FUSE server.
//! `scripts/bench-mount` and `scripts/bench-read` measure asof against it.
//!
//! Reads `find TREE -printf '%y %m %n %U %G %s %T@ %P\0'` from stdin (`mode` of the files is made of `%m`, the rest is as `find(1)` says
//! it) and mounts at its first argument, with what asof asks of the kernel: whole listings with attributes, kept for ever, and no call for
//! opening, closing or extended attributes. With TREE as a second argument it has read all bytes and targets into memory before it is mounted,
//! gives them out, and answers each call for extended attributes with "none", as a server has to that shows those of other files. Ends
//! when it is unmounted. Built by `cargo bench --no-run --bench null`.

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, InitFlags, KernelConfig, LockOwner,
    MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectoryPlus, ReplyEntry, ReplyOpen, ReplyXattr, Request,
    SessionACL,
};
use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

const USAGE: &str = "started by scripts/bench-mount: DIR [TREE], with a list of find(1) on stdin";
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (dir, tree) = match &args[..] {
        // `cargo bench` of everything comes here with `--bench` alone.
        [dir] if !dir.starts_with('-') => (dir, None),
        [dir, tree] => (dir, Some(Path::new(tree))),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::SUCCESS;
        }
    };
    match serve(dir, tree) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("null-server: {e}");
            ExitCode::FAILURE
        }
    }
}

fn serve(dir: &str, copy: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let mut list = Vec::new();
    std::io::stdin().read_to_end(&mut list)?;
    let tree = Tree::of(&list, copy)?;
    drop(list);
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.n_threads = Some(std::thread::available_parallelism()?.get().max(2));
    config.clone_fd = true;
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::DefaultPermissions,
        MountOption::FSName("null-server".to_owned()),
    ];
    fuser::mount(tree, dir, &config)?;
    Ok(())
}

struct Tree {
    /// Everything, by inode number less one; the first is the top.
    nodes: Vec<Node>,
    has_bytes: bool,
}

struct Node {
    attributes: FileAttr,
    parent: usize,
    /// Of a file its content, of a link its target.
    bytes: Vec<u8>,
    /// In the order of their names, as asof lists them.
    children: Vec<(Vec<u8>, usize)>,
}

impl Tree {
    fn of(list: &[u8], copy: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let mut nodes: Vec<Node> = Vec::new();
        let mut directories: HashMap<&[u8], usize> = HashMap::new();
        for record in list.split(|b| *b == 0).filter(|r| !r.is_empty()) {
            let mut fields = record.splitn(8, |b| *b == b' ');
            let mut next = || fields.next().ok_or("a record of find ends early");
            let [kind, mode, nlink, uid, gid, size, mtime, path] =
                [next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?];
            let number = |field: &[u8]| -> Result<u64, Box<dyn Error>> { Ok(std::str::from_utf8(field)?.parse()?) };
            let kind = kind_of(kind)?;
            let index = nodes.len();
            let mtime =
                SystemTime::UNIX_EPOCH + Duration::from_secs_f64(std::str::from_utf8(mtime)?.parse::<f64>()?.max(0.0));
            let size = number(size)?;
            let attributes = FileAttr {
                ino: INodeNo(index as u64 + 1),
                size,
                blocks: size.div_ceil(512),
                atime: mtime,
                mtime,
                ctime: mtime,
                crtime: SystemTime::UNIX_EPOCH,
                kind,
                perm: u16::from_str_radix(std::str::from_utf8(mode)?, 8)?,
                nlink: number(nlink)? as u32,
                uid: number(uid)? as u32,
                gid: number(gid)? as u32,
                rdev: 0,
                blksize: 4096,
                flags: 0,
            };
            let slash = path.iter().rposition(|b| *b == b'/');
            let (above, name) = slash.map_or((&b""[..], path), |at| (&path[..at], &path[at + 1..]));
            // `find` says a directory before what is in it; the top has no name.
            let parent = if index == 0 { 0 } else { *directories.get(above).ok_or("a record without a directory")? };
            if index > 0 {
                nodes[parent].children.push((name.to_vec(), index));
            }
            if kind == FileType::Directory {
                directories.insert(path, index);
            }
            nodes.push(Node { attributes, parent, bytes: bytes_of(copy, path, kind)?, children: Vec::new() });
        }
        if nodes.is_empty() {
            return Err("the list is empty".into());
        }
        nodes.iter_mut().for_each(|node| node.children.sort_unstable());
        Ok(Self { nodes, has_bytes: copy.is_some() })
    }

    fn node(&self, ino: INodeNo) -> Option<&Node> {
        self.nodes.get((ino.0 as usize).checked_sub(1)?)
    }
}

fn bytes_of(copy: Option<&Path>, path: &[u8], kind: FileType) -> std::io::Result<Vec<u8>> {
    let Some(copy) = copy else { return Ok(Vec::new()) };
    let path = copy.join(OsStr::from_bytes(path));
    match kind {
        FileType::RegularFile => std::fs::read(path),
        FileType::Symlink => Ok(std::fs::read_link(path)?.into_os_string().into_vec()),
        _ => Ok(Vec::new()),
    }
}

fn kind_of(letter: &[u8]) -> Result<FileType, Box<dyn Error>> {
    Ok(match letter {
        b"f" => FileType::RegularFile,
        b"d" => FileType::Directory,
        b"l" => FileType::Symlink,
        b"p" => FileType::NamedPipe,
        b"s" => FileType::Socket,
        b"c" => FileType::CharDevice,
        b"b" => FileType::BlockDevice,
        other => return Err(format!("find knows no kind {:?}", String::from_utf8_lossy(other)).into()),
    })
}

impl Filesystem for Tree {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted = InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_NO_OPEN_SUPPORT
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT;
        let _ = config.add_capabilities(wanted & config.capabilities());
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.node(parent).and_then(|parent| {
            let at = parent.children.binary_search_by(|(child, _)| child.as_slice().cmp(name.as_bytes())).ok()?;
            Some(&self.nodes[parent.children[at].1])
        });
        match found {
            Some(node) => reply.entry(&FOREVER, &node.attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(ino) {
            Some(node) => reply.attr(&FOREVER, &node.attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let Some(node) = self.node(ino) else { return reply.error(Errno::ENOENT) };
        let dots = [(&b"."[..], ino.0 as usize - 1), (&b".."[..], node.parent)];
        let children = node.children.iter().map(|(name, index)| (name.as_slice(), *index));
        for (number, (name, index)) in dots.into_iter().chain(children).enumerate().skip(offset as usize) {
            let attributes = &self.nodes[index].attributes;
            let name = OsStr::from_bytes(name);
            if reply.add(attributes.ino, number as u64 + 1, name, &FOREVER, attributes, Generation(0)) {
                break;
            }
        }
        reply.ok();
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.node(ino) {
            Some(node) => reply.data(&node.bytes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(node) = self.node(ino).filter(|_| self.has_bytes) else { return reply.error(Errno::ENOSYS) };
        let from = node.bytes.len().min(offset as usize);
        let to = node.bytes.len().min(from + size as usize);
        reply.data(&node.bytes[from..to]);
    }

    fn getxattr(&self, _request: &Request, _ino: INodeNo, name: &OsStr, _size: u32, reply: ReplyXattr) {
        reply.error(match name.as_bytes() {
            _ if !self.has_bytes => Errno::ENOSYS,
            name if name.starts_with(b"system.posix_acl_") => Errno::ENODATA,
            _ => Errno::EOPNOTSUPP,
        });
    }

    fn listxattr(&self, _request: &Request, _ino: INodeNo, size: u32, reply: ReplyXattr) {
        match size {
            _ if !self.has_bytes => reply.error(Errno::ENOSYS),
            0 => reply.size(0),
            _ => reply.data(&[]),
        }
    }
}
