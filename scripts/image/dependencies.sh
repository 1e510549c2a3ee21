#!/bin/sh
# Second stage of the image: what the server needs to run, and nothing else.
set -eu
npm ci --omit=dev --ignore-scripts --no-audit --no-fund
