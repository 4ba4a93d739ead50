#!/bin/sh
# run.sh SCRIPT [ARGS...]: runs a TypeScript file of this checkout with the pinned Node, on a machine that has
# nothing but some Node and npm. Installs the locked npm packages first if they are not there yet.
set -eu
cd "$(dirname "$0")/.."
case "$(uname -m)" in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *)
  echo "sealet runs on x86_64 and aarch64 machines; this one is $(uname -m)." >&2; exit 1 ;; esac
lock=$(cksum < package-lock.json)
stamp=node_modules/.sealet-lock
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$lock" ]; then
  echo "Installing the locked npm packages (about 500 MB, once) ..." >&2
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 || {
    echo "npm ci failed. It needs the npm registry and about 1 GB of free disk space here: $(pwd)." >&2; exit 1; }
  echo "$lock" > "$stamp"
fi
PATH="$(pwd)/node_modules/node-linux-$arch/bin:$PATH"
export PATH
exec node --disable-warning=ExperimentalWarning "$@"
