//! Answers of real volumes, and how each is refused when it is hurt.
//! The command is a script that gives them.

use super::ask::Tool;
use super::*;
use crate::model::Hinted;
use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gluster");

fn sample(name: &str) -> String {
    std::fs::read_to_string(format!("{DATA}/volumes/{name}.xml")).unwrap()
}

fn volume(shape: &str) -> Volume {
    let (info, status) = (sample(&format!("{shape}-info")), sample(&format!("{shape}-status")));
    Volume::from_xml(&info, Some(&status), &format!("gv-{shape}")).unwrap()
}

fn tool(host: Option<&'static str>, name: &str) -> Result<Volume, Error> {
    load(Path::new(&format!("{DATA}/gluster")), host, name)
}

/// What the volume `gv-shape` is refused for when `from` in its info is `to`.
fn hurt(shape: &str, from: &str, to: &str) -> String {
    let info = sample(&format!("{shape}-info"));
    assert!(info.contains(from), "{from} is not in the sample");
    Volume::from_xml(&info.replacen(from, to, 1), None, &format!("gv-{shape}")).unwrap_err().to_string()
}

#[test]
fn every_shape_is_read_as_it_was_made() {
    use VolumeKind::{Arbiter, Disperse, Distribute, Replicate};
    for (shape, kind, bricks, sets) in [
        ("dist1", Distribute, 1, 1),
        ("dist3", Distribute, 3, 3),
        ("shard", Distribute, 2, 2),
        ("rep3", Replicate { copies: 3 }, 3, 1),
        ("distrep", Replicate { copies: 2 }, 4, 2),
        ("arbiter", Arbiter { copies: 2, arbiters: 1 }, 3, 1),
        ("disperse", Disperse { fragments: 3, redundancy: 1 }, 3, 1),
    ] {
        let volume = volume(shape);
        assert_eq!((volume.kind, volume.bricks.len(), volume.sets()), (kind, bricks, sets), "{shape}");
        assert!(volume.started && volume.changelog_on(), "{shape}");
        assert_eq!(volume.status_unknown, None, "{shape}");
        assert!(volume.bricks.iter().all(|brick| brick.online == Some(true)), "{shape}");
        assert_eq!(volume.is_sharded(), shape == "shard");
        assert_eq!(volume.is_dispersed(), shape == "disperse");
        assert_eq!(volume.options["changelog.rollover-time"], "3");
    }
}

#[test]
fn bricks_come_in_the_order_of_the_volume_with_their_sets() {
    let volume = volume("distrep");
    let told: Vec<_> = volume
        .bricks
        .iter()
        .map(|brick| (brick.number, brick.set, brick.host.as_str(), brick.path.to_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (0, 0, "127.1.1.1", "/bricks/gv-distrep-b1"),
            (1, 0, "127.1.1.1", "/bricks/gv-distrep-b2"),
            (2, 1, "127.1.1.1", "/bricks/gv-distrep-b3"),
            (3, 1, "127.1.1.1", "/bricks/gv-distrep-b4"),
        ]
    );
    assert_eq!(volume.bricks_of(1).map(|brick| brick.number).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(volume.bricks[3].to_string(), "127.1.1.1:/bricks/gv-distrep-b4");
    assert!(volume.bricks[0].host_uuid.is_some());
}

#[test]
fn the_arbiter_is_the_third_brick_of_its_set() {
    let arbiters: Vec<bool> = volume("arbiter").bricks.iter().map(|brick| brick.arbiter).collect();
    assert_eq!(arbiters, [false, false, true]);
}

#[test]
fn a_brick_that_is_down_is_told_so() {
    let status = sample("distrep-brick-down-status");
    let volume = Volume::from_xml(&sample("distrep-info"), Some(&status), "gv-distrep").unwrap();
    let online: Vec<_> = volume.bricks.iter().map(|brick| brick.online).collect();
    assert_eq!(online, [Some(true), Some(false), Some(true), Some(true)]);
}

#[test]
fn a_brick_that_the_status_does_not_tell_of_is_unknown() {
    let status = sample("distrep-status").replace("<path>/bricks/gv-distrep-b3<", "<path>/else<");
    let volume = Volume::from_xml(&sample("distrep-info"), Some(&status), "gv-distrep").unwrap();
    assert_eq!(volume.bricks[2].online, None);
    assert_eq!(volume.status_unknown.unwrap(), "nothing is known of 127.1.1.1:/bricks/gv-distrep-b3");
}

#[test]
fn an_ipv6_host_is_cut_at_the_path() {
    let info = sample("dist1-info").replace("<name>127.1.1.1:/", "<name>fe80::1:/");
    let volume = Volume::from_xml(&info, None, "gv-dist1").unwrap();
    assert_eq!(volume.bricks[0].host, "fe80::1");
    assert_eq!(volume.bricks[0].path, Path::new("/bricks/gv-dist1-b1"));
    assert_eq!(volume.bricks[0].online, None);
}

#[test]
fn a_switch_is_on_by_any_word_of_gluster() {
    for (word, is_on) in [("on", true), ("enable", true), ("TRUE", true), ("1", true), ("off", false), ("0", false)] {
        let info = sample("shard-info").replace("<value>on</value>", &format!("<value>{word}</value>"));
        assert_eq!(Volume::from_xml(&info, None, "gv-shard").unwrap().is_sharded(), is_on, "{word}");
    }
}

#[test]
fn an_answer_that_is_not_understood_is_refused_with_what_was_found() {
    let about = |shape: &str| format!("the answer of gluster about volume \"gv-{shape}\" is not understood: ");
    for (shape, from, to, expected) in [
        ("dist1", "<opRet>0</opRet>", "", "opRet is \"\", expected a number"),
        ("dist1", "<id>5c", "<id>xx", "id is \"xx55c033-fe5c-4a54-89ea-77b0ac50fec5\", expected a UUID"),
        ("dist1", "<status>1<", "<status>7<", "status is \"7\", expected 0, 1 or 2"),
        ("dist1", "<brickCount>1<", "<brickCount>2<", "brickCount is \"2\", expected the number of bricks"),
        (
            "dist1",
            "<name>127.1.1.1:/",
            "<name>-o:/",
            "the name of a brick is \"-o:/bricks/gv-dist1-b1\", expected HOST:/PATH",
        ),
        ("dist1", "<replicaCount>1<", "<replicaCount>-1<", "replicaCount is \"-1\", expected a number"),
        (
            "dist1",
            "<typeStr>Distribute<",
            "<typeStr>Stripe<",
            "typeStr is \"Stripe (replica 1, arbiter 0, disperse 0)\", expected Distribute, Replicate or \
             Disperse, distributed or not, with counts to match",
        ),
        (
            "rep3",
            "<replicaCount>3<",
            "<replicaCount>2<",
            "brickCount is \"3\", expected a multiple of the bricks in a set",
        ),
        (
            "arbiter",
            "<isArbiter>1<",
            "<isArbiter>0<",
            "isArbiter is \"another number of bricks\", expected as many in every set as arbiterCount tells",
        ),
        ("rep3", "<hostUuid>", "<hostUuid>x", "hostUuid is"),
    ] {
        let found = hurt(shape, from, to);
        assert!(found.starts_with(&format!("{}{expected}", about(shape))), "{found}");
    }
    assert_eq!(hurt("dist1", "</cliOutput>", ""), "the answer of gluster about volume \"gv-dist1\" is not XML");
}

#[test]
fn a_volume_is_loaded_with_its_status() {
    let volume = tool(None, "gv-distrep").unwrap();
    assert_eq!((volume.bricks.len(), volume.status_unknown), (4, None));
    assert_eq!(tool(Some("n2.lan"), "gv-rep3").unwrap().bricks[2].online, Some(true));
}

#[test]
fn a_status_that_cannot_be_had_leaves_open_which_bricks_are_up() {
    let volume = tool(None, "locked").unwrap();
    assert_eq!(
        volume.status_unknown.unwrap(),
        "Another transaction is in progress for locked. Please try again after some time."
    );
    assert!(volume.bricks.iter().all(|brick| brick.online.is_none()));
}

#[test]
fn what_cannot_be_loaded_is_told_with_a_hint() {
    let told = |result: Result<Volume, Error>| {
        let error = result.unwrap_err();
        let cause = error.source().map(|e| format!(": {e}")).unwrap_or_default();
        (format!("{error}{cause}"), error.hint().unwrap_or_default())
    };
    for (result, text, hint) in [
        (
            tool(None, "gv9"),
            "there is no volume \"gv9\"; there are gv-arbiter, gv-disperse, gv-dist1, gv-dist3, gv-distrep, \
             gv-rep3, gv-shard",
            "",
        ),
        (
            tool(None, "gv-not-started"),
            "volume \"gv-not-started\" is not started",
            "gluster volume start gv-not-started",
        ),
        (
            tool(Some("down"), "gv-rep3"),
            "cannot ask about volume \"gv-rep3\": no glusterd answers on down",
            "gluster --remote-host=down pool list has to work (port 24007)",
        ),
        (
            load(Path::new("/nowhere/gluster"), None, "gv0"),
            "cannot ask about volume \"gv0\": there is no program \"/nowhere/gluster\"",
            "apt-get install glusterfs-server, or glusterfs-cli on a machine without bricks",
        ),
        (
            load(Path::new("false"), None, "gv0"),
            "cannot ask about volume \"gv0\": \"false volume info gv0\" ended with exit status: 1, and said \"\"",
            "",
        ),
        (
            load(Path::new("/dev/null"), None, "gv0"),
            "cannot ask about volume \"gv0\": cannot run \"/dev/null\": Permission denied (os error 13)",
            "",
        ),
        (tool(None, "odd"), "the answer of gluster about volume \"odd\" is not XML: unknown token at 1:1", ""),
        (
            tool(None, "all"),
            "\"all\" is no name of a volume: expected letters, digits, _ and -, and no - at the beginning",
            "",
        ),
        (
            tool(Some("-x"), "gv0"),
            "\"-x\" is no name of a host: expected letters, digits and any of . : _ -, and no - at the beginning",
            "",
        ),
    ] {
        assert_eq!(told(result), (text.to_owned(), hint.to_owned()));
    }
}

#[test]
fn a_tool_that_does_not_answer_is_ended() {
    let path = format!("{DATA}/gluster");
    let tool = Tool { tool: Path::new(&path), host: None, name: "hangs", deadline: Duration::from_millis(300) };
    assert_eq!(
        tool.load().unwrap_err().to_string(),
        format!(
            "cannot ask about volume \"hangs\": \"{path} volume info hangs\" had not answered after 300ms and was ended"
        )
    );
}

#[test]
fn a_host_is_asked_that_is_in_the_pool_by_whatever_name() {
    let volume = volume("rep3");
    let check = |host: &str| check_host(Path::new(&format!("{DATA}/gluster")), host, &volume);
    // This machine, that of a brick, a member without bricks, and another name of the address of a brick.
    for host in ["localhost", "127.1.1.1", "server2", "127.1.257"] {
        assert!(check(host).is_ok(), "{host}");
    }
    let refused = check("127.9.9.9").unwrap_err();
    assert_eq!(
        (refused.to_string(), refused.hint().unwrap()),
        (
            "\"127.9.9.9\" is not in the pool of volume \"gv-rep3\": the pool has 127.1.1.1, server2".to_owned(),
            "name one of these, or localhost on one of them".to_owned()
        )
    );
}
