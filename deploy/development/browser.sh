#!/usr/bin/env bash
# browser.sh: a Chromium and the chromedriver that belongs to it, for tests that open a page.
#
#   find             prints the paths of both; where one is missing, says how the tests that need them
#                    are run, and fails
#   install          the same, but lets apt-get install what is missing, if that is possible without a
#                    password
#   run COMMAND...   installs what is missing and becomes COMMAND, which sees
#                      TEST_CHROMIUM, TEST_CHROMEDRIVER   their paths
#   try COMMAND...   installs nothing; where one is missing COMMAND sees
#                      TEST_BROWSER=skip                  tests in a browser say so and pass
#
# They come from TEST_CHROMIUM and TEST_CHROMEDRIVER, PATH or the usual places.
#
# `install` and `run` also bring axe-core, which looks for what keeps people from using a page, from the npm
# registry (npm or curl) into target/axe-core. Where it cannot be had, that check says so and is skipped;
# COMMAND sees TEST_AXE, the path of its file, where it is there.
set -euo pipefail
export LC_ALL=C

SELF=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$(basename "${BASH_SOURCE[0]}")

# A release and the SHA-256 of the one file that is taken out of it.
AXE_VERSION=4.14.1
AXE_SHA256=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
AXE_FILE=$(dirname "$SELF")/../../target/axe-core/axe-$AXE_VERSION.min.js

say() { printf 'browser: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}
usage() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$SELF" >&2
  exit 2
}

# first_program NAME...: the path of the first that is there, or failure. An empty name is passed over.
first_program() {
  local name
  for name in "$@"; do
    if [ -n "$name" ] && command -v "$name"; then return; fi
  done
  return 1
}

# find_browser: sets CHROMIUM and CHROMEDRIVER, or fails.
find_browser() {
  CHROMIUM=$(first_program "${TEST_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable \
    '/Applications/Chromium.app/Contents/MacOS/Chromium' \
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome') || return 1
  CHROMEDRIVER=$(first_program "${TEST_CHROMEDRIVER:-}" chromedriver /usr/lib/chromium/chromedriver \
    /usr/lib/chromium-browser/chromedriver) || return 1
}

install_browser() {
  local become=()
  if [ "$(id -u)" != 0 ]; then become=(sudo -n); fi
  if ! command -v apt-get >/dev/null || ! ${become[@]+"${become[@]}"} true 2>/dev/null; then
    die "Chromium or chromedriver is missing. Install both (Debian: sudo apt-get install chromium" \
      "chromium-driver; Fedora: sudo dnf install chromium chromedriver; macOS: brew install --cask chromium" \
      "chromedriver) or set TEST_CHROMIUM and TEST_CHROMEDRIVER to their paths"
  fi
  say "installing Chromium and chromedriver with apt-get"
  become+=(env DEBIAN_FRONTEND=noninteractive)
  "${become[@]}" apt-get update -q </dev/null >&2 || say "apt-get update failed, going on with the lists there are"
  # Without its sandbox Chromium runs as root only, where it has none.
  "${become[@]}" apt-get install -y -q --no-install-recommends chromium chromium-driver chromium-sandbox </dev/null >&2 ||
    die "apt-get could not install the packages chromium, chromium-driver and chromium-sandbox (see above)"
  find_browser || die "the packages chromium, chromium-driver and chromium-sandbox brought no programs"
}

sha256_of() {
  if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

has_axe() { [ -f "$AXE_FILE" ] && [ "$(sha256_of "$AXE_FILE")" = "$AXE_SHA256" ]; }

# download_axe FOLDER: fetches the package into it, with the client of the registry where there is one.
download_axe() {
  if command -v npm >/dev/null && (cd "$1" && timeout 60 npm pack --silent "axe-core@$AXE_VERSION" >/dev/null 2>&1); then
    return
  fi
  command -v curl >/dev/null || return 1
  curl --fail --silent --location --max-time 60 --output "$1/axe-core-$AXE_VERSION.tgz" \
    "https://registry.npmjs.org/axe-core/-/axe-core-$AXE_VERSION.tgz"
}

# fetch_axe: has the file, or says why not.
fetch_axe() {
  if has_axe; then return; fi
  local folder
  folder=$(mktemp -d)
  if ! download_axe "$folder" || ! tar -xzf "$folder/axe-core-$AXE_VERSION.tgz" -C "$folder" package/axe.min.js; then
    say "!!! axe-core $AXE_VERSION cannot be had from the npm registry: the check of what keeps people from" \
      "using the pages is SKIPPED"
  elif [ "$(sha256_of "$folder/package/axe.min.js")" != "$AXE_SHA256" ]; then
    rm -rf "$folder"
    die "what the npm registry has as axe-core $AXE_VERSION is not what was reviewed: its checksum is another"
  else
    mkdir -p "$(dirname "$AXE_FILE")"
    mv "$folder/package/axe.min.js" "$AXE_FILE"
  fi
  rm -rf "$folder"
}

print_browser() { printf '%s\n' "$CHROMIUM" "$CHROMEDRIVER"; }

become_command() {
  export TEST_CHROMIUM=$CHROMIUM TEST_CHROMEDRIVER=$CHROMEDRIVER
  unset TEST_AXE
  if has_axe; then export TEST_AXE=$AXE_FILE; fi
  exec "$@"
}

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
  find)
    [ $# -eq 0 ] || usage
    find_browser || die "!!! Chromium or chromedriver is missing: the tests in a browser are SKIPPED." \
      "\`make test-browser\` runs them and installs what they need"
    print_browser
    ;;
  install)
    [ $# -eq 0 ] || usage
    find_browser || install_browser
    fetch_axe
    print_browser
    ;;
  run)
    [ $# -ge 1 ] || usage
    find_browser || install_browser
    fetch_axe
    become_command "$@"
    ;;
  try)
    [ $# -ge 1 ] || usage
    if find_browser; then become_command "$@"; fi
    unset TEST_CHROMIUM TEST_CHROMEDRIVER
    export TEST_BROWSER=skip
    exec "$@"
    ;;
  *) usage ;;
esac
