-- Whose row it is where anybody can cause one, so that there are no more than some of one network, and some in all:
-- sign-ins under way, sessions in which nobody is signed in, sign-ins that are at Microsoft. Null: not a stranger's.
alter table oidc_models add column network text;
create index oidc_models_network on oidc_models (network, model, expires_at) where network is not null;
create index oidc_models_strangers on oidc_models (model, expires_at) where network is not null;
alter table entra_states add column network text;
create index entra_states_network on entra_states (network, expires_at) where network is not null;
