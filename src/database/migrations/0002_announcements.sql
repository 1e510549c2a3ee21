-- What changed, for processes that cannot be told: behind a pooler there is no LISTEN, so they compare versions. The
-- row "write check" is how readiness proves that a write works.
create table announcements (
  channel text primary key,
  version bigint not null
);
