# shellcheck shell=bash
# What the tests of this directory share: a place of their own, stand-ins for the programs that scripts call, answers.

bats_require_minimum_version 1.5.0

setup() {
    SCRIPTS=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
    export SCRIPTS
    # Set by each `run`.
    status=0 output=''
    export FAKE=$BATS_TEST_TMPDIR/fake
    mkdir -p "$FAKE/answers" "$FAKE/bin"
    : >"$FAKE/calls"
    local program
    for program in kubectl docker psql hive-mind-server; do ln -s "$BATS_TEST_DIRNAME/fakes/fake" "$FAKE/bin/$program"; done
    PATH=$FAKE/bin:$PATH
    export HIVE_STATE_DIR=$BATS_TEST_TMPDIR/state HIVE_ACTOR=ann HIVE_LOOK_AGAIN=0.05 HIVE_PROVE_WITHIN=1 HIVE_VALIDATE_WITHIN=0
    unset HIVE_PLATFORM HIVE_NAMESPACE DATABASE_URL
    cd "$BATS_TEST_TMPDIR" || return 1
    answer 'docker compose version' ''
    answer 'kubectl get deployment hive-mind-rust -n * --request-timeout=5s -o name' deployment.apps/hive-mind-rust
}

# answer PATTERN OUTPUT [CODE]: to calls that match it, from now on.
answer() {
    local place
    ANSWERS=$((${ANSWERS:-1000} + 1))
    place=$FAKE/answers/$ANSWERS
    mkdir "$place"
    printf '%s' "$1" >"$place/pattern"
    printf '%s\n' "$2" >"$place/output"
    printf '%s' "${3:-0}" >"$place/code"
    NEWEST=$place
}

# answer_after EARLIER PATTERN OUTPUT [CODE]: the same, once there was a call that matches EARLIER.
answer_after() {
    answer "$2" "$3" "${4:-0}"
    printf '%s' "$1" >"$NEWEST/after"
}

fails() {
    echo "$*" >&2
    echo "--- status $status, output:" >&2
    echo "$output" >&2
    echo "--- calls:" >&2
    cat "$FAKE/calls" >&2
    return 1
}

ends_with() { [[ $status -eq $1 ]] || fails "expected exit code $1"; }

says() { [[ $output == *"$1"* ]] || fails "expected to read: $1"; }

line_of() { grep -n -m 1 -F -e "$1" "$FAKE/calls" | cut -d: -f1; }

called() { [[ -n $(line_of "$1") ]] || fails "expected a call with: $1"; }

not_called() { [[ -z $(line_of "$1") ]] || fails "did not expect a call with: $1"; }

# called_in_order CALL...: each after the one before.
called_in_order() {
    local previous=0 this call
    for call in "$@"; do
        called "$call" || return 1
        this=$(grep -n -F -e "$call" "$FAKE/calls" | cut -d: -f1 | awk -v least="$previous" '$1 > least { print; exit }')
        [[ -n $this ]] || fails "expected after the calls before: $call" || return 1
        previous=$this
    done
}

# Verbs that change something, of all programs.
changed_nothing() {
    local changes
    changes=$(grep -E '^kubectl (-n [^ ]+ )?(apply|create|delete|patch|scale|annotate|run|rollout (undo|restart))|^docker (compose (up|stop|start|restart|run)|network)|admin backup (restore|create)|^psql' "$FAKE/calls" | grep -v -e --dry-run || true)
    [[ -z $changes ]] || fails "expected no change, but: $changes"
}

# What a script handed to kubectl in files, all of it, asked by a jq filter.
handed() { jq -e -s "[.[][]] | $1" "$FAKE/all-handed" >/dev/null || { cat "$FAKE/all-handed" >&2; fails "handed over was not: $1"; }; }
