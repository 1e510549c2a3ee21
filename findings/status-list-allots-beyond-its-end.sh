#!/usr/bin/env bash
# An issuer's library hands out places on a status list that the list does not have.
#
# Packages: token-status-list 0.1.0a2.dev1 (PyPI) issues, @sd-jwt/jwt-status-list 0.19.0 (npm) verifies.
#
# IssuerStatusList.new(bits, size) keeps two things: the list, of `bits` a place, and, with the strategy that it
# defaults to ("random"), a note of one bit for each place that is taken. Both are rounded up to whole bytes, each by
# itself: eight places fit a byte of the note, but only four, two or one a byte of a list of 2, 4 or 8 bits. Where
# `size` is no multiple of eight the note is longer than the list, and take() draws from the note.
#
# So with a size of 100, four of the 104 numbers that take() gives lie beyond the list, whose tokens are signed and
# look right. They come up at random, from the first draw on: about one credential in 26 carries a number under which
# nobody can ever set or read a status. A verifier in another language refuses these credentials, and no others. A list
# of one bit, a size such as 1000, and the "linear" strategy never show it, which is what one would try first.
#
# Seen (places taken, and how many of them the verifier finds off the end of the list):
#   random size=100 bits=1 taken=104 beyond=0
#   random size=100 bits=2 taken=104 beyond=4
#   random size=100 bits=4 taken=104 beyond=4
#   random size=100 bits=8 taken=104 beyond=4
#   random size=1000 bits=2 taken=1000 beyond=0
#   linear size=100 bits=2 taken=100 beyond=0
#
# For an issuer: choose sizes that are multiples of eight. For a verifier: a number off the end is to be told apart from
# a revoked one, since the holder cannot help it.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target python \
  token-status-list==0.1.0a2.dev1 >&2
npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix "$dir" @sd-jwt/jwt-status-list@0.19.0 >&2

cat >issue.py <<'PYTHON'
import json
from token_status_list import IssuerStatusList, NoMoreIndices

for strategy, size, bits in [("random", 100, b) for b in (1, 2, 4, 8)] + [("random", 1000, 2), ("linear", 100, 2)]:
    issued = IssuerStatusList.new(bits, size, strategy)
    taken = []
    try:
        while True:
            taken.append(issued.take())
    except NoMoreIndices:
        pass
    # What is signed in practice; a signature would add nothing to what is shown here.
    token = issued.sign_jwt_payload(alg="RS256", kid="k", iss="https://issuer.example", sub="https://issuer.example/1")
    print(json.dumps({"name": f"{strategy} size={size} bits={bits}", "token": token.decode() + ".", "taken": taken}))
PYTHON

cat >verify.mjs <<'NODE'
import { createInterface } from 'node:readline';
import { getListFromStatusListJWT } from '@sd-jwt/jwt-status-list';

for await (const line of createInterface({ input: process.stdin })) {
  const { name, token, taken } = JSON.parse(line);
  const list = getListFromStatusListJWT(token);
  const isBeyond = (idx) => {
    try {
      return list.getStatus(idx) === undefined;
    } catch {
      return true;
    }
  };
  console.log(`${name} taken=${taken.length} beyond=${taken.filter(isBeyond).length}`);
}
NODE

PYTHONPATH=python python3 issue.py >issued.jsonl
node verify.mjs <issued.jsonl | tee seen

cat >expected <<'TEXT'
random size=100 bits=1 taken=104 beyond=0
random size=100 bits=2 taken=104 beyond=4
random size=100 bits=4 taken=104 beyond=4
random size=100 bits=8 taken=104 beyond=4
random size=1000 bits=2 taken=1000 beyond=0
linear size=100 bits=2 taken=100 beyond=0
TEXT

if ! cmp -s expected seen; then
  echo 'The random strategy no longer hands out places beyond the list as described.' >&2
  exit 1
fi
echo 'As described: four places in 104 are handed out and are not on the list.'
