-- Events are found by the time that their id begins with: an index on the time itself said the same again, for each row.
drop index audit_events_at;
