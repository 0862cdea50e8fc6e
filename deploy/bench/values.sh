# shellcheck shell=bash disable=SC2154 # run.sh sets $work
# values.sh: what was measured, kept as one file of numbers for each key, and the cells made of it.

# record KEY NUMBER...
record() {
  local key=$1
  shift
  printf '%s\n' "$@" >>"$work/values/$key"
}

# value KEY least|median|p99|most|sum [DECIMALS]: – where nothing was recorded.
value() {
  if [ ! -s "$work/values/$1" ]; then
    printf '–'
    return
  fi
  sort -g "$work/values/$1" | awk -v how="$2" -v form="%.${3:-0}f" '
    { value[NR] = $1; sum += $1 }
    END {
      if (how == "sum") result = sum
      else if (how == "least") result = value[1]
      else if (how == "most") result = value[NR]
      else if (how == "p99") result = value[int((NR * 99 + 99) / 100)]
      else result = (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2
      printf form, result
    }'
}

# ratio A B: A / B with two decimals, – where one of them is missing.
ratio() {
  case "$1$2" in
    *–*) printf '–' ;;
    *) awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else printf "–" }' ;;
  esac
}

# aim NUMBER OPERATOR LIMIT: whether the number is as it should be, as a cell of a table.
aim() {
  local sign='≤' verdict=no
  case $2 in '>=') sign='≥' ;; '<') sign='<' ;; esac
  if [ "$1" = – ]; then
    verdict='not measured'
  elif awk -v a="$1" -v how="$2" -v b="$3" 'BEGIN {
      exit !(how == ">=" ? a >= b : how == "<" ? a < b : a <= b) }'; then
    verdict=yes
  fi
  printf '%s %s: %s' "$sign" "$3" "$verdict"
}

# heading TITLE: the line above a table.
heading() { printf '\n**%s**\n\n' "$1"; }

# row CELL...: one line of a table.
row() {
  printf '|'
  printf ' %s |' "$@"
  printf '\n'
}
