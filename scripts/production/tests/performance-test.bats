#!/usr/bin/env bats
# performance-test.sh: the load of the bench, and a verdict that the bench does not give.
load common

BENCH='kubectl -n * exec deployment/hive-mind-rust -c hive-mind-rust -- /app/bin/hive-mind-server bench *'

report() {
    printf '{"rate":1000,"throughput_per_s":999.5,"duration_s":60.0,"latency_us":{"p50":300,"p99":%s,"p999":1500,"max":2000},"turned_away":%s,"unresolved":%s,"lost":%s,"last_error":null}' "$@"
}

@test "r82_a load of a minute within a millisecond passes" {
    answer "$BENCH" "$(report 900 0 0 0)"
    run "$SCRIPTS/performance-test.sh" --duration 60
    ends_with 0
    says '999.5 requests/s'
    says 'p50 300 us   p99 900 us   p99.9 1500 us'
    says 'within 1000 us'
    called 'bench --target http://localhost:8080 --duration 60 --rate 1000 --connections 4 --output json'
}

@test "r82_a p99 above the limit fails" {
    answer "$BENCH" "$(report 1001 0 0 0)"
    run "$SCRIPTS/performance-test.sh" --duration 60
    ends_with 4
    says 'ABOVE 1000 us'
    run "$SCRIPTS/performance-test.sh" --p99-us 1001
    ends_with 0
}

@test "r82_errors fail: turned away, in doubt, lost" {
    local counts
    for counts in '1 0 0' '0 1 0' '0 0 1'; do
        # shellcheck disable=SC2086  # three numbers
        answer "$BENCH" "$(report 10 $counts)" 4
        run "$SCRIPTS/performance-test.sh" --output json
        ends_with 4
        jq -e '.passed == false and .errors == 1 and .within' <<<"$output" || fails "not the verdict"
    done
}

@test "r82_a load that did not come about fails with the code of the bench" {
    answer "$BENCH" '' 1
    run "$SCRIPTS/performance-test.sh"
    ends_with 1
    says 'came to no result'
}

@test "r82_the same in compose and for a local node" {
    answer 'docker compose exec -T order-engine /app/bin/hive-mind-server bench *' "$(report 10 0 0 0)"
    run "$SCRIPTS/performance-test.sh" --platform compose --duration 5
    ends_with 0
    answer 'hive-mind-server bench *' "$(report 10 0 0 0)"
    run "$SCRIPTS/performance-test.sh" --platform local --target http://127.0.0.1:18080
    ends_with 0
    called 'hive-mind-server bench --target http://127.0.0.1:18080 --duration 60'
}

@test "r82_numbers are numbers" {
    local words
    for words in '--duration 0' '--duration soon' '--rate -1' '--p99-us'; do
        # shellcheck disable=SC2086  # two words
        run "$SCRIPTS/performance-test.sh" $words
        ends_with 2
    done
}
