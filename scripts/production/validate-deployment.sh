#!/usr/bin/env bash
# Says whether a deployment works, check by check. Absent: what is wrong inside the system; `admin doctor` knows that.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2034  # lib.sh prints it
USAGE="Usage: validate-deployment.sh [--output table|json] [--remember]

  --output json  one document on standard output
  --remember     if everything works, keeps the present configuration as the one that emergency-rollback.sh goes
                 back to"

REMEMBER=false
ARGUMENTS=("$@")
while [[ $# -gt 0 ]]; do
    common_option "$@"
    if ((TAKEN > 0)); then
        shift "$TAKEN"
        continue
    fi
    case $1 in
    --output)
        needs_value "$@"
        OUTPUT=$2
        if [[ $OUTPUT != table && $OUTPUT != json ]]; then die "$EXIT_USAGE" "--output is table or json"; fi
        shift
        ;;
    --remember) REMEMBER=true ;;
    *) unknown_argument "$1" ;;
    esac
    shift
done
begin "${ARGUMENTS[@]}"

CHECKS=()
FAILED=0

# told CATEGORY NAME VERDICT MESSAGE [HINT]
told() {
    CHECKS+=("$(jq -cn --arg category "$1" --arg name "$2" --arg verdict "$3" --arg message "$4" --arg hint "${5:-}" \
        '$ARGS.named | .hint |= (if . == "" then null else . end)')")
    if [[ $3 == failed ]]; then FAILED=$((FAILED + 1)); fi
    if [[ $OUTPUT == table ]]; then
        printf '%-7s %-12s %s: %s\n' "$3" "$1" "$2" "$4"
        if [[ -n ${5:-} && $3 != ok ]]; then printf '        -> %s\n' "$5"; fi
    fi
}

# workload KIND NAME: all wanted replicas are there, ready, and of the present template.
workload() {
    local object wanted ready updated
    if ! object=$(kube get "$1" "$2" -o json 2>&1); then
        told workloads "$2" failed "${object##*$'\n'}" "kubectl apply -k deploy/kubernetes/overlays/production"
        return
    fi
    wanted=$(jq '.spec.replicas // 0' <<<"$object")
    ready=$(jq '.status.readyReplicas // 0' <<<"$object")
    updated=$(jq '.status.updatedReplicas // 0' <<<"$object")
    if ((wanted > 0 && ready == wanted && updated == wanted)); then
        told workloads "$2" ok "$ready of $wanted replicas are ready"
    else
        told workloads "$2" failed "$ready of $wanted replicas are ready, $updated of the present template" \
            "kubectl describe $1 $2 -n $NAMESPACE; a bad rollout is taken back by emergency-rollback.sh"
    fi
}

object() {
    if kube get "$1" "$2" -o name >/dev/null 2>&1; then
        told objects "$1 $2" ok "there"
    else
        told objects "$1 $2" "$3" "missing" "$4"
    fi
}

# Every replica names the same leader and term for every shard.
consensus() {
    local pods pod answer view first='' count=0
    pods=$(kube get pods -l "$ENGINE_SELECTOR" -o name) || pods=
    for pod in $pods; do
        answer=$(kube exec "$pod" -c "$CONTAINER" -- curl -s --max-time 5 http://localhost:8091/health/consensus 2>/dev/null) || answer=
        view=$(jq -cS '[.shards[]? | {shard, leader_id, term}]' <<<"$answer" 2>/dev/null) || view=
        if [[ -z $view || $view == "[]" ]]; then
            told consensus "$pod" failed "does not say who leads" "kubectl logs -n $NAMESPACE $pod --tail=100 | grep consensus"
            return
        fi
        if [[ -n $first && $view != "$first" ]]; then
            told consensus leaders failed "$pod sees $view, another replica $first" "hive-mind-server admin consensus status"
            return
        fi
        first=$view
        count=$((count + 1))
    done
    if ((count == 0)); then
        told consensus leaders failed "no replica could be asked" "kubectl get pods -n $NAMESPACE -l $ENGINE_SELECTOR"
    elif holds 'all(.[]; .leader_id != null and .leader_id != "")' "$first"; then
        told consensus leaders ok "$count replicas agree"
    else
        told consensus leaders failed "a shard has no leader: $first" "hive-mind-server admin doctor"
    fi
}

endpoint() {
    local name=$1 url=$2 wanted=$3 hint=$4 answer
    if ! answer=$("${5:-beside_engine}" curl -sf --max-time 5 "$url" 2>/dev/null); then
        told endpoints "$name" failed "$url does not answer, or with an error" "$hint"
    elif [[ $answer != *"$wanted"* ]]; then
        told endpoints "$name" failed "$url answers without $wanted" "$hint"
    else
        told endpoints "$name" ok "$url answers"
    fi
}

doctor() {
    local answer check
    answer=$(admin_server admin doctor --output json 2>/dev/null) || true
    if ! holds '.checks | length > 0' "$answer"; then
        told doctor connection failed "hive-mind-server admin doctor gave no answer" "look at the log of the servers"
        return
    fi
    while IFS= read -r check; do
        told "$(jq -r .category <<<"$check")" "$(jq -r .name <<<"$check")" "$(jq -r .verdict <<<"$check")" \
            "$(jq -r .message <<<"$check")" "$(jq -r '.hint // ""' <<<"$check")"
    done < <(jq -c '.checks[]' <<<"$answer")
}

backups() {
    local list id
    list=$(gateway_server admin backup list --output json 2>/dev/null) || true
    id=$(jq -r '[.backups[] | select(.damage == null)] | last | .id // empty' <<<"$list" 2>/dev/null) || id=
    if [[ -z $id ]]; then
        told backups newest warning "there is none" "disaster-recovery.sh backup"
    elif holds 'any(.backups[]; .damage != null)' "$list"; then
        told backups newest warning "$id; a manifest among the backups is damaged" "disaster-recovery.sh list"
    else
        told backups newest ok "$id"
    fi
}

# Annotations say what was left behind by scripts in an emergency.
left_behind() {
    if kube get configmap hive-mind-isolation -o name >/dev/null 2>&1; then
        told leftovers isolation failed "the system is cut off" "network-isolate.sh --undo"
    fi
    if kube get hpa "$HPA" -o json 2>/dev/null | jq -e '.metadata.annotations["hive-mind/before-emergency"]' >/dev/null; then
        told leftovers scale warning "the autoscaler has the bounds of an emergency" "scale-emergency.sh --restore"
    fi
}

if [[ $PLATFORM == kubernetes ]]; then
    workload statefulset "$GATEWAYS"
    workload deployment "$DEPLOYMENT"
    object configmap "$CONFIG_MAP" failed "kubectl apply -k deploy/kubernetes/overlays/production"
    object secret hive-mind-api-keys failed "nobody can trade without keys: see docs/security.md"
    object networkpolicy deny-all-default failed "kubectl apply -k deploy/kubernetes/overlays/production"
    object hpa "$HPA" warning "kubectl apply -k deploy/kubernetes/overlays/production"
    left_behind
    consensus
fi
if [[ $PLATFORM != local ]]; then
    endpoint health http://localhost:8091/health '"status"' "hive-mind-server admin doctor" beside_admin
    endpoint metrics http://localhost:9090/metrics trading_operation_duration "kubectl logs -n $NAMESPACE deployment/$DEPLOYMENT"
fi
doctor
backups

if [[ $REMEMBER == true && $FAILED -eq 0 ]]; then "$DIRECTORY/emergency-rollback.sh" --remember --platform "$PLATFORM" --namespace "$NAMESPACE" >&2; fi
if [[ $OUTPUT == json ]]; then
    printf '%s\n' "${CHECKS[@]}" | jq -cs --argjson failed "$FAILED" '{healthy: ($failed == 0), failed: $failed, checks: .}'
fi
if ((FAILED > 0)); then exit "$EXIT_UNHEALTHY"; fi
