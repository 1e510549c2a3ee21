-- What the database remembers of the servers on it, so that a crash is told from a theft, and an older copy from itself.

-- One row for each server that runs, and for a while each that died. One that stopped takes its own away.
create table server_runs (
  id text primary key,
  alive_at bigint not null,
  -- When somebody found that it was dead.
  found_dead_at bigint
);
create index server_runs_alive_at on server_runs (alive_at);

-- One row. The counter only grows, so one that is smaller than somebody remembers is that of an older copy. The epoch
-- changes whenever that was noticed. The lineage tells a copy of this database from another one.
create table database_mark (
  id bigint primary key,
  lineage text not null,
  epoch text not null,
  counter bigint not null
);
