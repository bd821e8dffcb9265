-- The public views of the catalog: what people and programs may rely on. They use nothing newer than
-- SQLite 3.40 and no function of asof, so the system's sqlite3 answers them too. Times are text in UTC
-- (2026-11-20T02:00:00Z) unless the column says _unix. `path` and `name` are always valid UTF-8 (README.md
-- tells the escapes); `name_raw` has the bytes.

-- One row per generation that can be seen in a mount.
CREATE VIEW generations AS
SELECT s.name AS source, s.kind AS kind,
       strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at,
       g.taken_at AS taken_at_unix, g.level AS level, g.status AS status,
       g.entries AS entries, g.size_bytes AS size_bytes, g.changed_nodes AS changed,
       g.losses AS losses, g.losses > 0 AS partial, g.notices AS notices,
       strftime('%Y-%m-%dT%H:%M:%SZ', g.indexed_at, 'unixepoch') AS indexed_at, g.index_ms AS index_ms,
       (SELECT CASE WHEN length(c.path) THEN CAST(t.path AS TEXT) || '/' || CAST(c.path AS TEXT) ELSE CAST(t.path AS TEXT) END
          FROM copy c JOIN store t ON t.id = c.store WHERE c.generation = g.id ORDER BY c.id LIMIT 1) AS copy_path
  FROM generation g JOIN source s ON s.id = g.source
 WHERE g.status = 'available';

-- One row per name and generation: what was where. Give source and taken_at (or taken_at_unix), or it tells
-- of every generation.
CREATE VIEW files AS
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
       p.xattr <> 0 AS has_xattrs,
       CASE WHEN i.place = 4 THEN CAST((SELECT bytes FROM content WHERE id = i.content) AS TEXT) END AS link_target,
       strftime('%Y-%m-%dT%H:%M:%SZ', i.born, 'unixepoch') AS version_since,
       d.node AS node
  FROM generation g
  JOIN source s ON s.id = g.source
  CROSS JOIN node_block b ON b.source = s.id
  CROSS JOIN dirent d ON d.parent BETWEEN b.block * 65536 AND b.block * 65536 + 65535
                     AND d.born <= g.taken_at AND d.died > g.taken_at
  CROSS JOIN inode i ON i.node = d.node
                    AND i.born = (SELECT max(v.born) FROM inode v WHERE v.node = d.node AND v.born <= g.taken_at)
  JOIN perm p ON p.id = i.perm
 WHERE g.status = 'available';

-- One row per name and version: how a file came to be what it is. A version holds from `since` until
-- `until` (NULL: it still holds in the newest generation).
CREATE VIEW versions AS
SELECT s.name AS source,
       (WITH RECURSIVE up(node, path) AS (
          SELECT d.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = d.name), CAST(d.name AS TEXT))
          UNION ALL
          SELECT e.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = e.name), CAST(e.name AS TEXT)) || '/' || up.path
            FROM up JOIN dirent e INDEXED BY dirent_node
              ON e.node = up.node AND e.born <= max(d.born, i.born) AND e.died > max(d.born, i.born))
        SELECT path FROM up WHERE node = s.root) AS path,
       coalesce((SELECT text FROM odd_name o WHERE o.name = d.name), CAST(d.name AS TEXT)) AS name,
       d.name AS name_raw,
       strftime('%Y-%m-%dT%H:%M:%SZ', max(d.born, i.born), 'unixepoch') AS since,
       strftime('%Y-%m-%dT%H:%M:%SZ', nullif(min(
         CASE WHEN EXISTS (SELECT 1 FROM generation g WHERE g.source = s.id AND g.taken_at = d.died AND g.status = 'available')
              THEN d.died ELSE 253402300799 END,
         coalesce((SELECT min(n.born) FROM inode n WHERE n.node = i.node AND n.born > i.born
                      AND EXISTS (SELECT 1 FROM generation g WHERE g.source = s.id AND g.taken_at = n.born AND g.status = 'available')),
                  253402300799)), 253402300799), 'unixepoch') AS until,
       CASE d.kind WHEN 0 THEN 'file' WHEN 1 THEN 'directory' WHEN 2 THEN 'symlink' WHEN 3 THEN 'fifo'
                   WHEN 4 THEN 'socket' WHEN 5 THEN 'character device' ELSE 'block device' END AS kind,
       i.size AS size_bytes, strftime('%Y-%m-%dT%H:%M:%SZ', i.mtime, 'unixepoch') AS mtime,
       i.mtime AS mtime_unix, i.mtime_ns AS mtime_ns,
       printf('%04o', p.mode & 4095) AS mode, p.uid AS uid, p.gid AS gid, i.nlink AS nlink,
       d.node AS node
  FROM source s
  CROSS JOIN node_block b ON b.source = s.id
  CROSS JOIN dirent d ON d.parent BETWEEN b.block * 65536 AND b.block * 65536 + 65535
  CROSS JOIN inode i ON i.node = d.node AND i.born < d.died
                    AND i.born >= coalesce((SELECT max(v.born) FROM inode v WHERE v.node = d.node AND v.born <= d.born), d.born)
  JOIN perm p ON p.id = i.perm
 WHERE EXISTS (SELECT 1 FROM generation g WHERE g.source = s.id AND g.taken_at = max(d.born, i.born) AND g.status = 'available');

-- One row per thing that a generation changed against the one before it. `what` is created, deleted,
-- renamed, linked, unlinked, modified (content) or attributes. The first generation of a source: all created.
CREATE VIEW changes AS
SELECT s.name AS source, strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at,
       g.taken_at AS taken_at_unix, x.what AS what,
       (WITH RECURSIVE up(node, path) AS (
          SELECT x.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = x.name), CAST(x.name AS TEXT))
          UNION ALL
          SELECT e.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = e.name), CAST(e.name AS TEXT)) || '/' || up.path
            FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node AND e.born <= x.path_at AND e.died > x.path_at)
        SELECT path FROM up WHERE node = s.root) AS path,
       CASE WHEN x.what = 'renamed' THEN
         (WITH RECURSIVE gone(parent, name) AS (
            SELECT r.parent, r.name FROM dirent r INDEXED BY dirent_node WHERE r.node = x.node AND r.died = g.taken_at
              ORDER BY r.parent, r.name LIMIT 1),
          up(node, path) AS (
            SELECT parent, coalesce((SELECT text FROM odd_name o WHERE o.name = gone.name), CAST(gone.name AS TEXT)) FROM gone
            UNION ALL
            SELECT e.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = e.name), CAST(e.name AS TEXT)) || '/' || up.path
              FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node AND e.born <= x.before_at AND e.died > x.before_at)
          SELECT path FROM up WHERE node = s.root) END AS old_path,
       CASE x.kind WHEN 0 THEN 'file' WHEN 1 THEN 'directory' WHEN 2 THEN 'symlink' WHEN 3 THEN 'fifo'
                   WHEN 4 THEN 'socket' WHEN 5 THEN 'character device' ELSE 'block device' END AS kind,
       (SELECT i.size FROM inode i WHERE i.node = x.node AND i.born <= x.path_at ORDER BY i.born DESC LIMIT 1) AS size_bytes,
       x.node AS node
  FROM (SELECT g.id AS generation,
               CASE WHEN c.op & 1 THEN 'created' WHEN c.op & 16 THEN 'renamed' ELSE 'linked' END AS what,
               d.parent AS parent, d.name AS name, d.kind AS kind, d.node AS node, g.taken_at AS path_at,
               (SELECT max(b.taken_at) FROM generation b WHERE b.source = g.source AND b.taken_at < g.taken_at AND b.status = 'available') AS before_at
          FROM generation g CROSS JOIN change c ON c.source = g.source AND c.at = g.taken_at
          CROSS JOIN dirent d INDEXED BY dirent_node ON d.node = c.node AND d.born = g.taken_at
        UNION ALL
        SELECT g.id, CASE WHEN EXISTS (SELECT 1 FROM dirent o INDEXED BY dirent_node
                                        WHERE o.node = c.node AND o.born <= g.taken_at AND o.died > g.taken_at)
                          THEN 'unlinked' ELSE 'deleted' END,
               d.parent, d.name, d.kind, d.node,
               (SELECT max(b.taken_at) FROM generation b WHERE b.source = g.source AND b.taken_at < g.taken_at AND b.status = 'available'),
               NULL
          FROM generation g CROSS JOIN change c ON c.source = g.source AND c.at = g.taken_at AND c.op & 16
          CROSS JOIN dirent d INDEXED BY dirent_node ON d.node = c.node AND d.died = g.taken_at
         WHERE NOT (c.op & 8)
        UNION ALL
        SELECT g.id, CASE WHEN c.op & 2 THEN 'modified' ELSE 'attributes' END,
               d.parent, d.name, d.kind, d.node, g.taken_at, NULL
          FROM generation g CROSS JOIN change c ON c.source = g.source AND c.at = g.taken_at AND c.op & 6 AND NOT (c.op & 1)
          CROSS JOIN dirent d INDEXED BY dirent_node ON d.node = c.node AND d.born <= g.taken_at AND d.died > g.taken_at
        UNION ALL
        SELECT g.id, 'created', d.parent, d.name, d.kind, d.node, g.taken_at, NULL
          FROM generation g CROSS JOIN node_block b ON b.source = g.source
          CROSS JOIN dirent d ON d.parent BETWEEN b.block * 65536 AND b.block * 65536 + 65535 AND d.born = g.taken_at
         WHERE NOT EXISTS (SELECT 1 FROM generation o WHERE o.source = g.source AND o.taken_at < g.taken_at AND o.status = 'available')
       ) x
  JOIN generation g ON g.id = x.generation
  JOIN source s ON s.id = g.source
 WHERE g.status = 'available';

-- One row per name that a generation had and the next one has not: where to get it back from.
-- restore_path is below the mount point.
CREATE VIEW deleted AS
SELECT x.source AS source, x.path AS path, x.name AS name, x.name_raw AS name_raw, x.kind AS kind, x.size_bytes AS size_bytes,
       strftime('%Y-%m-%dT%H:%M:%SZ', x.last_at, 'unixepoch') AS last_seen, x.last_at AS last_seen_unix,
       strftime('%Y-%m-%dT%H:%M:%SZ', x.died, 'unixepoch') AS deleted_in, x.died AS deleted_in_unix,
       '@' || strftime('%Y-%m-%dT%H%M%SZ', x.last_at, 'unixepoch') || '/' || x.source || '/' || x.path AS restore_path,
       x.node AS node
  FROM (SELECT s.name AS source, y.died AS died, y.last_at AS last_at, y.kind AS kind, y.node AS node, y.name_raw AS name_raw,
               coalesce((SELECT text FROM odd_name o WHERE o.name = y.name_raw), CAST(y.name_raw AS TEXT)) AS name,
               (SELECT i.size FROM inode i WHERE i.node = y.node AND i.born <= y.last_at ORDER BY i.born DESC LIMIT 1) AS size_bytes,
               (WITH RECURSIVE up(node, path) AS (
                  SELECT y.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = y.name_raw), CAST(y.name_raw AS TEXT))
                  UNION ALL
                  SELECT e.parent, coalesce((SELECT text FROM odd_name o WHERE o.name = e.name), CAST(e.name AS TEXT)) || '/' || up.path
                    FROM up JOIN dirent e INDEXED BY dirent_node ON e.node = up.node AND e.born <= y.last_at AND e.died > y.last_at)
                SELECT path FROM up WHERE node = s.root) AS path
          FROM (SELECT g.source AS source, d.died AS died, d.parent AS parent, d.name AS name_raw, d.node AS node,
                       CASE d.kind WHEN 0 THEN 'file' WHEN 1 THEN 'directory' WHEN 2 THEN 'symlink' WHEN 3 THEN 'fifo'
                                   WHEN 4 THEN 'socket' WHEN 5 THEN 'character device' ELSE 'block device' END AS kind,
                       (SELECT max(l.taken_at) FROM generation l
                         WHERE l.source = g.source AND l.taken_at < g.taken_at AND l.status = 'available') AS last_at
                  FROM generation g
                  CROSS JOIN change c ON c.source = g.source AND c.at = g.taken_at AND c.op & 16
                  CROSS JOIN dirent d INDEXED BY dirent_node ON d.node = c.node AND d.died = g.taken_at
                 WHERE g.status = 'available'
                   AND NOT EXISTS (SELECT 1 FROM dirent n WHERE n.parent = d.parent AND n.name = d.name AND n.born = d.died)) y
          JOIN source s ON s.id = y.source) x;

-- One row per thing found amiss while a generation was indexed.
CREATE VIEW findings AS
SELECT s.name AS source, strftime('%Y-%m-%dT%H:%M:%SZ', g.taken_at, 'unixepoch') AS taken_at, g.taken_at AS taken_at_unix,
       f.kind AS kind, coalesce((SELECT text FROM odd_name o WHERE o.name = f.path), CAST(f.path AS TEXT)) AS path, f.detail AS detail
  FROM finding f JOIN source s ON s.id = f.source
  JOIN generation g ON g.source = f.source AND g.taken_at = f.at AND g.status = 'available';
