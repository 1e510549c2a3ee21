package main

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"io"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwt"
)

const maxListBytes = 4 << 20

type statusList struct {
	bits         []byte
	due, expires time.Time
}

// What a status list holds: one bit per token, compressed. (Token Status List draft §4.2)
type encodedList struct {
	Bits int    `json:"bits"`
	Lst  string `json:"lst"`
}

func (r *revocation) fetch(uri string) (*statusList, error) {
	response, err := r.client.Get(uri)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxListBytes))
	if err != nil {
		return nil, err
	}
	token, err := jwt.Parse(text, r.keys.signed("statuslist+jwt"), jwt.WithIssuer(r.issuer), jwt.WithSubject(uri),
		jwt.WithRequiredClaim("exp"), jwt.WithAcceptableSkew(skew), jwt.WithTypedClaim("status_list", encodedList{}))
	if err != nil {
		return nil, err
	}
	var encoded encodedList
	var ttl float64
	if err := errors.Join(token.Get("status_list", &encoded), token.Get("ttl", &ttl)); err != nil || encoded.Bits != 1 {
		return nil, errors.New("this is not a status list of one bit per token")
	}
	packed, err := base64.RawURLEncoding.DecodeString(encoded.Lst)
	if err != nil {
		return nil, err
	}
	unpacking, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	bits, err := io.ReadAll(io.LimitReader(unpacking, maxListBytes))
	expires, _ := token.Expiration()
	return &statusList{bits, time.Now().Add(time.Duration(ttl) * time.Second), expires}, err
}
