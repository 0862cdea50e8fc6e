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
set -euo pipefail
export LC_ALL=C

SELF=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$(basename "${BASH_SOURCE[0]}")

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

print_browser() { printf '%s\n' "$CHROMIUM" "$CHROMEDRIVER"; }

become_command() {
  export TEST_CHROMIUM=$CHROMIUM TEST_CHROMEDRIVER=$CHROMEDRIVER
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
    print_browser
    ;;
  run)
    [ $# -ge 1 ] || usage
    find_browser || install_browser
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
