// What is known of a statement from its text alone.

/** Whether it changes nothing. What is not recognised as reading counts as writing, which is slower and never wrong. */
export function onlyReads(sql: string): boolean {
  if (/^\s*select\b/i.test(sql)) return !/\b(pg_notify|pg_advisory|nextval|set_config)/i.test(sql);
  return /^\s*with\b/i.test(sql) && !/\b(insert|update|delete|replace|pg_notify)\b/i.test(sql);
}
