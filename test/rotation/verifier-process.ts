// A service that can be paused (verifiers.ts): verifies what it is sent, as ours and as jose.

import { jose, ours } from './verifiers.ts';

const [, , issuer] = process.argv;
const verifiers = { ours: ours(issuer!), jose: jose(issuer!) };

process.on('message', ({ id, name, jwt }: { id: number; name: keyof typeof verifiers; jwt: string }) => {
  void verifiers[name].verify(jwt).then((reason) => process.send!({ id, reason }));
});
process.on('disconnect', () => process.exit(1)); // the test is gone
process.send!('ready');
