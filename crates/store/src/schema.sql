-- Version 4. Times are milliseconds since 1970, digests are canonical texts.

-- Facts about the store itself: its id, its secrets.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID, STRICT;

-- Bytes. `touched` is the lease: a collection leaves alone what was touched within its grace.
-- `doomed` is the tombstone: such a blob does not exist for anybody, but its file may still be there.
-- `diff_id` is what it was seen to unpack to, if it is a layer that was unpacked or built here.
CREATE TABLE blobs (
    id      INTEGER PRIMARY KEY,
    digest  TEXT NOT NULL UNIQUE,
    size    INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    doomed  INTEGER,
    diff_id TEXT
) STRICT;
CREATE INDEX blobs_doomed ON blobs (doomed) WHERE doomed IS NOT NULL;

-- What pieces a layer that was built here is made of, as the builder writes it.
CREATE TABLE layer_pieces (
    blob   INTEGER PRIMARY KEY REFERENCES blobs ON DELETE CASCADE,
    pieces BLOB NOT NULL
) STRICT;

-- What names live in: kind 0 is a repository of the registry, kind 1 a scope of local images and build cache.
CREATE TABLE spaces (
    id   INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (kind, name)
) STRICT;

-- The bytes of manifests, one row for all spaces that hold the same one.
CREATE TABLE manifests (
    id         INTEGER PRIMARY KEY,
    digest     TEXT NOT NULL UNIQUE,
    media_type TEXT NOT NULL,
    bytes      BLOB NOT NULL
) STRICT;

-- What a manifest points to: kind 0 a blob, kind 1 a manifest. Digests, not row ids: the target may be missing.
CREATE TABLE manifest_references (
    manifest INTEGER NOT NULL REFERENCES manifests ON DELETE CASCADE,
    kind     INTEGER NOT NULL,
    digest   TEXT NOT NULL,
    PRIMARY KEY (manifest, kind, digest)
) WITHOUT ROWID, STRICT;
CREATE INDEX manifest_references_by_digest ON manifest_references (digest, kind);

-- Which space holds which manifest. The type is the space's own: the same bytes may have come as two types.
CREATE TABLE held_manifests (
    space         INTEGER NOT NULL REFERENCES spaces,
    manifest      INTEGER NOT NULL REFERENCES manifests,
    media_type    TEXT NOT NULL,
    subject       TEXT,
    artifact_type TEXT,
    annotations   TEXT,
    held          INTEGER NOT NULL,
    PRIMARY KEY (space, manifest)
) WITHOUT ROWID, STRICT;
CREATE INDEX held_manifests_by_manifest ON held_manifests (manifest);
CREATE INDEX held_manifests_by_subject ON held_manifests (space, subject) WHERE subject IS NOT NULL;

-- Names of manifests: tags in a repository, references in a scope.
CREATE TABLE names (
    space    INTEGER NOT NULL,
    name     TEXT NOT NULL,
    manifest INTEGER NOT NULL,
    changed  INTEGER NOT NULL,
    PRIMARY KEY (space, name),
    FOREIGN KEY (space, manifest) REFERENCES held_manifests (space, manifest)
) WITHOUT ROWID, STRICT;
CREATE INDEX names_by_manifest ON names (space, manifest);

-- Which repository may read which blob. Knowing a digest is no permission; this row is.
CREATE TABLE linked_blobs (
    space   INTEGER NOT NULL REFERENCES spaces,
    blob    INTEGER NOT NULL REFERENCES blobs,
    touched INTEGER NOT NULL,
    PRIMARY KEY (space, blob)
) WITHOUT ROWID, STRICT;
CREATE INDEX linked_blobs_by_blob ON linked_blobs (blob);

CREATE TABLE uploads (
    id         TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    offset     INTEGER NOT NULL,
    algorithm  TEXT NOT NULL,
    hash       BLOB NOT NULL,
    touched    INTEGER NOT NULL,
    -- Who began it: how many one may have is limited.
    owner      TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID, STRICT;
CREATE INDEX uploads_by_owner ON uploads (owner);

-- The build cache: opaque records that keep blobs alive.
CREATE TABLE cache_records (
    id      INTEGER PRIMARY KEY,
    space   INTEGER NOT NULL REFERENCES spaces,
    key     BLOB NOT NULL,
    record  BLOB NOT NULL,
    touched INTEGER NOT NULL,
    UNIQUE (space, key)
) STRICT;
CREATE TABLE cached_blobs (
    record INTEGER NOT NULL REFERENCES cache_records ON DELETE CASCADE,
    blob   INTEGER NOT NULL REFERENCES blobs,
    PRIMARY KEY (record, blob)
) WITHOUT ROWID, STRICT;
CREATE INDEX cached_blobs_by_blob ON cached_blobs (blob);

CREATE TABLE users (
    name          TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    administrator INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE job_tokens (
    hash    BLOB PRIMARY KEY,
    project TEXT NOT NULL,
    job     INTEGER NOT NULL,
    expires INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX job_tokens_by_job ON job_tokens (project, job);
