-- When a step on leases offers a pending termination again whose last attempt failed; NULL: at once. Attempts
-- that failed before this migration say nothing of it, and a replay leaves NULL for them, too.
ALTER TABLE terminations ADD COLUMN retry_at TEXT;
