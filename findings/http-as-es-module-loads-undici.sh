#!/usr/bin/env bash
# A server that imports node:http as an ES module loads an HTTP client that it never uses.
#
# Package: node 24.21.0 (npm).
#
# node:http has exports that are loaded when they are first touched; one of them, WebSocket, is in undici, node's own copy of
# an HTTP client of half a megabyte. As an ES module, node:http is given all of its exports a value at the first import,
# whichever of them were named. So `import { createServer } from 'node:http'` touches each, and undici is compiled and run
# at every start. `require('node:http')` and `process.getBuiltinModule('node:http')` touch none. The import need not be one's own:
# one ES module among the dependencies is enough.
#
# Seen:
#   nothing imported: undici is not loaded
#   require: undici is not loaded
#   getBuiltinModule: undici is not loaded
#   import of one name: undici is loaded
#
# For whoever counts the milliseconds of a start: some 40 of CPU time where it was measured, a tenth of a small server's
# start. A bundle that asks for node:http by getBuiltinModule or require has them back.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

npm install --silent --no-audit --no-fund --no-save --prefix "$dir" node@24.21.0 >&2

say="console.log(process.moduleLoadList.some((name) => name.endsWith('internal/deps/undici/undici')) ? 'undici is loaded' : 'undici is not loaded');"
echo "$say" >nothing.mjs
echo "require('node:http'); $say" >require.cjs
echo "process.getBuiltinModule('node:http'); $say" >builtin.mjs
echo "import { createServer } from 'node:http'; $say" >import.mjs

{
  echo "nothing imported: $(node_modules/.bin/node nothing.mjs)"
  echo "require: $(node_modules/.bin/node require.cjs)"
  echo "getBuiltinModule: $(node_modules/.bin/node builtin.mjs)"
  echo "import of one name: $(node_modules/.bin/node import.mjs)"
} | tee seen

cat >expected <<'TEXT'
nothing imported: undici is not loaded
require: undici is not loaded
getBuiltinModule: undici is not loaded
import of one name: undici is loaded
TEXT

if ! cmp -s expected seen; then
  echo 'What an import of node:http loads is no longer the same.' >&2
  exit 1
fi
echo 'As described: the import loads undici, the others do not.'
