// go-oidc with golang.org/x/oauth2, as Argo CD, Kubernetes clients and many others use them.
package main

import (
	"context"
	"net/http"
	"net/url"
	"os"

	"example.com/sign-in/web"
	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

func main() {
	ctx := context.Background()
	provider := web.Must(oidc.NewProvider(ctx, os.Getenv("ISSUER")))
	config := oauth2.Config{
		ClientID: os.Getenv("CLIENT_ID"), ClientSecret: os.Getenv("CLIENT_SECRET"), RedirectURL: web.Callback,
		Endpoint: provider.Endpoint(), Scopes: web.Scopes,
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: config.ClientID})
	var token *oauth2.Token
	var idToken, state, nonce, challenge string

	claims := func() (any, error) {
		idToken, _ = token.Extra("id_token").(string)
		verified, err := verifier.Verify(ctx, idToken)
		if err != nil {
			return nil, err
		}
		var all map[string]any
		err = verified.Claims(&all)
		return map[string]any{"access_token": token.AccessToken, "claims": all}, err
	}
	http.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		state, nonce, challenge = web.Random(), web.Random(), oauth2.GenerateVerifier()
		to := config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(challenge))
		http.Redirect(w, r, to, http.StatusFound)
	})
	web.Handle("/callback", func(r *http.Request) (answer any, err error) {
		if r.FormValue("state") != state {
			return nil, web.Refused("state")
		}
		if token, err = config.Exchange(ctx, r.FormValue("code"), oauth2.VerifierOption(challenge)); err != nil {
			return nil, err
		}
		answer, err = claims()
		if err == nil && answer.(map[string]any)["claims"].(map[string]any)["nonce"] != nonce {
			return nil, web.Refused("nonce")
		}
		return answer, err
	})
	web.Handle("/userinfo", func(*http.Request) (any, error) {
		info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err != nil {
			return nil, err
		}
		var all map[string]any
		return &all, info.Claims(&all)
	})
	web.Handle("/refresh", func(*http.Request) (answer any, err error) {
		if token, err = config.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token(); err != nil {
			return nil, err
		}
		return claims()
	})
	var endpoints struct {
		EndSession string `json:"end_session_endpoint"`
	}
	web.Check(provider.Claims(&endpoints))
	http.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		query := url.Values{"id_token_hint": {idToken}, "post_logout_redirect_uri": {web.Home}}
		http.Redirect(w, r, endpoints.EndSession+"?"+query.Encode(), http.StatusFound)
	})
	web.Serve()
}
