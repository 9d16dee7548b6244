# shellcheck shell=bash
# What the scripts of this directory share: options, where the system runs, how its servers are called, consent, the
# line in the operations log. Sourced, never started. Absent: what the scripts do.
set -euo pipefail

# Exit codes, the same as those of hive-mind-server.
readonly EXIT_FAILED=1 EXIT_USAGE=2 EXIT_UNHEALTHY=4 EXIT_REFUSED=5 EXIT_UNREACHABLE=6

readonly DEPLOYMENT=hive-mind-rust CONTAINER=hive-mind-rust GATEWAYS=hive-mind-gateway
readonly CONFIG_MAP=hive-mind-config HPA=hive-mind-hpa
readonly ENGINE_SELECTOR=app=hive-mind-rust GATEWAY_SELECTOR=app=hive-mind-gateway
readonly EVERYTHING=app.kubernetes.io/part-of=hive-mind
readonly SERVER_IN_IMAGE=/app/bin/hive-mind-server
export CONFIG_MAP HPA GATEWAY_SELECTOR ENGINE_SELECTOR EXIT_REFUSED EXIT_UNHEALTHY

# Names of the services in docker-compose.yml.
readonly ENGINE_SERVICE=${HIVE_ENGINE_SERVICE:-order-engine}
readonly GATEWAY_SERVICE=${HIVE_GATEWAY_SERVICE:-persistence-gateway}
readonly COORDINATOR_SERVICE=${HIVE_COORDINATOR_SERVICE:-consensus-coordinator}
readonly ADMIN_SERVICE=${HIVE_ADMIN_SERVICE:-admin-api}
readonly DATABASE_SERVICE=${HIVE_DATABASE_SERVICE:-postgres}
export COORDINATOR_SERVICE DATABASE_SERVICE

DIRECTORY=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly DIRECTORY
SCRIPT=$(basename "$0")
readonly SCRIPT
STARTED=$(date -u +%Y%m%dT%H%M%SZ)
readonly STARTED

PLATFORM=${HIVE_PLATFORM:-}
NAMESPACE=${HIVE_NAMESPACE:-hive-mind-production}
STATE=${HIVE_STATE_DIR:-${XDG_STATE_HOME:-${HOME:-/tmp}/.local/state}/hive-mind}
ACTOR=${HIVE_ACTOR:-${USER:-unknown}}
REASON=
OUTPUT=table
DRY_RUN=false
YES=false
TAKEN=0
export OUTPUT TAKEN

COMMON_OPTIONS="
Options of every script:
  -n, --namespace NAME   Kubernetes namespace, hive-mind-production by default
      --platform NAME    kubernetes, compose or local; found out if not given
      --reason TEXT      why; kept in the audit log and in the operations log
      --dry-run          looks and checks, says what would be done, changes nothing
      --yes              does not ask
  -h, --help             this text

Exit codes: 0 done; 1 failed, or a part of it; 2 wrong usage, or a consent that nobody could be asked for;
4 a check found something wrong; 5 refused, nothing was changed; 6 the system did not answer."

say() { printf '%s\n' "$*" >&2; }

die() {
    local code=$1
    shift
    say "$SCRIPT: $*"
    exit "$code"
}

# Takes one option that all scripts have. Sets TAKEN to how many words it was, 0 for none.
common_option() {
    TAKEN=1
    case $1 in
    -n | --namespace) needs_value "$@" && NAMESPACE=$2 TAKEN=2 ;;
    --platform) needs_value "$@" && PLATFORM=$2 TAKEN=2 ;;
    --reason) needs_value "$@" && REASON=$2 TAKEN=2 ;;
    --dry-run) DRY_RUN=true ;;
    --yes) YES=true ;;
    -h | --help)
        printf '%s\n%s\n' "$USAGE" "$COMMON_OPTIONS"
        exit 0
        ;;
    *) TAKEN=0 ;;
    esac
}

needs_value() {
    if [[ $# -lt 2 || -z $2 ]]; then die "$EXIT_USAGE" "$1 needs a value; see --help"; fi
}

unknown_argument() { die "$EXIT_USAGE" "there is no argument \"$1\"; see --help"; }

needs_program() {
    local program
    for program in "$@"; do
        if ! command -v "$program" >/dev/null; then die "$EXIT_FAILED" "$program is not installed on this machine"; fi
    done
}

# Finds out where the system runs, unless that was said, and begins the record of this operation.
begin() {
    OPERATION=$*
    needs_program jq
    case $PLATFORM in
    kubernetes | compose | local) ;;
    '') PLATFORM=$(found_platform) ;;
    *) die "$EXIT_USAGE" "there is no platform \"$PLATFORM\": kubernetes, compose and local are known" ;;
    esac
    trap 'record $?' EXIT
}

found_platform() {
    if command -v kubectl >/dev/null &&
        kubectl get deployment "$DEPLOYMENT" -n "$NAMESPACE" --request-timeout=5s -o name >/dev/null 2>&1; then
        echo kubernetes
    elif command -v docker >/dev/null && [[ -n $(compose ps -q 2>/dev/null) ]]; then
        echo compose
    else
        die "$EXIT_UNREACHABLE" "kubectl finds no deployment $DEPLOYMENT in namespace $NAMESPACE and docker no running" \
            "compose project; say --platform, and set KUBECONFIG or COMPOSE_FILE if they are elsewhere"
    fi
}

# One line for each operation, whatever became of it.
record() {
    local code=$1
    if [[ $DRY_RUN == true ]]; then return; fi
    if ! mkdir -p "$STATE" || ! touch "$STATE/operations.jsonl"; then
        say "the operations log in $STATE cannot be written; set HIVE_STATE_DIR"
        return
    fi
    jq -cn --arg at "$STARTED" --arg actor "$ACTOR" --arg script "$SCRIPT" --arg operation "$OPERATION" \
        --arg platform "$PLATFORM" --arg namespace "$NAMESPACE" --arg reason "$REASON" --argjson exit_code "$code" \
        '$ARGS.named' >>"$STATE/operations.jsonl"
}

# Runs a command that changes something; a dry run shows it instead.
change() {
    if [[ $DRY_RUN == true ]]; then
        say "would run: $*"
    else
        "$@"
    fi
}

# Asks before an act that cannot simply be undone.
confirm() {
    if [[ $YES == true || $DRY_RUN == true ]]; then return; fi
    if [[ ! -t 0 ]]; then die "$EXIT_USAGE" "$*: this needs a consent and there is no terminal to ask for it: repeat with --yes"; fi
    local answer
    read -r -p "$*. Go on? [y/N] " answer
    if [[ $answer != [yY]* ]]; then die "$EXIT_REFUSED" "nothing was changed"; fi
}

# Whether a JSON document is there and a condition holds for it. jq -e takes nothing at all for a success.
holds() { [[ $(jq -s "length == 1 and (.[0] | $1)" <<<"$2" 2>/dev/null) == true ]]; }

kube() { kubectl -n "$NAMESPACE" "$@"; }

# The second version of compose, or the first.
compose() {
    local root=$DIRECTORY/../..
    if docker compose version >/dev/null 2>&1; then
        (cd "$root" && docker compose "$@")
    else
        (cd "$root" && docker-compose "$@")
    fi
}

# How many containers the engines have.
compose_engines() { compose ps -q "$ENGINE_SERVICE" | grep -c . || true; }

# Runs a program beside an engine, or beside a gateway; a local node is both.
beside_engine() {
    case $PLATFORM in
    kubernetes) kube exec "deployment/$DEPLOYMENT" -c "$CONTAINER" -- "$@" ;;
    compose) compose exec -T "$ENGINE_SERVICE" "$@" ;;
    local) "$@" ;;
    esac
}

beside_gateway() {
    case $PLATFORM in
    kubernetes) kube exec "$GATEWAYS-0" -c "$CONTAINER" -- "$@" ;;
    compose) compose exec -T "$GATEWAY_SERVICE" "$@" ;;
    local) "$@" ;;
    esac
}

# Runs a program where the admin role is: beside an engine in Kubernetes, in a container of its own in compose.
beside_admin() {
    if [[ $PLATFORM == compose ]]; then
        compose exec -T "$ADMIN_SERVICE" "$@"
    else
        beside_engine "$@"
    fi
}

server_program() {
    if [[ $PLATFORM == local ]]; then
        printf '%s' "${HIVE_SERVER:-hive-mind-server}"
    else
        printf '%s' "$SERVER_IN_IMAGE"
    fi
}

engine_server() { beside_engine "$(server_program)" "$@"; }
gateway_server() { beside_gateway "$(server_program)" "$@"; }
admin_server() { beside_admin "$(server_program)" "$@"; }

# Who orders it and why, as arguments of hive-mind-server admin.
ordered() { printf '%s\n' --actor "$ACTOR" --reason "${REASON:-$SCRIPT}" --request-id "$SCRIPT-$STARTED-$$"; }

# Waits until a command succeeds, looking every two seconds, at most so many seconds.
until_true() {
    local seconds=$1 end
    shift
    end=$((SECONDS + seconds))
    until "$@"; do
        if ((SECONDS >= end)); then return 1; fi
        sleep "${HIVE_LOOK_AGAIN:-2}"
    done
}

kubernetes_rollout() {
    kube rollout status "$1" --timeout=300s >&2
}

# A directory with what was to be seen, and the hash of every file.
evidence() {
    local place=$1
    if [[ $DRY_RUN == true ]]; then
        say "would write evidence to $place"
        return
    fi
    mkdir -p "$place"
    case $PLATFORM in
    kubernetes)
        kube logs -l "$EVERYTHING" -c "$CONTAINER" --since=1h --tail=-1 --prefix --max-log-requests=50 \
            >"$place/security-incident-logs.txt" || say "not all logs could be read"
        kube get events --sort-by=.metadata.creationTimestamp -o json |
            jq -r --argjson since "$(($(date +%s) - 3600))" '.items[]
                | (.lastTimestamp // .eventTime // .metadata.creationTimestamp) as $at
                | select(($at | sub("\\.[0-9]+"; "") | fromdateiso8601) >= $since)
                | [$at, .type, .reason, "\(.involvedObject.kind)/\(.involvedObject.name)",
                   ((.message // "") | gsub("[\r\n]+"; " "))] | @tsv' \
                >"$place/security-incident-events.txt" || say "the events could not be read"
        kube get pods,networkpolicies -o yaml >"$place/objects.yaml" || say "not all objects could be read"
        ;;
    compose)
        compose logs --no-color --timestamps --since 1h >"$place/security-incident-logs.txt" ||
            say "not all logs could be read"
        compose ps >"$place/security-incident-events.txt" || say "the containers could not be listed"
        ;;
    esac
    (cd "$place" && sha256sum -- * >SHA256SUMS)
    say "evidence is in $place"
}
