#!/usr/bin/env bash
# Sets the number of engines by hand, so that the autoscaler does not take it back. Absent: resources of a pod.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2034  # lib.sh prints it
USAGE="Usage: scale-emergency.sh [N] | --restore

  N          engines wanted, 1 to 50; twice as many as now, at most 10, if not given
  --restore  gives the autoscaler its former bounds back

The autoscaler would soon undo a plain kubectl scale below its minimum: its bounds are changed too, and remembered."

RESTORE=false WANTED=''
ARGUMENTS=("$@")
while [[ $# -gt 0 ]]; do
    common_option "$@"
    if ((TAKEN > 0)); then
        shift "$TAKEN"
        continue
    fi
    case $1 in
    --restore) RESTORE=true ;;
    [0-9]*)
        if [[ -n $WANTED ]]; then unknown_argument "$1"; fi
        if [[ ! $1 =~ ^[1-9][0-9]?$ ]] || (($1 > 50)); then die "$EXIT_USAGE" "N is a number from 1 to 50, not \"$1\""; fi
        WANTED=$1
        ;;
    *) unknown_argument "$1" ;;
    esac
    shift
done
if [[ $RESTORE == true && -n $WANTED ]]; then die "$EXIT_USAGE" "--restore takes no number"; fi
begin "${ARGUMENTS[@]}"

readonly BEFORE=hive-mind/before-emergency

replicas_now() {
    case $PLATFORM in
    kubernetes) kube get deployment "$DEPLOYMENT" -o 'jsonpath={.spec.replicas}' ;;
    compose) compose_engines ;;
    esac
}

# More engines than the database has connections for would take them from each other. Only instances that keep pools
# to a server count; engines apart from gateways have none.
within_budget() {
    local now=$1 wanted=$2 pools each limit
    if ((wanted <= now)); then return; fi
    if ! pools=$(admin_server admin database optimize-connections --dry-run --output json); then
        say "pools could not be looked at; the limit of the database is not checked"
        return
    fi
    limit=$(jq '[.pools[].server | select(. != null) | .max_connections - .reserved - .others] | min // empty' <<<"$pools")
    if [[ -z $limit ]]; then return; fi
    # What engines of this kind hold together, and what everybody holds.
    local held engines
    held=$(jq '[.pools[] | select(.before.database == "postgres") | .before.max] | add // 0' <<<"$pools")
    engines=$(jq '[.instances[] | select(.services | index("order-engine")) | .instance] as $engines
        | [.pools[] | select(.before.database == "postgres" and (.before.instance | IN($engines[]))) | .before.max]
        | add // 0' <<<"$pools")
    each=$(((engines + now - 1) / (now > 0 ? now : 1)))
    if ((held + each * (wanted - now) > limit)); then
        die "$EXIT_REFUSED" "$wanted engines would hold up to $((held + each * (wanted - now))) connections, the database" \
            "has $limit: lower max_connections first (hive-mind-server admin config set max_connections=N)"
    fi
}

scale_kubernetes() {
    local wanted=$1 bounds minimum maximum
    if bounds=$(kube get hpa "$HPA" -o json 2>/dev/null); then
        minimum=$(jq '.spec.minReplicas // 1' <<<"$bounds")
        maximum=$(jq '.spec.maxReplicas' <<<"$bounds")
        # Bounds that an emergency set are not those to go back to.
        if [[ $(jq -r --arg key "$BEFORE" '.metadata.annotations[$key] // ""' <<<"$bounds") == "" ]]; then
            change kube annotate hpa "$HPA" "$BEFORE=$minimum-$maximum" >&2
        fi
        # Fewer than the autoscaler's minimum are wanted to stay few; more may become more.
        if ((wanted < minimum || wanted > maximum)); then maximum=$wanted; fi
        change kube patch hpa "$HPA" --type=merge -p "{\"spec\":{\"minReplicas\":$wanted,\"maxReplicas\":$maximum}}" >&2
    fi
    change kube scale deployment "$DEPLOYMENT" --replicas="$wanted" >&2
    if [[ $DRY_RUN == false ]]; then kubernetes_rollout "deployment/$DEPLOYMENT"; fi
}

restore() {
    local before
    if [[ $PLATFORM != kubernetes ]]; then die "$EXIT_USAGE" "only Kubernetes has an autoscaler with bounds"; fi
    before=$(kube get hpa "$HPA" -o json | jq -r --arg key "$BEFORE" '.metadata.annotations[$key] // ""')
    if [[ ! $before =~ ^([0-9]+)-([0-9]+)$ ]]; then
        say "no change: the autoscaler has no bounds of an emergency"
        return
    fi
    local minimum=${BASH_REMATCH[1]} maximum=${BASH_REMATCH[2]}
    change kube patch hpa "$HPA" --type=merge -p "{\"spec\":{\"minReplicas\":$minimum,\"maxReplicas\":$maximum}}" >&2
    if (($(replicas_now) < minimum)); then
        change kube scale deployment "$DEPLOYMENT" --replicas="$minimum" >&2
        if [[ $DRY_RUN == false ]]; then kubernetes_rollout "deployment/$DEPLOYMENT"; fi
    fi
    change kube annotate hpa "$HPA" "$BEFORE-" >&2
    say "the autoscaler works between $minimum and $maximum again"
}

if [[ $PLATFORM == local ]]; then die "$EXIT_USAGE" "a local node is one engine"; fi
if [[ $RESTORE == true ]]; then
    restore
    exit 0
fi
now=$(replicas_now)
if [[ -z $WANTED ]]; then
    WANTED=$((now * 2))
    if ((WANTED < 2)); then WANTED=2; elif ((WANTED > 10)); then WANTED=10; fi
fi
within_budget "$now" "$WANTED"
if ((WANTED < now)); then confirm "$((now - WANTED)) of $now engines are stopped; they hand over what they lead"; fi
case $PLATFORM in
kubernetes) scale_kubernetes "$WANTED" ;;
compose) change compose up -d --no-recreate --no-deps --scale "$ENGINE_SERVICE=$WANTED" "$ENGINE_SERVICE" >&2 ;;
esac
say "$(if [[ $DRY_RUN == true ]]; then echo "would be"; else echo "engines"; fi): $now -> $WANTED"
if [[ $PLATFORM == kubernetes ]]; then say "scale-emergency.sh --restore gives the autoscaler its bounds back"; fi
