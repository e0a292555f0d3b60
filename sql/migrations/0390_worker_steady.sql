-- Since when a worker has beaten without a gap of half a lease. Whoever has just had one, because Postgres or itself stood still, cannot tell
-- the dead from those whose beats are only on their way (worker_reap). '-infinity': always.
ALTER TABLE worker ADD COLUMN steady_at timestamptz NOT NULL DEFAULT '-infinity';
