//! The examples below the help of each command. A test parses every one of them.

pub(super) const ALL: &str = "Examples:
  migrator                      apply everything that is pending
  migrator up --to 3            apply up to and with version 3
  migrator down                 take the newest migration back
  migrator plan --check         show what up would do; exit code 73 when that is something
  migrator status --format json  what is applied and pending, for a script
  migrator wait --for schema    return when another migrator has done its work
  migrator rehearse             try every migration and its undo in a scratch database
  migrator check                say whether somebody else has changed the schema
  migrator backup before.dump   copy the database while it is in use
  migrator --migrations db/migrations plan
                                what up would do with the files of a project of yours, named as sqlx,
                                golang-migrate, dbmate, goose, Flyway or refinery name them

Exit codes:
  0 done, or nothing to do   2 bad usage   65 the schema is not one this release may touch
  69 database unreachable   70 a migration's SQL failed
  73 drift, a finding of lint, or something pending (check, plan --check)
  75 lock not won, timed out or stopped   78 bad settings, and what only a person can mend";

pub(super) const UP: &str = "Examples:
  migrator up
  migrator up --to 3                         no further than version 3
  migrator up --out-of-order                 also what came late, from a branch that was merged
  migrator up --backup-cmd 'migrator backup /backups/before-$RESTORE_POINT_TO-$(date +%s).dump'
                                             under a new name each time: no backup is overwritten
  migrator up --grant-to service --deadline 10m";

pub(super) const DOWN: &str = "Examples:
  migrator down                 the newest
  migrator down --steps 2       the two newest
  migrator down --to 3          everything above version 3
  migrator down --to 0          everything";

pub(super) const PLAN: &str = "Examples:
  migrator plan                 what up would do
  migrator plan --check         the same; exit code 73 when that is something
  migrator plan down --to 3     what would be taken back
  migrator plan --format json   for a machine";

pub(super) const LINT: &str = "Examples:
  migrator lint                 all that this program knows
  migrator lint --dialect postgres V7__add_colour.sql
  migrator lint --exclude prefer-bigint-over-int --sarif";

pub(super) const STATUS: &str = "Examples:
  migrator status
  migrator status --format json";

pub(super) const HISTORY: &str = "Examples:
  migrator history
  migrator history --format json";

pub(super) const STAMP: &str = "Examples:
  migrator stamp 3              versions 1 to 3 are there; nothing is run
  migrator stamp 0              none is";

pub(super) const IMPORT_HISTORY: &str = "Examples:
  migrator import-history --migrations db/migrations --dry-run   what would be recorded
  migrator import-history --migrations db/migrations             records it
  migrator import-history --migrations db --at 1                 of Alembic: version 1 is what is there";

pub(super) const REPAIR: &str = "Examples:
  migrator repair               show what differs, and ask
  migrator repair 3 --yes       record version 3 as its file is now
  migrator repair --forget 4    version 4 has no file and nothing of it is left

The way out of what `up` refuses with exit code 65:
  a file was changed after it was applied   restore it, or repair
  a file got another version or name        repair
  a file came late, from another branch     up --out-of-order, or give it a higher version
  a file is missing                         bring it back, down, or repair --forget
Exit code 65 when something is left.";

pub(super) const NEW: &str = "Examples:
  migrator new add_team_to_users
  migrator new add_team --autogenerate --rename users.mail=email";

pub(super) const DUMP: &str = "Examples:
  migrator dump";

pub(super) const REHEARSE: &str = "Examples:
  migrator rehearse
  migrator rehearse --pending   only what the database does not have yet";

pub(super) const CHECK: &str = "Examples:
  migrator check
  migrator check --against-scratch";

pub(super) const BACKUP: &str = "Examples:
  migrator backup backups/monday.dump
  migrator backup --backup-timeout 3h backups/monday.dump

PostgreSQL needs pg_dump and pg_restore on the PATH, not older than the server.";

pub(super) const RESTORE: &str = "Examples:
  migrator restore backups/monday.dump               into an empty database
  migrator restore backups/monday.dump --replace     asks first
  migrator restore backups/monday.dump --replace --yes

PostgreSQL needs pg_restore and psql on the PATH, and the roles that the backup gives rights to.";

pub(super) const RESET: &str = "Examples:
  migrator reset                asks first
  migrator reset --yes";

pub(super) const WAIT: &str = "Examples:
  migrator wait                 until the migrations of this release are applied
  migrator wait --for database --timeout 2m";

pub(super) const CHECK_CONFIG: &str = "Examples:
  migrator check-config";

pub(super) const COMPLETIONS: &str = "Examples:
  migrator completions bash     into /etc/bash_completion.d/migrator
  migrator completions zsh      into a folder of $fpath, as _migrator
  migrator completions fish     into ~/.config/fish/completions/migrator.fish";

pub(super) const MAN: &str = "Examples:
  migrator man                  the page, for man -l -
  migrator man --folder man1    that page and one for each command";
