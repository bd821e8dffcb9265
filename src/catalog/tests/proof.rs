//! What does not hold together is not published, and the error names the path:
//! of the newest generation and of one in between.

use super::*;

/// Generations 0 and 4 of two files and a directory.
fn world() -> World {
    let world = World::new();
    world.generation(0, |g| {
        let root = g.root();
        add(g, root, "a", Kind::File);
        let dir = add(g, root, "d", Kind::Directory);
        add(g, dir, "x", Kind::File);
    });
    world.generation(4, |_| {});
    world
}

fn top(generation: &GenerationWriter<'_>, text: &str) -> NodeId {
    generation.lookup_current(generation.root(), &name(text)).unwrap().unwrap().0
}

/// Tells generation `n`, which is not published, and returns why. Nothing of it is left.
fn refusal(world: &World, n: i64, walked: Option<u64>, tell: impl FnOnce(&mut GenerationWriter<'_>)) -> String {
    let before = world.dump();
    let (mut writer, source) = (world.writer(), world.source());
    let mut generation = begin(&mut writer, &source, n);
    tell(&mut generation);
    let why = generation.publish(walked, 0).unwrap_err().to_string();
    drop(writer);
    assert_eq!(world.dump(), before, "{why}");
    let refused = format!("the generation of {} was not published: ", at(n));
    why.strip_prefix(&refused).unwrap_or_else(|| panic!("{why}")).to_owned()
}

#[test]
fn what_does_not_hold_together_is_not_published_and_the_path_is_named() {
    type Tell = fn(&mut GenerationWriter<'_>);
    let cases: [(Tell, &str); 8] = [
        (
            |g| {
                let node = g.new_node().unwrap();
                g.link(g.root(), &name("n"), node, Kind::File).unwrap();
            },
            r#""n": it has a name and no attributes"#,
        ),
        (
            |g| {
                let node = g.new_node().unwrap();
                g.link(g.root(), &name("n"), node, Kind::File).unwrap();
                g.link(g.root(), &name("m"), node, Kind::File).unwrap();
            },
            r#""m": it has a name and no attributes"#,
        ),
        (
            |g| {
                let file = top(g, "a");
                add(g, file, "y", Kind::File);
            },
            r#""a": names are in it, and it is not a directory"#,
        ),
        (
            |g| {
                let dir = top(g, "d");
                g.link(g.root(), &name("e"), dir, Kind::Directory).unwrap();
            },
            r#""d": a directory has 2 names"#,
        ),
        (
            |g| {
                let root = g.root();
                let dir = add(g, root, "e", Kind::Directory);
                g.link(dir, &name("f"), dir, Kind::Directory).unwrap();
            },
            r#""e": a directory has 2 names"#,
        ),
        (
            |g| assert!(g.unlink(g.root(), &name("d")).unwrap().is_some()),
            r#""d": "x" is in a directory that has no name"#,
        ),
        (
            |g| {
                let dir = g.new_node().unwrap();
                put(g, dir, Kind::Directory, 4096);
                add(g, dir, "y", Kind::File);
            },
            r#"".": "y" is in a directory that has no name"#,
        ),
        (|g| g.expect_state([0; 32]), r#""": the edits give another state than expected"#),
    ];
    for (number, (tell, expected)) in cases.into_iter().enumerate() {
        for n in [2, 6] {
            assert_eq!(refusal(&world(), n, None, tell), expected, "case {number}, day {n}");
        }
    }
}

#[test]
fn as_many_entries_have_to_be_there_as_were_walked_and_kept() {
    for n in [2, 6] {
        let world = world();
        let doubt = |g: &mut GenerationWriter<'_>| g.doubt(top(g, "d"), "it cannot be read").unwrap();
        assert_eq!(refusal(&world, n, Some(2), |_| {}), r#"".": 2 entries were seen, and 3 are written"#);
        assert_eq!(refusal(&world, n, Some(9), doubt), r#"".": 9 entries were seen and 1 kept, and 3 are written"#);
        let (mut writer, source) = (world.writer(), world.source());
        let mut generation = begin(&mut writer, &source, n);
        doubt(&mut generation);
        assert_eq!(generation.publish(Some(2), 0).unwrap().counts.entries, 3, "day {n}");
    }
}

#[test]
fn there_cannot_be_fewer_entries_than_none() {
    let world = world();
    Connection::open(world.path()).unwrap().execute_batch("UPDATE generation SET entries = 0").unwrap();
    let why = refusal(&world, 6, None, |g| assert!(g.unlink(g.root(), &name("a")).unwrap().is_some()));
    assert_eq!(why, r#"".": -1 entries are written"#);
}

#[test]
fn a_link_count_has_to_be_the_number_of_names() {
    let world = world();
    let (mut writer, source) = (world.writer(), world.source());
    let mut generation = begin(&mut writer, &source, 6);
    let node = generation.new_node().unwrap();
    generation.link(generation.root(), &name("n"), node, Kind::File).unwrap();
    let row = generation.encode(&Attrs { nlink: 3, ..attrs(Kind::File, 1) }, false, None).unwrap();
    generation.put(node, None, row, Written::Unknown).unwrap();
    let why = crate::catalog::proof::prove(&generation, None).unwrap_err().to_string();
    let refused = format!("the generation of {} was not published: ", at(6));
    assert_eq!(why, refused + r#""n": its link count is 3, and it has 1 names"#);
    generation.count_links().unwrap();
    crate::catalog::proof::prove(&generation, None).unwrap();
    generation.abandon().unwrap();
}

#[test]
fn what_gets_another_name_has_one_link_more_whether_or_not_its_attributes_say_so_before() {
    let link = |g: &mut GenerationWriter<'_>| g.link(g.root(), &name("b"), top(g, "a"), Kind::File).unwrap();
    let put_and_link = |g: &mut GenerationWriter<'_>| {
        let file = top(g, "a");
        let base = g.living(file).unwrap();
        let row = g.encode(&Attrs { nlink: 2, ..attrs(Kind::File, 1) }, false, base.as_ref()).unwrap();
        g.put(file, base.as_ref(), row, Written::Unknown).unwrap();
        link(g);
    };
    let tells: [&dyn Fn(&mut GenerationWriter<'_>); 2] = [&link, &put_and_link];
    for (tell, n) in tells.into_iter().flat_map(|tell| [(tell, 2), (tell, 6)]) {
        let world = world();
        world.generation(n, |g| tell(g));
        let links = world.rows("SELECT node, born, nlink FROM inode ORDER BY node, born");
        let expected = match n {
            2 => ["node 1 day 0 1", "node 1 day 2 2", "node 1 day 4 1"].as_slice(),
            _ => &["node 1 day 0 1", "node 1 day 6 2"],
        };
        assert_eq!(links[1..links.len() - 2], *expected, "day {n}");
    }
}

#[test]
fn what_was_told_and_taken_back_is_no_flaw_and_no_change() {
    for n in [2, 6] {
        let world = world();
        let before = (world.dirents(), world.versions());
        let changed = world.generation(n, |g| {
            let root = g.root();
            let dir = add(g, root, "e", Kind::Directory);
            add(g, dir, "y", Kind::File);
            assert!(g.unlink(dir, &name("y")).unwrap().is_some());
            assert!(g.unlink(root, &name("e")).unwrap().is_some());
            let (file, kind) = g.unlink(root, &name("a")).unwrap().unwrap();
            g.link(root, &name("a"), file, kind).unwrap();
        });
        assert_eq!((changed, world.dirents(), world.versions()), (0, before.0, before.1), "day {n}");
    }
}

/// What moves from one directory to another while it is walked may be met in both, and is one file all the same.
#[test]
fn what_is_told_twice_counts_once_and_as_it_was_told_last() {
    for n in [2, 6] {
        let world = world();
        let link = |g: &mut GenerationWriter<'_>, file: &str, node, target: &str| {
            g.link(g.root(), &name(file), node, Kind::Symlink).unwrap();
            let told = Attrs { target: target.into(), ..attrs(Kind::Symlink, 0) };
            let row = g.encode(&told, false, None).unwrap();
            g.put(node, None, row, Written::No).unwrap();
        };
        let before = world.rows("SELECT size_bytes FROM generation ORDER BY taken_at LIMIT 1");
        world.generation(n, |g| {
            let (file, symlink) = (g.new_node().unwrap(), g.new_node().unwrap());
            for (text, size_bytes) in [("new", 10), ("moved", 11)] {
                g.link(g.root(), &name(text), file, Kind::File).unwrap();
                put(g, file, Kind::File, size_bytes);
            }
            link(g, "s", symlink, "x");
            link(g, "t", symlink, "y");
            // And one of the base.
            let old = top(g, "a");
            put(g, old, Kind::File, 100);
            put(g, old, Kind::File, 200);
        });
        let sql = format!(
            "SELECT name, size, nlink FROM dirent d JOIN inode i USING (node) WHERE i.born = {} AND d.born = i.born ORDER BY name",
            at(n).0
        );
        assert_eq!(world.rows(&sql), ["moved 11 2", "new 11 2", "s 0 2", "t 0 2"], "day {n}");
        let sql = format!("SELECT size_bytes FROM generation WHERE taken_at = {}", at(n).0);
        let old: i64 = 1;
        let bytes: i64 = before[0].parse().unwrap();
        assert_eq!(world.rows(&sql), [(bytes - old + 200 + 11).to_string()], "day {n}");
        assert_eq!(world.rows("SELECT bytes FROM content"), ["y"], "day {n}");
        let mut told = Vec::new();
        let checked = world.reader().check(true, &mut |checking| {
            if let Checking::Found(violation) = checking {
                told.push(format!("{violation:?}"));
            }
        });
        assert!(checked.is_ok() && told.is_empty(), "day {n}: {told:?}");
    }
}

#[test]
fn of_a_node_that_no_name_leads_to_nothing_is_left() {
    for n in [5, 2] {
        let world = world();
        world.generation(n, |g| {
            for (inode, kind) in [(77, Kind::File), (78, Kind::Directory)] {
                let node = g.new_node().unwrap();
                g.identify(FileKey { device: 0, inode, born_ns: 5 }, node).unwrap();
                put(g, node, kind, 10);
            }
        });
        assert_eq!(world.rows("SELECT inode, node FROM identity"), Vec::<String>::new(), "generation {n}");
        assert_eq!(world.rows("SELECT count(*) FROM inode WHERE born = 0 OR size = 10"), ["0"], "generation {n}");
    }
}
