#!/usr/bin/env bash
# Puts a load on the system and says whether it is as fast as promised. Absent: the load; `hive-mind-server bench` has
# it, open loop: latencies count from the moment a request was due.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2034  # lib.sh prints it
USAGE="Usage: performance-test.sh [--duration SECONDS] [--rate N] [--connections N] [--p99-us N] [--target ADDRESS] [--output table|json]

  --duration SECONDS  how long, 60 by default
  --rate N            requests a second, 1000 by default; they trade real instruments under accounts of their own
  --connections N     connections the load is spread over, 4 by default
  --p99-us N          exit code 4 if the 99th percentile is above so many microseconds, 1000 by default
  --target ADDRESS    gRPC address, http://localhost:8080 beside an engine by default

Exit code 4 also if a request was turned away, stayed in doubt, or something acknowledged was not found afterwards."

DURATION=60 RATE=1000 CONNECTIONS=4 P99_US=1000 TARGET=http://localhost:8080
number() {
    needs_value "$@"
    if [[ ! $2 =~ ^[1-9][0-9]{0,8}$ ]]; then die "$EXIT_USAGE" "$1 is a number from 1 on, not \"$2\""; fi
}
ARGUMENTS=("$@")
while [[ $# -gt 0 ]]; do
    common_option "$@"
    if ((TAKEN > 0)); then
        shift "$TAKEN"
        continue
    fi
    case $1 in
    --duration) number "$@" && DURATION=$2 ;;
    --rate) number "$@" && RATE=$2 ;;
    --connections) number "$@" && CONNECTIONS=$2 ;;
    --p99-us) number "$@" && P99_US=$2 ;;
    --target) needs_value "$@" && TARGET=$2 ;;
    --output) needs_value "$@" && OUTPUT=$2 ;;
    *) unknown_argument "$1" ;;
    esac
    shift 2
done
if [[ $OUTPUT != table && $OUTPUT != json ]]; then die "$EXIT_USAGE" "--output is table or json"; fi
begin "${ARGUMENTS[@]}"

load=(bench --target "$TARGET" --duration "$DURATION" --rate "$RATE" --connections "$CONNECTIONS" --output json)
if [[ $DRY_RUN == true ]]; then
    say "would run: $(server_program) ${load[*]}"
    exit 0
fi
code=0
report=$(engine_server "${load[@]}") || code=$?
if ! holds 'has("latency_us")' "$report"; then
    die "$((code == 0 ? EXIT_FAILED : code))" "the load came to no result${report:+: $report}"
fi
verdict=$(jq -c --argjson p99_us_max "$P99_US" '. + {p99_us_max: $p99_us_max,
    errors: (.turned_away + .unresolved + .lost), within: (.latency_us.p99 <= $p99_us_max)}
    | . + {passed: (.within and .errors == 0)}' <<<"$report")
if [[ $OUTPUT == json ]]; then
    printf '%s\n' "$verdict"
else
    jq -r '"throughput   \(.throughput_per_s) requests/s of \(.rate) for \(.duration_s) s",
        "latency      p50 \(.latency_us.p50) us   p99 \(.latency_us.p99) us   p99.9 \(.latency_us.p999) us   max \(.latency_us.max) us",
        "errors       \(.turned_away) turned away, \(.unresolved) in doubt, \(.lost) acknowledged and not found",
        (if .within then "p99 is within \(.p99_us_max) us" else "p99 is ABOVE \(.p99_us_max) us" end)' <<<"$verdict"
    jq -r 'select(.last_error != null) | "last error   \(.last_error)"' <<<"$verdict"
fi
if ! holds .passed "$verdict"; then exit "$EXIT_UNHEALTHY"; fi
