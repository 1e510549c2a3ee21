// Answers who has an access token of the issuer for this API: verified offline, with lestrrat-go/jwx.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwt"
)

func env(name, usual string) string {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	return usual
}

func main() {
	issuer := env("ISSUER", "http://localhost:3000")
	keys, err := followKeys(context.Background(), issuer+"/jwks")
	if err != nil {
		log.Fatal(err)
	}
	revocation := newRevocation(issuer, keys)
	expected := []jwt.ParseOption{
		keys.signed("at+jwt"), jwt.WithIssuer(issuer), jwt.WithAudience(env("AUDIENCE", "https://orders.example.com")),
		jwt.WithRequiredClaim("exp"), jwt.WithRequiredClaim("iat"), jwt.WithRequiredClaim("sub"),
		jwt.WithRequiredClaim("client_id"), jwt.WithAcceptableSkew(skew), jwt.WithTypedClaim("status", status{}),
	}
	http.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) {
		scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		token, err := jwt.ParseString(bearer, expected...)
		if err == nil {
			err = revocation.check(token)
		}
		if err != nil || !strings.EqualFold(scheme, "bearer") {
			refuse(w, http.StatusUnauthorized, "invalid_token")
			return
		}
		var scope string
		if token.Get("scope", &scope) != nil || !slices.Contains(strings.Fields(scope), "orders:read") {
			refuse(w, http.StatusForbidden, "insufficient_scope")
			return
		}
		person, _ := token.Subject()
		json.NewEncoder(w).Encode(map[string]any{"person": person, "orders": []string{}})
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+env("PORT", "4002"), nil))
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("WWW-Authenticate", `Bearer error="`+code+`"`)
	w.WriteHeader(status)
}
