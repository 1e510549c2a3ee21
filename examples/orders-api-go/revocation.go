package main

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwt"
)

// What a token says of its status. (Token Status List draft §6.2)
type status struct {
	List struct {
		URI string `json:"uri"`
		Idx int    `json:"idx"`
	} `json:"status_list"`
}

// A revocation reads the bits of status lists: each kept for its ttl, and on until it expires while no newer one comes.
type revocation struct {
	issuer string
	keys   *keys
	client http.Client
	mutex  sync.Mutex
	lists  map[string]*statusList
}

func newRevocation(issuer string, keys *keys) *revocation {
	client := http.Client{Timeout: 5 * time.Second}
	return &revocation{issuer: issuer, keys: keys, client: client, lists: map[string]*statusList{}}
}

func (r *revocation) check(token jwt.Token) error {
	if !token.Has("status") {
		return nil
	}
	var of status
	if err := token.Get("status", &of); err != nil || !strings.HasPrefix(of.List.URI, r.issuer+"/status-lists/") {
		return errors.New("the token names a list that is not its issuer's")
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	list := r.lists[of.List.URI]
	if list == nil || time.Now().After(list.due) {
		if newer, err := r.fetch(of.List.URI); err == nil {
			list, r.lists[of.List.URI] = newer, newer
		} else if list == nil || time.Now().After(list.expires) {
			return errors.New("nobody can tell whether the token was revoked")
		} else {
			list.due = time.Now().Add(5 * time.Second)
		}
	}
	if at := of.List.Idx; at < 0 || at>>3 >= len(list.bits) || list.bits[at>>3]>>(at&7)&1 == 1 {
		return errors.New("the token was revoked")
	}
	return nil
}
