#!/usr/bin/env bash
# Writes a dump into BACKUP_FOLDER, reads it back, and removes those older than BACKUP_RETENTION_DAYS.
# The database comes from libpq's own variables (PGSERVICE and PGSERVICEFILE here).
set -euo pipefail

folder=${BACKUP_FOLDER:?}
days=${BACKUP_RETENTION_DAYS:?}
dump=$folder/bedplate-$(date --utc +%Y%m%dT%H%M%SZ).dump

# Under another name until it is whole: what ends in .dump can be restored.
trap 'rm -f "$dump.partial"' EXIT
pg_dump --format=custom --compress=6 --lock-wait-timeout=60s --file="$dump.partial"
tables=$(pg_restore --list "$dump.partial" | grep --count ' TABLE DATA ')
# Reads every row of it, and writes them nowhere.
pg_restore --file=/dev/null "$dump.partial"
sync "$dump.partial"
mv "$dump.partial" "$dump"
echo "wrote $dump: $(stat --format=%s "$dump") bytes, the rows of $tables tables"

# Only once there is a new one, so that a database that cannot be dumped any more does not cost the last dump.
find "$folder" -maxdepth 1 -name 'bedplate-*.dump' -mtime "+$days" -print -delete
find "$folder" -maxdepth 1 -name 'bedplate-*.dump.partial' -mtime +1 -print -delete
ls -l "$folder"
