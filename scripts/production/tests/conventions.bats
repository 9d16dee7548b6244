#!/usr/bin/env bats
# What all scripts have in common.
load common

ALL=(disaster-recovery validate-deployment performance-test emergency-rollback scale-emergency network-isolate)

@test "r86_every script explains itself, and refuses what it does not know, without a look at the system" {
    local script
    for script in "${ALL[@]}"; do
        run "$SCRIPTS/$script.sh" --help
        ends_with 0
        says "Usage: $script.sh"
        says '--dry-run'
        run "$SCRIPTS/$script.sh" --fly
        ends_with 2
        run "$SCRIPTS/$script.sh" -n
        ends_with 2
        run "$SCRIPTS/$script.sh" --platform
        ends_with 2
    done
    [[ ! -s $FAKE/calls ]] || fails "expected no call"
}

@test "r86_every script asks the namespace it is told, and leaves a line of who, what and how it ended" {
    local script
    for script in "${ALL[@]}"; do
        local words=(-n elsewhere --platform kubernetes --yes --reason drill)
        if [[ $script == disaster-recovery ]]; then words+=(backup); fi
        : >"$FAKE/calls"
        rm -rf "$HIVE_STATE_DIR"
        run "$SCRIPTS/$script.sh" "${words[@]}"
        if grep -v 'kubectl -n elsewhere ' "$FAKE/calls"; then fails "$script looks outside the namespace"; fi
        [[ -s $FAKE/calls ]] || fails "$script called nothing"
        jq -e --arg script "$script.sh" --argjson code "$status" '.script == $script and .actor == "ann" and .reason == "drill"
            and .namespace == "elsewhere" and .exit_code == $code and (.operation | startswith("-n elsewhere"))' \
            "$HIVE_STATE_DIR/operations.jsonl" || fails "$script left no line, or another one"
    done
}

@test "r86_where the system runs is found out, or asked for" {
    answer 'hive-mind-server *' ''
    answer 'kubectl get deployment *' '' 1
    answer 'docker compose ps -q' ''
    run "$SCRIPTS/validate-deployment.sh"
    ends_with 6
    says '--platform'
    answer 'docker compose ps -q' container
    answer 'docker compose exec *' '' 1
    run "$SCRIPTS/validate-deployment.sh"
    ends_with 4
    called 'docker compose exec -T admin-api'
    run "$SCRIPTS/validate-deployment.sh" --platform moon
    ends_with 2
}

@test "r86_shellcheck has nothing to say" {
    cd "$SCRIPTS"
    run shellcheck --external-sources lib.sh "${ALL[@]/%/.sh}" tests/fakes/fake tests/common.bash
    ends_with 0
    [[ -z $output ]] || fails "expected silence"
}
