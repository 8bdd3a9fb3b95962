-- The namespace, and what the door still owes to pools. Times are microseconds since 1970 UTC.

CREATE TABLE entries (
    id          INTEGER PRIMARY KEY,
    -- NULL only for the root, which has id 1 and the empty name.
    parent      INTEGER REFERENCES entries (id),
    name        TEXT    NOT NULL,
    -- Set for files, NULL for directories: where the bytes are.
    replica     TEXT    UNIQUE,
    pool        TEXT,
    size        INTEGER,
    -- "adler32=03da0195,md5=…", all in hexadecimal.
    checksums   TEXT,
    created_at  INTEGER NOT NULL,
    modified_at INTEGER NOT NULL,
    UNIQUE (parent, name),
    CHECK ((replica IS NULL) = (pool IS NULL)),
    CHECK ((replica IS NULL) = (size IS NULL)),
    CHECK ((replica IS NULL) = (checksums IS NULL))
) STRICT;

-- Uploads that a pool was asked to take and whose end is not settled yet.
CREATE TABLE uploads (
    transfer      TEXT    PRIMARY KEY,
    replica       TEXT    NOT NULL,
    pool          TEXT    NOT NULL,
    path          TEXT    NOT NULL,
    -- What must be at the path when the upload ends: see Expectation.
    expects       TEXT    NOT NULL,
    may_overwrite INTEGER NOT NULL,
    started_at    INTEGER NOT NULL,
    -- Set when the door has refused it but the pool does not know yet.
    refused_status INTEGER,
    refused_reason TEXT
) STRICT;
CREATE INDEX uploads_by_pool ON uploads (pool);

-- Replicas that no name points to any more and whose deletion the pool has not confirmed yet.
CREATE TABLE removals (
    replica TEXT    PRIMARY KEY,
    pool    TEXT    NOT NULL,
    owed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX removals_by_pool ON removals (pool, owed_at);
