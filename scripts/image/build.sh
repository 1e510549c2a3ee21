#!/bin/sh
# First stage of the image: everything, bundled. Install scripts stay off: the image brings Node, bcrypt its binaries.
set -eu
npm ci --ignore-scripts --no-audit --no-fund
node scripts/build.ts
