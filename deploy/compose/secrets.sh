#!/usr/bin/env bash
# secrets.sh: makes the secrets of docker-compose.yml at its first `up`, and finds them made at each later one.
# It runs in the postgres image, which has a shell; the images of Bedplate have none.
#
#   docker compose run --rm secrets show admin-password     prints one
#   docker compose run --rm secrets list                    says who reads which
#
# Each program has a volume of its own with the files that it reads, and sees no other's. A secret that is
# there is never changed; one that several read is copied from the first to the next.
set -euo pipefail
umask 077

FOLDER=${SECRETS_FOLDER:-/secrets}

# READER OWNER NAME...: the folder below FOLDER, the user who reads it, the files.
readers() {
  cat <<'END'
postgres postgres superuser-password owner-password service-password
migrator 65532 owner-password admin-password
service 65532 service-password auth-secret
backup postgres owner-password
grafana 472 grafana-password
END
}

die() {
  echo "secrets: $*" >&2
  exit 1
}

# make NAME: a new secret, shorter where a person types it.
make() {
  case $1 in
    admin-password | grafana-password) od -An -N 12 -tx1 /dev/urandom | tr -d ' \n' | sed 's/\(......\)/\1-/g; s/-$//' ;;
    *) od -An -N 32 -tx1 /dev/urandom | tr -d ' \n' ;;
  esac
}

# find_secret NAME: the file that has it already, of whichever reader.
find_secret() {
  local file
  for file in "$FOLDER"/*/"$1"; do
    if [ -s "$file" ]; then
      printf '%s\n' "$file"
      return
    fi
  done
  return 1
}

# write NAME FILE OWNER: whole or not at all, and only for its reader.
write() {
  local found
  if found=$(find_secret "$1"); then cp "$found" "$2.new"; else make "$1" >"$2.new"; fi
  chown "$3" "$2.new"
  chmod 400 "$2.new"
  mv "$2.new" "$2"
}

ensure() {
  local reader owner names name
  while read -r reader owner names; do
    [ -d "$FOLDER/$reader" ] || die "the volume of $reader is not at $FOLDER/$reader"
    for name in $names; do
      [ -s "$FOLDER/$reader/$name" ] || write "$name" "$FOLDER/$reader/$name" "$owner"
    done
    # So that the reader may enter.
    chmod 755 "$FOLDER/$reader"
  done < <(readers)
  # The backup's program is not root, and the volume of a backup is made as root's.
  if [ -d /backups ]; then chown postgres /backups; fi
}

case ${1:-ensure} in
  ensure) ensure ;;
  show)
    [ $# -eq 2 ] || die 'say which: secrets show admin-password'
    file=$(find_secret "$2") || die "there is no $2 yet; docker compose up makes it"
    cat "$file"
    echo
    ;;
  list) readers | awk '{ for (i = 3; i <= NF; i++) print $i "\tread by " $1 }' | sort | expand -t 22 ;;
  *) die "unknown: $1; it is ensure, show NAME or list" ;;
esac
