#!/usr/bin/env bash
# Runs a workflow on a daemon that is killed in the middle of it, and verifies that
# nothing was lost and nothing done twice. Takes the binary as its argument.
set -euo pipefail
wfd=$(realpath "${1:-bin/wfd}")
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
pid=
cleanup() {
  if [ -n "$pid" ]; then kill -9 "$pid" 2>/dev/null || true; fi
  rm -rf "$tmp"
}
trap cleanup EXIT
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '\n== %s\n' "$*"; }
fail() { echo "demo: $*" >&2; cat "$tmp"/log* >&2; exit 1; }
unset WFD_DATA WFD_TOKEN WFD_CONFIG WFD_REPLIES WFD_OUTPUT
export WFD_ADDR=

start() {
  rm -f "$tmp/url" # else the address of the daemon before may be read
  "$wfd" serve --data "$tmp/data" --addr 127.0.0.1:0 --replies "$here/replies.yaml" >"$tmp/url" 2>>"$tmp/log" &
  pid=$!
  until_true "the daemon answers" test -s "$tmp/url"
  WFD_ADDR=$(cat "$tmp/url")
  until_true "the daemon is ready" "$wfd" ls -o json
}
until_true() {
  local what=$1; shift
  for _ in $(seq 200); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.05; done
  fail "waited in vain: $what"
}
count() { "$wfd" events "$id" -o ndjson --kind "$1" --jq "select($2).seq" | wc -l; }
has() { [ "$(count "$1" "$2")" -gt 0 ]; }

say "A daemon on an empty directory, with scripted answers instead of models"
start
echo "$WFD_ADDR"

say "Register a workflow: two researchers at once, a draft, a review loop, a person"
"$wfd" workflow apply "$here/release.yaml"

say "Start a run"
id=$("$wfd" run release-note --input '{"product":"wfd"}' --label demo=yes | cut -f1)
echo "$id"

say "The first attempt at the draft fails; while the second is under way: kill -9"
until_true "the draft is tried again" has node.started '.data.node == "draft" and .data.attempt == 2'
kill -9 "$pid"
wait "$pid" 2>/dev/null || true
echo "killed process $pid"
pid=

say "Another daemon on the same directory takes the run up"
start
until_true "the run asks a person" has input.requested true
"$wfd" inbox

say "An answer that does not fit the form is refused, one that does is taken"
if "$wfd" answer "$id" '{"approved": "perhaps"}'; then fail "a wrong answer was taken"; fi
"$wfd" answer "$id" '{"approved": true}' --wait --timeout 20s

say "Everything that happened is in the log"
"$wfd" events "$id"

say "So the state at any moment can be had: after the first review, and now"
"$wfd" state "$id" --at 'review#1' --jq '{seq, status, score: .state.score}'
"$wfd" state "$id" --jq '{seq, status, score: .state.score}'

say "Nothing was lost, nothing was done twice"
[ "$("$wfd" show "$id" --jq .status)" = completed ] || fail "the run is not completed"
for node in changes feedback; do
  [ "$(count node.completed ".data.node == \"$node\"")" = 1 ] || fail "$node did not complete exactly once"
done
[ "$(count node.completed '.data.node == "draft"')" = 2 ] || fail "the draft did not complete twice, as the loop asks"
[ "$(count node.lost '.data.node == "draft"')" = 1 ] || fail "the attempt that was killed is not marked as lost"
echo "each researcher once, two drafts, one attempt lost to the crash and made again"

say "An orderly end, and a check of every byte"
kill -TERM "$pid"
wait "$pid" || fail "the daemon did not end well"
pid=
unset WFD_ADDR
"$wfd" check --data "$tmp/data"
echo
echo "demo: all as promised"
