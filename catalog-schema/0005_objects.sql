-- Format 5: bytes are in objects, which outlive their generation; generations can be forgotten; what was seen of copies and stores
-- is written down with its date. Rebuilds the tables whose rows get other keys; the others get columns.
--
-- Ids of sources, generations and objects are never given out twice (AUTOINCREMENT): mounts, locks and manifests remember them.
-- Numbers of generations begin above every number that a mount of format 4 gave to a view, so an old handle is stale and never
-- another tree.

-- What a run of a program of format 4 left unfinished. It was the newest generation of its source, or nothing of it was committed.
DELETE FROM dirent WHERE EXISTS (SELECT 1 FROM node_block b JOIN generation g ON g.source = b.source
                                  WHERE b.block = dirent.parent >> 16 AND g.status = 'creating' AND g.taken_at = dirent.born);
UPDATE dirent SET died = 253402300799, fork = CASE WHEN fork IS NULL THEN NULL ELSE 0 END
 WHERE EXISTS (SELECT 1 FROM node_block b JOIN generation g ON g.source = b.source
                WHERE b.block = dirent.parent >> 16 AND g.status = 'creating' AND g.taken_at = dirent.died);
DELETE FROM inode WHERE EXISTS (SELECT 1 FROM node_block b JOIN generation g ON g.source = b.source
                                 WHERE b.block = inode.node >> 16 AND g.status = 'creating' AND g.taken_at = inode.born);
DELETE FROM identity WHERE EXISTS (SELECT 1 FROM generation g WHERE g.source = identity.source AND g.status = 'creating')
  AND NOT EXISTS (SELECT 1 FROM inode i WHERE i.node = identity.node);
DELETE FROM change WHERE EXISTS (SELECT 1 FROM generation g WHERE g.source = change.source AND g.taken_at = change.at AND g.status = 'creating');
DELETE FROM finding WHERE EXISTS (SELECT 1 FROM generation g WHERE g.source = finding.source AND g.taken_at = finding.at AND g.status = 'creating');
DELETE FROM disk_layer WHERE EXISTS (SELECT 1 FROM generation g WHERE g.source = disk_layer.source AND g.taken_at = disk_layer.at AND g.status = 'creating');
DELETE FROM disk_file WHERE EXISTS (SELECT 1 FROM generation g WHERE g.source = disk_file.source AND g.taken_at = disk_file.at AND g.status = 'creating');
DELETE FROM disk_volume WHERE EXISTS (SELECT 1 FROM generation g WHERE g.source = disk_volume.source AND g.taken_at = disk_volume.at AND g.status = 'creating');
DELETE FROM copy WHERE generation IN (SELECT id FROM generation WHERE status = 'creating');
DELETE FROM generation WHERE status = 'creating';

-- Which catalog this is: another file under the same name is another one.
CREATE TABLE catalog(
  uuid        BLOB NOT NULL,              -- 16 random bytes, made with the file
  incarnation INTEGER NOT NULL,           -- one more each time the file was put back from a backup or made again
  made_at     INTEGER NOT NULL            -- unix seconds
) STRICT;
INSERT INTO catalog(uuid, incarnation, made_at) VALUES (randomblob(16), 1, unixepoch());

CREATE TABLE source_5(
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid      BLOB NOT NULL,                -- 16 random bytes: the same source in manifests and in other catalogs
  name      TEXT NOT NULL UNIQUE,         -- its directory in every view
  kind      TEXT NOT NULL,                -- nfs | gluster | block
  settings  TEXT NOT NULL,                -- JSON that only the kind understands
  policy    TEXT NOT NULL DEFAULT '{}',   -- JSON that no kind reads: who may see it, what is kept, what is expected
  rule      TEXT NOT NULL,                -- when two versions are the same bytes: stamp (size and mtime), digest, write (what the source says)
  by_inode  INTEGER NOT NULL,             -- 1: its files have an identity for life, and a ctime of their own
  root      INTEGER NOT NULL,             -- node of its top directory, the same in every generation
  next_node INTEGER NOT NULL,             -- the next free node number in its current block
  added_at  INTEGER NOT NULL              -- unix seconds
) STRICT;
INSERT INTO source_5(id, uuid, name, kind, settings, rule, by_inode, root, next_node, added_at)
  SELECT id, randomblob(16), name, kind, settings,
         CASE WHEN kind <> 'nfs' THEN 'write' WHEN json_extract(settings, '$.checksum') THEN 'digest' ELSE 'stamp' END,
         kind <> 'nfs' OR coalesce(json_extract(settings, '$.identity') = 'inode', 0), root, next_node, added_at
    FROM source ORDER BY id;
DROP TABLE source;
ALTER TABLE source_5 RENAME TO source;

-- A place where stores stand.
CREATE TABLE site(
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  name     TEXT NOT NULL UNIQUE,
  region   TEXT,
  capacity INTEGER                        -- bytes
) STRICT;
INSERT INTO site(name) SELECT DISTINCT site FROM store WHERE site IS NOT NULL;

CREATE TABLE store_5(
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  path     BLOB NOT NULL UNIQUE,          -- absolute
  site     INTEGER REFERENCES site(id),
  own      INTEGER NOT NULL DEFAULT 0,    -- 1: asof writes it
  mark     BLOB,                          -- how it is known again: the UUID in an own store, fsid and root handle of another; NULL: not looked at yet
  reach    TEXT,                          -- reachable | unreachable, as last seen; NULL: not looked at yet
  reach_at INTEGER                        -- when, unix seconds
) STRICT;
INSERT INTO store_5(id, path, site) SELECT s.id, s.path, (SELECT i.id FROM site i WHERE i.name = s.site) FROM store s ORDER BY s.id;
DROP TABLE store;
ALTER TABLE store_5 RENAME TO store;

-- One backup of one source at one instant.
CREATE TABLE generation_5(
  id            INTEGER PRIMARY KEY AUTOINCREMENT,  -- the number of its tree in a mount, below 2^26
  source        INTEGER NOT NULL REFERENCES source(id),
  taken_at      INTEGER NOT NULL,         -- unix seconds
  number        INTEGER NOT NULL,         -- 1, 2, 3 of its source as first published; kept when it is indexed again, never given to another
  sequence      INTEGER NOT NULL,         -- of its manifest: 1, 2, 3 of its source, another one each time it is indexed
  level         TEXT NOT NULL,            -- full | incremental
  status        TEXT NOT NULL,            -- creating | published | deleting | error; only published ones are in views
  indexed_at    INTEGER,                  -- when the index run began, unix seconds
  index_ms      INTEGER,                  -- how long it took
  entries       INTEGER,                  -- names in it, without the root
  size_bytes    INTEGER,                  -- content of its regular files, hard links counted once
  changed_nodes INTEGER,                  -- nodes that differ from the generation before it
  losses        INTEGER,                  -- findings that make it partial
  notices       INTEGER,                  -- other findings: changed while walked, mount points
  first_content INTEGER NOT NULL,         -- first content row that its index run may have written
  scan          TEXT,                     -- how it was found out what changed: walk, changelog, list; NULL: a whole copy was walked
  resume        TEXT,                     -- where the next generation goes on, as JSON that only the kind understands
  gaps          INTEGER NOT NULL DEFAULT 0,  -- spans of time in which the source did not record what changed
  consistency   TEXT,                     -- app | frozen | crash | none; NULL: not said
  location      TEXT,                     -- where its bytes came from, as a URI; NULL: not said
  state_hash    BLOB,                     -- sum over all that it shows, 32 bytes; NULL: not counted
  expires_at    INTEGER,                  -- when retention wants it gone; NULL: it is kept
  base_at       INTEGER,                  -- the generation that its change list counts from
  UNIQUE(source, taken_at)
) STRICT;
-- Above every number of a view that was ever given out.
INSERT INTO sqlite_sequence(name, seq)
  SELECT 'generation_5', coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'instant';
INSERT INTO generation_5(id, source, taken_at, number, sequence, level, status, indexed_at, index_ms, entries, size_bytes, changed_nodes,
                         losses, notices, first_content, scan, resume, gaps, consistency, location)
  SELECT (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'instant') + row_number() OVER (ORDER BY id),
         source, taken_at, row_number() OVER (PARTITION BY source ORDER BY id), row_number() OVER (PARTITION BY source ORDER BY id),
         level, CASE status WHEN 'available' THEN 'published' ELSE status END, indexed_at, index_ms, entries, size_bytes, changed_nodes,
         losses, notices, first_content, scan, resume, gaps, consistency, location
    FROM generation ORDER BY id;

-- The highest number and sequence that a source gave out, those of forgotten generations among them.
ALTER TABLE source ADD COLUMN last_number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE source ADD COLUMN last_sequence INTEGER NOT NULL DEFAULT 0;
UPDATE source SET last_number = coalesce((SELECT max(number) FROM generation_5 g WHERE g.source = source.id), 0),
                  last_sequence = coalesce((SELECT max(sequence) FROM generation_5 g WHERE g.source = source.id), 0);

-- What holds bytes: the tree of a copy, a layer of a disk. It outlives its generation for as long as anything needs its bytes.
CREATE TABLE object(
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  source     INTEGER NOT NULL,
  at         INTEGER NOT NULL,            -- taken_at of the generation that it was made for
  generation INTEGER NOT NULL,            -- generation(id); no such row: that generation was forgotten
  disk       INTEGER NOT NULL DEFAULT 0,  -- which disk of a guest
  kind       TEXT NOT NULL,               -- tree | layer
  size       INTEGER,                     -- bytes; NULL: not known
  parent     INTEGER,                     -- object(id) that has what this one has not; NULL: none
  is_full    INTEGER NOT NULL,            -- 1: it holds all bytes of its generation
  leaves     BLOB                         -- digests of its pieces; NULL: not counted
) STRICT;
CREATE INDEX object_generation ON object(generation);
CREATE INDEX object_source ON object(source, at);
INSERT INTO object(source, at, generation, kind, size, is_full)
  SELECT g.source, g.taken_at, g.id, CASE WHEN l.source IS NULL THEN 'tree' ELSE 'layer' END, l.size,
         CASE WHEN l.source IS NULL THEN g.level = 'full' ELSE l.parent IS NULL END
    FROM generation_5 g LEFT JOIN disk_layer l ON l.source = g.source AND l.at = g.taken_at ORDER BY g.id;
UPDATE object SET parent = (SELECT o.id FROM disk_layer l JOIN object o ON o.source = l.source AND o.at = l.parent
                             WHERE l.source = object.source AND l.at = object.at)
 WHERE kind = 'layer';

-- Where the bytes of a node lie in an object whose generation cannot be asked for the path any more.
CREATE TABLE object_path(
  object INTEGER NOT NULL,
  node   INTEGER NOT NULL,
  path   BLOB NOT NULL,                   -- below the object's root
  PRIMARY KEY(object, node)
) STRICT, WITHOUT ROWID;

-- Where an object lies. What was seen of it is true as of looked_at.
CREATE TABLE copy_5(
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  object       INTEGER NOT NULL REFERENCES object(id),
  store        INTEGER NOT NULL REFERENCES store(id),
  path         BLOB NOT NULL,             -- below the store's path, empty: the store itself
  state        TEXT NOT NULL DEFAULT 'present',  -- present | changed | damaged | gone
  state_since  INTEGER,                   -- when that was first seen, unix seconds
  looked_at    INTEGER,                   -- when it was last looked at; NULL: not since it was indexed by a program of format 4
  root_ino     INTEGER,                   -- st_ino of its root, as a signed number
  root_btime   INTEGER,                   -- birth time of its root, ns since the epoch; 0 where unknown
  root_ctime   INTEGER,                   -- ctime of its root, ns since the epoch
  newest_ctime INTEGER,                   -- newest ctime of its directories and of its files with one link, ns since the epoch
  settled      INTEGER NOT NULL DEFAULT 1,   -- 0: it was young when it was indexed and is walked once more
  verified_at  INTEGER,                   -- when all its bytes were last found good
  UNIQUE(object, store, path)
) STRICT;
INSERT INTO copy_5(id, object, store, path)
  SELECT c.id, o.id, c.store, c.path
    FROM copy c JOIN generation g ON g.id = c.generation JOIN object o ON o.source = g.source AND o.at = g.taken_at ORDER BY c.id;
DROP TABLE copy;
ALTER TABLE copy_5 RENAME TO copy;
CREATE INDEX copy_store ON copy(store, path);

DROP TABLE generation;
ALTER TABLE generation_5 RENAME TO generation;

-- Bytes of a version: the sequence of the generation that brought them; NULL of what has none. Versions with equal numbers are the
-- same bytes; under the rule `stamp` equal size and mtime count as well.
ALTER TABLE inode ADD COLUMN bytes INTEGER;
UPDATE inode SET bytes = (SELECT g.sequence FROM node_block b JOIN generation g ON g.source = b.source AND g.taken_at = inode.born
                           WHERE b.block = inode.node >> 16)
 WHERE place IN (1, 2, 3, 4, 6, 7, 9);
-- Place 2 names the object; its generation may be forgotten.
UPDATE inode SET content = (SELECT o.id FROM node_block b JOIN object o ON o.source = b.source AND o.at = inode.content
                             WHERE b.block = inode.node >> 16)
 WHERE place = 2;
CREATE INDEX inode_place ON inode(content) WHERE place = 2;
-- A version reaches no more over a time in which its node had no name: each return has a row.
INSERT OR IGNORE INTO inode(node, born, perm, size, allocated, mtime, mtime_ns, ctime_ns, nlink, place, content, bytes)
  SELECT i.node, d.born, i.perm, i.size, i.allocated, i.mtime, i.mtime_ns, i.ctime_ns, i.nlink, i.place, i.content, i.bytes
    FROM dirent d JOIN inode i ON i.node = d.node AND i.born = (SELECT max(v.born) FROM inode v WHERE v.node = d.node AND v.born <= d.born)
   WHERE i.born < d.born
     AND NOT EXISTS (SELECT 1 FROM dirent e INDEXED BY dirent_node WHERE e.node = d.node AND e.born < d.born AND e.died >= d.born);

-- BLAKE3-256 of the whole content of a version, where anybody read it whole.
CREATE TABLE digest(
  node    INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,               -- as inode.bytes
  blake3  BLOB NOT NULL,                  -- 32 bytes, what b3sum prints
  leaf    INTEGER,                        -- reserved for the pieces of large files
  seen_at INTEGER NOT NULL,               -- when the bytes were read, unix seconds
  PRIMARY KEY(node, bytes)
) STRICT, WITHOUT ROWID;
CREATE INDEX digest_blake3 ON digest(substr(blake3, 1, 6));

-- The first programs of format 1 counted blocks from those that are there.
ALTER TABLE node_block RENAME TO node_block_4;
CREATE TABLE node_block(
  block  INTEGER PRIMARY KEY AUTOINCREMENT,
  source INTEGER NOT NULL REFERENCES source(id)
) STRICT;
INSERT INTO sqlite_sequence(name, seq) SELECT 'node_block', seq FROM sqlite_sequence WHERE name = 'node_block_4';
INSERT INTO node_block(block, source) SELECT block, source FROM node_block_4 ORDER BY block;
DROP TABLE node_block_4;
-- The first programs of format 4 looked at less.
DROP INDEX inode_map;
CREATE INDEX inode_map ON inode(node)
  WHERE place = 9 OR (content IS NOT NULL AND (place IN (3, 4) OR (place = 6 AND size > 16777216)));
INSERT OR IGNORE INTO xattr_node(node) SELECT i.node FROM inode i JOIN perm p ON p.id = i.perm WHERE p.xattr = -1;

ALTER TABLE node_block ADD COLUMN disk INTEGER NOT NULL DEFAULT 0;   -- which disk of a guest its nodes are on

-- What an object holds of a disk by itself; its size and its parent are the object's.
CREATE TABLE disk_layer_5(
  object     INTEGER PRIMARY KEY,
  format     TEXT NOT NULL,               -- raw | qcow2 | stream | pull
  acquire    TEXT,                        -- push | pull | snapshot; NULL: not known
  checkpoint TEXT,                        -- the mark that the next increment counts from, as QEMU or libvirt name it
  stored     INTEGER NOT NULL,            -- bytes of files that it holds
  extents    BLOB NOT NULL                -- where they are: src/model/disk.rs
) STRICT;
INSERT INTO disk_layer_5(object, format, acquire, checkpoint, stored, extents)
  SELECT o.id, l.format, l.acquire, l.checkpoint, l.stored, l.extents
    FROM disk_layer l JOIN object o ON o.source = l.source AND o.at = l.at;
DROP TABLE disk_layer;
ALTER TABLE disk_layer_5 RENAME TO disk_layer;

-- The files that a layer's bytes are in. One that is not as it is recorded here is not read.
CREATE TABLE disk_file_5(
  object   INTEGER NOT NULL,
  number   INTEGER NOT NULL,              -- 0, 1, 2 as the extents name them
  path     BLOB NOT NULL,                 -- absolute
  size     INTEGER NOT NULL,              -- bytes
  mtime    INTEGER NOT NULL,              -- unix seconds
  mtime_ns INTEGER NOT NULL,
  PRIMARY KEY(object, number)
) STRICT, WITHOUT ROWID;
INSERT INTO disk_file_5(object, number, path, size, mtime, mtime_ns)
  SELECT o.id, f.number, f.path, f.size, f.mtime, f.mtime_ns FROM disk_file f JOIN object o ON o.source = f.source AND o.at = f.at;
DROP TABLE disk_file;
ALTER TABLE disk_file_5 RENAME TO disk_file;

CREATE TABLE disk_volume_5(
  generation INTEGER NOT NULL,
  disk       INTEGER NOT NULL DEFAULT 0,
  name       TEXT NOT NULL,               -- its directory: p1, lvm/VG/LV, fs
  size       INTEGER NOT NULL,            -- bytes
  pieces     TEXT NOT NULL,               -- where it is on the disk: AT+LENGTH in bytes, with blanks between
  kind       TEXT,                        -- ext4, xfs, swap ...; NULL: nothing known
  browsable  INTEGER NOT NULL,            -- 1: there is a tree of it
  label      TEXT NOT NULL,               -- of the partition
  fs_label   TEXT NOT NULL,
  uuid       TEXT NOT NULL,
  state      TEXT NOT NULL,               -- clean | replayed | lost (it could not be read); empty where there is nothing to read
  features   TEXT NOT NULL,               -- with blanks between
  note       TEXT NOT NULL,               -- why there is no tree, or what is odd
  PRIMARY KEY(generation, disk, name)
) STRICT, WITHOUT ROWID;
INSERT INTO disk_volume_5
  SELECT g.id, 0, v.name, v.size, v.pieces, v.kind, v.browsable, v.label, v.fs_label, v.uuid, v.state, v.features, v.note
    FROM disk_volume v JOIN generation g ON g.source = v.source AND g.taken_at = v.at;
DROP TABLE disk_volume;
ALTER TABLE disk_volume_5 RENAME TO disk_volume;

-- Runs of the verbs that change something; a row outlives what the run made.
CREATE TABLE run(
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  verb    TEXT NOT NULL,
  source  INTEGER,                        -- source(id); NULL: of none
  began   INTEGER NOT NULL,               -- unix seconds
  ended   INTEGER,                        -- NULL: it runs, or was killed
  result  TEXT,                           -- done | findings | failed
  counts  TEXT,                           -- JSON
  message TEXT                            -- why it failed
) STRICT;

-- Directories of which a generation could not know what is in them: it shows what the one before it had.
CREATE TABLE doubt(
  node    INTEGER NOT NULL,
  born    INTEGER NOT NULL,
  died    INTEGER NOT NULL,
  subtree INTEGER NOT NULL,               -- 1: all that lies below as well
  reason  TEXT NOT NULL,
  PRIMARY KEY(node, born)
) STRICT, WITHOUT ROWID;

-- Names that a generation has of the one before, because it could not list their directory: nobody saw them. Each is a row of `dirent` too.
CREATE TABLE kept(
  parent  INTEGER NOT NULL,
  name    BLOB NOT NULL,
  born    INTEGER NOT NULL,
  died    INTEGER NOT NULL,
  PRIMARY KEY(parent, name, born)
) STRICT, WITHOUT ROWID;

-- What a catalog of format 4 tells of doubts: directories whose version says that they could not be listed, at each generation at which
-- they live; and as kept the names in them, and below those, that are older than the generation and whose node got no version there: what
-- was seen in such a directory and did not change cannot be told from the rest.
CREATE TABLE step_5 AS
  SELECT source, taken_at AS at, row_number() OVER (PARTITION BY source ORDER BY taken_at) AS number,
         lead(taken_at, 1, 253402300799) OVER (PARTITION BY source ORDER BY taken_at) AS next
    FROM generation;
CREATE TABLE lost_5 AS
  SELECT i.node AS node, t.at AS at, t.number AS number, t.next AS next
    FROM inode i
    JOIN perm p ON p.id = i.perm AND (p.mode & 61440) = 16384
    JOIN node_block b ON b.block = i.node >> 16
    JOIN step_5 t ON t.source = b.source AND t.at >= i.born
   WHERE i.place = 9
     AND NOT EXISTS (SELECT 1 FROM inode v WHERE v.node = i.node AND v.born > i.born AND v.born <= t.at)
     AND (EXISTS (SELECT 1 FROM source s WHERE s.root = i.node)
          OR EXISTS (SELECT 1 FROM dirent d INDEXED BY dirent_node WHERE d.node = i.node AND d.born <= t.at AND d.died > t.at));
INSERT INTO doubt(node, born, died, subtree, reason)
  SELECT node, min(at), max(next), 0, 'it could not be read when it was indexed'
    FROM (SELECT node, at, next, number - row_number() OVER (PARTITION BY node ORDER BY number) AS island FROM lost_5)
   GROUP BY node, island;
CREATE TABLE kept_5 AS
  WITH RECURSIVE unseen(at, number, next, parent, name, node, kind) AS (
    SELECT l.at, l.number, l.next, d.parent, d.name, d.node, d.kind
      FROM lost_5 l JOIN dirent d ON d.parent = l.node AND d.born < l.at AND d.died > l.at
     WHERE NOT EXISTS (SELECT 1 FROM inode v WHERE v.node = d.node AND v.born = l.at)
    UNION
    SELECT u.at, u.number, u.next, d.parent, d.name, d.node, d.kind
      FROM unseen u JOIN dirent d ON d.parent = u.node AND d.born < u.at AND d.died > u.at
     WHERE u.kind = 1
       AND NOT EXISTS (SELECT 1 FROM inode v WHERE v.node = d.node AND v.born = u.at))
  SELECT * FROM unseen;
CREATE INDEX kept_5_name ON kept_5(parent, name, at);
-- Links were counted with all names, so what has a name that was seen has none that is kept.
DELETE FROM kept_5
 WHERE EXISTS (SELECT 1 FROM dirent d INDEXED BY dirent_node
                WHERE d.node = kept_5.node AND d.born <= kept_5.at AND d.died > kept_5.at
                  AND NOT EXISTS (SELECT 1 FROM kept_5 k WHERE k.parent = d.parent AND k.name = d.name AND k.at = kept_5.at));
INSERT INTO kept(parent, name, born, died)
  SELECT parent, name, min(at), max(next)
    FROM (SELECT parent, name, at, next, number - row_number() OVER (PARTITION BY parent, name ORDER BY number) AS island FROM kept_5)
   GROUP BY parent, name, island;
DROP TABLE kept_5;
DROP TABLE lost_5;
DROP TABLE step_5;

-- Labels of generations that stay, whatever a rule says.
CREATE TABLE pin(
  source INTEGER NOT NULL,
  at     INTEGER NOT NULL,                -- taken_at
  label  TEXT NOT NULL,
  PRIMARY KEY(source, label)
) STRICT, WITHOUT ROWID;

ALTER TABLE finding ADD COLUMN run INTEGER;          -- run(id) that found it
ALTER TABLE finding ADD COLUMN object INTEGER;       -- object(id) that it is about; NULL: the generation
ALTER TABLE finding ADD COLUMN first_seen INTEGER;   -- unix seconds
ALTER TABLE finding ADD COLUMN last_good INTEGER;    -- unix seconds; NULL: never looked at before
ALTER TABLE finding ADD COLUMN cleared_at INTEGER;   -- unix seconds; NULL: it still holds

-- Numbers of views are those of generations, and of vectors of generations beside the catalog.
DROP TABLE instant;

PRAGMA user_version = 5;
