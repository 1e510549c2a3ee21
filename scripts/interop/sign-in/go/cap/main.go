// hashicorp/cap, as Vault, OpenBao, Consul, Nomad and Boundary use it.
package main

import (
	"context"
	"net/http"
	"os"
	"time"

	"example.com/sign-in/web"
	"github.com/hashicorp/cap/oidc"
	"golang.org/x/oauth2"
)

func main() {
	ctx := context.Background()
	config := web.Must(oidc.NewConfig(os.Getenv("ISSUER"), os.Getenv("CLIENT_ID"),
		oidc.ClientSecret(os.Getenv("CLIENT_SECRET")), []oidc.Alg{oidc.RS256}, []string{web.Callback}))
	provider := web.Must(oidc.NewProvider(config))
	var request *oidc.Req
	var token oidc.Token

	http.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		verifier := web.Must(oidc.NewCodeVerifier())
		request = web.Must(oidc.NewRequest(2*time.Minute, web.Callback, oidc.WithPKCE(verifier),
			oidc.WithScopes(web.Scopes[1:]...)))
		http.Redirect(w, r, web.Must(provider.AuthURL(ctx, request)), http.StatusFound)
	})
	web.Handle("/callback", func(r *http.Request) (any, error) {
		var err error
		if token, err = provider.Exchange(ctx, request, r.FormValue("state"), r.FormValue("code")); err != nil {
			return nil, err
		}
		var claims map[string]any
		err = token.IDToken().Claims(&claims)
		return map[string]any{"access_token": string(token.AccessToken()), "claims": claims}, err
	})
	web.Handle("/userinfo", func(*http.Request) (any, error) {
		var ids, claims map[string]any
		if err := token.IDToken().Claims(&ids); err != nil {
			return nil, err
		}
		source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: string(token.AccessToken())})
		err := provider.UserInfo(ctx, source, ids["sub"].(string), &claims)
		return claims, err
	})
	web.Serve()
}
