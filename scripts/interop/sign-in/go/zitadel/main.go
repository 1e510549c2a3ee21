// The relying party of zitadel/oidc.
package main

import (
	"context"
	"net/http"
	"os"

	"example.com/sign-in/web"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

func main() {
	ctx := context.Background()
	key := []byte("only for this run, 32 bytes long")
	cookies := httphelper.NewCookieHandler(key, key, httphelper.WithUnsecure())
	party := web.Must(rp.NewRelyingPartyOIDC(ctx, os.Getenv("ISSUER"), os.Getenv("CLIENT_ID"), os.Getenv("CLIENT_SECRET"),
		web.Callback, web.Scopes, rp.WithPKCE(cookies)))
	var accessToken, refreshToken, idToken, subject string

	http.Handle("/login", rp.AuthURLHandler(web.Random, party))
	http.Handle("/callback", rp.CodeExchangeHandler(
		func(w http.ResponseWriter, r *http.Request, tokens *oidc.Tokens[*oidc.IDTokenClaims], _ string, _ rp.RelyingParty) {
			accessToken, refreshToken = tokens.AccessToken, tokens.RefreshToken
			idToken, subject = tokens.IDToken, tokens.IDTokenClaims.Subject
			web.Answer(w, map[string]any{"access_token": accessToken, "claims": tokens.IDTokenClaims})
		}, party))
	web.Handle("/userinfo", func(*http.Request) (any, error) {
		return rp.Userinfo[*oidc.UserInfo](ctx, accessToken, "Bearer", subject, party)
	})
	web.Handle("/refresh", func(*http.Request) (any, error) {
		tokens, err := rp.RefreshTokens[*oidc.IDTokenClaims](ctx, party, refreshToken, "", "")
		if err != nil {
			return nil, err
		}
		accessToken, refreshToken, idToken = tokens.AccessToken, tokens.RefreshToken, tokens.IDToken
		return map[string]any{"access_token": accessToken, "claims": tokens.IDTokenClaims}, nil
	})
	// It posts, and hands back where the person is sent.
	http.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		to, err := rp.EndSession(ctx, party, idToken, web.Home, "", "", nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		http.Redirect(w, r, to.String(), http.StatusFound)
	})
	web.Serve()
}
