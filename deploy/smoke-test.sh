#!/usr/bin/env bash
# smoke-test.sh [URL] [METRICS_URL]: asks a running service for everything that must answer, and says so.
#
#   deploy/smoke-test.sh                                            http://127.0.0.1:8080
#   SMOKE_PASSWORD_FILE=admin.txt deploy/smoke-test.sh https://bedplate.example.org
#   deploy/smoke-test.sh http://127.0.0.1:8080 http://127.0.0.1:9464/metrics
#
# With the password of an administrator it also signs in, makes a user and takes it away again, writes a
# snapshot of the type `smoke_test` and reads it back, and signs out. Without one it only reads.
#
#   SMOKE_USERNAME   default: admin
#   SMOKE_PASSWORD   or SMOKE_PASSWORD_FILE
#   SMOKE_WAIT       up to so many seconds it waits for the service to be ready first; default: 0
#
# Ends with 0 when every answer is right, else with 1. Needs curl.
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
USERNAME=${SMOKE_USERNAME:-admin}
PASSWORD=${SMOKE_PASSWORD:-}
if [ -n "${SMOKE_PASSWORD_FILE:-}" ]; then PASSWORD=$(<"$SMOKE_PASSWORD_FILE"); fi
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

# ---- Signed in -----------------------------------------------------------------------------------------

# quote TEXT: as a JSON string.
quote() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# field NAME: a text of the JSON of the last answer.
field() { sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p' "$WORK/body" | head -n 1; }

# call NAME STATUS METHOD PATH [BODY]: the same with the token, if there is one. The body and the token go
# through files, because a command line can be read by every user of the machine.
call() {
  local name=$1 status=$2 method=$3 path=$4 body=${5:-} got arguments=()
  CHECKS=$((CHECKS + 1))
  : >"$WORK/body"
  if [ -s "$WORK/token" ]; then arguments+=(--header "@$WORK/token"); fi
  if [ -n "$body" ]; then
    printf '%s' "$body" >"$WORK/request"
    arguments+=(--header 'Content-Type: application/json' --data-binary "@$WORK/request")
  fi
  got=$(curl --silent --max-time 10 --output "$WORK/body" --write-out '%{http_code}' --request "$method" \
    ${arguments[@]+"${arguments[@]}"} "$BASE$path" || true)
  rm -f "$WORK/request"
  if [ "$got" = "$status" ]; then
    pass "$name: $method ${path%%\?*} $got"
    return 0
  fi
  fail "$name: $method $path" "status $got instead of $status; $(head -c 300 "$WORK/body" | tr '\n' ' ')"
  return 1
}

signed_in() {
  local user source now id
  umask 077
  call 'signing in' 200 POST /api/v1/auth/login \
    "{\"username\":$(quote "$USERNAME"),\"password\":$(quote "$PASSWORD")}" || return 0
  printf 'Authorization: Bearer %s\n' "$(field token)" >"$WORK/token"
  call 'who that is' 200 GET /api/v1/auth/whoami || true
  user=smoke-test-$(od -An -N 6 -tx1 /dev/urandom | tr -d ' \n')
  if call 'a new user' 201 POST /api/v1/users "{\"username\":\"$user\",\"password\":\"$user-password\",\"is_test_user\":true}"; then
    id=$(field id)
    call 'the user again' 200 GET "/api/v1/users/$id" || true
    call 'the user is taken away' 204 DELETE "/api/v1/users/$id" || true
  fi
  # The source is new each time, so that what is read is what was written.
  source=$user now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  if call 'a snapshot' 200 POST /api/v1/metrics/snapshots \
    "{\"items\":[{\"timestamp\":\"$now\",\"source\":\"$source\",\"metric_type\":\"smoke_test\",\"metric_data\":{\"value\":42}}]}"; then
    call 'the snapshot again' 200 GET "/api/v1/metrics/snapshots?metric_type=smoke_test&source=$source" || true
    if ! grep -qE '"value" *: *42' "$WORK/body"; then fail 'the snapshot again' "it is not in $(head -c 300 "$WORK/body")"; fi
  fi
  call 'signing out' 204 POST /api/v1/auth/logout || true
  call 'the token is over' 401 GET /api/v1/auth/whoami || true
}

if [ -n "$PASSWORD" ]; then signed_in; else echo 'not signed in: SMOKE_PASSWORD is not set'; fi

if [ "$FAILURES" -gt 0 ]; then
  echo "$FAILURES of $CHECKS checks failed"
  exit 1
fi
echo "all $CHECKS checks passed"
