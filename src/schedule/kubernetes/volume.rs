//! The pod's volumes: the configuration with its secrets, the state, and temporary files.

use std::fmt::Write as _;

use super::super::quote::yaml;
use super::super::{Job, folder_of};
use super::{
    CREDENTIALS_FOLDER, Cluster, Duty, Entry, NAME, Place, Pod, STATE_FOLDER, StateVolume,
    has_metrics_beside_config, keyed, metadata,
};

const READ_ONLY: &str = "                  readOnly: true\n";

/// The claim of the volume for a state.
pub(super) fn volume_claim(name: &str, cluster: &Cluster) -> String {
    metadata("PersistentVolumeClaim", "v1", name, cluster)
        + "spec:\n  accessModes:\n    - ReadWriteOnce\n  resources:\n    requests:\n      storage: 1Gi\n"
}

/// The container's mounts, and the pod's volumes.
pub(super) fn volumes(job: &Job, cluster: &Cluster, entries: &[Entry<'_>], pod: &Pod) -> String {
    let mut mounts = String::from("              volumeMounts:\n");
    let mut volumes = String::from("          volumes:\n");
    let mut mount = |volume: &str, path: &str, more: &str| {
        let _ = write!(
            mounts,
            "                - name: {volume}\n                  mountPath: {}\n{more}",
            yaml(path)
        );
    };
    // One volume for both, because nothing can be mounted inside a read-only volume.
    mount("config", job.folder(), READ_ONLY);
    let _ = write!(
        volumes,
        "            - name: config
              projected:
                defaultMode: 288 # 0440
                sources:
                  - configMap:
                      name: {NAME}
                      items:
"
    );
    for (key, file) in keyed(&cluster.files) {
        item(&mut volumes, "                        ", &key, &file.path);
        if file.is_program {
            volumes.push_str("                          mode: 360 # 0550\n");
        }
    }
    let beside = |entry: &Entry<'_>| matches!(entry.place, Place::BesideConfig(_));
    if entries.iter().any(beside) {
        let _ = write!(
            volumes,
            "                  - secret:\n                      name: {NAME}\n                      items:\n"
        );
        for entry in entries {
            if let Place::BesideConfig(path) = &entry.place {
                item(&mut volumes, "                        ", &entry.key, path);
            }
        }
    }
    for entry in entries {
        if let Place::Elsewhere(path) = &entry.place {
            let sub_path = format!("                  subPath: {}\n{READ_ONLY}", yaml(&entry.key));
            mount("secret", path, &sub_path);
        }
    }
    let elsewhere: Vec<(&str, &str)> = entries
        .iter()
        .filter(|entry| matches!(entry.place, Place::Elsewhere(_)))
        .map(|entry| (entry.key.as_str(), entry.key.as_str()))
        .collect();
    let credentials: Vec<(&str, &str)> = entries
        .iter()
        .filter_map(|entry| match entry.place {
            Place::Credential(name) => Some((entry.key.as_str(), name)),
            _ => None,
        })
        .collect();
    if !credentials.is_empty() {
        mount("credentials", CREDENTIALS_FOLDER, READ_ONLY);
    }
    for (volume, items) in [("secret", elsewhere), ("credentials", credentials)] {
        if items.is_empty() {
            continue;
        }
        let _ = write!(
            volumes,
            "            - name: {volume}\n              secret:\n                secretName: {NAME}\n                \
             defaultMode: 288 # 0440\n                items:\n"
        );
        for (key, path) in items {
            item(&mut volumes, "                  ", key, path);
        }
    }
    for StateVolume { name, claim, folder } in &pod.states {
        mount(name, folder, if pod.duty == Duty::Poll { "" } else { READ_ONLY });
        let _ = write!(
            volumes,
            "            - name: {name}\n              persistentVolumeClaim:\n                claimName: {claim}\n"
        );
    }
    let metrics = job.metrics_file.as_deref().map(folder_of).filter(|_| !has_metrics_beside_config(job));
    // A path can be mounted only once.
    let is_there = |folder: &&str| *folder == "/tmp" || (*folder == STATE_FOLDER && job.keeps_state());
    if let Some(folder) = metrics.filter(|folder| pod.duty == Duty::Poll && !is_there(folder)) {
        // Whoever reads metrics of the node mounts something else here.
        mount("metrics", folder, "");
        volumes.push_str("            - name: metrics # not read here; use a hostPath to read it on the node\n              emptyDir: {}\n");
    }
    mount("tmp", "/tmp", "");
    volumes.push_str("            - name: tmp\n              emptyDir: {}\n");
    mounts + &volumes
}

fn item(text: &mut String, indent: &str, key: &str, path: &str) {
    let _ = write!(text, "{indent}- key: {}\n{indent}  path: {}\n", yaml(key), yaml(path));
}
