-- How often the answer of a refresh was given again, and when last: stored, so that no replica gives it once more.

alter table oidc_models add column repetitions bigint not null default 0;
alter table oidc_models add column repeated_at bigint;
