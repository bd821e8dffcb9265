//! A FUSE file system that never answers anything, not even the first question of the kernel: what a user can mount wherever he may write.
//!
//! Ends with its server, unmounted, when it is dropped.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const SERVER: &str = r#"
import ctypes, os, signal, sys
where, user, more = sys.argv[1:]
device = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
kind = "0100000" if os.path.isfile(where) else "040000"
options = f"fd={device},rootmode={kind},user_id={user},group_id={user}{more}"
if libc.mount(b"silent", os.fsencode(where), b"fuse.silent", 6, options.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
print("mounted", flush=True)
signal.pause()
"#;

pub struct Silent {
    server: Child,
    at: PathBuf,
}

impl Silent {
    /// Mounts one at `at`, as the user with this number would; `options`: `,allow_other` or nothing.
    pub fn mount(at: &Path, user: u32, options: &str) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", SERVER]).arg(at).args([&user.to_string(), options]).stdout(Stdio::piped());
        let mut server = command.spawn().expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("it is a pipe")).read_line(&mut line).expect("it can be read");
        assert_eq!(line, "mounted\n", "{at:?}");
        Self { server, at: at.to_owned() }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        // Whoever waits for it still gets an error now.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
