#!/usr/bin/env bash
# A software bill of materials that leaves out what is delivered.
#
# Package: npm 11.19.1 (also seen with 10.9.4).
#
# `npm sbom --omit dev` is asked for the packages that a production installation has. A package that the project depends
# on, and that one of its development dependencies depends on as well, is not in the answer, in CycloneDX or in SPDX,
# although `npm ls --omit dev` lists it and `npm install --omit=dev` installs it. Without that development dependency the
# same package is in the answer. npm says nothing of it and ends with 0. So the more a project's tools share with the
# project, the more is missing, and the libraries that everybody uses are missing first.
#
# Seen, for a project that depends on ms 2.1.3:
#   alone: ms
#   with debug 4.4.3, which depends on ms, for development: nothing
#   installed without development dependencies: ms
#   listed by npm ls --omit dev: ms
#
# For whoever delivers an SBOM: compare it with `npm ls --omit dev --all`, or make it from what was built.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix "$dir/tool" npm@11.19.1 >&2
npm() { node "$dir/tool/node_modules/npm/bin/npm-cli.js" "$@"; }
names() { node -e 'let text = ""; process.stdin.on("data", (part) => { text += part; }).on("end", () =>
  console.log((JSON.parse(text).components ?? []).map(({ name }) => name).join(" ") || "nothing"));'; }

mkdir project && cd project
echo '{ "name": "project", "version": "1.0.0", "dependencies": { "ms": "2.1.3" } }' >package.json
npm install --silent --no-audit --no-fund >&2
{
  echo "alone: $(npm sbom --omit dev --sbom-format cyclonedx | names)"
  npm install --silent --no-audit --no-fund --save-dev --save-exact debug@4.4.3 >&2
  echo "with debug for development: $(npm sbom --omit dev --sbom-format cyclonedx | names)"
  npm install --silent --no-audit --no-fund --omit=dev >&2
  echo "installed without development dependencies: $(ls node_modules | tr '\n' ' ' | sed 's/ $//')"
  echo "listed by npm ls: $(npm ls --omit dev --all --parseable | tail -n +2 | xargs -n1 basename)"
} | tee ../seen

cat >../expected <<'TEXT'
alone: ms
with debug for development: nothing
installed without development dependencies: ms
listed by npm ls: ms
TEXT

if ! cmp -s ../expected ../seen; then
  echo 'npm sbom no longer leaves out what a development dependency needs too.' >&2
  exit 1
fi
echo 'As described: what is installed in production is not in the bill of materials.'
