-- Refresh tokens in a table of their own: a row for each chain of refreshes, which each refresh updates, instead of one for each token.

create table refresh_tokens (
  -- The chain: the first part of each of its handles.
  id text primary key,
  -- SHA-256 of the handle that is good, and of the one that was exchanged for it.
  current_digest text not null,
  previous_digest text,
  grant_id text not null,
  account_id text not null,
  session_uid text,
  payload text not null,
  -- Of the last exchange: when, what was asked for, and from which network.
  rotated_at bigint,
  request text,
  network text,
  -- How often its answer was given again, and when last: stored, so that no replica gives it once more.
  repetitions bigint not null default 0,
  repeated_at bigint,
  expires_at bigint not null
);
create index refresh_tokens_grant on refresh_tokens (grant_id);
create index refresh_tokens_expiry on refresh_tokens (expires_at);

-- Those that were not exchanged yet. What was spent before is no longer known: it is refused, as before, and ends nothing.
insert into refresh_tokens (id, current_digest, grant_id, account_id, payload, expires_at)
select id, id, grant_id, account_id, payload, expires_at from oidc_models token
where model = 'RefreshToken' and grant_id is not null and account_id is not null
  and not exists (select 1 from oidc_models successor where successor.rotated_from = token.id);
delete from oidc_models where model = 'RefreshToken';

drop index oidc_models_successor;
drop index oidc_models_answer;
alter table oidc_models drop column rotated_from;
alter table oidc_models drop column rotated_at;
alter table oidc_models drop column sealed_answer;
alter table oidc_models drop column repetitions;
alter table oidc_models drop column repeated_at;
-- Of a code: the session that it is good with, by its `uid`.
alter table oidc_models add column session_uid text;
