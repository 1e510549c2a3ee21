-- Applications of signet.yaml that an administrator has stopped: that is no configuration, and wins over the file.

create table disabled_clients (
  client_id text primary key,
  disabled_at bigint not null
);
