-- Whose an upload is: only the door that began it settles it. A file has one door; PostgreSQL has several.

ALTER TABLE uploads ADD COLUMN door TEXT NOT NULL DEFAULT '';
DROP INDEX uploads_by_pool;
CREATE INDEX uploads_by_door ON uploads (door, pool);
