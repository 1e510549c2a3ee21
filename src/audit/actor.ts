// Who acts on something that the audit trail tells of, from where, and why.

export interface Actor {
  /** An account id, a client_id, 'cli'. Default 'schedule'. */
  actor?: string | undefined;
  /** The client through which. */
  clientId?: string | undefined;
  requestId?: string | undefined;
  address?: string | undefined;
  /** Why an unsafe step is taken all the same. Verifiers will refuse good tokens. */
  force?: string | undefined;
}
