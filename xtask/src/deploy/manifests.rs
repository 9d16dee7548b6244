//! `deploy/kubernetes`: every name, label, port and key that the runbook uses, in both overlays.

use std::collections::BTreeSet;
use std::env;
use std::fs;

use serde_json::{Value, json};

use super::kubernetes::{OURS, container, list, manifest, object, overlays, patched, pod};
use super::output;
use crate::workspace_root;

const ENGINES: (&str, &str) = ("Deployment", "hive-mind-rust");
const GATEWAYS: (&str, &str) = ("StatefulSet", "hive-mind-gateway");

#[test]
fn r01_every_object_is_valid_and_names_its_namespace() {
    for overlay in ["production", "development"] {
        let file = env::temp_dir().join(format!("hive-mind-{overlay}-{}.yaml", std::process::id()));
        fs::write(&file, manifest(overlay)).expect("a temporary file");
        let place = file.to_string_lossy().into_owned();
        output(&["kubernetes-validate", "-k", "1.32", "--strict", &place], "");
        fs::remove_file(&file).expect("the temporary file");
    }
    for objects in overlays() {
        for one in objects.iter().filter(|one| one["kind"] != "Namespace") {
            let namespace = one["metadata"]["namespace"].as_str();
            assert!(matches!(namespace, Some(OURS | "database")), "{} {}", one["kind"], one["metadata"]["name"]);
        }
        assert!(objects.iter().any(|one| one["kind"] == "Namespace" && one["metadata"]["name"] == OURS));
    }
}

#[test]
fn r02_r16_one_deployment_has_the_label_and_says_why_it_changed() {
    let label = json!("hive-mind-rust");
    for objects in overlays() {
        let deployments = objects.iter().filter(|one| one["kind"] == "Deployment").count();
        assert_eq!(deployments, 1);
        let engines = object(objects, ENGINES.0, OURS, ENGINES.1);
        assert_eq!(engines["metadata"]["labels"]["app"], label);
        assert_eq!(engines["spec"]["selector"]["matchLabels"], json!({"app": label}));
        assert_eq!(engines["spec"]["template"]["metadata"]["labels"]["app"], label);
        assert!(engines["metadata"]["annotations"]["kubernetes.io/change-cause"].is_string());
        let others = objects.iter().filter(|one| one["kind"] == "StatefulSet");
        for other in others {
            assert_ne!(other["spec"]["template"]["metadata"]["labels"]["app"], label, "`delete pod -l` would take it");
        }
    }
}

#[test]
fn r03_r28_t13_patches_of_resources_meet_the_container() {
    for objects in overlays() {
        for (kind, name) in [ENGINES, GATEWAYS] {
            assert_eq!(container(objects, kind, name)["name"], "hive-mind-rust");
            let annotations = &pod(objects, kind, name)["metadata"]["annotations"];
            assert_eq!(annotations["kubectl.kubernetes.io/default-container"], "hive-mind-rust");
        }
        let engines = object(objects, ENGINES.0, OURS, ENGINES.1);
        for limits in [json!({"cpu": "6", "memory": "12Gi"}), json!({"memory": "16Gi"})] {
            let container = json!({"name": "hive-mind-rust", "resources": {"limits": limits}});
            let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
            let after = patched(engines, &patch.to_string());
            let containers = list(&after["spec"]["template"]["spec"]["containers"]);
            assert_eq!(containers.len(), 1);
            assert_eq!(containers[0]["resources"]["limits"]["memory"], limits["memory"]);
            assert_eq!(containers[0]["image"], container_of(engines)["image"]);
        }
    }
}

fn container_of(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn r04_t05_the_service_is_headless_and_its_ports_are_those_of_the_pods() {
    for objects in overlays() {
        let service = &object(objects, "Service", OURS, "hive-mind-service")["spec"];
        assert_eq!(service["clusterIP"], "None", "ping and client-side balancing need the pods' own addresses");
        assert_eq!(service["selector"], json!({"app": "hive-mind-rust"}));
        let container = container(objects, ENGINES.0, ENGINES.1);
        for (name, number) in [("grpc", 8080), ("admin", 8091), ("metrics", 9090)] {
            let port = list(&service["ports"]).iter().find(|port| port["name"] == name).expect(name);
            assert_eq!((&port["port"], &port["targetPort"]), (&json!(number), &json!(name)));
            let behind = list(&container["ports"]).iter().find(|port| port["name"] == name).expect(name);
            assert_eq!(behind["containerPort"], json!(number));
        }
        assert_eq!(list(&service["ports"]).len(), 3);
    }
}

#[test]
fn r05_the_autoscaler_has_a_target_a_request_and_patience() {
    for objects in overlays() {
        let spec = &object(objects, "HorizontalPodAutoscaler", OURS, "hive-mind-hpa")["spec"];
        assert_eq!(spec["scaleTargetRef"]["name"], ENGINES.1);
        assert_eq!(spec["scaleTargetRef"]["kind"], ENGINES.0);
        assert_eq!(spec["minReplicas"], 3);
        assert_eq!(spec["maxReplicas"], 10);
        assert_eq!(spec["metrics"][0]["resource"]["name"], "cpu");
        assert!(container(objects, ENGINES.0, ENGINES.1)["resources"]["requests"]["cpu"].is_string());
        let window = |way: &str| spec["behavior"][way]["stabilizationWindowSeconds"].as_u64();
        assert!(window("scaleDown") > window("scaleUp"), "each change moves leaderships");
    }
}

#[test]
fn r06_t09_the_configuration_can_be_used_and_is_mounted_as_a_directory() {
    for objects in overlays() {
        let map = object(objects, "ConfigMap", OURS, "hive-mind-config");
        let text = map["data"]["production.toml"].as_str().expect("the key production.toml");
        validate(
            "kubernetes",
            text,
            &["HIVE__PERSISTENCE_GATEWAY__DATABASE__URL=postgres://user:password@host:5432/database"],
        );
        for (kind, name) in [ENGINES, GATEWAYS] {
            let mount = mount(objects, kind, name, "config");
            assert!(mount.get("subPath").is_none(), "what is mounted so never changes");
            let file = format!("{}/production.toml", mount["mountPath"].as_str().unwrap_or_default());
            let named = list(&container(objects, kind, name)["env"]).iter().find(|one| one["name"] == "HIVE_CONFIG");
            assert_eq!(named.map(|one| &one["value"]), Some(&json!(file)));
            assert_eq!(volume(objects, kind, name, "config")["configMap"]["name"], "hive-mind-config");
        }
    }
}

fn volume<'a>(objects: &'a [Value], kind: &str, name: &str, wanted: &str) -> &'a Value {
    let volumes = list(&pod(objects, kind, name)["spec"]["volumes"]);
    volumes.iter().find(|volume| volume["name"] == wanted).unwrap_or_else(|| panic!("{name} has no volume {wanted}"))
}

fn mount<'a>(objects: &'a [Value], kind: &str, name: &str, wanted: &str) -> &'a Value {
    let mounts = list(&container(objects, kind, name)["volumeMounts"]);
    mounts.iter().find(|mount| mount["name"] == wanted).unwrap_or_else(|| panic!("{name} does not mount {wanted}"))
}

/// Asks the server itself, with what its processes have in their environment.
pub(super) fn validate(platform: &str, text: &str, environment: &[&str]) {
    let file = env::temp_dir().join(format!("hive-mind-{platform}-{}.toml", std::process::id()));
    fs::write(&file, text).expect("a temporary file");
    let (server, place) = (server(), file.to_string_lossy().into_owned());
    let said = output(&[&["env"], environment, &[&server, "config", "validate", "--config", &place]].concat(), "");
    fs::remove_file(&file).expect("the temporary file");
    assert_eq!(said.trim(), "the configuration can be used");
}

/// The binary that was built beside this test; built now where only the tests were.
fn server() -> String {
    let here = env::current_exe().expect("the path of this test");
    let built = here.ancestors().nth(2).expect("a target directory").join("hive-mind-server");
    if !built.is_file() {
        output(&["cargo", "build", "--locked", "--quiet", "--package", "hive-mind-server"], "");
    }
    built.to_string_lossy().into_owned()
}

#[test]
fn r07_t11_pods_run_on_without_their_keys() {
    for objects in overlays() {
        for (kind, name) in [ENGINES, GATEWAYS] {
            let secret = &volume(objects, kind, name, "keys")["secret"];
            assert_eq!((&secret["secretName"], &secret["optional"]), (&json!("hive-mind-api-keys"), &json!(true)));
            assert!(mount(objects, kind, name, "keys").get("subPath").is_none());
            let environment = list(&container(objects, kind, name)["env"]);
            let by_name = |one: &Value| one["valueFrom"]["secretKeyRef"]["name"] == "hive-mind-api-keys";
            assert!(!environment.iter().any(by_name), "a pod could not start while the secret is gone");
        }
    }
}

#[test]
fn r08_t01_t06_everything_is_denied_but_what_a_policy_allows() {
    for objects in overlays() {
        let policy = |name: &str| object(objects, "NetworkPolicy", OURS, name);
        let deny = policy("deny-all-default");
        let everything = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
        assert_eq!(deny["spec"], everything);
        let after = patched(deny, &json!({"spec": everything}).to_string());
        assert_eq!(after["spec"], everything, "the runbook's patch is valid, and leaves it so");
        let operations = &policy("allow-operations")["spec"]["ingress"][0];
        assert!(operations.get("ports").is_none(), "a rule with ports admits no ping");
        let from = &operations["from"][0]["namespaceSelector"]["matchLabels"];
        assert_eq!(from, &json!({"hive-mind/operations": "true"}));
        let egress = &policy("allow-gateways-to-database")["spec"]["egress"][0];
        assert_eq!(egress["ports"], json!([{"protocol": "TCP", "port": 5432}]));
    }
}

#[test]
fn r09_journal_and_backups_are_on_volumes_that_outlive_pods() {
    for objects in overlays() {
        let set = &object(objects, GATEWAYS.0, OURS, GATEWAYS.1)["spec"];
        assert_eq!(set["volumeClaimTemplates"][0]["metadata"]["name"], "data");
        assert_eq!(
            set["persistentVolumeClaimRetentionPolicy"],
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
        );
        assert_eq!(mount(objects, GATEWAYS.0, GATEWAYS.1, "data")["mountPath"], "/data");
        let claim = &volume(objects, GATEWAYS.0, GATEWAYS.1, "backups")["persistentVolumeClaim"]["claimName"];
        object(objects, "PersistentVolumeClaim", OURS, claim.as_str().expect("a claim"));
    }
}

#[test]
fn r10_the_ingress_leads_to_grpc_only() {
    for objects in overlays() {
        let rules = list(&object(objects, "Ingress", OURS, "hive-mind-ingress")["spec"]["rules"]);
        let paths: Vec<&Value> = rules.iter().flat_map(|rule| list(&rule["http"]["paths"])).collect();
        assert!(!paths.is_empty());
        for path in paths {
            assert_eq!(path["backend"]["service"], json!({"name": "hive-mind-service", "port": {"name": "grpc"}}));
            let name = path["path"].as_str().unwrap_or_default();
            assert!(!["admin", "journal", "consensus"].iter().any(|inner| name.contains(inner)), "{name}");
        }
    }
}

#[test]
fn r11_the_database_has_its_namespace_and_lets_gateways_in() {
    for objects in overlays() {
        let policy = &object(objects, "NetworkPolicy", "database", "allow-hive-mind")["spec"];
        assert_eq!(policy["podSelector"]["matchLabels"], json!({"app": "postgresql"}));
        let from = &policy["ingress"][0]["from"][0];
        assert_eq!(from["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], OURS);
        // The labels that it wants are those that gateways have.
        let wanted = &from["podSelector"]["matchExpressions"][0];
        let component = &pod(objects, GATEWAYS.0, GATEWAYS.1)["metadata"]["labels"]["app.kubernetes.io/component"];
        assert_eq!(wanted["key"], "app.kubernetes.io/component");
        assert!(list(&wanted["values"]).contains(component));
    }
    let development = overlays().last().expect("development");
    for name in ["hive-mind-database", "hive-mind-api-keys"] {
        object(development, "Secret", OURS, name);
    }
    let server = object(development, "StatefulSet", "database", "postgresql");
    assert_eq!(server["spec"]["template"]["metadata"]["labels"]["app"], "postgresql");
}

#[test]
fn r14_a_rollout_takes_no_replica_away_and_probes_ask_the_process_only() {
    for objects in overlays() {
        let engines = &object(objects, ENGINES.0, OURS, ENGINES.1)["spec"];
        assert_eq!(engines["replicas"], 3);
        assert_eq!(engines["strategy"]["rollingUpdate"], json!({"maxUnavailable": 0, "maxSurge": 1}));
        for (kind, name) in [ENGINES, GATEWAYS] {
            let container = container(objects, kind, name);
            let asks = |probe: &str| container[probe]["httpGet"]["path"].as_str();
            assert_eq!(asks("startupProbe"), Some("/livez"));
            assert_eq!(asks("livenessProbe"), Some("/livez"), "etcd or PostgreSQL away is no reason to kill");
            assert_eq!(asks("readinessProbe"), Some("/readyz"));
            for kind in ["requests", "limits"] {
                assert!(container["resources"][kind]["cpu"].is_string());
                assert!(container["resources"][kind]["memory"].is_string());
            }
            let inside = &container["securityContext"];
            assert_eq!(
                (&inside["readOnlyRootFilesystem"], &inside["allowPrivilegeEscalation"]),
                (&json!(true), &json!(false))
            );
            let spec = &pod(objects, kind, name)["spec"];
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
            // A server drains for 20 s, then closes.
            assert!(spec["terminationGracePeriodSeconds"].as_u64() > Some(25));
            assert!(!list(&spec["topologySpreadConstraints"]).is_empty());
            let budget = &object(objects, "PodDisruptionBudget", OURS, name)["spec"];
            assert_eq!(budget["selector"]["matchLabels"]["app"], name);
        }
        assert!(container(objects, ENGINES.0, ENGINES.1)["lifecycle"]["preStop"].is_object());
    }
}

#[test]
fn everything_that_is_referred_to_is_there() {
    for objects in overlays() {
        let claimed: BTreeSet<&str> = ["hive-mind-database", "hive-mind-api-keys"].into();
        for (kind, name) in [ENGINES, GATEWAYS] {
            for one in list(&container(objects, kind, name)["env"]) {
                if let Some(secret) = one["valueFrom"]["secretKeyRef"]["name"].as_str() {
                    assert!(claimed.contains(secret), "{secret} is told to nobody who sets a cluster up");
                }
            }
        }
        let text = object(objects, "ConfigMap", OURS, "hive-mind-config")["data"]["production.toml"].as_str();
        for service in ["hive-mind-gateway", "hive-mind-etcd"] {
            object(objects, "Service", OURS, service);
            assert!(text.is_some_and(|text| text.contains(&format!(".{service}.{OURS}.svc"))), "{service}");
        }
    }
    let examples = workspace_root().join("deploy/kubernetes/examples/external-secret.yaml");
    let examples = fs::read_to_string(examples).expect("the example of secrets");
    assert!(["hive-mind-database", "hive-mind-api-keys"].iter().all(|name| examples.contains(name)));
}
