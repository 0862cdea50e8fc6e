#!/usr/bin/env bash
# smoke-test.sh [URL] [METRICS_URL]: asks a running service for everything that must answer, and says so.
#
#   deploy/smoke-test.sh                                            http://127.0.0.1:8080
#   deploy/smoke-test.sh https://bedplate.example.org
#   deploy/smoke-test.sh http://127.0.0.1:8080 http://127.0.0.1:9464/metrics
#
# It only reads. Ends with 0 when every answer is right, else with 1. SMOKE_WAIT=30 waits up to 30 seconds
# for the service to be ready first. Needs curl.
set -euo pipefail

case ${1:-} in -h | --help)
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$0"
  exit
  ;;
esac
command -v curl >/dev/null || {
  echo 'smoke-test: curl is not installed' >&2
  exit 1
}

BASE=${1:-http://127.0.0.1:8080}
BASE=${BASE%/}
METRICS=${2:-}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
CHECKS=0
FAILURES=0

pass() { printf 'ok    %s\n' "$1"; }
fail() {
  FAILURES=$((FAILURES + 1))
  printf 'FAIL  %s: %s\n' "$1" "$2"
}

# fetch URL: the status on stdout (000: no answer), the headers and the body in $WORK.
fetch() {
  : >"$WORK/headers"
  : >"$WORK/body"
  curl --silent --max-time 5 --compressed --output "$WORK/body" --dump-header "$WORK/headers" \
    --write-out '%{http_code}' "$1" || true
}

# header NAME: its value in the last answer.
header() { tr -d '\r' <"$WORK/headers" | awk -F': ' -v name="$1" 'tolower($1) == name { print $2; exit }'; }

# expect STATUS CONTENT_TYPE BODY PATH_OR_URL: the last two as the start of the type and as a regular
# expression that the body holds; empty means anything.
expect() {
  local status=$1 type=$2 body=$3 url=$4 name=$4 got
  case $url in /*) url=$BASE$url ;; esac
  CHECKS=$((CHECKS + 1))
  got=$(fetch "$url")
  if [ "$got" = 000 ]; then
    fail "$name" 'no answer within 5 s'
  elif [ "$got" != "$status" ]; then
    fail "$name" "status $got instead of $status; $(head -c 300 "$WORK/body" | tr '\n' ' ')"
  elif [[ $(header content-type) != "$type"* ]]; then
    fail "$name" "content type '$(header content-type)' instead of $type"
  elif [ -n "$body" ] && ! grep -qE -- "$body" "$WORK/body"; then
    fail "$name" "the body does not hold $body; it is $(head -c 300 "$WORK/body" | tr '\n' ' ')"
  else
    pass "$name $got"
    return 0
  fi
  return 1
}

# assets_of_docs: the addresses of scripts and styles that the page of the last answer loads, as paths.
assets_of_docs() {
  grep -oE '<(script|link)[^>]*(src|href)="[^"]+"' "$WORK/body" | sed -E 's/.*(src|href)="([^"]+)".*/\2/' |
    while read -r path; do
      case $path in
        *://* | //*) printf 'elsewhere %s\n' "$path" ;;
        data:*) ;;
        /*) printf 'here %s\n' "$path" ;;
        *) printf 'here /%s\n' "${path#./}" ;;
      esac
    done | sort -u
}

echo "$BASE"
for ((second = 0; second < ${SMOKE_WAIT:-0}; second++)); do
  [ "$(fetch "$BASE/readyz")" != 200 ] || break
  sleep 1
done

expect 200 '' '' /livez || true
expect 200 '' '' /startupz || true
expect 200 '' '' /readyz || true
expect 200 application/json '"status" *: *"healthy"' /health || true
expect 200 application/json '"database" *: *"connected"' /health/db || true
expect 200 application/json '"openapi" *: *"3' /openapi.json || true
expect 200 '' '^openapi: *.?3' /openapi.yaml || true
expect 200 text/html 'Bedplate' / || true
expect 404 application/problem+json '"status" *: *404' /there-is-no-such-page || true

if expect 200 text/html '[Ss]wagger' /docs; then
  assets_of_docs >"$WORK/assets"
  if ! grep -q '^here .*\.js' "$WORK/assets"; then fail /docs 'the page loads no script from this server'; fi
  while read -r where path; do
    if [ "$where" = elsewhere ]; then
      fail /docs "the page loads $path from another server"
      continue
    fi
    expect 200 '' . "$path" || true
  done <"$WORK/assets"
fi

if [ -n "$METRICS" ]; then expect 200 '' '^# TYPE ' "$METRICS" || true; fi

if [ "$FAILURES" -gt 0 ]; then
  echo "$FAILURES of $CHECKS checks failed"
  exit 1
fi
echo "all $CHECKS checks passed"
