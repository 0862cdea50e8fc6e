#!/usr/bin/env bash
# sweep-secrets.sh FOLDER [all]: looks for every secret that the tests used in everything that was said
# meanwhile: logs, programs' output, spans, bodies of errors, rows of audit_event and idempotency_key.
# Fails when one is found, naming the file and the line and never the secret. With `all`, after the whole
# suite, it fails too where something of these is missing, because then nothing was looked at.
#
# foundation::testing::evidence writes the folder: secrets/* and said/*.KIND.
set -euo pipefail
export LC_ALL=C

say() { printf 'sweep-secrets: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

[ $# -ge 1 ] || die "say in which folder: sweep-secrets.sh FOLDER [all]"
folder=$1
secrets=$folder/all-secrets
trap 'rm -f "$secrets"' EXIT

count() { find "$folder/said" -name "*.$1" -exec cat {} + 2>/dev/null | wc -l; }

mkdir -p "$folder/secrets" "$folder/said"
find "$folder/secrets" -type f -exec cat {} + | sort -u >"$secrets"
found=0
told="$(wc -l <"$secrets") secrets"
[ -s "$secrets" ] || [ "${2:-}" != all ] || die "the tests kept no secret"
for kind in log program error spans tables; do
  lines=$(count "$kind")
  told="$told, $lines lines of $kind"
  [ "$lines" -gt 0 ] || [ "${2:-}" != all ] || die "the tests kept nothing of the kind $kind"
done
if [ -s "$secrets" ]; then
  # The lines themselves stay where they are: they hold a secret.
  places=$(grep -rnaFf "$secrets" "$folder/said" | cut -d: -f1,2 || true)
  if [ -n "$places" ]; then
    printf '%s\n' "$places" | head -n 50 >&2
    found=1
  fi
fi
[ "$found" = 0 ] || die "secrets were told in the places above ($told)"
say "none of $told tells a secret"
