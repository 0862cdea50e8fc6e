# shellcheck shell=bash
# psql.sh: what scripts that call psql with somebody's URL share. It is sourced.

# without_password URL: the URL without its password into $REPLY, and that into PGPASSWORD: every user of the machine
# can read arguments.
without_password() {
  REPLY=$1
  if [[ $1 =~ ^([a-z+]+://[^:@/?]*):([^@/]*)@(.*)$ ]]; then
    REPLY=${BASH_REMATCH[1]}@${BASH_REMATCH[3]}
    # %40 becomes @.
    printf -v PGPASSWORD '%b' "${BASH_REMATCH[2]//%/\\x}"
    export PGPASSWORD
  fi
}
