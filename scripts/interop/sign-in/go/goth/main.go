// goth's openidConnect provider, as Gitea and Forgejo use it.
package main

import (
	"net/http"
	"net/url"
	"os"

	"example.com/sign-in/web"
	"github.com/markbates/goth"
	"github.com/markbates/goth/providers/openidConnect"
)

func main() {
	provider := web.Must(openidConnect.New(os.Getenv("CLIENT_ID"), os.Getenv("CLIENT_SECRET"), web.Callback,
		os.Getenv("ISSUER")+"/.well-known/openid-configuration", web.Scopes[1:]...))
	var session goth.Session
	var user goth.User
	var refreshToken, idToken, state string

	http.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		state = web.Random()
		session = web.Must(provider.BeginAuth(state))
		http.Redirect(w, r, web.Must(session.GetAuthURL()), http.StatusFound)
	})
	web.Handle("/callback", func(r *http.Request) (any, error) {
		if r.FormValue("state") != state {
			return nil, web.Refused("state")
		}
		if _, err := session.Authorize(provider, r.URL.Query()); err != nil {
			return nil, err
		}
		var err error
		if user, err = provider.FetchUser(session); err != nil {
			return nil, err
		}
		refreshToken, idToken = user.RefreshToken, user.IDToken
		return map[string]any{"access_token": user.AccessToken, "claims": user.RawData}, nil
	})
	// It asks userinfo in FetchUser, and answers with what it and the ID token say.
	web.Handle("/userinfo", func(*http.Request) (any, error) {
		fetched, err := provider.FetchUser(session)
		return fetched.RawData, err
	})
	web.Handle("/refresh", func(*http.Request) (any, error) {
		token, err := provider.RefreshTokenWithIDToken(refreshToken)
		if err != nil {
			return nil, err
		}
		refreshToken = token.RefreshToken
		return map[string]any{"access_token": token.AccessToken}, nil
	})
	http.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		query := url.Values{"id_token_hint": {idToken}, "post_logout_redirect_uri": {web.Home}}
		http.Redirect(w, r, provider.OpenIDConfig.EndSessionEndpoint+"?"+query.Encode(), http.StatusFound)
	})
	web.Serve()
}
