-- What WebDAV clients keep on names: dead properties and write locks (RFC 4918).

CREATE TABLE properties (
    entry     INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    -- Empty for a property in no namespace.
    namespace TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    -- The whole element, with all the namespace declarations that it needs.
    xml       TEXT    NOT NULL,
    PRIMARY KEY (entry, namespace, name)
) STRICT, WITHOUT ROWID;

-- A lock is on a URL, not on what it leads to: it does not go along with a name that is moved.
CREATE TABLE locks (
    token      TEXT    PRIMARY KEY,
    -- Of the real path: empty for the root, else "/a/b".
    path       TEXT    NOT NULL,
    -- 1: all that is below, too.
    deep       INTEGER NOT NULL,
    exclusive  INTEGER NOT NULL,
    -- The client's own words about whose it is, as an element; may be empty.
    owner      TEXT    NOT NULL,
    -- Who took it, as the log names them.
    subject    TEXT    NOT NULL,
    timeout_seconds INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX locks_by_path ON locks (path);

-- The lock tokens that the client showed when the upload began, separated by spaces.
ALTER TABLE uploads ADD COLUMN tokens TEXT NOT NULL DEFAULT '';
-- Who showed them.
ALTER TABLE uploads ADD COLUMN subject TEXT NOT NULL DEFAULT '';
-- A copy takes over the dead properties of this entry.
ALTER TABLE uploads ADD COLUMN copy_of INTEGER;
