#!/usr/bin/env bats
# emergency-rollback.sh: template and configuration go back together, or not at all.
load common

GOOD='[node]
worker_threads = 2'

config_map() { jq -n --arg now "$1" --arg applied "$2" '{data: {"production.toml": $now}, metadata: {annotations:
    {"kubectl.kubernetes.io/last-applied-configuration": ({data: {"production.toml": $applied}} | tojson)}}}'; }

cluster() {
    answer 'kubectl -n * get configmap hive-mind-config -o json' "$(config_map '...broken' "$GOOD")"
    answer 'kubectl -n * get configmap hive-mind-config-last-good -o json' '' 1
    answer 'kubectl -n * rollout history deployment/hive-mind-rust' $'deployment.apps/hive-mind-rust\nREVISION  CHANGE-CAUSE\n3         <none>\n4         image 1.1'
    answer 'kubectl -n * rollout undo *' 'rolled back'
    answer 'kubectl -n * rollout restart *' restarted
    answer 'kubectl -n * rollout status *' 'successfully rolled out'
    answer 'kubectl -n * patch configmap *' patched
}

@test "r83_the file that was applied comes back, then the former template" {
    cluster
    run "$SCRIPTS/emergency-rollback.sh" --yes
    # Nothing of the validation is in this cluster of answers.
    ends_with 4
    says 'rolled back, but'
    says '-...broken'
    called_in_order 'patch configmap hive-mind-config --type=merge' 'rollout undo deployment/hive-mind-rust' \
        'rollout status deployment/hive-mind-rust --timeout=300s' 'get statefulset hive-mind-gateway'
    handed "any(.[]; .data[\"production.toml\"] == \"[node]\\nworker_threads = 2\\n\")"
    grep -qx '...broken' "$HIVE_STATE_DIR"/production.toml.* || fails "what was replaced was not kept"
}

@test "r83_what was remembered wins over what was applied" {
    cluster
    answer 'kubectl -n * get configmap hive-mind-config-last-good -o json' '{"data":{"production.toml":"shards = 1\n"}}'
    run "$SCRIPTS/emergency-rollback.sh" --yes
    handed 'any(.[]; .data["production.toml"] == "shards = 1\n")'
}

@test "r83_a configuration that is the last good one is left alone" {
    cluster
    answer 'kubectl -n * get configmap hive-mind-config -o json' "$(config_map "$GOOD" "$GOOD")"
    run "$SCRIPTS/emergency-rollback.sh" --yes
    not_called 'patch configmap'
    called 'rollout undo'
}

@test "r83_without a former revision the configuration alone comes back, with a restart" {
    cluster
    answer 'kubectl -n * rollout history *' $'REVISION  CHANGE-CAUSE\n1         <none>'
    run "$SCRIPTS/emergency-rollback.sh" --yes
    not_called 'rollout undo'
    called_in_order 'patch configmap' 'rollout restart deployment/hive-mind-rust' 'rollout status'
}

@test "r83_with nothing to go back to it is refused" {
    cluster
    answer 'kubectl -n * get configmap hive-mind-config -o json' "$(config_map "$GOOD" "$GOOD")"
    answer 'kubectl -n * rollout history *' $'REVISION  CHANGE-CAUSE\n1         <none>'
    run "$SCRIPTS/emergency-rollback.sh" --yes
    ends_with 5
    changed_nothing
}

@test "r83_a dry run, and a consent nobody can be asked for, change nothing" {
    cluster
    run "$SCRIPTS/emergency-rollback.sh" --dry-run
    ends_with 0
    says 'would run: kube rollout undo'
    changed_nothing
    run "$SCRIPTS/emergency-rollback.sh" </dev/null
    ends_with 2
    changed_nothing
}

@test "r83_a rollout that does not finish is told" {
    cluster
    answer 'kubectl -n * rollout status *' 'timed out' 1
    run "$SCRIPTS/emergency-rollback.sh" --yes
    ends_with 1
    says 'was not done within 300 s'
}

@test "r83_the present configuration is remembered as the last good one" {
    cluster
    answer 'kubectl -n * get configmap hive-mind-config -o json' "$(config_map "$GOOD" x)"
    answer 'kubectl -n * apply -f *' applied
    run "$SCRIPTS/emergency-rollback.sh" --remember
    ends_with 0
    handed 'any(.[]; .metadata.name == "hive-mind-config-last-good" and .data["production.toml"] == "[node]\nworker_threads = 2\n")'
}

@test "r83_compose goes back to an image and to the file that was remembered" {
    export HIVE_CONFIG_DIR=$BATS_TEST_TMPDIR/config
    mkdir "$HIVE_CONFIG_DIR"
    echo good >"$HIVE_CONFIG_DIR/production.toml"
    run "$SCRIPTS/emergency-rollback.sh" --platform compose --remember
    ends_with 0
    echo bad >"$HIVE_CONFIG_DIR/production.toml"
    answer 'docker compose ps -q order-engine' $'a\nb\nc'
    answer 'docker compose up *' ''
    run "$SCRIPTS/emergency-rollback.sh" --platform compose --image hive-mind:1.0 --yes
    called 'up -d --no-build --no-deps --scale order-engine=3 persistence-gateway'
    [[ $(<"$HIVE_CONFIG_DIR/production.toml") == good ]] || fails "the file is not the one that was remembered"
}
