#!/usr/bin/env bash
# Cuts the system off from the network, proves it, and undoes it. Absent: who is told; `admin notify security` tells.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2034  # lib.sh prints it
USAGE="Usage: network-isolate.sh [--undo] [--evidence DIR]

  --undo          lets in and out again what was before
  --evidence DIR  where logs, events and objects are kept; security-incident-TIME here by default

Policies of Kubernetes add up: a policy that denies everything takes nothing back from those that allow. So these are
kept in the ConfigMap hive-mind-isolation and removed. What stays: kubectl exec, logs and port-forward, and port 8091
from namespaces labelled hive-mind/responders=true. With compose, containers are disconnected from their networks."

UNDO=false EVIDENCE=security-incident-$STARTED
ARGUMENTS=("$@")
while [[ $# -gt 0 ]]; do
    common_option "$@"
    if ((TAKEN > 0)); then
        shift "$TAKEN"
        continue
    fi
    case $1 in
    --undo) UNDO=true ;;
    --evidence) needs_value "$@" && EVIDENCE=$2 && shift ;;
    *) unknown_argument "$1" ;;
    esac
    shift
done
begin "${ARGUMENTS[@]}"

readonly SAVED=hive-mind-isolation
readonly DENY='{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"deny-all-default"},"spec":{"podSelector":{},"policyTypes":["Ingress","Egress"]}}'
readonly RESPONDERS='{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"hive-mind-responders"},"spec":{"podSelector":{},"policyTypes":["Ingress"],"ingress":[{"from":[{"namespaceSelector":{"matchLabels":{"hive-mind/responders":"true"}}}],"ports":[{"protocol":"TCP","port":8091}]}]}}'

# --- Kubernetes

# From one pod to another, over the network: neither name resolution nor keys take part.
pods_connect() {
    local pods from to
    pods=$(kube get pods -l "$EVERYTHING" --field-selector=status.phase=Running -o json)
    from=$(jq -r '[.items[] | select(.metadata.labels.app == "hive-mind-rust")][0].metadata.name // empty' <<<"$pods")
    to=$(jq -r --arg from "$from" '[.items[] | select(.metadata.name != $from)][0].status.podIP // empty' <<<"$pods")
    if [[ -z $from || -z $to ]]; then return 2; fi
    kube exec "$from" -c "$CONTAINER" -- curl -s -o /dev/null --connect-timeout 3 --max-time 5 "http://$to:8091/livez"
}

isolate_kubernetes() {
    local allowed names connected=0
    pods_connect || connected=$?
    if ! kube get configmap "$SAVED" -o name >/dev/null 2>&1; then
        allowed=$(kube get networkpolicies -o json | jq '.items |= map(select(.metadata.name != "deny-all-default" and .metadata.name != "hive-mind-responders")
            | {apiVersion, kind, metadata: {name: .metadata.name, labels: .metadata.labels}, spec}) | {apiVersion: "v1", kind: "List", items}')
        jq -n --arg name "$SAVED" --arg policies "$allowed" --arg at "$STARTED" --arg actor "$ACTOR" \
            '{apiVersion: "v1", kind: "ConfigMap", metadata: {name: $name, annotations: {"hive-mind/isolated": "\($at) by \($actor)"}},
              data: {"policies.json": $policies}}' >"$WORK"
        change kube create -f "$WORK" >&2
    else
        say "the policies that were there before are kept already"
    fi
    printf '%s\n%s\n' "$DENY" "$RESPONDERS" >"$WORK"
    change kube apply -f "$WORK" >&2
    names=$(kube get networkpolicies -o json |
        jq -r '.items[].metadata.name | select(. != "deny-all-default" and . != "hive-mind-responders")')
    if [[ -n $names ]]; then
        # shellcheck disable=SC2086  # names of objects, a word each
        change kube delete networkpolicy $names >&2
    fi
    if [[ $DRY_RUN == true ]]; then return; fi
    if ((connected != 0)); then
        die "$EXIT_UNHEALTHY" "policies are in place, but not proven: no pod reached another one before either"
    fi
    until_true "${HIVE_PROVE_WITHIN:-30}" is_cut_off ||
        die "$EXIT_UNHEALTHY" "policies are in place, but a pod still reaches another: the network of this cluster does" \
            "not enforce NetworkPolicies; scale to 0 or isolate the nodes"
    say "isolated: a connection between two pods that worked before fails"
}

is_cut_off() { ! pods_connect; }

undo_kubernetes() {
    if ! kube get configmap "$SAVED" -o json >"$WORK.saved" 2>/dev/null; then
        say "no change: the system is not isolated"
        return
    fi
    jq -r '.data["policies.json"]' "$WORK.saved" >"$WORK"
    if jq -e '.items | length > 0' "$WORK" >/dev/null; then change kube apply -f "$WORK" >&2; fi
    change kube delete networkpolicy hive-mind-responders --ignore-not-found >&2
    change kube delete configmap "$SAVED" >&2
    if [[ $DRY_RUN == true ]]; then return; fi
    until_true "${HIVE_PROVE_WITHIN:-30}" pods_connect ||
        die "$EXIT_UNHEALTHY" "the policies are as before, but no pod reaches another: kubectl get networkpolicy -n $NAMESPACE"
    say "no longer isolated: a pod reaches another again"
}

# --- compose

readonly CONTAINERS_FILE=$STATE/isolated-containers.json

containers() { compose ps -q "$ENGINE_SERVICE" "$GATEWAY_SERVICE" "$COORDINATOR_SERVICE" "$ADMIN_SERVICE"; }

services_connect() { beside_engine curl -s -o /dev/null --connect-timeout 3 --max-time 5 "http://$GATEWAY_SERVICE:8091/livez"; }

is_cut_off_compose() { ! services_connect; }

isolate_compose() {
    local connected=0 ids container network
    services_connect || connected=$?
    ids=$(containers)
    if [[ ! -e $CONTAINERS_FILE ]]; then
        # shellcheck disable=SC2086  # ids, a word each
        docker inspect $ids | jq '[.[] | {id: .Id, networks: (.NetworkSettings.Networks | map_values(.Aliases // []))}]' >"$WORK"
        change mkdir -p "$STATE"
        change cp "$WORK" "$CONTAINERS_FILE"
    else
        cp "$CONTAINERS_FILE" "$WORK"
    fi
    while IFS=$'\t' read -r container network; do
        change docker network disconnect --force "$network" "$container" >&2 || say "$container is not in $network"
    done < <(jq -r '.[] | .id as $id | .networks | keys[] | [$id, .] | @tsv' "$WORK")
    if [[ $DRY_RUN == true ]]; then return; fi
    if ((connected != 0)); then
        die "$EXIT_UNHEALTHY" "the containers are disconnected, but it is not proven: no connection worked before either"
    fi
    if ! is_cut_off_compose; then die "$EXIT_UNHEALTHY" "a container still reaches another"; fi
    say "isolated: a connection between two containers that worked before fails"
}

undo_compose() {
    local container network aliases words alias
    if [[ ! -e $CONTAINERS_FILE ]]; then
        say "no change: the system is not isolated"
        return
    fi
    while IFS=$'\t' read -r container network aliases; do
        words=()
        for alias in $aliases; do words+=(--alias "$alias"); done
        change docker network connect "${words[@]}" "$network" "$container" >&2
    done < <(jq -r '.[] | .id as $id | .networks | to_entries[] | [$id, .key, (.value | join(" "))] | @tsv' "$CONTAINERS_FILE")
    change rm "$CONTAINERS_FILE"
    if [[ $DRY_RUN == true ]]; then return; fi
    until_true "${HIVE_PROVE_WITHIN:-30}" services_connect || die "$EXIT_UNHEALTHY" "the containers are connected, but do not reach each other"
    say "no longer isolated: a container reaches another again"
}

if [[ $PLATFORM == local ]]; then die "$EXIT_USAGE" "a local node listens on its own machine only; stop it instead"; fi
WORK=$(mktemp)
trap 'record $?; rm -f "$WORK" "$WORK.saved"' EXIT
if [[ $UNDO == true ]]; then
    confirm "the network is opened again"
    "undo_$PLATFORM"
else
    confirm "trading stops: nothing reaches the system, and it reaches nothing"
    evidence "$EVIDENCE"
    "isolate_$PLATFORM"
fi
