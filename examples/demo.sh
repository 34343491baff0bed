#!/usr/bin/env bash
# The main job of wfd from end to end: a workflow with parallel branches, a retry, a
# loop, a decision and a human answer runs on the daemon; the daemon is killed in
# the middle with SIGKILL, started again, and the run goes on and completes.
set -euo pipefail

wfd=$(realpath "${1:?usage: demo.sh path/to/wfd}")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
addr=127.0.0.1:${WFD_DEMO_PORT:-7118}
export WFD_ADDR=$addr
pid=

cleanup() {
	if [ -n "$pid" ]; then kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; fi
	rm -rf "$work"
}
trap cleanup EXIT

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { echo "demo: $*" >&2; tail -20 "$work/daemon.log" >&2; exit 1; }

serve() {
	"$wfd" serve --data "$work/data" --replies "$here/replies.yaml" >>"$work/daemon.log" 2>&1 &
	pid=$!
	for _ in $(seq 200); do
		if curl -fs "http://$addr/readyz" >/dev/null; then return; fi
		kill -0 "$pid" 2>/dev/null || fail "the daemon ended"
		sleep 0.05
	done
	fail "the daemon did not get ready"
}

status() { "$wfd" show "$run" -o json --jq .status; }

await() {
	for _ in $(seq 200); do
		if [ "$(status)" = "$1" ]; then return; fi
		sleep 0.1
	done
	"$wfd" show "$run" >&2
	fail "the run did not become $1"
}

say "1. The daemon, on one directory, with scripted answers instead of models"
serve
echo "process $pid serves http://$addr"

say "2. A workflow: two researchers at once, a draft that fails once, a review that sends it back, a person"
"$wfd" workflow apply "$here/release.yaml"
"$wfd" workflow graph release-note | head -12

say "3. A run"
run=$("$wfd" run release-note --input '{"product":"wfd"}' -o json --jq .id)
sleep 0.6
"$wfd" show "$run"

say "4. kill -9, while a researcher is at work"
kill -9 "$pid"
wait "$pid" 2>/dev/null || true
pid=
sleep 0.3

say "5. The same directory, a new process: what was finished is not done again"
serve
echo "process $pid serves http://$addr"
for _ in $(seq 200); do
	if [ "$("$wfd" inbox -o json --jq '.items | length')" = 1 ]; then break; fi
	sleep 0.1
done
"$wfd" show "$run"

say "6. The answer of a person"
"$wfd" answer "$run" approve '{"approved": true}' >/dev/null
await completed
"$wfd" state "$run" -o json --jq '.state'

say "7. What happened, as it is in the log (the attempt that the kill took is 'lost')"
"$wfd" events "$run" -o ndjson >"$work/events"
for kind in node.completed node.lost node.failed; do
	printf '%-15s %s\n' "$kind" "$(grep -c "\"kind\":\"$kind\"" "$work/events" || true)"
done
twice=$("$wfd" events "$run" -o ndjson --jq 'select(.kind == "node.completed") | .data | "\(.node)#\(.visit)"' | sort | uniq -d)
[ -z "$twice" ] || fail "completed twice: $twice"
grep -q '"kind":"node.lost"' "$work/events" || fail "nothing was under way when the daemon was killed"

say "8. The daemon stops in order, and the directory is checked: every byte, every view, every run"
kill "$pid"
wait "$pid" || fail "the daemon ended with status $?"
pid=
"$wfd" check --data "$work/data"

say "Done: the run completed across a kill -9, and nothing was done twice"
