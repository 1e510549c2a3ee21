#!/bin/sh
# Makes the golden token with openssl alone: no node, no jose. Run it in this directory; the key is a test's, no secret.
set -eu
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
[ -f rsa.key ] || openssl genrsa -out rsa.key 2048
openssl rsa -in rsa.key -pubout -out rsa.pub
header='{"typ":"JWT","alg":"RS256","kid":"golden"}'
input="$(printf %s "$header" | base64url).$(tr -d '\n' < claims.json | base64url)"
signature="$(printf %s "$input" | openssl dgst -sha256 -sign rsa.key | base64url)"
printf '%s.%s\n' "$input" "$signature" > id_token.jwt
