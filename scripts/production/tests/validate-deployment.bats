#!/usr/bin/env bats
# validate-deployment.sh catches each fault, and says nothing where there is none.
load common

EXEC='kubectl -n hive-mind-production exec'

healthy() {
    answer 'kubectl -n * get statefulset hive-mind-gateway -o json' '{"spec":{"replicas":1},"status":{"readyReplicas":1,"updatedReplicas":1}}'
    answer 'kubectl -n * get deployment hive-mind-rust -o json' '{"spec":{"replicas":2},"status":{"readyReplicas":2,"updatedReplicas":2}}'
    answer 'kubectl -n * get * -o name' there
    answer 'kubectl -n * get configmap hive-mind-isolation -o name' '' 1
    answer 'kubectl -n * get hpa hive-mind-hpa -o json' '{"metadata":{}}'
    answer 'kubectl -n * get pods -l app=hive-mind-rust -o name' $'pod/a\npod/b'
    answer "$EXEC pod/* -- curl -s --max-time 5 http://localhost:8091/health/consensus" '{"shards":[{"shard":0,"leader_id":"a","term":3,"role":"leader"}]}'
    answer "$EXEC deployment/hive-mind-rust * http://localhost:8091/health" '{"status":"ok"}'
    answer "$EXEC deployment/hive-mind-rust * http://localhost:9090/metrics" 'trading_operation_duration_seconds_bucket{le="0.001"} 0'
    answer "$EXEC deployment/hive-mind-rust * admin doctor --output json" \
        '{"checks":[{"category":"host","name":"disk","verdict":"ok","message":"plenty","hint":null}]}'
    answer "$EXEC hive-mind-gateway-0 * admin backup list --output json" '{"backups":[{"id":"one"}]}'
}

@test "r81_nothing is wrong: one line a check, exit code 0, nothing is changed" {
    healthy
    run "$SCRIPTS/validate-deployment.sh"
    ends_with 0
    says 'ok      workloads    hive-mind-rust: 2 of 2 replicas are ready'
    says 'ok      consensus    leaders: 2 replicas agree'
    [[ $output != *failed* && $output != *warning* ]] || fails "expected no complaint"
    changed_nothing
}

@test "r81_the same as one JSON document" {
    healthy
    run --separate-stderr "$SCRIPTS/validate-deployment.sh" --output json
    ends_with 0
    jq -e '.healthy and .failed == 0 and (.checks | length > 9) and all(.checks[]; .verdict == "ok")' <<<"$output" || fails "not the document"
}

# caught WHAT PATTERN ANSWER CODE: the fault is found, with a hint.
caught() {
    healthy
    answer "$2" "$3" "${4:-0}"
    run "$SCRIPTS/validate-deployment.sh"
    ends_with 4 || return 1
    says 'failed ' || return 1
    says "$1" || return 1
    says '-> '
}

@test "r81_a replica that is not ready" {
    caught '1 of 2 replicas are ready' 'kubectl -n * get deployment hive-mind-rust -o json' '{"spec":{"replicas":2},"status":{"readyReplicas":1,"updatedReplicas":2}}'
}
@test "r81_a rollout that is stuck" {
    caught '1 of the present template' 'kubectl -n * get deployment hive-mind-rust -o json' '{"spec":{"replicas":2},"status":{"readyReplicas":2,"updatedReplicas":1}}'
}
@test "r81_a deployment scaled to nothing" {
    caught '0 of 0 replicas' 'kubectl -n * get deployment hive-mind-rust -o json' '{"spec":{"replicas":0},"status":{}}'
}
@test "r81_no gateways" { caught 'not found' 'kubectl -n * get statefulset hive-mind-gateway -o json' 'statefulsets "hive-mind-gateway" not found' 1; }
@test "r81_no configuration" { caught 'configmap hive-mind-config: missing' 'kubectl -n * get configmap hive-mind-config -o name' '' 1; }
@test "r81_no keys" { caught 'secret hive-mind-api-keys: missing' 'kubectl -n * get secret hive-mind-api-keys -o name' '' 1; }
@test "r81_no policy that denies" { caught 'networkpolicy deny-all-default: missing' 'kubectl -n * get networkpolicy deny-all-default -o name' '' 1; }
@test "r81_an isolation that was forgotten" { caught 'the system is cut off' 'kubectl -n * get configmap hive-mind-isolation -o name' there; }
@test "r81_replicas that disagree on the leader" {
    caught 'another replica' "$EXEC pod/b *consensus" '{"shards":[{"shard":0,"leader_id":"b","term":4}]}'
}
@test "r81_no leader" { caught 'has no leader' "$EXEC pod/* *consensus" '{"shards":[{"shard":0,"leader_id":null,"term":4}]}'; }
@test "r81_a replica that does not answer" { caught 'does not say who leads' "$EXEC pod/b *consensus" '' 7; }
@test "r81_health that is an error" { caught 'localhost:8091/health' "$EXEC deployment/* http://localhost:8091/health" '' 22; }
@test "r81_metrics without the histogram of orders" { caught 'without trading_operation_duration' "$EXEC deployment/* http://localhost:9090/metrics" 'up 1'; }
@test "r81_what the doctor finds" {
    caught 'disk: 0 GiB free' "$EXEC deployment/* admin doctor --output json" \
        '{"checks":[{"category":"host","name":"disk","verdict":"failed","message":"0 GiB free","hint":"make room"}]}' 4
}
@test "r81_a doctor that does not answer" { caught 'gave no answer' "$EXEC deployment/* admin doctor --output json" '' 6; }

@test "r81_what only needs a look is a warning" {
    healthy
    answer "$EXEC hive-mind-gateway-0 * admin backup list --output json" '{"backups":[]}'
    answer 'kubectl -n * get hpa hive-mind-hpa -o json' '{"metadata":{"annotations":{"hive-mind/before-emergency":"3-10"}}}'
    run "$SCRIPTS/validate-deployment.sh"
    ends_with 0
    says 'warning backups      newest: there is none'
    says 'warning leftovers    scale'
}

@test "r81_the same checks in compose" {
    answer 'docker compose exec -T admin-api curl *8091/health' '{"status":"ok"}'
    answer 'docker compose exec -T order-engine curl *9090/metrics' 'trading_operation_duration_seconds_count 0'
    answer 'docker compose exec -T admin-api /app/bin/hive-mind-server admin doctor --output json' '{"checks":[{"category":"host","name":"disk","verdict":"ok","message":"","hint":null}]}'
    answer 'docker compose exec -T persistence-gateway * admin backup list --output json' '{"backups":[{"id":"one"}]}'
    run "$SCRIPTS/validate-deployment.sh" --platform compose
    ends_with 0
    answer 'docker compose exec -T order-engine curl *9090/metrics' '' 7
    run "$SCRIPTS/validate-deployment.sh" --platform compose
    ends_with 4
}
