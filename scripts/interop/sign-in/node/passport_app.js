// passport-openidconnect in Express, as Wiki.js uses it.

import express from 'express';
import session from 'express-session';
import passport from 'passport';
import Strategy from 'passport-openidconnect';

const { PORT, ISSUER, CLIENT_ID, CLIENT_SECRET } = process.env;
const home = `http://localhost:${PORT}/`;
const discovered = await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json();
passport.use(
  new Strategy(
    {
      issuer: ISSUER,
      clientID: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      callbackURL: `${home}callback`,
      authorizationURL: discovered.authorization_endpoint,
      tokenURL: discovered.token_endpoint,
      userInfoURL: discovered.userinfo_endpoint,
      scope: ['profile', 'email', 'roles', 'offline_access'],
    },
    (_issuer, profile, _context, _idToken, accessToken, _refreshToken, done) =>
      done(null, { access_token: accessToken, claims: { sub: profile.id, email: profile.emails?.[0]?.value } }),
  ),
);

const app = express();
app.use(session({ secret: 'only for this run', resave: false, saveUninitialized: false }));
app.get('/', (_, response) => response.send('at home'));
app.get('/login', passport.authenticate('openidconnect', { session: false }));
app.get(
  '/callback',
  passport.authenticate('openidconnect', { session: false, failWithError: true }),
  (request, response) => response.json(request.user),
);
app.listen(Number(PORT), '127.0.0.1');
