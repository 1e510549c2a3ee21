// The baseline: oidc-provider as it comes, in memory, with the token formats that Signet issues: at+jwt access tokens,
// RS256 ID tokens and refresh tokens signed as JWTs around their handle. Run by issuer.ts as a process of its own.

import { createServer } from 'node:http';
import { compactVerify, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { Provider } from 'oidc-provider';
import { report } from './process.ts';

const port = Number(process.argv[2]);
const issuer = `http://localhost:${port}`;
const audience = 'https://orders.example.com';
const secret = 'correct-horse-battery-staple-0123456789';

const { privateKey, publicKey } = await generateKeyPair('RS256', { modulusLength: 2048, extractable: true });
const jwk = { ...(await exportJWK(privateKey)), kid: 'bench', alg: 'RS256', use: 'sig' };

const provider = new Provider(issuer, {
  jwks: { keys: [jwk] as never },
  clients: [
    {
      client_id: 'service',
      client_secret: secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
    {
      client_id: 'web',
      client_secret: secret,
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: ['https://app.example.com/callback'],
    },
  ],
  cookies: { keys: ['bench'] },
  rotateRefreshToken: true,
  ttl: { AccessToken: 1800, ClientCredentials: 1800, IdToken: 1800, RefreshToken: 14 * 86_400, Grant: 90 * 86_400 },
  findAccount: async (_ctx, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, email: 'ada@example.com', roles: ['buyer'] }),
  }),
  extraTokenClaims: () => ({ email: 'ada@example.com', roles: ['buyer'] }),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'openid email orders:read', audience, accessTokenFormat: 'jwt' }),
    },
  },
});

interface TokenModel {
  new (input: object): { save(): Promise<string>; jti: string };
  find(value: string, options?: object): Promise<unknown>;
}
const Base = provider.RefreshToken as unknown as TokenModel;
Object.defineProperty(provider, 'RefreshToken', {
  value: class RefreshToken extends Base {
    static override async find(token: string, options?: object) {
      const { payload } = await compactVerify(token, publicKey);
      return super.find(JSON.parse(new TextDecoder().decode(payload)).jti, options);
    }

    override async save() {
      const handle = await super.save();
      return new SignJWT({ jti: handle })
        .setProtectedHeader({ alg: 'RS256', typ: 'rt+jwt', kid: 'bench' })
        .setIssuer(issuer)
        .setAudience(issuer)
        .setIssuedAt()
        .setExpirationTime('14d')
        .sign(privateKey);
    }
  },
});

async function seedRefreshTokens(count: number): Promise<string[]> {
  const client = (await provider.Client.find('web'))!;
  return Promise.all(
    Array.from({ length: count }, async () => {
      const grant = new provider.Grant({ accountId: 'ada', clientId: 'web' });
      grant.addOIDCScope('openid email');
      grant.addResourceScope(audience, 'openid email orders:read');
      const grantId = await grant.save();
      return new provider.RefreshToken({
        accountId: 'ada',
        client,
        grantId,
        gty: 'authorization_code',
        scope: 'openid email orders:read',
        resource: audience,
        rotations: 0,
        authTime: Math.floor(Date.now() / 1000),
      } as never).save();
    }),
  );
}

createServer(provider.callback()).listen(port, '127.0.0.1', () => report(seedRefreshTokens));
