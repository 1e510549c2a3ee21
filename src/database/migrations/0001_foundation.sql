-- The tables of the first release: people, applications, protocol state, signing keys, audit.

create table accounts (
  id text primary key,
  email text,
  -- What somebody with a password signs in by. Whoever signs in elsewhere may have the address of anybody, or none.
  email_key text,
  email_verified bigint not null,
  name text,
  given_name text,
  family_name text,
  preferred_username text,
  -- Given here by an administrator, and those that follow from what another identity provider says.
  roles text not null,
  mapped_roles text not null,
  password_hash text,
  password_must_change bigint not null,
  disabled_at bigint,
  -- Everywhere, last. A sign-in that was proved before is not finished any more.
  signed_out_at bigint,
  created_at bigint not null,
  updated_at bigint not null,
  last_sign_in_at bigint
);
create unique index accounts_email_key on accounts (email_key);

-- Who a person is to another identity provider, and what that one said of them last.
create table identities (
  method text not null,
  external_id text not null,
  account_id text not null,
  attributes text not null,
  linked_at bigint not null,
  last_seen_at bigint not null,
  primary key (method, external_id)
);
create index identities_account on identities (account_id);

-- The session elsewhere that sessions and grants here rest on.
create table upstream_sessions (
  id text primary key,
  method text not null,
  external_id text not null,
  account_id text not null,
  -- The other side's name for its session: its front-channel sign-out says this and nothing else.
  upstream_sid text,
  login_hint text,
  sealed_refresh_token text,
  checked_at bigint not null,
  ended_at bigint,
  expires_at bigint not null
);
create index upstream_sessions_sid on upstream_sessions (method, upstream_sid) where upstream_sid is not null;
create index upstream_sessions_expiry on upstream_sessions (expires_at);

create table clients (
  id text primary key,
  metadata text not null,
  secret_hash text,
  disabled_at bigint,
  created_at bigint not null,
  updated_at bigint not null
);

-- What a person has allowed a third-party application: asked once, not once in each session.
create table consents (
  account_id text not null,
  client_id text not null,
  -- Empty for scopes that concern the person and no API.
  audience text not null,
  scope text not null,
  given_at bigint not null,
  primary key (account_id, client_id, audience, scope)
);

create table oidc_models (
  model text not null,
  id text not null,
  payload text not null,
  uid text,
  grant_id text,
  account_id text,
  -- Of a grant alone: whose it is, and its place in the status lists from its first save to its end.
  client_id text,
  status_list bigint,
  status_idx bigint,
  consumed_at bigint,
  -- A refresh token's successor names the token it replaced; the unique index below lets it have one.
  rotated_from text,
  rotated_at bigint,
  sealed_answer text,
  expires_at bigint not null,
  primary key (model, id)
);
create unique index oidc_models_successor on oidc_models (rotated_from) where rotated_from is not null;
create index oidc_models_answer on oidc_models (rotated_at) where sealed_answer is not null;
create index oidc_models_uid on oidc_models (uid) where uid is not null;
create index oidc_models_grant on oidc_models (grant_id) where grant_id is not null;
create index oidc_models_account on oidc_models (account_id) where account_id is not null;
create index oidc_models_client on oidc_models (client_id) where client_id is not null;
create index oidc_models_expiry on oidc_models (expires_at);

-- Status lists: how many places of each were given away. In which order, the seed says.
create table status_lists (
  list bigint primary key,
  seed text not null,
  next bigint not null,
  -- When the last block of places was reserved.
  filled_at bigint
);
-- What the tokens of an application by itself bear; those of people bear their grant's.
create table client_statuses (
  client_id text primary key,
  -- The first half of each token's jti.
  grant_id text not null,
  list bigint not null,
  idx bigint not null
);
-- Only what was revoked, and only until the last token that bears the place has expired.
create table revoked_statuses (
  list bigint not null,
  idx bigint not null,
  grant_id text not null,
  revoked_at bigint not null,
  expires_at bigint not null,
  primary key (list, idx)
);
create index revoked_statuses_revoked_at on revoked_statuses (revoked_at);
create index revoked_statuses_expiry on revoked_statuses (expires_at);

-- Applications that are to be told that a session ended: gone when they were, or could not be.
create table backchannel_logouts (
  id text primary key,
  client_id text not null,
  account_id text not null,
  -- What the application knows the session by; null where all that it has of the person is meant.
  sid text,
  tries bigint not null,
  due_at bigint not null
);
create index backchannel_logouts_due on backchannel_logouts (due_at);

create table sign_in_attempts (
  key text primary key,
  failures bigint not null,
  blocked_until bigint not null,
  expires_at bigint not null
);
create index sign_in_attempts_expiry on sign_in_attempts (expires_at);

-- Sign-ins that are at Microsoft: gone as soon as they come back.
create table entra_states (
  id text primary key,
  -- Hash of what the cookie holds, so that another browser cannot finish what this one began.
  browser text not null,
  begun text not null,
  -- What a form_post brought, until the browser comes by itself.
  parked text,
  parked_until bigint,
  expires_at bigint not null
);
create index entra_states_expiry on entra_states (expires_at);

-- One row: how often an administrator had Microsoft's signing keys forgotten. Each server keeps them for itself, and
-- forgets them when this has changed.
create table entra_key_refreshes (
  id bigint primary key,
  asked bigint not null
);
insert into entra_key_refreshes (id, asked) values (1, 0);

create table signing_keys (
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
-- The database keeps the rule: one key signs.
create unique index one_active_key on signing_keys ((1))
  where activated_at is not null and retired_at is null and revoked_at is null;
-- And one key is next: of two replicas that prepare together, one prepares.
create unique index one_prepared_key on signing_keys ((1))
  where activated_at is null and destroyed_at is null and revoked_at is null;

-- Who fetches the JWKS, so that a rotation can tell who has the next key.
create table jwks_consumers (
  kind text not null,
  name text not null,
  address text not null,
  first_seen_at bigint not null,
  last_seen_at bigint not null,
  fetches bigint not null,
  -- prepared_at of the newest key that it was given last.
  newest_prepared_at bigint not null,
  primary key (kind, name, address)
);
create index jwks_consumers_last_seen_at on jwks_consumers (last_seen_at);

create table audit_events (
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
create index audit_events_at on audit_events (at);
create unique index audit_events_seq on audit_events (seq) where seq is not null;

-- One row: the end of the audit chain. Locked by whoever appends.
create table audit_head (
  id bigint primary key,
  seq bigint not null,
  hash text not null
);
insert into audit_head (id, seq, hash) values (1, 0, '');
