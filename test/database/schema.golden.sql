CREATE TABLE accounts (
  id text primary key,
  email text,

  email_key text,
  email_verified bigint not null,
  name text,
  given_name text,
  family_name text,
  preferred_username text,

  roles text not null,
  mapped_roles text not null,
  password_hash text,
  password_must_change bigint not null,
  disabled_at bigint,

  signed_out_at bigint,
  created_at bigint not null,
  updated_at bigint not null,
  last_sign_in_at bigint
);

CREATE UNIQUE INDEX accounts_email_key on accounts (email_key);

CREATE TABLE announcements (
  channel text primary key,
  version bigint not null
);

CREATE TABLE audit_events (
  id text primary key,
  at bigint not null,
  event text not null,
  actor text,
  subject text,
  client_id text,
  request_id text,
  address text,
  detail text not null,
  seq bigint,
  previous_hash text,
  hash text
);

CREATE UNIQUE INDEX audit_events_seq on audit_events (seq) where seq is not null;

CREATE TABLE audit_head (
  id bigint primary key,
  seq bigint not null,
  hash text not null
);

CREATE TABLE backchannel_logouts (
  id text primary key,
  client_id text not null,
  account_id text not null,

  sid text,
  tries bigint not null,
  due_at bigint not null
);

CREATE INDEX backchannel_logouts_due on backchannel_logouts (due_at);

CREATE TABLE client_statuses (
  client_id text primary key,

  grant_id text not null,
  list bigint not null,
  idx bigint not null
);

CREATE TABLE clients (
  id text primary key,
  metadata text not null,
  secret_hash text,
  disabled_at bigint,
  created_at bigint not null,
  updated_at bigint not null
);

CREATE TABLE consents (
  account_id text not null,
  client_id text not null,

  audience text not null,
  scope text not null,
  given_at bigint not null,
  primary key (account_id, client_id, audience, scope)
);

CREATE TABLE database_mark (
  id bigint primary key,
  lineage text not null,
  epoch text not null,
  counter bigint not null
);

CREATE TABLE disabled_clients (
  client_id text primary key,
  disabled_at bigint not null
);

CREATE TABLE entra_key_refreshes (
  id bigint primary key,
  asked bigint not null
);

CREATE TABLE entra_states (
  id text primary key,

  browser text not null,
  begun text not null,

  parked text,
  parked_until bigint,
  expires_at bigint not null
, network text);

CREATE INDEX entra_states_expiry on entra_states (expires_at);

CREATE INDEX entra_states_network on entra_states (network, expires_at) where network is not null;

CREATE TABLE identities (
  method text not null,
  external_id text not null,
  account_id text not null,
  attributes text not null,
  linked_at bigint not null,
  last_seen_at bigint not null,
  primary key (method, external_id)
);

CREATE INDEX identities_account on identities (account_id);

CREATE TABLE jwks_consumers (
  kind text not null,
  name text not null,
  address text not null,
  first_seen_at bigint not null,
  last_seen_at bigint not null,
  fetches bigint not null,

  newest_prepared_at bigint not null,
  primary key (kind, name, address)
);

CREATE INDEX jwks_consumers_last_seen_at on jwks_consumers (last_seen_at);

CREATE TABLE oidc_models (
  model text not null,
  id text not null,
  payload text not null,
  uid text,
  grant_id text,
  account_id text,

  client_id text,
  status_list bigint,
  status_idx bigint,
  consumed_at bigint,

  expires_at bigint not null, network text, session_uid text,
  primary key (model, id)
);

CREATE INDEX oidc_models_account on oidc_models (account_id) where account_id is not null;

CREATE INDEX oidc_models_client on oidc_models (client_id) where client_id is not null;

CREATE INDEX oidc_models_expiry on oidc_models (expires_at);

CREATE INDEX oidc_models_grant on oidc_models (grant_id) where grant_id is not null;

CREATE INDEX oidc_models_network on oidc_models (network, model, expires_at) where network is not null;

CREATE INDEX oidc_models_strangers on oidc_models (model, expires_at) where network is not null;

CREATE INDEX oidc_models_uid on oidc_models (uid) where uid is not null;

CREATE TABLE refresh_tokens (

  id text primary key,

  current_digest text not null,
  previous_digest text,
  grant_id text not null,
  account_id text not null,
  session_uid text,
  payload text not null,

  rotated_at bigint,
  request text,
  network text,

  repetitions bigint not null default 0,
  repeated_at bigint,
  expires_at bigint not null
);

CREATE INDEX refresh_tokens_expiry on refresh_tokens (expires_at);

CREATE INDEX refresh_tokens_grant on refresh_tokens (grant_id);

CREATE TABLE revoked_statuses (
  list bigint not null,
  idx bigint not null,
  grant_id text not null,
  revoked_at bigint not null,
  expires_at bigint not null,
  primary key (list, idx)
);

CREATE INDEX revoked_statuses_expiry on revoked_statuses (expires_at);

CREATE INDEX revoked_statuses_revoked_at on revoked_statuses (revoked_at);

CREATE TABLE schema_migrations (
      version bigint primary key, name text not null, checksum text not null, applied_at bigint not null);

CREATE TABLE server_runs (
  id text primary key,
  alive_at bigint not null,

  found_dead_at bigint
);

CREATE INDEX server_runs_alive_at on server_runs (alive_at);

CREATE TABLE sign_in_attempts (
  key text primary key,
  failures bigint not null,
  blocked_until bigint not null,
  expires_at bigint not null
);

CREATE INDEX sign_in_attempts_expiry on sign_in_attempts (expires_at);

CREATE TABLE signing_keys (
  kid text primary key,
  alg text not null,
  public_jwk text not null,
  sealed_private text,
  prepared_at bigint not null,
  activated_at bigint,
  retired_at bigint,
  destroyed_at bigint,
  revoked_at bigint,
  revoked_reason text,
  longest_life bigint not null
);

CREATE UNIQUE INDEX one_active_key on signing_keys ((1))
  where activated_at is not null and retired_at is null and revoked_at is null;

CREATE UNIQUE INDEX one_prepared_key on signing_keys ((1))
  where activated_at is null and destroyed_at is null and revoked_at is null;

CREATE TABLE status_lists (
  list bigint primary key,
  seed text not null,
  next bigint not null,

  filled_at bigint
);

CREATE TABLE upstream_sessions (
  id text primary key,
  method text not null,
  external_id text not null,
  account_id text not null,

  upstream_sid text,
  login_hint text,
  sealed_refresh_token text,
  checked_at bigint not null,
  ended_at bigint,
  expires_at bigint not null
);

CREATE INDEX upstream_sessions_expiry on upstream_sessions (expires_at);

CREATE INDEX upstream_sessions_sid on upstream_sessions (method, upstream_sid) where upstream_sid is not null;
