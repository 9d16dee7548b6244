#!/usr/bin/env bash
# Makes backups and puts one back. Absent: what a backup is; `hive-mind-server admin backup` knows that.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2034  # lib.sh prints it
USAGE="Usage: disaster-recovery.sh backup | list | latest | verify ID | restore ID [--force]

  backup       makes a backup while the system trades, checks it, and prints its id alone
  list         lists the backups, the newest last
  latest       prints the id of the newest
  verify ID    reads a whole backup against its hashes, replays its journal, compares the history
  restore ID   checks the backup, makes a backup of the present state if there is something to make it with, stops
               the system, puts the backup in its place, starts and validates. ID may be \"latest\"

  --force      restores although the system trades, or its present state cannot be backed up

What was acknowledged after the backup is not in it. The former state is kept: files and the database get the ending
\"before\" with the time. In PostgreSQL that takes the right to make databases."

FORCE=false
WORDS=()
ARGUMENTS=("$@")
while [[ $# -gt 0 ]]; do
    common_option "$@"
    if ((TAKEN > 0)); then
        shift "$TAKEN"
        continue
    fi
    case $1 in
    --force) FORCE=true ;;
    -*) unknown_argument "$1" ;;
    *) WORDS+=("$1") ;;
    esac
    shift
done

backup() {
    local id arguments
    mapfile -t arguments < <(ordered)
    if [[ $DRY_RUN == true ]]; then
        gateway_server admin backup create "${arguments[@]}" --dry-run
        return
    fi
    id=$(gateway_server admin backup create "${arguments[@]}" --timeout 3600 | tail -n 1)
    if [[ -z $id ]]; then die "$EXIT_FAILED" "the gateway named no backup"; fi
    gateway_server admin backup verify "$id" >&2 || die "$EXIT_UNHEALTHY" "backup $id was made, but is not whole"
    printf '%s\n' "$id"
}

latest() {
    local list id
    # A damaged backup makes the list end with 4; it is still a list.
    list=$(gateway_server admin backup list --output json) || [[ $? -eq $EXIT_UNHEALTHY ]] || return "$EXIT_FAILED"
    id=$(jq -r '[.backups[] | select(.damage == null)] | last | .id // empty' <<<"$list")
    if [[ -z $id ]]; then die "$EXIT_REFUSED" "there is no backup"; fi
    printf '%s\n' "$id"
}

# Whether some instrument is traded now. Nobody who answers: nobody who trades.
trades() {
    local status
    status=$(admin_server admin status --output json 2>/dev/null) || [[ -n $status ]] || return 1
    holds '[.instruments[]? | select(.state != "halted")] | length > 0' "$status"
}

# Whether a gateway could make a backup now. A local node has to be stopped before anything is put back.
gateway_answers() {
    [[ $PLATFORM != local ]] && beside_gateway curl -sf --max-time 5 http://localhost:8091/readyz >/dev/null 2>&1
}

# --- the three ways of stopping, restoring beside, and starting

# The gateway's pod as its StatefulSet makes it, with another command: same image, configuration and volumes.
restore_pod() {
    kube get statefulset "$GATEWAYS" -o json | jq --arg name "$1" --arg id "$2" --arg server "$SERVER_IN_IMAGE" \
        --arg claim "$GATEWAYS-0" --arg actor "$ACTOR" --arg reason "${REASON:-restore}" '
        .spec as $set | $set.template.spec as $spec
        | {apiVersion: "v1", kind: "Pod",
           metadata: {name: $name, labels: {"app.kubernetes.io/part-of": "hive-mind", "app.kubernetes.io/component": "restore"}},
           spec: ($spec + {
             restartPolicy: "Never",
             terminationGracePeriodSeconds: 30,
             volumes: (($spec.volumes // []) + [$set.volumeClaimTemplates[]?
               | {name: .metadata.name, persistentVolumeClaim: {claimName: "\(.metadata.name)-\($claim)"}}]),
             containers: [$spec.containers[0]
               | del(.livenessProbe, .readinessProbe, .startupProbe, .lifecycle, .ports)
               | .command = [$server]
               | .args = ["admin", "backup", "restore", $id, "--yes", "--actor", $actor, "--reason", $reason]]})}'
}

pod_ended() { [[ $(kube get pod "$1" -o 'jsonpath={.status.phase}') == @(Succeeded|Failed) ]]; }

restore_in_pod() {
    local id=$1 name code
    name=hive-mind-restore-${STARTED,,}
    restore_pod "$name" "$id" | kube create -f - >&2
    until_true 3600 pod_ended "$name" || die "$EXIT_FAILED" "pod $name has not ended within an hour; look at its log"
    kube logs "$name" >&2 || true
    code=$(kube get pod "$name" -o 'jsonpath={.status.containerStatuses[0].state.terminated.exitCode}')
    kube delete pod "$name" --wait=true >&2
    return "${code:-$EXIT_FAILED}"
}

# SQL for the server of the history: the database gets another name, and an empty one takes its place; or back.
swap_databases() {
    local kept="|| '_before_${STARTED,,}'"
    printf '%s\n' '\set ON_ERROR_STOP on' \
        "SELECT current_database() AS name, current_database() $kept AS kept \\gset" '\c postgres' \
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = :'name';"
    if [[ $1 == away ]]; then
        printf '%s\n' 'ALTER DATABASE :"name" RENAME TO :"kept";' 'CREATE DATABASE :"name";'
    else
        printf '%s\n' 'DROP DATABASE :"name";' 'ALTER DATABASE :"kept" RENAME TO :"name";'
    fi
}

has_database() {
    case $PLATFORM in
    kubernetes) kube get secret hive-mind-database -o name >/dev/null 2>&1 ;;
    compose) compose ps --services 2>/dev/null | grep -qx "$DATABASE_SERVICE" ;;
    local) [[ -n ${DATABASE_URL:-} ]] ;;
    esac
}

psql_there() {
    # shellcheck disable=SC2016  # the shell in the container has these variables
    case $PLATFORM in
    kubernetes)
        # The password stays in the secret: it stands in no argument here.
        kube run "hive-mind-psql-$RANDOM" --rm -i --quiet --restart=Never --image="${HIVE_PSQL_IMAGE:-postgres:13}" \
            --labels=app.kubernetes.io/part-of=hive-mind,app.kubernetes.io/component=restore --overrides='{"spec":{"containers":[{"name":"psql","image":"'"${HIVE_PSQL_IMAGE:-postgres:13}"'",
            "stdin":true,"stdinOnce":true,"command":["sh","-c","exec psql --no-psqlrc --quiet \"$DATABASE_URL\""],
            "env":[{"name":"DATABASE_URL","valueFrom":{"secretKeyRef":{"name":"hive-mind-database","key":"url"}}}]}]}}'
        ;;
    compose)
        compose exec -T "$DATABASE_SERVICE" sh -c \
            'exec psql --no-psqlrc --quiet --username "${POSTGRES_USER:-postgres}" --dbname "${POSTGRES_DB:-${POSTGRES_USER:-postgres}}"'
        ;;
    local) psql --no-psqlrc --quiet "$DATABASE_URL" ;;
    esac
}

stop_system() {
    case $PLATFORM in
    kubernetes)
        REPLICAS=$(kube get deployment "$DEPLOYMENT" -o 'jsonpath={.spec.replicas}')
        GATEWAY_REPLICAS=$(kube get statefulset "$GATEWAYS" -o 'jsonpath={.spec.replicas}')
        # A system that was stopped by an attempt before this one is started as a whole.
        if [[ ${REPLICAS:-0} -eq 0 ]]; then REPLICAS=3; fi
        if [[ ${GATEWAY_REPLICAS:-0} -eq 0 ]]; then GATEWAY_REPLICAS=1; fi
        change kube scale deployment "$DEPLOYMENT" --replicas=0 >&2
        change kube wait --for=delete pod -l "$ENGINE_SELECTOR" --timeout=180s >&2
        change kube scale statefulset "$GATEWAYS" --replicas=0 >&2
        change kube wait --for=delete pod -l "$GATEWAY_SELECTOR" --timeout=180s >&2
        ;;
    compose) change compose stop "$ENGINE_SERVICE" "$ADMIN_SERVICE" "$COORDINATOR_SERVICE" "$GATEWAY_SERVICE" ;;
    local) ;; # the restore itself refuses a directory that is in use
    esac
}

put_back() {
    local id=$1 arguments
    case $PLATFORM in
    kubernetes) restore_in_pod "$id" ;;
    compose)
        mapfile -t arguments < <(ordered)
        compose run --rm --no-deps -T --entrypoint "$SERVER_IN_IMAGE" "$GATEWAY_SERVICE" \
            admin backup restore "$id" --yes "${arguments[@]}" >&2
        ;;
    local)
        mapfile -t arguments < <(ordered)
        gateway_server admin backup restore "$id" --yes "${arguments[@]}" >&2
        ;;
    esac
}

start_system() {
    case $PLATFORM in
    kubernetes)
        kube scale statefulset "$GATEWAYS" --replicas="$GATEWAY_REPLICAS" >&2
        kubernetes_rollout "statefulset/$GATEWAYS"
        kube scale deployment "$DEPLOYMENT" --replicas="$REPLICAS" >&2
        kubernetes_rollout "deployment/$DEPLOYMENT"
        ;;
    compose) compose start "$GATEWAY_SERVICE" "$COORDINATOR_SERVICE" "$ENGINE_SERVICE" "$ADMIN_SERVICE" ;;
    local) say "start the node, then validate-deployment.sh --platform local" ;;
    esac
}

restore() {
    local id=$1 code=0 database=false safety
    if [[ $id == latest ]]; then id=$(latest); fi
    if [[ ! $id =~ ^[0-9A-Za-z-]+$ ]]; then die "$EXIT_USAGE" "\"$id\" is no id of a backup; see: $SCRIPT list"; fi
    if gateway_answers || [[ $PLATFORM == local ]]; then
        gateway_server admin backup verify "$id" >&2 || die "$EXIT_REFUSED" "backup $id cannot be used; nothing was changed"
    else
        say "no gateway answers: backup $id is checked when its files are put back, before anything is changed"
    fi
    if [[ $FORCE == false ]] && trades; then
        die "$EXIT_REFUSED" "the system trades: stop that first (hive-mind-server admin halt --all), or say --force"
    fi
    if has_database; then database=true; fi
    confirm "the state of the system is replaced by that of backup $id; what was acknowledged after it is set aside"
    if [[ $DRY_RUN == false ]] && gateway_answers; then
        if safety=$(backup); then
            say "backup of the present state: $safety"
        elif [[ $FORCE == false ]]; then
            die "$EXIT_FAILED" "no backup of the present state could be made; nothing was changed; --force goes on without"
        fi
    fi
    stop_system
    if [[ $DRY_RUN == true ]]; then
        say "would put back $id$([[ $database == false ]] || echo ", into a new database"), start and validate"
        return
    fi
    if [[ $database == true ]]; then swap_databases away | psql_there >&2; fi
    put_back "$id" || code=$?
    if ((code != 0)); then
        say "backup $id was not put back (exit code $code): what was there before is started again"
        if [[ $database == true ]]; then swap_databases back | psql_there >&2; fi
        start_system
        exit "$code"
    fi
    start_system
    if [[ $PLATFORM != local ]]; then
        "$DIRECTORY/validate-deployment.sh" --platform "$PLATFORM" --namespace "$NAMESPACE" >&2 ||
            die "$EXIT_UNHEALTHY" "backup $id is in place, but not everything works; see above"
    fi
    printf '%s\n' "$id"
}

needs_id() {
    if [[ ${#WORDS[@]} -ne 2 ]]; then die "$EXIT_USAGE" "${WORDS[0]} needs one id, or \"latest\"; see --help"; fi
}

if [[ ${#WORDS[@]} -eq 0 ]]; then die "$EXIT_USAGE" "say backup, list, latest, verify or restore; see --help"; fi
case ${WORDS[0]} in
backup | list | latest) if [[ ${#WORDS[@]} -ne 1 ]]; then unknown_argument "${WORDS[1]}"; fi ;;
verify | restore) needs_id ;;
*) unknown_argument "${WORDS[0]}" ;;
esac
begin "${ARGUMENTS[@]}"
case ${WORDS[0]} in
backup) backup ;;
list) gateway_server admin backup list ;;
latest) latest ;;
verify) gateway_server admin backup verify "${WORDS[1]}" ;;
restore) restore "${WORDS[1]}" ;;
esac
