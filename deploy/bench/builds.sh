# shellcheck shell=bash disable=SC2034,SC2154 # shared with run.sh
# builds.sh: the programs that are measured, and the one that measures.

need_wrk() {
  if command -v wrk >/dev/null; then return; fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say 'installing wrk with apt-get'
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends wrk </dev/null >&2 ||
      { apt-get update -q && apt-get install -y -q --no-install-recommends wrk; } </dev/null >&2 || true
  fi
  command -v wrk >/dev/null || die 'wrk is not installed (Debian, Ubuntu: sudo apt-get install wrk)'
}

build() {
  say 'building the release'
  (cd "$repository" && cargo build --release --locked --package migrator --package service >&2)
  # As an example of its package it would build the service again, with all that the tests need.
  mkdir -p "$target/bench"
  logins_program=$target/bench/logins
  rustc --edition 2024 -C opt-level=3 -o "$logins_program" "$repository/service/examples/logins.rs"
}

# Both peers are built outside of their folder. Into $axum_program and $fastapi_python what could be.
build_peers() {
  local cache=$target/bench log=$target/bench/build.log
  axum_program='' fastapi_python=''
  if [ ! -d "$PEERS" ]; then
    say 'there is no folder of peer servers (PEERS): measuring without them'
    return
  fi
  mkdir -p "$cache"
  if [ -f "$PEERS/axum-sqlx/Cargo.toml" ]; then
    say 'building the peer axum'
    if (cd / && CARGO_TARGET_DIR=$cache/axum cargo build --release --locked \
      --manifest-path "$PEERS/axum-sqlx/Cargo.toml") >"$log" 2>&1; then
      axum_program=$cache/axum/release/axum-sqlx-peer
    else
      say "the peer axum cannot be built, going on without it: $(tail -n 1 "$log")"
    fi
  fi
  if [ -f "$PEERS/fastapi/requirements.txt" ]; then
    say 'installing the peer FastAPI'
    # Its compiled modules would otherwise be written beside its source.
    export PYTHONPYCACHEPREFIX=$cache/pycache
    if install_fastapi "$cache/fastapi" >"$log" 2>&1; then
      fastapi_python=$cache/fastapi/bin/python
    else
      say "the peer FastAPI cannot be installed, going on without it: $(tail -n 1 "$log")"
    fi
  fi
}

# install_fastapi FOLDER: a virtual environment, made once for a list of requirements.
install_fastapi() {
  local wanted=$PEERS/fastapi/requirements.txt
  if cmp -s "$wanted" "$1/installed.txt"; then return; fi
  python3 -c 'import sys; sys.exit("it needs Python 3.11" if sys.version_info < (3, 11) else 0)' &&
    python3 -m venv --clear "$1" &&
    timeout 300 "$1/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" &&
    cp "$wanted" "$1/installed.txt"
}
