-- A transaction may begin to draw between the two queries. Its lock then names a number above `last`. So
-- the distance of the two numbers is 32 bits with a sign.
CREATE OR REPLACE FUNCTION settled_position() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
    settled bigint;
BEGIN
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO last FROM event_positions;
    SELECT min(last + ((objid::bigint - last + 2147483648) & 4294967295) - 2147483648)
    INTO settled
    FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND objsubid = 2 AND granted
        AND classid = 'events'::regclass::oid
        AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database());
    RETURN least(last, settled);
END $$;
