-- Random, and different in every log: names that leave the database are made with it, so that they fit no
-- other log. A moved log keeps it.
ALTER TABLE schema_version ADD COLUMN incarnation text COLLATE "C" NOT NULL DEFAULT '';
UPDATE schema_version SET incarnation = replace(gen_random_uuid()::text, '-', '');
