package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"golang.org/x/time/rate"
)

const skew = 5 * time.Second

// keys follows the issuer's key set: fetched in the background, and at once for a key id that is not known.
type keys struct {
	jwk.CachedSet
	refresh func()
}

func followKeys(ctx context.Context, uri string) (*keys, error) {
	every, wrong := time.ParseDuration(env("KEYS_SECONDS", "300") + "s") // how long a revoked key may still be believed
	cache, err := jwk.NewCache(ctx, httprc.NewClient())
	if err = errors.Join(wrong, err); err != nil {
		return nil, err
	}
	if err := cache.Register(ctx, uri, jwk.WithConstantInterval(every)); err != nil {
		return nil, err
	}
	set, err := cache.CachedSet(uri)
	cooldown := rate.Sometimes{Interval: 5 * time.Second} // anybody can make up a key id
	return &keys{set, func() { cooldown.Do(func() { cache.Refresh(ctx, uri) }) }}, err
}

// signed accepts RS256 and one type. An ID token has the same issuer and keys: only its type tells. (RFC 9068 §4)
func (k *keys) signed(typ string) jwt.ParseOption {
	return jwt.WithKeyProvider(jws.KeyProviderFunc(
		func(_ context.Context, sink jws.KeySink, signature *jws.Signature, _ *jws.Message) error {
			header := signature.ProtectedHeaders()
			alg, _ := header.Algorithm()
			given, _ := header.Type()
			if alg != jwa.RS256() || strings.TrimPrefix(strings.ToLower(given), "application/") != typ {
				return errors.New("this is not the type of token that is wanted here")
			}
			kid, _ := header.KeyID()
			if _, known := k.LookupKeyID(kid); !known {
				k.refresh()
			}
			if key, known := k.LookupKeyID(kid); known {
				sink.Key(jwa.RS256(), key)
			}
			return nil
		}))
}
