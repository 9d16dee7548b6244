#!/usr/bin/env bash
# Takes back a bad rollout: the pod template and, what `kubectl rollout undo` leaves alone, the configuration.
# Absent: data; disaster-recovery.sh puts backups back.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2034  # lib.sh prints it
USAGE="Usage: emergency-rollback.sh [--config-only | --template-only] [--to-revision N] [--image IMAGE] | --remember

  --config-only      leaves the pod template as it is
  --template-only    leaves the configuration as it is
  --to-revision N    this revision of the Deployment instead of the one before
  --image IMAGE      compose: the image to go back to, as HIVE_MIND_IMAGE in docker-compose.yml
  --remember         keeps the present configuration as the last good one and changes nothing else;
                     validate-deployment.sh --remember does this if everything works

The last good configuration is the one that was remembered; if none was, the one last applied from a file. What is
replaced is kept in the directory of the operations log."

CONFIG=true TEMPLATE=true REMEMBER=false REVISION='' IMAGE=''
ARGUMENTS=("$@")
while [[ $# -gt 0 ]]; do
    common_option "$@"
    if ((TAKEN > 0)); then
        shift "$TAKEN"
        continue
    fi
    case $1 in
    --config-only) TEMPLATE=false ;;
    --template-only) CONFIG=false ;;
    --remember) REMEMBER=true ;;
    --to-revision) needs_value "$@" && REVISION=$2 && shift ;;
    --image) needs_value "$@" && IMAGE=$2 && shift ;;
    *) unknown_argument "$1" ;;
    esac
    shift
done
if [[ $CONFIG == false && $TEMPLATE == false ]]; then die "$EXIT_USAGE" "--config-only and --template-only exclude each other"; fi
if [[ -n $REVISION && ! $REVISION =~ ^[1-9][0-9]*$ ]]; then die "$EXIT_USAGE" "--to-revision is a number, see kubectl rollout history"; fi
begin "${ARGUMENTS[@]}"

readonly LAST_GOOD=hive-mind-config-last-good
# The directory that docker-compose.yml mounts with production.toml in it.
readonly CONFIG_DIRECTORY=${HIVE_CONFIG_DIR:-$DIRECTORY/../../deploy/compose/config}

present_config() {
    case $PLATFORM in
    kubernetes) kube get configmap "$CONFIG_MAP" -o json | jq -r '.data["production.toml"] // ""' ;;
    compose) cat "$CONFIG_DIRECTORY/production.toml" ;;
    esac
}

last_good_config() {
    local remembered
    case $PLATFORM in
    kubernetes)
        if remembered=$(kube get configmap "$LAST_GOOD" -o json 2>/dev/null); then
            jq -er '.data["production.toml"]' <<<"$remembered"
        else
            kube get configmap "$CONFIG_MAP" -o json | jq -er '.metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"]
                | fromjson | .data["production.toml"]' 2>/dev/null
        fi
        ;;
    compose) cat "$CONFIG_DIRECTORY/production.toml.last-good" 2>/dev/null ;;
    esac
}

remember() {
    case $PLATFORM in
    kubernetes)
        jq -n --arg text "$(present_config)" --arg name "$LAST_GOOD" --arg at "$STARTED" --arg actor "$ACTOR" \
            '{apiVersion: "v1", kind: "ConfigMap",
              metadata: {name: $name, annotations: {"hive-mind/remembered": "\($at) by \($actor)"}},
              data: {"production.toml": "\($text)\n"}}' >"$WORK"
        change kube apply -f "$WORK" >&2
        ;;
    compose) change cp "$CONFIG_DIRECTORY/production.toml" "$CONFIG_DIRECTORY/production.toml.last-good" ;;
    esac
    say "the present configuration is the last good one"
}

# Sets CHANGED if the configuration was another one.
restore_config() {
    local good present
    if ! good=$(last_good_config); then
        say "no last good configuration is known; the present one stays"
        return
    fi
    present=$(present_config)
    if [[ $good == "$present" ]]; then
        say "the configuration is the last good one already"
        return
    fi
    CHANGED=true
    diff --unified --label present --label "last good" <(printf '%s\n' "$present") <(printf '%s\n' "$good") >&2 || true
    if [[ $DRY_RUN == false ]]; then
        mkdir -p "$STATE"
        (umask 077 && printf '%s\n' "$present" >"$STATE/production.toml.$STARTED")
    fi
    case $PLATFORM in
    kubernetes)
        jq -n --arg text "$good" '{data: {"production.toml": "\($text)\n"}}' >"$WORK"
        change kube patch configmap "$CONFIG_MAP" --type=merge --patch-file="$WORK" >&2
        ;;
    compose)
        # Renamed into its place, so that no node reads half of it.
        printf '%s\n' "$good" >"$WORK"
        change cp "$WORK" "$CONFIG_DIRECTORY/.production.toml.new"
        change mv "$CONFIG_DIRECTORY/.production.toml.new" "$CONFIG_DIRECTORY/production.toml"
        ;;
    esac
}

# Revisions that can be gone back to.
revisions() { kube rollout history "deployment/$DEPLOYMENT" | grep -cE '^[0-9]+[[:space:]]'; }

restore_template() {
    case $PLATFORM in
    kubernetes)
        if [[ $(revisions) -ge 2 ]]; then
            change kube rollout undo "deployment/$DEPLOYMENT" ${REVISION:+--to-revision="$REVISION"} >&2
        elif [[ $CHANGED == true ]]; then
            say "there is no earlier revision of the Deployment; its pods are started again with the configuration"
            change kube rollout restart "deployment/$DEPLOYMENT" >&2
        else
            die "$EXIT_REFUSED" "there is neither an earlier revision of the Deployment nor another configuration to go back to"
        fi
        ;;
    compose)
        if [[ -n $IMAGE ]]; then
            # Without the number of engines compose would make one of them.
            HIVE_MIND_IMAGE=$IMAGE change compose up -d --no-build --no-deps \
                --scale "$ENGINE_SERVICE=$(compose_engines)" \
                "$GATEWAY_SERVICE" "$COORDINATOR_SERVICE" "$ENGINE_SERVICE" "$ADMIN_SERVICE" >&2
        elif [[ $CHANGED == true ]]; then
            change compose restart "$GATEWAY_SERVICE" "$COORDINATOR_SERVICE" "$ENGINE_SERVICE" "$ADMIN_SERVICE" >&2
        else
            die "$EXIT_REFUSED" "there is no other configuration to go back to; --image names an image to go back to"
        fi
        ;;
    esac
}

if [[ $PLATFORM == local ]]; then die "$EXIT_USAGE" "a local node has no rollouts: start the former binary, or put the former file back"; fi
WORK=$(mktemp)
trap 'record $?; rm -f "$WORK"' EXIT
if [[ $REMEMBER == true ]]; then
    remember
    exit 0
fi
confirm "$DEPLOYMENT goes back to what it was before"
CHANGED=false
if [[ $CONFIG == true ]]; then restore_config; fi
if [[ $TEMPLATE == true ]]; then
    restore_template
elif [[ $CHANGED == true && $PLATFORM == kubernetes ]]; then
    change kube rollout restart "deployment/$DEPLOYMENT" >&2
elif [[ $CHANGED == false ]]; then
    exit 0
fi
if [[ $DRY_RUN == true ]]; then exit 0; fi
if [[ $PLATFORM == kubernetes ]]; then
    kubernetes_rollout "deployment/$DEPLOYMENT" || die "$EXIT_FAILED" "the rollout was not done within 300 s: kubectl describe deployment $DEPLOYMENT -n $NAMESPACE"
fi
if ! until_true "${HIVE_VALIDATE_WITHIN:-120}" "$DIRECTORY/validate-deployment.sh" --platform "$PLATFORM" --namespace "$NAMESPACE" >"$WORK" 2>&1; then
    cat "$WORK" >&2
    die "$EXIT_UNHEALTHY" "rolled back, but not everything works; see above"
fi
cat "$WORK" >&2
say "rolled back, and everything works"
