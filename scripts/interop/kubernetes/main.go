// How a Kubernetes API server takes tokens: its own authenticator, with the configuration file that it would be given,
// behind one address that answers with whom it took the caller for.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

// The issuer, whose name is https, is asked where it listens.
type elsewhere struct{ at *url.URL }

func (e elsewhere) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host = e.at.Scheme, e.at.Host
	return http.DefaultTransport.RoundTrip(request)
}

func main() {
	at, err := url.Parse(os.Getenv("LISTENING"))
	check(err)
	text, err := os.ReadFile(os.Getenv("CONFIGURATION"))
	check(err)
	scheme := runtime.NewScheme()
	install.Install(scheme)
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder()
	configuration := &apiserver.AuthenticationConfiguration{}
	check(runtime.DecodeInto(decoder, text, configuration))
	authenticator, err := oidc.New(context.Background(), oidc.Options{
		JWTAuthenticator: configuration.JWT[0],
		Client:           &http.Client{Transport: elsewhere{at}},
	})
	check(err)

	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if err := authenticator.HealthCheck(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		answer, ok, err := authenticator.AuthenticateToken(r.Context(), token)
		if err != nil || !ok {
			log.Print(err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"username": answer.User.GetName(), "groups": answer.User.GetGroups()})
	})
	check(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
