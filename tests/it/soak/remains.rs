//! What remains at the end: nothing but the intended files and processes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::model::STAGES;
use super::state::{self, count};
use crate::harness::Shop;

/// How many deployments and attempts are recorded, and the size of the state. `service`: whose everything is.
pub(super) fn nothing_is_left_behind(shop: &Shop, service: Option<u32>) -> (usize, usize, u64) {
    let own = [
        "tagship.toml",
        "deploy.sh",
        "running.sh",
        "said",
        "count.sh",
        "received",
        "descriptors",
        "metrics.prom",
        "state.db",
        "home",
        "secret",
        "tmp",
        "state.db.locks",
    ];
    let names = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(shop.path(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    for name in names("") {
        assert!(
            own.contains(&name.as_str()) || ["alone.", "runs."].iter().any(|own| name.starts_with(own)),
            "{name} is left behind"
        );
    }
    assert_eq!((names("tmp"), names("home")), (Vec::new(), Vec::new()));
    let locks = names("state.db.locks");
    assert!(locks.len() <= STAGES.len() + 1, "{locks:?}");
    if let Some(user) = service {
        let files = locks.iter().map(|lock| format!("state.db.locks/{lock}"));
        for file in files.chain(["state.db", "state.db.locks", "metrics.prom"].map(str::to_owned)) {
            assert_eq!(fs::metadata(shop.path(&file)).unwrap().uid(), user, "{file}");
        }
    }
    let descriptors: BTreeSet<String> = shop.read("descriptors").lines().map(str::to_owned).collect();
    assert_eq!(descriptors.len(), 1, "files that commands have open: {descriptors:?}");
    let state = state::open(shop).expect("nothing was killed since");
    let counts = ["poll_state", "feed", "registry", "sighting", "notification WHERE ended_at IS NULL"]
        .map(|table| count(&state, table));
    assert_eq!((counts[0], counts[1]), (STAGES.len(), 2));
    assert!(counts[2] <= 1 && counts[3..] == [0, 0], "{counts:?}");
    let images: BTreeSet<&str> = STAGES.iter().map(|stage| stage.image).collect();
    assert!(count(&state, "feed_repository") <= images.len());
    let (deployments, attempts) = (count(&state, "deployment"), count(&state, "attempt"));
    let notifications = count(&state, "notification");
    let size = fs::metadata(shop.path("state.db")).unwrap().len();
    let most = 128 * 1024 + 1024 * (deployments + attempts + notifications) as u64;
    assert!(
        size < most,
        "{size} bytes for {deployments} deployments, {attempts} attempts, {notifications} notifications"
    );
    (deployments, attempts, size)
}
