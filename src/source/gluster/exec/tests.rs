//! Agents that are scripts: good ones, silent ones, late ones, and those that answer another question.
//! No network, and nothing runs longer than it has to.

use super::*;
use crate::model::Hinted;
use crate::source::gluster::Gfid;
use crate::source::gluster::part::{FORMAT, Text, Want};
use crate::sys::child::SAID_BYTES_MAX;
use std::error::Error as _;
use std::time::Instant;

const SOON: Duration = Duration::from_secs(60);
const NOW_NS: i64 = 1_795_000_000_000_000_000;
const HEADER: &str = r#"{"part":{"format":2,"asof":"0.1.0","volume":"gv0","volume_id":"00000000-0000-0000-0000-000000000001","brick":"/bricks/b\\xff","want":"walk","began_ns":1795000001500000000}}"#;
const END: &str = r#"{"end":{"lines":1,"cursor":null,"gaps":[],"slices":[],"records":0}}"#;

fn request() -> Request {
    Request {
        whole: None,
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
    let newer = HEADER.replace("\"format\":2", "\"format\":3");
    assert_eq!(hint(&answer(&[&newer, END])).unwrap(), "install the same version of asof on every machine");
    assert_eq!(hint("exit 2"), None);
}
