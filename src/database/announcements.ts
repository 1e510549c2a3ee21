// The statements on announcements: which channel changed how often. Whoever cannot LISTEN compares.

/** Told to whoever listens, and noted for whoever cannot, in one statement: at the same commit. Of PostgreSQL. */
export const announce = `with noted as (
  insert into announcements (channel, version) values ($1, 1)
  on conflict (channel) do update set version = announcements.version + 1 returning channel)
  select pg_notify(channel, '') from noted`;

export const versions = 'select channel, version from announcements';

/** The upsert that proves that a write works: see Database.checkWrite. */
export const writeCheck = `insert into announcements (channel, version) values ('write check', 1)
  on conflict (channel) do update set version = announcements.version + 1`;
