#!/usr/bin/env bats
# scale-emergency.sh: what it sets stays, and can be taken back.
load common

hpa() { jq -n --argjson min "$1" --argjson max "$2" --arg before "${3:-}" '{metadata: {annotations:
    (if $before == "" then {} else {"hive-mind/before-emergency": $before} end)}, spec: {minReplicas: $min, maxReplicas: $max}}'; }

# pools ENGINES-HAVE-POOLS: a server of 100 sessions, 3 reserved, 7 others'.
pools() {
    local server='{"max_connections":100,"reserved":3,"others":7}'
    printf '{"pools":[{"before":{"database":"postgres","instance":"%s","max":20},"server":%s}],"instances":[{"instance":"gateway","services":["persistence-gateway"]},{"instance":"engine","services":["order-engine"]}]}' "$1" "$server"
}

cluster() {
    answer 'kubectl -n * get deployment hive-mind-rust -o jsonpath={.spec.replicas}' "${1:-3}"
    answer 'kubectl -n * get hpa hive-mind-hpa -o json' "$(hpa 3 10)"
    answer 'kubectl -n * exec deployment/hive-mind-rust * admin database optimize-connections --dry-run --output json' "$(pools gateway)"
    answer 'kubectl -n * annotate *' annotated
    answer 'kubectl -n * patch hpa *' patched
    answer 'kubectl -n * scale *' scaled
    answer 'kubectl -n * rollout status *' done
}

@test "r84_more engines: the autoscaler's minimum follows and is remembered" {
    cluster
    run "$SCRIPTS/scale-emergency.sh" 6
    ends_with 0
    called_in_order 'annotate hpa hive-mind-hpa hive-mind/before-emergency=3-10' \
        'patch hpa hive-mind-hpa --type=merge -p {"spec":{"minReplicas":6,"maxReplicas":10}}' \
        'scale deployment hive-mind-rust --replicas=6' 'rollout status deployment/hive-mind-rust'
}

@test "r84_one engine stays one: the autoscaler may not bring back three" {
    cluster
    run "$SCRIPTS/scale-emergency.sh" 1 --yes
    ends_with 0
    called_in_order 'patch hpa hive-mind-hpa --type=merge -p {"spec":{"minReplicas":1,"maxReplicas":1}}' \
        'scale deployment hive-mind-rust --replicas=1'
}

@test "r84_fewer engines are asked for" {
    cluster
    run "$SCRIPTS/scale-emergency.sh" 1 </dev/null
    ends_with 2
    changed_nothing
}

@test "r84_a second emergency does not remember the bounds of the first" {
    cluster
    answer 'kubectl -n * get hpa hive-mind-hpa -o json' "$(hpa 1 1 3-10)"
    run "$SCRIPTS/scale-emergency.sh" 6
    ends_with 0
    not_called 'annotate'
}

@test "r84_the former bounds come back, and at least the former minimum" {
    cluster 1
    answer 'kubectl -n * get hpa hive-mind-hpa -o json' "$(hpa 1 1 3-10)"
    run "$SCRIPTS/scale-emergency.sh" --restore
    ends_with 0
    called_in_order 'patch hpa hive-mind-hpa --type=merge -p {"spec":{"minReplicas":3,"maxReplicas":10}}' \
        'scale deployment hive-mind-rust --replicas=3' 'annotate hpa hive-mind-hpa hive-mind/before-emergency-'
}

@test "r84_restoring twice changes nothing" {
    cluster
    run "$SCRIPTS/scale-emergency.sh" --restore
    ends_with 0
    says 'no change'
    changed_nothing
}

@test "r84_without a number twice as many, at most ten" {
    cluster
    run "$SCRIPTS/scale-emergency.sh"
    called 'scale deployment hive-mind-rust --replicas=6'
    cluster 8
    run "$SCRIPTS/scale-emergency.sh"
    called 'scale deployment hive-mind-rust --replicas=10'
}

@test "r84_more connections than the database has are refused" {
    cluster 1
    answer 'kubectl -n * exec * admin database optimize-connections --dry-run --output json' "$(pools engine)"
    run "$SCRIPTS/scale-emergency.sh" 4
    ends_with 0
    run "$SCRIPTS/scale-emergency.sh" 5
    ends_with 5
    says 'would hold up to 100 connections, the database has 90'
}

@test "r84_a dry run changes nothing" {
    cluster
    run "$SCRIPTS/scale-emergency.sh" 6 --dry-run
    ends_with 0
    says 'would be: 3 -> 6'
    changed_nothing
}

@test "r84_compose starts containers beside those there are" {
    answer 'docker compose ps -q order-engine' $'a\nb'
    answer 'docker compose exec -T admin-api * admin database optimize-connections *' "$(pools gateway)"
    answer 'docker compose up *' ''
    run "$SCRIPTS/scale-emergency.sh" --platform compose 4
    ends_with 0
    called 'up -d --no-recreate --no-deps --scale order-engine=4 order-engine'
}

@test "r84_numbers are numbers" {
    local word
    for word in 0 51 3x -3; do
        run "$SCRIPTS/scale-emergency.sh" "$word"
        ends_with 2
    done
}
