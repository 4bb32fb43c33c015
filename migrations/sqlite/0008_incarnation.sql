-- Random, and different in every log: names that leave the database are made with it, so that they fit no
-- other log. A moved log keeps it.
ALTER TABLE log_state ADD COLUMN incarnation TEXT NOT NULL DEFAULT '';
UPDATE log_state SET incarnation = lower(hex(randomblob(16)));
