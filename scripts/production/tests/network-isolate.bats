#!/usr/bin/env bats
# network-isolate.sh: evidence first, then really cut off, proven, and undone.
load common

cluster() {
    answer 'kubectl -n * logs -l app.kubernetes.io/part-of=hive-mind *' '{"level":"INFO"}'
    answer 'kubectl -n * get events *' '{"items":[]}'
    answer 'kubectl -n * get pods,networkpolicies -o yaml' 'kind: List'
    answer 'kubectl -n * get pods -l app.kubernetes.io/part-of=hive-mind --field-selector=* -o json' \
        '{"items":[{"metadata":{"name":"engine","labels":{"app":"hive-mind-rust"}},"status":{"podIP":"10.0.0.1"}},{"metadata":{"name":"gateway","labels":{}},"status":{"podIP":"10.0.0.2"}}]}'
    answer 'kubectl -n * exec engine -c hive-mind-rust -- curl * http://10.0.0.2:8091/livez' ok
    answer 'kubectl -n * get configmap hive-mind-isolation *' '' 1
    answer 'kubectl -n * get networkpolicies -o json' '{"items":[
        {"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"deny-all-default","uid":"1"},"spec":{"podSelector":{}}},
        {"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"allow-clients","uid":"2","labels":{"a":"b"}},"spec":{"podSelector":{}}}]}'
    answer 'kubectl -n * create -f *' created
    answer 'kubectl -n * apply -f *' applied
    answer 'kubectl -n * delete networkpolicy *' deleted
    answer 'kubectl -n * delete configmap *' deleted
    answer_after '* delete networkpolicy allow-clients' 'kubectl -n * exec engine * curl *' '' 28
}

@test "r85_evidence, what allows is kept and removed, a connection fails" {
    cluster
    run "$SCRIPTS/network-isolate.sh" --yes
    ends_with 0
    says 'a connection between two pods that worked before fails'
    called_in_order 'logs -l app.kubernetes.io/part-of=hive-mind' 'exec engine' 'create -f' 'apply -f' 'delete networkpolicy allow-clients' 'exec engine'
    handed 'any(.[]; .kind == "ConfigMap" and (.data["policies.json"] | fromjson | .items | length == 1
        and (.[0].metadata | .name == "allow-clients" and .labels == {"a": "b"} and (has("uid") | not))))'
    handed 'any(.[]; .metadata.name == "deny-all-default" and .spec.podSelector == {} and .spec.policyTypes == ["Ingress", "Egress"])'
    handed 'any(.[]; .metadata.name == "hive-mind-responders" and .spec.ingress[0].ports == [{"protocol": "TCP", "port": 8091}])'
    not_called 'delete networkpolicy deny-all-default'
}

@test "r85_the evidence has hashes, and events of the last hour only" {
    cluster
    local now old
    now=$(date -u +%Y-%m-%dT%H:%M:%SZ) old=2020-01-01T00:00:00Z
    answer 'kubectl -n * get events *' '{"items":[
        {"lastTimestamp":"'"$old"'","type":"Normal","reason":"Old","involvedObject":{"kind":"Pod","name":"a"},"message":"old"},
        {"lastTimestamp":null,"eventTime":"'"${now%Z}.123456Z"'","type":"Warning","reason":"New","involvedObject":{"kind":"Pod","name":"a"},"message":"two\nlines"}]}'
    run "$SCRIPTS/network-isolate.sh" --yes --evidence there
    ends_with 0
    (cd there && sha256sum --check --quiet SHA256SUMS) || fails "the hashes are not those of the files"
    [[ $(wc -l <there/security-incident-events.txt) -eq 1 ]] || fails "expected one event in one line"
    grep -q 'two lines' there/security-incident-events.txt
    not_called '--since=1h get events'
    if grep -q 'get events.*--since' "$FAKE/calls"; then fails "kubectl get events knows no --since"; fi
}

@test "r85_a network that enforces nothing is told" {
    cluster
    answer 'kubectl -n * exec engine * curl *' ok
    run "$SCRIPTS/network-isolate.sh" --yes
    ends_with 4
    says 'does not enforce NetworkPolicies'
}

@test "r85_without a connection before, nothing is called proven" {
    cluster
    answer 'kubectl -n * exec engine * curl *' '' 7
    run "$SCRIPTS/network-isolate.sh" --yes
    ends_with 4
    says 'not proven'
    called 'delete networkpolicy allow-clients'
}

@test "r85_isolating twice keeps what was there before the first time" {
    cluster
    answer 'kubectl -n * get configmap hive-mind-isolation *' there
    run "$SCRIPTS/network-isolate.sh" --yes
    not_called 'create -f'
}

@test "r85_undo brings the policies back" {
    cluster
    answer 'kubectl -n * get configmap hive-mind-isolation *' '{"data":{"policies.json":"{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{\"kind\":\"NetworkPolicy\",\"metadata\":{\"name\":\"allow-clients\"}}]}"}}'
    run "$SCRIPTS/network-isolate.sh" --undo --yes
    ends_with 0
    handed 'any(.[]; .kind == "List" and .items[0].metadata.name == "allow-clients")'
    called_in_order 'apply -f' 'delete networkpolicy hive-mind-responders' 'delete configmap hive-mind-isolation' 'exec engine'
}

@test "r85_undoing what is not there changes nothing" {
    cluster
    run "$SCRIPTS/network-isolate.sh" --undo --yes
    ends_with 0
    says 'no change'
    changed_nothing
}

@test "r85_a dry run changes nothing and writes nothing" {
    cluster
    run "$SCRIPTS/network-isolate.sh" --dry-run
    ends_with 0
    changed_nothing
    [[ -z $(find . -name 'security-incident-*') ]] || fails "evidence was written"
}

@test "r85_containers of compose lose their networks, and get them back with their names" {
    answer 'docker compose logs *' log
    answer 'docker compose ps' list
    answer 'docker compose ps -q *' 'c1'
    answer 'docker compose exec -T order-engine curl *' ok
    answer_after 'docker network disconnect*' 'docker compose exec -T order-engine curl *' '' 6
    answer_after 'docker network connect*' 'docker compose exec -T order-engine curl *' ok
    answer 'docker inspect c1' '[{"Id":"c1","NetworkSettings":{"Networks":{"hive":{"Aliases":["order-engine","hive-mind-service"]}}}}]'
    answer 'docker network *' ''
    run "$SCRIPTS/network-isolate.sh" --platform compose --yes
    ends_with 0
    called 'docker network disconnect --force hive c1'
    run "$SCRIPTS/network-isolate.sh" --platform compose --undo --yes
    ends_with 0
    called 'docker network connect --alias order-engine --alias hive-mind-service hive c1'
}
