-- An address that an administrator typed is vouched for, unless one said otherwise: applications are told of no other.

update accounts set email_verified = 1
where email_key is not null and not exists (
  select 1 from audit_events e where e.event = 'account.email_verified' and e.subject = accounts.id
);
