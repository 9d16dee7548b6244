#!/usr/bin/env bats
# disaster-recovery.sh: backups are checked, a restore verifies before it touches anything and undoes what fails.
load common

GATEWAY='kubectl -n hive-mind-production exec hive-mind-gateway-0 -c hive-mind-rust -- /app/bin/hive-mind-server'
READY='kubectl -n hive-mind-production exec hive-mind-gateway-0 -c hive-mind-rust -- curl -sf --max-time 5 http://localhost:8091/readyz'
ADMIN='kubectl -n hive-mind-production exec deployment/hive-mind-rust -c hive-mind-rust -- /app/bin/hive-mind-server'
ID=20260101T000000Z-0a0b0c0d
NEW=20260102T000000Z-11111111

cluster() {
    answer "$READY" ok
    answer "$GATEWAY admin backup verify $ID" "backup $ID is whole"
    answer "$GATEWAY admin backup verify $NEW" "backup $NEW is whole"
    answer "$GATEWAY admin backup create *" "$NEW"
    answer "$GATEWAY admin backup list --output json" '{"place":"/backups","backups":[{"id":"'$ID'"},{"id":"torn","damage":"no"}]}'
    answer "$ADMIN admin status --output json" '{"instruments":[{"state":"halted","instruments":3}]}'
    answer 'kubectl -n * get secret hive-mind-database -o name' secret/hive-mind-database
    answer 'kubectl -n * get deployment hive-mind-rust -o jsonpath={.spec.replicas}' 3
    answer 'kubectl -n * get statefulset hive-mind-gateway -o jsonpath={.spec.replicas}' 1
    answer 'kubectl -n * get statefulset hive-mind-gateway -o json' '{"spec":{"template":{"spec":{"volumes":[{"name":"config"}],
        "containers":[{"name":"hive-mind-rust","image":"i:1","env":[{"name":"A"}],"args":["run"],"livenessProbe":{},"lifecycle":{}}]}},
        "volumeClaimTemplates":[{"metadata":{"name":"data"}}]}}'
    answer 'kubectl -n * scale *' scaled
    answer 'kubectl -n * wait *' gone
    answer 'kubectl -n * run hive-mind-psql-* --rm *' ''
    answer 'kubectl -n * create -f -' created
    answer 'kubectl -n * get pod hive-mind-restore-* -o jsonpath={.status.phase}' Succeeded
    answer 'kubectl -n * get pod hive-mind-restore-* -o jsonpath=*exitCode*' 0
    answer 'kubectl -n * logs hive-mind-restore-*' 'restored'
    answer 'kubectl -n * delete pod hive-mind-restore-* *' deleted
    answer 'kubectl -n * rollout status *' done
}

@test "r79_backup prints the id alone, after reading the backup back" {
    cluster
    run --separate-stderr "$SCRIPTS/disaster-recovery.sh" backup
    ends_with 0
    [[ $output == "$NEW" ]] || fails "expected the id alone"
    called_in_order 'admin backup create --actor ann' "admin backup verify $NEW"
}

@test "r79_a backup that is not whole fails" {
    cluster
    answer "$GATEWAY admin backup verify $NEW" 'file 3 has another hash' 4
    run --separate-stderr "$SCRIPTS/disaster-recovery.sh" backup
    ends_with 4
    [[ -z $output ]] || fails "expected no id"
}

@test "r79_a backup that cannot be made fails with the code of the gateway" {
    cluster
    answer "$GATEWAY admin backup create *" '' 6
    run "$SCRIPTS/disaster-recovery.sh" backup
    ends_with 6
}

@test "r80_restore verifies, saves, stops, swaps the database, puts back, starts, validates" {
    cluster
    run "$SCRIPTS/disaster-recovery.sh" restore "$ID" --yes
    # The validation finds none of its objects in this cluster of answers.
    ends_with 4
    says "backup $ID is in place"
    called_in_order "admin backup verify $ID" 'admin backup create' 'scale deployment hive-mind-rust --replicas=0' \
        'scale statefulset hive-mind-gateway --replicas=0' 'run hive-mind-psql' 'create -f -' \
        'scale statefulset hive-mind-gateway --replicas=1' 'rollout status statefulset/hive-mind-gateway' \
        'scale deployment hive-mind-rust --replicas=3' 'rollout status deployment/hive-mind-rust' 'get configmap hive-mind-config'
    handed 'any(.[]; .kind == "Pod" and .spec.restartPolicy == "Never"
        and .spec.containers[0].args[0:5] == ["admin", "backup", "restore", "'$ID'", "--yes"]
        and .spec.containers[0].image == "i:1" and (.spec.containers[0] | has("livenessProbe") | not)
        and (.spec.volumes | any(.persistentVolumeClaim.claimName == "data-hive-mind-gateway-0")))'
    grep -q 'RENAME TO' "$FAKE/sql" && grep -q 'CREATE DATABASE' "$FAKE/sql" || fails "expected an empty database"
}

@test "r80_a restore that fails brings everything back as it was" {
    cluster
    answer 'kubectl -n * get pod hive-mind-restore-* -o jsonpath={.status.phase}' Failed
    answer 'kubectl -n * get pod hive-mind-restore-* -o jsonpath=*exitCode*' 4
    run "$SCRIPTS/disaster-recovery.sh" restore "$ID" --yes
    ends_with 4
    says 'was not put back'
    grep -q 'DROP DATABASE' "$FAKE/sql" || fails "expected the former database back"
    called_in_order 'create -f -' 'scale deployment hive-mind-rust --replicas=3'
}

@test "r80_a backup that is damaged or unknown changes nothing" {
    cluster
    answer "$GATEWAY admin backup verify $ID" damaged 4
    run "$SCRIPTS/disaster-recovery.sh" restore "$ID" --yes
    ends_with 5
    changed_nothing
    run "$SCRIPTS/disaster-recovery.sh" restore '../../etc' --yes
    ends_with 2
    changed_nothing
}

@test "r80_a restore is refused while the system trades, unless forced" {
    cluster
    answer "$ADMIN admin status --output json" '{"instruments":[{"state":"continuous","instruments":3}]}'
    run "$SCRIPTS/disaster-recovery.sh" restore "$ID" --yes
    ends_with 5
    says 'the system trades'
    changed_nothing
    run "$SCRIPTS/disaster-recovery.sh" restore "$ID" --yes --force
    called 'create -f -'
}

@test "r80_t14_latest is the newest backup that is whole, and a dry run changes nothing" {
    cluster
    run --separate-stderr "$SCRIPTS/disaster-recovery.sh" latest
    ends_with 0
    [[ $output == "$ID" ]] || fails "expected $ID"
    run "$SCRIPTS/disaster-recovery.sh" restore latest --dry-run
    ends_with 0
    says "would put back $ID"
    changed_nothing
}

@test "r80_a restore asks, and is refused where nobody can be asked" {
    cluster
    run "$SCRIPTS/disaster-recovery.sh" restore "$ID" </dev/null
    ends_with 2
    says '--yes'
    changed_nothing
}

@test "r80_without a backup of the present state nothing is changed, unless forced" {
    cluster
    answer "$GATEWAY admin backup create *" '' 1
    run "$SCRIPTS/disaster-recovery.sh" restore "$ID" --yes
    ends_with 1
    not_called 'scale'
    run "$SCRIPTS/disaster-recovery.sh" restore "$ID" --yes --force
    called 'create -f -'
}

@test "r80_a restore works while no gateway answers" {
    cluster
    answer "$READY" '' 7
    answer "$GATEWAY admin *" '' 1
    answer "$ADMIN admin status --output json" '' 6
    run "$SCRIPTS/disaster-recovery.sh" restore "$ID" --yes
    says 'no gateway answers'
    not_called 'admin backup create'
    called_in_order 'scale statefulset hive-mind-gateway --replicas=0' 'create -f -'
}

@test "r80_a restore into compose stops its four services and starts them again" {
    local in='docker compose exec -T persistence-gateway /app/bin/hive-mind-server'
    answer 'docker compose exec -T persistence-gateway curl -sf * http://localhost:8091/readyz' ok
    answer "$in admin backup verify *" whole
    answer "$in admin backup create *" "$NEW"
    answer 'docker compose exec -T admin-api /app/bin/hive-mind-server admin status *' '{"instruments":[]}'
    answer 'docker compose ps --services' postgres
    answer 'docker compose exec -T postgres *' ''
    answer 'docker compose stop *' ''
    answer 'docker compose start *' ''
    answer 'docker compose run *' restored
    run "$SCRIPTS/disaster-recovery.sh" --platform compose restore "$ID" --yes
    called_in_order "admin backup verify $ID" 'stop order-engine' 'exec -T postgres' \
        "run --rm --no-deps -T --entrypoint /app/bin/hive-mind-server persistence-gateway admin backup restore $ID --yes" \
        'start persistence-gateway'
}

@test "r80_a local node is restored by the binary itself" {
    answer 'hive-mind-server admin backup verify *' whole
    answer 'hive-mind-server admin status *' '' 6
    answer 'hive-mind-server admin backup restore *' restored
    run "$SCRIPTS/disaster-recovery.sh" --platform local restore "$ID" --yes
    ends_with 0
    called "hive-mind-server admin backup restore $ID --yes --actor ann"
}
