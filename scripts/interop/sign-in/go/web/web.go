// Package web is what the Go applications share: where they are, and answers in JSON.
package web

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
)

var (
	Home     = "http://localhost:" + os.Getenv("PORT") + "/"
	Callback = Home + "callback"
	Scopes   = []string{"openid", "profile", "email", "roles", "offline_access"}
)

// Random is a value that nobody guesses, for state and nonce.
func Random() string { return rand.Text() }

// Refused says what was not as it had to be.
func Refused(what string) error { return fmt.Errorf("refused for its %s", what) }

// Handle answers with what get returns, or with 500 and why not.
func Handle(path string, get func(r *http.Request) (any, error)) {
	http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		answer, err := get(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		Answer(w, answer)
	})
}

// Answer writes value as JSON.
func Answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	Check(json.NewEncoder(w).Encode(value))
}

// Serve answers requests until the process ends.
func Serve() {
	Check(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

// Must is for what a start needs.
func Must[T any](value T, err error) T {
	Check(err)
	return value
}

// Check ends the process where there is an error.
func Check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
