// Equal to the version in package.json, which a test holds. It goes into the User-Agent, so that an issuer's log says
// which services still run an old verifier.
export const version = '0.1.0';
