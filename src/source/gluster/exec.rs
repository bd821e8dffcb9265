//! Runs the agent of one brick: beside the brick, by a command that the admin chose (`ssh -o BatchMode=yes {host}`).
//!
//! Promises: no shell of this machine sees any of it; every program has a deadline, after which it is killed by its
//! handle; what comes back counts only with its end mark, for the brick and the volume that were asked about. Never
//! looks at what lines in between say.
//!
//! Several agents run at once by the caller's threads: [`run`] blocks its own.

use super::part::{End, Header, Request, Want};
use super::part_reader;
use crate::model::{Hinted, escape_bytes};
use crate::sys::child::{ChildError, Finished, Output, run_child};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// What follows the program in an agent's command line.
const AGENT_WORDS: [&str; 6] = ["gluster", "scan-brick", "--request", "-", "--out", "-"];

/// Why an agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command template is no list of words.
    #[error("the agent command {0:?} cannot be split into words: a quote is not closed")]
    Template(String),
    /// A host that cannot be put into a command line.
    #[error("{0:?} is no name of a host: expected letters, digits and any of . : _ -, and no - at the beginning")]
    Host(String),
    /// A program that a shell on the other side would take for something else.
    #[error("{0:?} cannot be run by another machine: expected a path of letters, digits and any of . _ / + @ : , = -")]
    Program(PathBuf),
    /// The request cannot be written as JSON.
    #[error("cannot write the request for the agent of \"{brick}\"")]
    Request {
        /// Host and path of the brick.
        brick: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The file for the answer cannot be made.
    #[error("cannot create the part {path:?}")]
    Part {
        /// The part.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The first word of the command is no program here.
    #[error("cannot run the agent of \"{brick}\": cannot start {program:?}")]
    Start {
        /// Host and path of the brick.
        brick: String,
        /// The first word of the command.
        program: OsString,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system lost track of the program.
    #[error("cannot wait for the agent of \"{brick}\"")]
    Wait {
        /// Host and path of the brick.
        brick: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The deadline passed.
    #[error("the agent of \"{brick}\" was ended: it had not answered after {deadline:?}{}", as_said(said))]
    Late {
        /// Host and path of the brick.
        brick: String,
        /// How long it had.
        deadline: Duration,
        /// The end of its standard error.
        said: String,
    },
    /// It did not work, by its exit code.
    #[error("the agent of \"{brick}\" ended with {status}{}", as_said(said))]
    Failed {
        /// Host and path of the brick.
        brick: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error.
        said: String,
    },
    /// It ended well, but what it wrote is no whole part.
    #[error("the agent of \"{brick}\" gave no whole answer{}", as_said(said))]
    Answer {
        /// Host and path of the brick.
        brick: String,
        /// The end of its standard error.
        said: String,
        /// What is wrong with the part.
        #[source]
        source: part_reader::Error,
    },
    /// It answered another question.
    #[error("the agent of \"{brick}\" answered for {what} \"{found}\": expected \"{expected}\"")]
    Other {
        /// Host and path of the brick.
        brick: String,
        /// What differs: `the brick`, `the volume id`, `the question`.
        what: &'static str,
        /// What the header tells.
        found: String,
        /// What the request told.
        expected: String,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Template(_) => Some("as in: ssh -o BatchMode=yes {host}".to_owned()),
            // What a shell on the other side says when it finds no program.
            Self::Failed { status, .. } if status.code() == Some(127) => {
                Some("asof has to be installed beside the brick, in the path of the agent command".to_owned())
            }
            // What ssh says of itself; a program of ours never ends so.
            Self::Failed { status, .. } if status.code() == Some(255) => {
                Some("the agent command has to work without a password: try it with `true` in place of asof".to_owned())
            }
            Self::Answer { source: part_reader::Error::Format { .. }, .. } => {
                Some("install the same version of asof on every machine".to_owned())
            }
            Self::Host(_)
            | Self::Program(_)
            | Self::Request { .. }
            | Self::Part { .. }
            | Self::Start { .. }
            | Self::Wait { .. }
            | Self::Late { .. }
            | Self::Failed { .. }
            | Self::Answer { .. }
            | Self::Other { .. } => None,
        }
    }
}

/// How the agent of one host is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    host: String,
    words: Vec<OsString>,
    deadline: Duration,
}

impl Agent {
    /// Returns the agent of `host`: the words of `template` with `{host}` replaced, then `program` and what it is told.
    ///
    /// `template` is split as a shell would (quotes, backslashes), and nothing more: no variables, no patterns. An
    /// empty one runs `program` on this machine. A template like `ssh {host}` hands the words to a shell over there;
    /// so `program` may then hold nothing that means something to a shell.
    ///
    /// Pure. `deadline` is for the whole run.
    ///
    /// # Errors
    /// [`Error::Template`], [`Error::Host`], [`Error::Program`].
    pub fn new(template: &str, program: &Path, host: &str, deadline: Duration) -> Result<Self, Error> {
        if !is_host(host) {
            return Err(Error::Host(host.to_owned()));
        }
        let template_words = shlex::split(template).ok_or_else(|| Error::Template(template.to_owned()))?;
        if !template_words.is_empty() && !is_plain_program(program) {
            return Err(Error::Program(program.to_owned()));
        }
        let mut words: Vec<OsString> = template_words.iter().map(|word| word.replace("{host}", host).into()).collect();
        words.push(program.into());
        words.extend(AGENT_WORDS.map(OsString::from));
        Ok(Self { host: host.to_owned(), words, deadline })
    }

    /// Returns the command line, program first.
    pub fn words(&self) -> &[OsString] {
        &self.words
    }
}

/// Tells whether `host` can stand in a command line as one word that is no option.
pub(super) fn is_host(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'_' | b'-');
    !host.is_empty() && !host.starts_with('-') && host.bytes().all(is_plain)
}

fn is_plain_program(program: &Path) -> bool {
    let bytes = program.as_os_str().as_encoded_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._/+@:,=-".contains(byte);
    !bytes.is_empty() && !bytes.starts_with(b"-") && bytes.iter().all(is_plain)
}

/// How an agent ended that gave a whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The first line of the part.
    pub header: Header,
    /// Its last line.
    pub end: End,
    /// How far the agent's clock is ahead of ours, in ms, at most. The way to the agent is in it: the true number is
    /// less by up to `took`.
    pub clock_ahead_ms: i64,
    /// How long all of it took.
    pub took: Duration,
    /// It ended with 1, "done with losses": there are [`super::part::Line::Trouble`] lines.
    pub losses: bool,
    /// The end of what it said on standard error, escaped and in one line; usually empty.
    pub said: String,
}

/// Asks `agent` about one brick and has its answer written to `part`, which is created or replaced.
///
/// `now_ns` is this machine's clock, in ns since the epoch, right before the call. Blocks until the agent has ended.
/// After an error the part may be there, as far as it came. Cost: one process, two threads, and one pass over the
/// part, which the agent writes by itself.
///
/// # Errors
/// Every variant of [`Error`] but those of [`Agent::new`].
pub fn run(agent: &Agent, request: &Request, part: &Path, now_ns: i64) -> Result<Ended, Error> {
    let brick = format!("{}:{}", agent.host, escape_bytes(&request.brick.0));
    let input = match serde_json::to_vec(request) {
        Ok(input) => input,
        Err(source) => return Err(Error::Request { brick, source }),
    };
    let output = match File::create(part) {
        Ok(output) => output,
        Err(source) => return Err(Error::Part { path: part.to_owned(), source }),
    };
    let mut command = Command::new(&agent.words[0]);
    command.args(&agent.words[1..]);
    let finished = match run_child(command, input, Output::File(output), agent.deadline) {
        Ok(finished) => finished,
        Err(ChildError::Start(source)) => return Err(Error::Start { brick, program: agent.words[0].clone(), source }),
        Err(ChildError::Wait(source)) => return Err(Error::Wait { brick, source }),
        Err(ChildError::Late(said)) => return Err(Error::Late { brick, deadline: agent.deadline, said }),
    };
    let Finished { status, said, took, .. } = finished;
    let losses = match status.code() {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(Error::Failed { brick, status, said }),
    };
    let (header, end) = match part_reader::load_ends(part) {
        Ok(ends) => ends,
        // An exit code above 0 tells more than a part that is not whole.
        Err(_) if losses => return Err(Error::Failed { brick, status, said }),
        Err(source) => return Err(Error::Answer { brick, said, source }),
    };
    let want = match request.want {
        Want::Walk => "walk",
        Want::Since { .. } => "since",
        Want::Window { .. } => "window",
        Want::Look { .. } => "look",
    };
    let facts = [
        ("the volume id", header.volume_id.to_string(), request.volume_id.to_string()),
        ("the brick", escape_bytes(&header.brick.0).into_owned(), escape_bytes(&request.brick.0).into_owned()),
        ("the question", header.want.clone(), want.to_owned()),
    ];
    for (what, found, expected) in facts {
        if found != expected {
            return Err(Error::Other { brick, what, found, expected });
        }
    }
    let clock_ahead_ms = header.began_ns.saturating_sub(now_ns) / 1_000_000;
    Ok(Ended { header, end, clock_ahead_ms, took, losses, said })
}

fn as_said(said: &str) -> String {
    if said.is_empty() { ", without a word".to_owned() } else { format!("; it said: {said}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::gluster::Gfid;
    use crate::source::gluster::part::{FORMAT, Text};
    use crate::sys::child::SAID_BYTES_MAX;
    use std::error::Error as _;
    use std::time::Instant;

    const SOON: Duration = Duration::from_secs(60);
    const NOW_NS: i64 = 1_795_000_000_000_000_000;
    const HEADER: &str = r#"{"part":{"format":1,"asof":"0.1.0","volume":"gv0","volume_id":"00000000-0000-0000-0000-000000000001","brick":"/bricks/b\\xff","want":"walk","began_ns":1795000001500000000}}"#;
    const END: &str = r#"{"end":{"lines":1,"cursor":null,"gaps":[],"slices":[],"records":0}}"#;

    fn request() -> Request {
        Request {
            format: FORMAT,
            volume: "gv0".to_owned(),
            volume_id: Gfid::ROOT,
            brick: Text(b"/bricks/b\xff".to_vec()),
            want: Want::Walk,
            fragments: false,
        }
    }

    fn words(template: &str, program: &str, host: &str) -> Result<Vec<String>, String> {
        let agent = Agent::new(template, Path::new(program), host, SOON).map_err(|e| e.to_string())?;
        Ok(agent.words().iter().map(|word| word.to_str().unwrap().to_owned()).collect())
    }

    /// Runs `script` with sh as the agent of a brick, and returns what came of it and the part.
    fn run_script(script: &str, deadline: Duration) -> (Result<Ended, Error>, String) {
        let dir = tempfile::tempdir().unwrap();
        let (path, part) = (dir.path().join("agent"), dir.path().join("part"));
        std::fs::write(&path, script).unwrap();
        let agent = Agent::new(&format!("sh {}", path.display()), Path::new("asof"), "n1", deadline).unwrap();
        let ended = run(&agent, &request(), &part, NOW_NS);
        (ended, std::fs::read_to_string(&part).unwrap())
    }

    fn text(error: &Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(e) = cause {
            text = format!("{text}: {e}");
            cause = e.source();
        }
        text
    }

    /// An agent that reads its request and answers with these lines.
    fn answer(lines: &[&str]) -> String {
        format!("cat >/dev/null\ncat <<'EOF'\n{}\nEOF\n", lines.join("\n"))
    }

    #[test]
    fn a_template_becomes_words_and_the_host_goes_into_each() {
        assert_eq!(
            words("ssh -o BatchMode=yes -l root {host}", "asof", "node2.lan").unwrap(),
            [
                "ssh",
                "-o",
                "BatchMode=yes",
                "-l",
                "root",
                "node2.lan",
                "asof",
                "gluster",
                "scan-brick",
                "--request",
                "-",
                "--out",
                "-"
            ]
        );
        assert_eq!(
            words("ip netns exec 'n-{host} $(x)'", "/opt/asof", "10.0.0.1").unwrap()[..5],
            ["ip", "netns", "exec", "n-10.0.0.1 $(x)", "/opt/asof"]
        );
        assert_eq!(words("", "/my own/asof", "fe80::1").unwrap()[..2], ["/my own/asof", "gluster"]);
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_refused() {
        assert_eq!(
            words("ssh 'x {host}", "asof", "n1").unwrap_err(),
            "the agent command \"ssh 'x {host}\" cannot be split into words: a quote is not closed"
        );
        for host in ["-oProxyCommand=x", "", "a b", "a;b", "$(x)", "ä"] {
            assert_eq!(
                words("ssh {host}", "asof", host).unwrap_err(),
                format!(
                    "{host:?} is no name of a host: expected letters, digits and any of . : _ -, and no - at the beginning"
                )
            );
        }
        for program in ["my asof", "", "-x", "a;b", "$X"] {
            assert_eq!(
                words("ssh {host}", program, "n1").unwrap_err(),
                format!(
                    "{program:?} cannot be run by another machine: expected a path of letters, digits and any of . _ / + @ : , = -"
                )
            );
        }
    }

    #[test]
    fn an_agent_is_given_the_request_and_its_answer_is_the_part() {
        let dir = tempfile::tempdir().unwrap();
        let seen = dir.path().join("seen");
        let script = format!("echo \"$@\" >{0}.words\ncat >{0}\ncat <<'EOF'\n{HEADER}\n{END}\nEOF\n", seen.display());
        let (ended, part) = run_script(&script, SOON);
        let ended = ended.unwrap();
        assert_eq!(part, format!("{HEADER}\n{END}\n"));
        assert_eq!((ended.end.lines, ended.losses, ended.said.as_str()), (1, false, ""));
        assert_eq!(ended.clock_ahead_ms, 1500);
        assert_eq!(serde_json::from_slice::<Request>(&std::fs::read(&seen).unwrap()).unwrap(), request());
        assert_eq!(
            std::fs::read_to_string(seen.with_extension("words")).unwrap(),
            "asof gluster scan-brick --request - --out -\n"
        );
    }

    #[test]
    fn an_agent_that_does_not_read_its_request_holds_nobody_up() {
        let mut request = request();
        request.want = Want::Look { gfids: vec![Gfid::ROOT; 100_000] };
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::new("sh -c 'exit 3'", Path::new("asof"), "n1", SOON).unwrap();
        let error = run(&agent, &request, &dir.path().join("part"), NOW_NS).unwrap_err();
        assert_eq!(text(&error), "the agent of \"n1:/bricks/b\\xff\" ended with exit status: 3, without a word");
    }

    #[test]
    fn losses_are_an_answer_if_it_is_whole() {
        let (ended, _) = run_script(&format!("{}echo 'one lost' >&2; exit 1\n", answer(&[HEADER, END])), SOON);
        let ended = ended.unwrap();
        assert_eq!((ended.losses, ended.said.as_str()), (true, "one lost"));
        let (ended, _) = run_script("echo no such brick >&2; exit 1\n", SOON);
        assert_eq!(
            text(&ended.unwrap_err()),
            "the agent of \"n1:/bricks/b\\xff\" ended with exit status: 1; it said: no such brick"
        );
    }

    #[test]
    fn what_an_agent_said_is_kept_from_its_end_and_cannot_act_on_a_terminal() {
        let script = "i=0; while [ $i -lt 2000 ]; do echo noise; i=$((i+1)); done >&2\nprintf '\\033[31mred\\nlast\\n' >&2\nexit 2\n";
        let (ended, _) = run_script(script, SOON);
        let error = text(&ended.unwrap_err());
        assert!(error.ends_with("; noise; \\x1b[31mred; last"), "{error}");
        assert!(error.len() < 2 * SAID_BYTES_MAX, "{} bytes", error.len());
    }

    #[test]
    fn an_agent_that_is_late_is_ended() {
        // `exec`: the one process that is killed is the one that waits.
        let (ended, _) = run_script("echo waiting >&2\nexec sleep 600\n", Duration::from_millis(300));
        assert_eq!(
            text(&ended.unwrap_err()),
            "the agent of \"n1:/bricks/b\\xff\" was ended: it had not answered after 300ms; it said: waiting"
        );
    }

    #[test]
    fn a_process_that_an_agent_leaves_behind_holds_nobody_up() {
        let began = Instant::now();
        let (ended, _) = run_script(&format!("{}sleep 20 >/dev/null &\n", answer(&[HEADER, END])), SOON);
        assert_eq!(ended.unwrap().end.lines, 1);
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }

    #[test]
    fn an_answer_that_is_not_whole_or_not_ours_is_refused() {
        let named = |ended: Result<Ended, Error>| {
            let error = text(&ended.unwrap_err());
            let (before, rest) = error.split_once("the part \"").unwrap_or((error.as_str(), ""));
            format!("{before}{}", rest.split_once("\" ").map_or("", |(_, after)| after))
        };
        let who = "the agent of \"n1:/bricks/b\\xff\"";
        assert_eq!(
            named(run_script(&answer(&[HEADER]), SOON).0),
            format!("{who} gave no whole answer, without a word: was cut off: no end mark after 1 lines")
        );
        assert_eq!(
            named(run_script("cat >/dev/null\n", SOON).0),
            format!("{who} gave no whole answer, without a word: was cut off: no end mark after 0 lines")
        );
        let other = HEADER.replace("000000000001", "000000000002");
        assert_eq!(
            named(run_script(&answer(&[&other, END]), SOON).0),
            format!(
                "{who} answered for the volume id \"00000000-0000-0000-0000-000000000002\": \
                 expected \"00000000-0000-0000-0000-000000000001\""
            )
        );
        let other = HEADER.replace("/bricks/b", "/bricks/c");
        assert_eq!(
            named(run_script(&answer(&[&other, END]), SOON).0),
            format!("{who} answered for the brick \"/bricks/c\\xff\": expected \"/bricks/b\\xff\"")
        );
        let other = HEADER.replace("\"walk\"", "\"look\"");
        assert_eq!(
            named(run_script(&answer(&[&other, END]), SOON).0),
            format!("{who} answered for the question \"look\": expected \"walk\"")
        );
    }

    #[test]
    fn a_program_or_a_part_that_cannot_be_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::new("", Path::new("/nowhere/asof"), "n1", SOON).unwrap();
        assert_eq!(
            text(&run(&agent, &request(), &dir.path().join("part"), NOW_NS).unwrap_err()),
            "cannot run the agent of \"n1:/bricks/b\\xff\": cannot start \"/nowhere/asof\": \
             No such file or directory (os error 2)"
        );
        assert_eq!(
            text(&run(&agent, &request(), Path::new("/nowhere/part"), NOW_NS).unwrap_err()),
            "cannot create the part \"/nowhere/part\": No such file or directory (os error 2)"
        );
    }

    #[test]
    fn common_mishaps_come_with_a_hint() {
        let hint = |script: &str| run_script(script, SOON).0.unwrap_err().hint();
        assert_eq!(
            hint("exit 127").unwrap(),
            "asof has to be installed beside the brick, in the path of the agent command"
        );
        assert_eq!(
            hint("exit 255").unwrap(),
            "the agent command has to work without a password: try it with `true` in place of asof"
        );
        let newer = HEADER.replace("\"format\":1", "\"format\":2");
        assert_eq!(hint(&answer(&[&newer, END])).unwrap(), "install the same version of asof on every machine");
        assert_eq!(hint("exit 2"), None);
    }
}
