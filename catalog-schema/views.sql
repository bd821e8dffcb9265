-- The public views of the catalog: what people and programs may rely on. README.md tells every column and what
-- to ask. They use nothing newer than SQLite 3.40 and no function of asof, so the system's sqlite3 answers them
-- too. Times are text in UTC (2026-11-20T02:00:00Z) unless the column says _unix. `path` and `name` are always
-- valid UTF-8 on one line (escaped where they are not, from odd_name); columns with _raw have the bytes.
--
-- Only published generations are told of: every view asks at instants of generations with status 'available',
-- and rows that an unfinished run wrote are born at an instant that is not one yet.
--
-- `restore_path` is a path below the mount point of all sources that opens exactly what the row tells of.
--
-- A path is put together from the name upward ("up" below), one seek in dirent_node a level: directories
-- have one name, so there is one way. What is told twice in other words is told by a query in the FROM, which costs nothing: SQLite
-- takes it apart, and computes a column only where it is asked for. CROSS JOIN fixes the order of the loops, so that a plan is the same
-- with and without the statistics of ANALYZE.

-- One row per source.
CREATE VIEW sources AS
SELECT s.name AS source, s.kind AS kind, s.root AS root,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.added_at, 'unixepoch') AS added_at,
       (SELECT count(*) FROM generation g WHERE g.source = s.id AND g.status = 'published') AS generations,
       strftime('%Y-%m-%dT%H:%M:%SZ', (SELECT min(g.taken_at) FROM generation g WHERE g.source = s.id AND g.status = 'published'), 'unixepoch') AS oldest,
       strftime('%Y-%m-%dT%H:%M:%SZ', (SELECT max(g.taken_at) FROM generation g WHERE g.source = s.id AND g.status = 'published'), 'unixepoch') AS newest
  FROM source s;

-- One row per place where a backup lies, or lay: what was last seen of it, and when. Of a copy in a store that cannot be
-- reached nothing is known since `looked_at`. A forgotten copy has no generation any more: it is still there, and not indexed.
CREATE VIEW copies AS
SELECT s.name AS source, strftime('%Y-%m-%dT%H:%M:%SZ', o.at, 'unixepoch') AS taken_at, o.at AS taken_at_unix,
       g.id IS NULL AS forgotten, o.kind AS kind,
       c.state AS state, strftime('%Y-%m-%dT%H:%M:%SZ', c.state_since, 'unixepoch') AS state_since,
       strftime('%Y-%m-%dT%H:%M:%SZ', c.looked_at, 'unixepoch') AS looked_at,
       coalesce((SELECT text FROM odd_name n WHERE n.name = t.path), CAST(t.path AS TEXT))
         || CASE WHEN length(c.path) THEN '/' || coalesce((SELECT text FROM odd_name n WHERE n.name = c.path), CAST(c.path AS TEXT)) ELSE '' END AS path,
       coalesce((SELECT text FROM odd_name n WHERE n.name = t.path), CAST(t.path AS TEXT)) AS store,
       t.reach AS reach, strftime('%Y-%m-%dT%H:%M:%SZ', t.reach_at, 'unixepoch') AS reach_at,
       c.settled AS settled, c.id AS copy
  FROM source s
  CROSS JOIN object o ON o.source = s.id
  LEFT JOIN generation g ON g.id = o.generation
  CROSS JOIN copy c ON c.object = o.id
  CROSS JOIN store t ON t.id = c.store
 WHERE g.id IS NULL OR g.status = 'published';

-- One row per generation that can be seen in a mount. `status` is what was last seen of its copies, at `looked_at`.
CREATE VIEW generations AS
SELECT s.name AS source, s.kind AS kind,
       strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at,
       g.taken_at AS taken_at_unix, g.taken_at AS time, g.number AS number, g.level AS level,
       (SELECT CASE WHEN count(*) = coalesce(sum(k.state = 'gone'), 0) THEN 'gone'
                    WHEN sum(k.state <> 'gone' AND coalesce(k.reach, 'reachable') = 'reachable') = 0 THEN 'unreachable'
                    WHEN sum(k.state <> 'present' OR coalesce(k.reach, 'reachable') <> 'reachable') > 0 THEN 'degraded'
                    ELSE 'available' END
          FROM copies k WHERE k.source = s.name AND k.taken_at_unix = g.taken_at AND NOT k.forgotten) AS status,
       (SELECT min(k.looked_at) FROM copies k WHERE k.source = s.name AND k.taken_at_unix = g.taken_at AND NOT k.forgotten) AS looked_at,
       g.entries AS entries, g.size_bytes AS size_bytes, g.changed_nodes AS changed,
       g.losses AS losses, g.losses > 0 AS partial, g.notices AS notices, g.gaps AS gaps, g.scan AS scan,
       strftime('%Y-%m-%dT%H:%M:%SZ', g.indexed_at, 'unixepoch') AS indexed_at, g.index_ms AS index_ms,
       (SELECT k.path FROM copies k WHERE k.source = s.name AND k.taken_at_unix = g.taken_at AND NOT k.forgotten ORDER BY k.copy LIMIT 1) AS copy_path,
       g.consistency AS consistency, g.location AS location
  FROM generation g JOIN source s ON s.id = g.source
 WHERE g.status = 'published';

-- One row per name and generation: what was where. Give source and taken_at (or taken_at_unix), or it tells
-- of every generation.
CREATE VIEW files AS
SELECT f.source AS source, f.taken_at AS taken_at, f.taken_at_unix AS taken_at_unix, f.path AS path, f.name AS name,
       f.name_raw AS name_raw, f.kind AS kind, f.size_bytes AS size_bytes, f.mtime AS mtime, f.mtime_unix AS mtime_unix,
       f.mtime_ns AS mtime_ns, f.mode AS mode, f.uid AS uid, f.gid AS gid, f.nlink AS nlink, f.has_xattrs AS has_xattrs,
       f.has_acl AS has_acl, f.xattr_set AS xattr_set, f.link_target AS link_target, f.unreadable AS unreadable, f.unknown AS unknown,
       f.version_since AS version_since,
       '@' || strftime('%Y-%m-%dT%H%M%SZ', f.taken_at_unix, 'unixepoch') || '/' || f.source || '/' || f.path AS restore_path,
       CAST('@' || strftime('%Y-%m-%dT%H%M%SZ', f.taken_at_unix, 'unixepoch') || '/' || f.source || '/' || f.path_bytes AS BLOB) AS restore_path_raw,
       f.node AS node, f.parent AS parent
  FROM (
        SELECT s.name AS source, strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at,
               g.taken_at AS taken_at_unix,
               (WITH RECURSIVE up(node, path) AS (
                  SELECT d.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = d.name), CAST(d.name AS TEXT))
                  UNION ALL
                  SELECT e.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = e.name), CAST(e.name AS TEXT)) || '/' || up.path
                    FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node AND e.born <= g.taken_at AND e.died > g.taken_at)
                SELECT path FROM up WHERE node = s.root) AS path,
               coalesce((SELECT text FROM odd_name o WHERE o.name = d.name), CAST(d.name AS TEXT)) AS name,
               d.name AS name_raw,
               CASE d.kind WHEN 0 THEN 'file' WHEN 1 THEN 'directory' WHEN 2 THEN 'symlink' WHEN 3 THEN 'fifo'
                           WHEN 4 THEN 'socket' WHEN 5 THEN 'character device' ELSE 'block device' END AS kind,
               i.size AS size_bytes, strftime('%Y-%m-%dT%H:%M:%SZ', i.mtime, 'unixepoch') AS mtime,
               i.mtime AS mtime_unix, i.mtime_ns AS mtime_ns,
               printf('%04o', p.mode & 4095) AS mode, p.uid AS uid, p.gid AS gid, i.nlink AS nlink,
               CASE p.xattr WHEN 0 THEN 0 WHEN -1 THEN NULL ELSE 1 END AS has_xattrs,
               CASE p.xattr WHEN 0 THEN 0 WHEN -1 THEN NULL ELSE (SELECT x.has_acl FROM xattr_set x WHERE x.id = p.xattr) END AS has_acl,
               nullif(max(p.xattr, 0), 0) AS xattr_set,
               CASE WHEN i.place = 4 THEN (SELECT coalesce((SELECT text FROM odd_name o WHERE o.name = t.bytes), CAST(t.bytes AS TEXT))
                                             FROM content t WHERE t.id = i.content) END AS link_target,
               i.place = 9 OR p.xattr = -1 AS unreadable,
               EXISTS (SELECT 1 FROM kept k WHERE k.parent = d.parent AND k.name = d.name AND k.born <= g.taken_at AND k.died > g.taken_at) AS unknown,
               strftime('%Y-%m-%dT%H:%M:%SZ', max(i.born, (SELECT min(o.taken_at) FROM generation o WHERE o.source = s.id AND o.status = 'published')),
                        'unixepoch') AS version_since,
               d.node AS node, d.parent AS parent,
               (WITH RECURSIVE up(node, path) AS (
                  SELECT d.parent, CAST(d.name AS TEXT)
                  UNION ALL
                  SELECT e.parent, CAST(e.name AS TEXT) || '/' || up.path
                    FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node AND e.born <= g.taken_at AND e.died > g.taken_at)
                SELECT path FROM up WHERE node = s.root) AS path_bytes
          FROM generation g
          JOIN source s ON s.id = g.source
          CROSS JOIN node_block b ON b.source = s.id
          CROSS JOIN dirent d ON d.parent BETWEEN b.block * 65536 AND b.block * 65536 + 65535
                             AND d.born <= g.taken_at AND d.died > g.taken_at
          CROSS JOIN inode i ON i.node = d.node
                            AND i.born = (SELECT max(v.born) FROM inode v WHERE v.node = d.node AND v.born <= g.taken_at)
          CROSS JOIN perm p ON p.id = i.perm
         WHERE g.status = 'published') f;

-- One row per name, generation and extended attribute; POSIX ACLs are attributes too.
CREATE VIEW xattrs AS
SELECT f.source AS source, f.taken_at AS taken_at, f.taken_at_unix AS taken_at_unix, f.path AS path, f.name AS name,
       f.name_raw AS name_raw, f.kind AS kind, CAST(x.name AS TEXT) AS attribute, x.value AS value_raw, f.node AS node
  FROM files f CROSS JOIN xattr_item x ON x.xattr = f.xattr_set;

-- One row per name and version: how a file came to be what it is. A version holds from `since` until
-- `until` (NULL: it still holds in the newest generation).
CREATE VIEW versions AS
SELECT v.source AS source, v.path AS path, v.name AS name, v.name_raw AS name_raw,
       strftime('%Y-%m-%dT%H:%M:%SZ', v.since_unix, 'unixepoch') AS since, v.since_unix AS since_unix,
       strftime('%Y-%m-%dT%H:%M:%SZ', v.until_unix, 'unixepoch') AS until, v.until_unix AS until_unix,
       v.kind AS kind, v.size_bytes AS size_bytes, v.mtime AS mtime, v.mtime_unix AS mtime_unix, v.mtime_ns AS mtime_ns, v.mode AS mode, v.uid AS uid, v.gid AS gid, v.nlink AS nlink,
       v.xattr_set AS xattr_set,
       '@' || strftime('%Y-%m-%dT%H%M%SZ', v.since_unix, 'unixepoch') || '/' || v.source || '/' || v.path AS restore_path,
       CAST('@' || strftime('%Y-%m-%dT%H%M%SZ', v.since_unix, 'unixepoch') || '/' || v.source || '/' || v.path_bytes AS BLOB) AS restore_path_raw,
       v.node AS node, v.parent AS parent
  FROM (
        SELECT s.name AS source,
               (WITH RECURSIVE up(node, path) AS (
                  SELECT d.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = d.name), CAST(d.name AS TEXT))
                  UNION ALL
                  SELECT e.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = e.name), CAST(e.name AS TEXT)) || '/' || up.path
                    FROM up JOIN dirent e INDEXED BY dirent_node
                      ON e.node = up.node
                     AND e.born <= max(d.born, i.born, (SELECT min(o.taken_at) FROM generation o WHERE o.source = s.id AND o.status = 'published'))
                     AND e.died > max(d.born, i.born, (SELECT min(o.taken_at) FROM generation o WHERE o.source = s.id AND o.status = 'published')))
                SELECT path FROM up WHERE node = s.root) AS path,
               coalesce((SELECT text FROM odd_name o WHERE o.name = d.name), CAST(d.name AS TEXT)) AS name,
               d.name AS name_raw,
               max(d.born, i.born, (SELECT min(o.taken_at) FROM generation o WHERE o.source = s.id AND o.status = 'published')) AS since_unix,
               nullif(min(
                 CASE WHEN EXISTS (SELECT 1 FROM generation g WHERE g.source = s.id AND g.taken_at = d.died AND g.status = 'published')
                      THEN d.died ELSE 253402300799 END,
                 coalesce((SELECT min(n.born) FROM inode n WHERE n.node = i.node AND n.born > i.born
                              AND EXISTS (SELECT 1 FROM generation g WHERE g.source = s.id AND g.taken_at = n.born AND g.status = 'published')),
                          253402300799)), 253402300799) AS until_unix,
               CASE d.kind WHEN 0 THEN 'file' WHEN 1 THEN 'directory' WHEN 2 THEN 'symlink' WHEN 3 THEN 'fifo'
                           WHEN 4 THEN 'socket' WHEN 5 THEN 'character device' ELSE 'block device' END AS kind,
               i.size AS size_bytes, strftime('%Y-%m-%dT%H:%M:%SZ', i.mtime, 'unixepoch') AS mtime,
               i.mtime AS mtime_unix, i.mtime_ns AS mtime_ns,
               printf('%04o', p.mode & 4095) AS mode, p.uid AS uid, p.gid AS gid, i.nlink AS nlink,
               nullif(max(p.xattr, 0), 0) AS xattr_set,
               d.node AS node, d.parent AS parent,
               (WITH RECURSIVE up(node, path) AS (
                  SELECT d.parent, CAST(d.name AS TEXT)
                  UNION ALL
                  SELECT e.parent, CAST(e.name AS TEXT) || '/' || up.path
                    FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node
                     AND e.born <= max(d.born, i.born, (SELECT min(o.taken_at) FROM generation o WHERE o.source = s.id AND o.status = 'published'))
                     AND e.died > max(d.born, i.born, (SELECT min(o.taken_at) FROM generation o WHERE o.source = s.id AND o.status = 'published')))
                SELECT path FROM up WHERE node = s.root) AS path_bytes
          FROM source s
          CROSS JOIN node_block b ON b.source = s.id
          CROSS JOIN dirent d ON d.parent BETWEEN b.block * 65536 AND b.block * 65536 + 65535
          CROSS JOIN inode i ON i.node = d.node AND i.born < d.died
                            AND i.born >= coalesce((SELECT max(v.born) FROM inode v WHERE v.node = d.node AND v.born <= d.born), d.born)
          CROSS JOIN perm p ON p.id = i.perm
         WHERE max(d.born, i.born) <= (SELECT max(g.taken_at) FROM generation g WHERE g.source = s.id AND g.status = 'published')) v;

-- One row per thing that a generation changed against the one before it. `what` is created, deleted,
-- renamed, linked, unlinked, modified (content) or attributes. The first generation of a source: all created.
--
-- A node that lost names and got others was renamed: its first lost name is paired with its first new one, and
-- so on, in the order of (parent, name); `pair` is that number. Names without a partner were unlinked or linked.
-- The parts of the UNION have all that a condition on source or time needs, so that it reaches each of them:
-- what one generation changed costs what it changed.
CREATE VIEW changes AS
SELECT x.source AS source, strftime('%Y-%m-%dT%H:%M:%SZ', x.at, 'unixepoch') AS taken_at,
       x.at AS taken_at_unix, x.what AS what,
       CASE WHEN x.node = x.root THEN '.' ELSE
         (WITH RECURSIVE up(node, path) AS (
            SELECT x.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = x.name), CAST(x.name AS TEXT))
            UNION ALL
            SELECT e.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = e.name), CAST(e.name AS TEXT)) || '/' || up.path
              FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node AND e.born <= x.path_at AND e.died > x.path_at)
          SELECT path FROM up WHERE node = x.root) END AS path,
       CASE WHEN x.what = 'renamed' THEN
         (WITH RECURSIVE gone(parent, name) AS (
            SELECT r.parent, r.name FROM dirent r INDEXED BY dirent_node
             WHERE r.node = x.node AND r.died = x.at
               AND x.pair = (SELECT count(*) FROM dirent q INDEXED BY dirent_node
                              WHERE q.node = x.node AND q.died = x.at AND (q.parent, q.name) < (r.parent, r.name))),
          up(node, path) AS (
            SELECT parent, coalesce((SELECT text FROM odd_name o WHERE o.name = gone.name), CAST(gone.name AS TEXT)) FROM gone
            UNION ALL
            SELECT e.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = e.name), CAST(e.name AS TEXT)) || '/' || up.path
              FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node AND e.born <= x.before_at AND e.died > x.before_at)
          SELECT path FROM up WHERE node = x.root) END AS old_path,
       coalesce((SELECT text FROM odd_name o WHERE o.name = x.name), CAST(x.name AS TEXT)) AS name,
       x.name AS name_raw,
       CASE x.kind WHEN 0 THEN 'file' WHEN 1 THEN 'directory' WHEN 2 THEN 'symlink' WHEN 3 THEN 'fifo'
                   WHEN 4 THEN 'socket' WHEN 5 THEN 'character device' ELSE 'block device' END AS kind,
       (SELECT i.size FROM inode i WHERE i.node = x.node AND i.born <= x.path_at ORDER BY i.born DESC LIMIT 1) AS size_bytes,
       x.node AS node
  FROM (-- Names that are there now.
        SELECT s.name AS source, s.root AS root, g.taken_at AS at,
               CASE WHEN c.op & 1 THEN 'created'
                    WHEN c.op & 16 AND (SELECT count(*) FROM dirent q INDEXED BY dirent_node
                                         WHERE q.node = d.node AND q.born = g.taken_at AND (q.parent, q.name) < (d.parent, d.name))
                                       < (SELECT count(*) FROM dirent q INDEXED BY dirent_node WHERE q.node = d.node AND q.died = g.taken_at)
                    THEN 'renamed'
                    WHEN EXISTS (SELECT 1 FROM dirent q INDEXED BY dirent_node
                                  WHERE q.node = d.node AND q.born < g.taken_at AND q.died >= g.taken_at)
                    THEN 'linked' ELSE 'created' END AS what,
               CASE WHEN c.op & 16 THEN (SELECT count(*) FROM dirent q INDEXED BY dirent_node
                                          WHERE q.node = d.node AND q.born = g.taken_at AND (q.parent, q.name) < (d.parent, d.name)) END AS pair,
               d.parent AS parent, d.name AS name, d.kind AS kind, d.node AS node, g.taken_at AS path_at,
               (SELECT max(l.taken_at) FROM generation l
                 WHERE l.source = g.source AND l.taken_at < g.taken_at AND l.status = 'published') AS before_at
          FROM generation g JOIN source s ON s.id = g.source
          CROSS JOIN change c ON c.source = g.source AND c.at = g.taken_at
          CROSS JOIN dirent d INDEXED BY dirent_node ON d.node = c.node AND d.born = g.taken_at
         WHERE g.status = 'published'
        UNION ALL
        -- Names that are gone and have no partner.
        SELECT s.name, s.root, g.taken_at,
               CASE WHEN EXISTS (SELECT 1 FROM dirent o INDEXED BY dirent_node
                                  WHERE o.node = c.node AND o.born <= g.taken_at AND o.died > g.taken_at)
                    THEN 'unlinked' ELSE 'deleted' END,
               NULL, d.parent, d.name, d.kind, d.node,
               (SELECT max(l.taken_at) FROM generation l
                 WHERE l.source = g.source AND l.taken_at < g.taken_at AND l.status = 'published'),
               NULL
          FROM generation g JOIN source s ON s.id = g.source
          CROSS JOIN change c ON c.source = g.source AND c.at = g.taken_at AND c.op & 16
          CROSS JOIN dirent d INDEXED BY dirent_node ON d.node = c.node AND d.died = g.taken_at
         WHERE g.status = 'published'
           AND (NOT (c.op & 8)
                OR (SELECT count(*) FROM dirent q INDEXED BY dirent_node
                     WHERE q.node = d.node AND q.died = g.taken_at AND (q.parent, q.name) < (d.parent, d.name))
                   >= (SELECT count(*) FROM dirent q INDEXED BY dirent_node WHERE q.node = d.node AND q.born = g.taken_at))
        UNION ALL
        -- Other bytes or attributes under names that live.
        SELECT s.name, s.root, g.taken_at, CASE WHEN c.op & 2 THEN 'modified' ELSE 'attributes' END,
               NULL, d.parent, d.name, d.kind, d.node, g.taken_at, NULL
          FROM generation g JOIN source s ON s.id = g.source
          CROSS JOIN change c ON c.source = g.source AND c.at = g.taken_at AND c.op & 6 AND NOT (c.op & 1)
          CROSS JOIN dirent d INDEXED BY dirent_node ON d.node = c.node AND d.born <= g.taken_at AND d.died > g.taken_at
         WHERE g.status = 'published'
        UNION ALL
        -- The top directory, which has no name.
        SELECT s.name, s.root, g.taken_at, CASE WHEN c.op & 2 THEN 'modified' ELSE 'attributes' END,
               NULL, NULL, x'2e', 1, s.root, g.taken_at, NULL
          FROM generation g JOIN source s ON s.id = g.source
          CROSS JOIN change c ON c.source = g.source AND c.at = g.taken_at AND c.node = s.root
         WHERE g.status = 'published' AND c.op & 6
        UNION ALL
        -- All of a first generation.
        SELECT s.name, s.root, g.taken_at, 'created', NULL, d.parent, d.name, d.kind, d.node, g.taken_at, NULL
          FROM generation g JOIN source s ON s.id = g.source
          CROSS JOIN node_block b ON b.source = g.source
          CROSS JOIN dirent d ON d.parent BETWEEN b.block * 65536 AND b.block * 65536 + 65535
                             AND d.born <= g.taken_at AND d.died > g.taken_at
         WHERE g.status = 'published'
           AND NOT EXISTS (SELECT 1 FROM generation o WHERE o.source = g.source AND o.taken_at < g.taken_at AND o.status = 'published')
       ) x;

-- One row per name that a generation had and the next one has not: where to get it back from.
-- restore_path is below the mount point; lives_as is a name that the same file has in that next one, if any.
CREATE VIEW deleted AS
SELECT y.source AS source,
       (WITH RECURSIVE up(node, path) AS (
          SELECT y.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = y.name_raw), CAST(y.name_raw AS TEXT))
          UNION ALL
          SELECT e.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = e.name), CAST(e.name AS TEXT)) || '/' || up.path
            FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node AND e.born <= y.last_at AND e.died > y.last_at)
        SELECT path FROM up WHERE node = y.root) AS path,
       coalesce((SELECT text FROM odd_name o WHERE o.name = y.name_raw), CAST(y.name_raw AS TEXT)) AS name,
       y.name_raw AS name_raw,
       CASE y.kind WHEN 0 THEN 'file' WHEN 1 THEN 'directory' WHEN 2 THEN 'symlink' WHEN 3 THEN 'fifo'
                   WHEN 4 THEN 'socket' WHEN 5 THEN 'character device' ELSE 'block device' END AS kind,
       (SELECT i.size FROM inode i WHERE i.node = y.node AND i.born <= y.last_at ORDER BY i.born DESC LIMIT 1) AS size_bytes,
       strftime('%Y-%m-%dT%H:%M:%SZ', y.last_at, 'unixepoch') AS last_seen, y.last_at AS last_seen_unix,
       strftime('%Y-%m-%dT%H:%M:%SZ', y.died, 'unixepoch') AS deleted_in, y.died AS deleted_in_unix,
       '@' || strftime('%Y-%m-%dT%H%M%SZ', y.last_at, 'unixepoch') || '/' || y.source || '/' ||
       (WITH RECURSIVE up(node, path) AS (
          SELECT y.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = y.name_raw), CAST(y.name_raw AS TEXT))
          UNION ALL
          SELECT e.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = e.name), CAST(e.name AS TEXT)) || '/' || up.path
            FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node AND e.born <= y.last_at AND e.died > y.last_at)
        SELECT path FROM up WHERE node = y.root) AS restore_path,
       CAST('@' || strftime('%Y-%m-%dT%H%M%SZ', y.last_at, 'unixepoch') || '/' || y.source || '/' ||
       (WITH RECURSIVE up(node, path) AS (
          SELECT y.parent, CAST(y.name_raw AS TEXT)
          UNION ALL
          SELECT e.parent, CAST(e.name AS TEXT) || '/' || up.path
            FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node AND e.born <= y.last_at AND e.died > y.last_at)
        SELECT path FROM up WHERE node = y.root) AS BLOB) AS restore_path_raw,
       (WITH RECURSIVE new(parent, name) AS (
          SELECT n.parent, n.name FROM dirent n INDEXED BY dirent_node
           WHERE n.node = y.node AND n.born <= y.died AND n.died > y.died ORDER BY n.parent, n.name LIMIT 1),
        up(node, path) AS (
          SELECT parent, coalesce((SELECT text FROM odd_name o WHERE o.name = new.name), CAST(new.name AS TEXT)) FROM new
          UNION ALL
          SELECT e.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = e.name), CAST(e.name AS TEXT)) || '/' || up.path
            FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node AND e.born <= y.died AND e.died > y.died)
        SELECT path FROM up WHERE node = y.root) AS lives_as,
       y.node AS node
  FROM (SELECT s.name AS source, s.root AS root, g.taken_at AS died, d.parent AS parent, d.name AS name_raw, d.node AS node, d.kind AS kind,
               (SELECT max(l.taken_at) FROM generation l
                 WHERE l.source = g.source AND l.taken_at < g.taken_at AND l.status = 'published') AS last_at
          FROM generation g JOIN source s ON s.id = g.source
          CROSS JOIN change c ON c.source = g.source AND c.at = g.taken_at AND c.op & 16
          CROSS JOIN dirent d INDEXED BY dirent_node ON d.node = c.node AND d.died = g.taken_at
         WHERE g.status = 'published'
           AND NOT EXISTS (SELECT 1 FROM dirent n WHERE n.parent = d.parent AND n.name = d.name AND n.born = d.died)) y;

-- One row per thing found amiss while a generation was indexed.
CREATE VIEW findings AS
SELECT s.name AS source, strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at, g.taken_at AS taken_at_unix,
       f.number AS number, f.kind AS kind,
       CASE WHEN length(f.path) THEN coalesce((SELECT text FROM odd_name o WHERE o.name = f.path), CAST(f.path AS TEXT)) ELSE '.' END AS path,
       f.path AS path_raw, f.detail AS detail
  FROM generation g JOIN source s ON s.id = g.source
  CROSS JOIN finding f ON f.source = g.source AND f.at = g.taken_at
 WHERE g.status = 'published';

-- One row per generation of a disk: what it holds by itself.
CREATE VIEW disks AS
SELECT s.name AS source, strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at, g.taken_at AS taken_at_unix,
       o.size AS size_bytes, l.stored AS stored_bytes, l.format AS format, l.acquire AS acquire,
       (SELECT strftime('%Y-%m-%dT%H:%M:%SZ', p.at, 'unixepoch') FROM object p WHERE p.id = o.parent) AS parent, l.checkpoint AS checkpoint,
       g.consistency AS consistency, g.location AS location
  FROM generation g JOIN source s ON s.id = g.source
  CROSS JOIN object o ON o.generation = g.id
  CROSS JOIN disk_layer l ON l.object = o.id
 WHERE g.status = 'published';

-- One row per generation of a disk and file that its bytes are in; what it rests on has rows of its own.
CREATE VIEW disk_files AS
SELECT s.name AS source, strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at, g.taken_at AS taken_at_unix,
       coalesce((SELECT text FROM odd_name o WHERE o.name = f.path), CAST(f.path AS TEXT)) AS path, f.path AS path_raw,
       f.size AS size_bytes, strftime('%Y-%m-%dT%H:%M:%SZ', f.mtime, 'unixepoch') AS mtime, f.mtime AS mtime_unix, f.mtime_ns AS mtime_ns
  FROM generation g JOIN source s ON s.id = g.source
  CROSS JOIN object o ON o.generation = g.id
  CROSS JOIN disk_file f ON f.object = o.id
 WHERE g.status = 'published';

-- One row per generation of a disk and partition, logical volume or file system on it.
CREATE VIEW volumes AS
SELECT s.name AS source, strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at, g.taken_at AS taken_at_unix,
       v.name AS volume, v.size AS size_bytes, v.pieces AS pieces, v.kind AS kind, v.browsable AS browsable, v.label AS label,
       v.fs_label AS fs_label, v.uuid AS uuid, nullif(v.state, '') AS state, v.features AS features, nullif(v.note, '') AS note
  FROM generation g JOIN source s ON s.id = g.source
  CROSS JOIN disk_volume v ON v.generation = g.id
 WHERE g.status = 'published';

-- One row per generation: how much there is, and how much more than in the one before.
CREATE VIEW growth AS
SELECT s.name AS source, strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at, g.taken_at AS taken_at_unix,
       g.taken_at AS time, g.entries AS entries, g.size_bytes AS size_bytes,
       g.entries - p.entries AS more_entries, g.size_bytes - p.size_bytes AS more_bytes,
       strftime('%Y-%m-%dT%H:%M:%SZ', p.taken_at, 'unixepoch') AS previous, g.taken_at - p.taken_at AS seconds
  FROM generation g JOIN source s ON s.id = g.source
  LEFT JOIN generation p ON p.source = g.source
                        AND p.taken_at = (SELECT max(l.taken_at) FROM generation l
                                           WHERE l.source = g.source AND l.taken_at < g.taken_at AND l.status = 'published')
 WHERE g.status = 'published';

-- One row per generation but the first of its source: how many files (nodes) it changed against the one before, each counted once, as the
-- first of these that holds: created, deleted, modified (other content), renamed (other names), attributes.
CREATE VIEW churn AS
SELECT y.source AS source, strftime('%Y-%m-%dT%H:%M:%SZ', y.at, 'unixepoch') AS taken_at, y.at AS taken_at_unix, y.at AS time,
       count(y.node) AS changed,
       coalesce(sum(y.what = 'created'), 0) AS created, coalesce(sum(y.what = 'deleted'), 0) AS deleted,
       coalesce(sum(y.what = 'modified'), 0) AS modified, coalesce(sum(y.what = 'renamed'), 0) AS renamed,
       coalesce(sum(y.what = 'attributes'), 0) AS attributes,
       coalesce(sum(CASE WHEN y.what IN ('created', 'modified') AND y.kind = 0
                         THEN (SELECT i.size FROM inode i WHERE i.node = y.node AND i.born <= y.at ORDER BY i.born DESC LIMIT 1) END), 0) AS new_bytes,
       coalesce(sum(CASE WHEN y.what IN ('deleted', 'modified') AND y.kind = 0
                         THEN (SELECT i.size FROM inode i WHERE i.node = y.node AND i.born < y.at ORDER BY i.born DESC LIMIT 1) END), 0) AS gone_bytes
  FROM (SELECT s.name AS source, g.taken_at AS at, c.node AS node,
               (SELECT k.kind FROM dirent k INDEXED BY dirent_node WHERE k.node = c.node LIMIT 1) AS kind,
               CASE WHEN c.node IS NULL THEN NULL
                    WHEN c.op & 1 THEN 'created'
                    WHEN c.op & 16 AND NOT EXISTS (SELECT 1 FROM dirent d INDEXED BY dirent_node
                                                    WHERE d.node = c.node AND d.born <= g.taken_at AND d.died > g.taken_at) THEN 'deleted'
                    WHEN c.op & 2 THEN 'modified' WHEN c.op & 24 THEN 'renamed' ELSE 'attributes' END AS what
          FROM generation g JOIN source s ON s.id = g.source
          LEFT JOIN change c ON c.source = g.source AND c.at = g.taken_at
         WHERE g.status = 'published'
           AND EXISTS (SELECT 1 FROM generation o WHERE o.source = g.source AND o.taken_at < g.taken_at AND o.status = 'published')) y
 GROUP BY y.source, y.at;

-- One row per generation, owner and group: what is theirs. The content of a file with several names is counted once.
CREATE VIEW usage_by_owner AS
SELECT y.source AS source, strftime('%Y-%m-%dT%H:%M:%SZ', y.at, 'unixepoch') AS taken_at, y.at AS taken_at_unix, y.at AS time,
       y.uid AS uid, y.gid AS gid, count(*) AS entries, sum(y.is_first) AS files, sum(y.is_first * y.size) AS size_bytes
  FROM (SELECT s.name AS source, g.taken_at AS at, p.uid AS uid, p.gid AS gid, i.size AS size,
               d.kind = 0 AND (i.nlink = 1 AND NOT EXISTS (SELECT 1 FROM kept) OR NOT EXISTS (
                 SELECT 1 FROM dirent q INDEXED BY dirent_node
                  WHERE q.node = d.node AND q.born <= g.taken_at AND q.died > g.taken_at AND (q.parent, q.name) < (d.parent, d.name))) AS is_first
          FROM generation g JOIN source s ON s.id = g.source
          CROSS JOIN node_block b ON b.source = s.id
          CROSS JOIN dirent d ON d.parent BETWEEN b.block * 65536 AND b.block * 65536 + 65535
                             AND d.born <= g.taken_at AND d.died > g.taken_at
          CROSS JOIN inode i ON i.node = d.node
                            AND i.born = (SELECT max(v.born) FROM inode v WHERE v.node = d.node AND v.born <= g.taken_at)
          CROSS JOIN perm p ON p.id = i.perm
         WHERE g.status = 'published') y
 GROUP BY y.source, y.at, y.uid, y.gid;

-- One row per source and day (UTC), from the day of its first generation to today: what a restore of that day's end would get.
CREATE VIEW coverage AS
WITH RECURSIVE days(source, name, begins, last) AS (
  SELECT s.id, s.name, min(g.taken_at) - min(g.taken_at) % 86400, max(max(g.taken_at), CAST(strftime('%s', 'now') AS INTEGER))
    FROM source s JOIN generation g ON g.source = s.id WHERE g.status = 'published' GROUP BY s.id
  UNION ALL
  SELECT source, name, begins + 86400, last FROM days WHERE begins + 86400 <= last)
SELECT y.source AS source, y.day AS day, y.begins AS time,
       strftime('%Y-%m-%dT%H:%M:%SZ', y.taken_at, 'unixepoch') AS taken_at, y.taken_at AS taken_at_unix,
       (SELECT count(*) FROM generation g
         WHERE g.source = y.id AND g.taken_at >= y.begins AND g.taken_at < y.begins + 86400 AND g.status = 'published') AS generations,
       max(min(y.begins + 86399, y.last) - y.taken_at, 0) AS age_seconds,
       (SELECT count(*) FROM generation g CROSS JOIN object o ON o.generation = g.id CROSS JOIN copy c ON c.object = o.id
         CROSS JOIN store t ON t.id = c.store
         WHERE g.source = y.id AND g.taken_at = y.taken_at
           AND c.state = 'present' AND coalesce(t.reach, 'reachable') = 'reachable') AS copies
  FROM (SELECT d.source AS id, d.name AS source, strftime('%Y-%m-%d', d.begins, 'unixepoch') AS day, d.begins AS begins, d.last AS last,
               (SELECT max(g.taken_at) FROM generation g
                 WHERE g.source = d.source AND g.taken_at < d.begins + 86400 AND g.status = 'published') AS taken_at
          FROM days d) y;
-- One row per generation of a Gluster volume and brick that the volume had then. `resume` is what the generation left for the next one.
CREATE VIEW bricks AS
SELECT s.name AS source, strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at, g.taken_at AS taken_at_unix,
       b.key AS brick, b.value ->> 'number' AS number, b.value ->> 'set' AS replica_set, coalesce(b.value ->> 'arbiter', 0) AS arbiter,
       b.value ->> 'running' AS running, coalesce(b.value ->> 'answered', 0) AS answered,
       (b.value ->> 'clock_ahead_ms') / 1000.0 AS clock_ahead_s, coalesce(b.value ->> 'skewed', 0) AS skewed, b.value ->> 'to_heal' AS to_heal,
       strftime('%Y-%m-%dT%H:%M:%SZ', c.value ->> 'last', 'unixepoch') AS changelogs_until, c.value ->> 'last' AS changelogs_until_unix
  FROM generation g JOIN source s ON s.id = g.source AND s.kind = 'gluster'
  CROSS JOIN json_each(g.resume, '$.bricks') b
  LEFT JOIN json_each(g.resume, '$.cursors') c ON c.key = b.key
 WHERE g.status = 'published';

-- One row per generation of a Gluster volume and brick whose clock differed by more than the way to it explains.
CREATE VIEW skewed_clocks AS
SELECT source, taken_at, taken_at_unix, brick, clock_ahead_s FROM bricks WHERE skewed;

-- One row per generation of a Gluster volume and gfid that nobody could tell of as it was at one moment: the next generation looks at it
-- again. A gfid is two numbers in the catalog, and SQLite makes no numbers of hexadecimal digits.
CREATE VIEW unresolved AS
SELECT s.name AS source, strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at, g.taken_at AS taken_at_unix,
       r.value AS gfid,
       (WITH RECURSIVE half(at, high, low) AS (
          SELECT 1, 0, 0
          UNION ALL
          SELECT at + 1, high << 4 | (instr('0123456789abcdef', substr(replace(r.value, '-', ''), at, 1)) - 1),
                 low << 4 | (instr('0123456789abcdef', substr(replace(r.value, '-', ''), at + 16, 1)) - 1)
            FROM half WHERE at <= 16)
        SELECT i.node FROM half JOIN identity i ON i.source = s.id AND i.inode = half.high AND i.born_ns = half.low WHERE half.at = 17) AS node
  FROM generation g JOIN source s ON s.id = g.source AND s.kind = 'gluster'
  CROSS JOIN json_each(g.resume, '$.retake') r
 WHERE g.status = 'published';
