#!/usr/bin/env bash
# A worker for wfd that needs nothing but bash, curl and jq. See docs/workers.md for the protocol.
handler=${WFD_HANDLER:-steps} stop='' tmp=$(mktemp -d) || exit
trap 'rm -rf "$tmp"' EXIT
trap 'stop=1; kill $(jobs -p) 2>/dev/null' TERM # whatever is waited for ends

# call PATH [FILE]: sends its input. Prints the status, 000 without an answer, which is in FILE.
call() {
  curl -s -m 90 -o "$tmp/${2:-answer}" -w '%{http_code}' -H "Authorization: Bearer ${WFD_TOKEN:-}" --json @- \
    "${WFD_ADDR:-http://127.0.0.1:7117}/v1/tasks/$1"
}

# say VERB FILTER: says the last word about the task, made of $tmp/result, until it is answered.
say() {
  while status=$(jq -c "{token: \"$token\"} + ($2)" "$tmp/result" | call "$id/$1"); [[ 000,408,429,500,503,507 == *$status* ]]; do
    sleep 1 # and the same again: that is safe
  done
}

# beat: renews the lease until the task is over. It is a process of its own, which must outlive
# neither the worker, or the task is never lost, nor hold its output, or nobody sees its end.
beat() {
  while sleep "$every"; kill -0 $$; do
    done=$(<"$tmp/checkpoint")
    status=$(echo "{\"token\": \"$token\", \"checkpoint\": ${done:-null}}" | call "$id/heartbeat" beat)
    [[ $status == 40[49] || $status == 200 && $(jq -r .status "$tmp/beat") == cancelled ]] && touch "$tmp/gone" && return
  done
}

# steps: the handler that wfd worker-test asks for. A handler leaves {result} or {failure} in $tmp/result.
steps() {
  local began steps seconds
  read -r began steps seconds < <(jq -r '[.checkpoint // 0, .input.steps, .input.seconds] | join(" ")' "$tmp/task")
  for ((i = began; i < steps; i++)); do
    sleep "$seconds" & wait $!
    [[ $stop || -e $tmp/gone ]] && return
    echo $((i + 1)) >"$tmp/checkpoint"
  done
  jq -c "if .input.fail then {failure: .input.fail} else {result: {echo: .input.echo, began: $began}} end" "$tmp/task" >"$tmp/result"
}

while [[ ! $stop ]]; do
  jq -n --arg w "${WFD_WORKER:-bash-$$}" --arg q "${WFD_QUEUE:-worker}" --arg h "$handler" \
    '{worker: $w, queues: [$q], handlers: [$h], wait: "20s"}' | call poll tasks >"$tmp/status" & wait $!
  case $(<"$tmp/status") in
    200) jq -ce '.tasks[0] // empty' "$tmp/tasks" >"$tmp/task" || continue ;;
    400 | 401 | 403 | 404 | 422) echo "the daemon refuses this worker: $(<"$tmp/tasks")" >&2; exit 1 ;;
    *) [[ $stop ]] || sleep 1; continue ;;
  esac
  read -r id token every checkpoint < <(jq -r '[.id, .token, .lease / 3, (.checkpoint | tojson)] | join(" ")' "$tmp/task")
  rm -f "$tmp/gone"; echo '{}' >"$tmp/result"; echo "$checkpoint" >"$tmp/checkpoint"
  beat &>/dev/null & beats=$!
  steps
  if [[ ! -e $tmp/gone ]]; then
    case $(jq -r keys[0] "$tmp/result") in
      result) say complete . ;;
      failure) say fail .failure ;;
      *) say release "{reason: \"the worker ends\", checkpoint: $(<"$tmp/checkpoint")}" ;;
    esac
    [[ $status == 4[012][023] ]] && say fail '{class: "invalid_output", message: "the result was refused"}'
  fi
  kill $beats 2>/dev/null; wait $beats 2>/dev/null
done
