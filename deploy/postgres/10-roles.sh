#!/usr/bin/env bash
# Makes the two database roles of Bedplate, and the database itself where it is missing:
#
#   the owner    owns the database and everything in it; the migrator signs in as this role
#   the service  may connect and read names, nothing else; `migrator up` gives it SELECT, INSERT, UPDATE
#                and DELETE on the tables when MIGRATOR_GRANT_TO names it
#
# Run by the postgres image when it lies in /docker-entrypoint-initdb.d, or by hand against a server that
# is there already, as a superuser or as a role with CREATEROLE and CREATEDB (psql's own PG* variables say
# where):
#
#   PGHOST=db.example.org PGUSER=postgres PGPASSWORD=... \
#     OWNER_PASSWORD_FILE=owner.txt SERVICE_PASSWORD_FILE=service.txt deploy/postgres/10-roles.sh
#
# Running it again changes nothing but the passwords, which become those given. Needs psql 14 or later.
#
#   BEDPLATE_DATABASE   default: POSTGRES_DB, else bedplate
#   OWNER_ROLE          default: bedplate_owner
#   OWNER_PASSWORD      or OWNER_PASSWORD_FILE; required
#   SERVICE_ROLE        default: bedplate_service
#   SERVICE_PASSWORD    or SERVICE_PASSWORD_FILE; required
set -euo pipefail

# secret NAME: the value of NAME, or what the file that NAME_FILE names holds, exported as NAME.
secret() {
  local file=$1_FILE
  if [ -n "${!file:-}" ]; then
    if [ -n "${!1:-}" ]; then
      echo "roles: both $1 and $file are set; keep one of them" >&2
      exit 1
    fi
    export "$1=$(cat "${!file}")"
  fi
  if [ -z "${!1:-}" ]; then
    echo "roles: set $1 or $file" >&2
    exit 1
  fi
  export "${1?}"
}

# In a subshell, because the image's entrypoint reads a script that is not executable into itself.
(
  secret OWNER_PASSWORD
  secret SERVICE_PASSWORD
  export OWNER_ROLE=${OWNER_ROLE:-bedplate_owner} SERVICE_ROLE=${SERVICE_ROLE:-bedplate_service}
  export BEDPLATE_DATABASE=${BEDPLATE_DATABASE:-${POSTGRES_DB:-bedplate}}
  if [ "${BEDPLATE_ENV:-}" = production ]; then
    case " ${POSTGRES_PASSWORD:-} $OWNER_PASSWORD $SERVICE_PASSWORD " in
      *' postgres-development '* | *' owner-development '* | *' service-development '* | *' CHANGE-ME '*)
        echo 'roles: a password is one that stands in the repository for development; production needs others' >&2
        exit 1
        ;;
    esac
  fi
  # What the image's entrypoint knows the superuser by.
  export PGUSER=${PGUSER:-${POSTGRES_USER:-postgres}}

  # The passwords go through the environment: a command line can be read by every user of the machine.
  exec psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname "${PGDATABASE:-postgres}" <<'END'
\getenv database BEDPLATE_DATABASE
\getenv owner OWNER_ROLE
\getenv owner_password OWNER_PASSWORD
\getenv service SERVICE_ROLE
\getenv service_password SERVICE_PASSWORD

-- The server's log must not show the passwords, whatever it is told to log. Only a superuser may say so.
SELECT format('SET %I = %L', name, value)
  FROM (VALUES ('log_statement', 'none'), ('log_min_duration_statement', '-1'), ('log_min_error_statement', 'panic'))
    AS quiet (name, value)
 WHERE (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) \gexec

SELECT format('CREATE ROLE %I', role)
  FROM (VALUES (:'owner'), (:'service')) AS wanted (role)
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
-- A role that was there before may be more than it should be.
SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
         OR pg_has_role(rolname, :'owner', 'MEMBER') AS too_powerful
  FROM pg_roles WHERE rolname = :'service' \gset
\if :too_powerful
  DO $$ BEGIN RAISE 'the service role existed before and may do more than it should: give SERVICE_ROLE another name'; END $$;
\endif

ALTER ROLE :"owner" LOGIN PASSWORD :'owner_password';
ALTER ROLE :"service" LOGIN PASSWORD :'service_password';

-- Who is no superuser must belong to the owner to hand a database over to it.
SELECT format('GRANT %I TO CURRENT_USER', :'owner')
 WHERE NOT pg_has_role(current_user, :'owner', 'MEMBER') \gexec

SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
SELECT format('ALTER DATABASE %I OWNER TO %I', :'database', :'owner')
  FROM pg_database
 WHERE datname = :'database' AND datdba <> (SELECT oid FROM pg_roles WHERE rolname = :'owner') \gexec

\connect :"database"
-- PUBLIC means every role there is: each that should connect is named instead.
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"service";
-- From PostgreSQL 15 on the schema belongs to the database's owner; before, everybody could create in it.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO :"owner";
REVOKE CREATE ON SCHEMA public FROM :"service";
GRANT USAGE ON SCHEMA public TO :"service";
END
)
