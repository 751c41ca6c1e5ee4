//! `schedule`: what it prints, read by what it is for.

use std::path::Path;
use std::process::{Command, Output};

use croner::Cron;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::harness::Shop;

/// Every kind of secret source, commands and requests, an include, and three intervals.
const CONFIG: &str = r#"
include = ["projects.d/*.toml"]

[settings]
interval = "15m"
max_runtime = "10m"
metrics_file = "/var/lib/node_exporter/tagship.prom"

[registries.git]
kind = "gitea"
url = "https://git.example.com"
token = { env = "GITEA_TOKEN" }

[registries.hub]
kind = "dockerhub"

[secrets]
hook = { file = "secret/token" }
hc = { credential = "hc" }
elsewhere = { file = "/run/secrets/else where" }

[projects.shop]
registry = "git"
image = "acme/shop"

[projects.shop.stages.dev]
tags = "dev-*"
order = "newest"
interval = "7m"
deploy = { command = ["./deploy.sh", "{tag}"], timeout = "20m", env = { TOKEN = "{secret.hook}" } }

[projects.shop.stages.manual]
tags = "x*"
order = "newest"
poll = false
interval = "1s"
deploy = { url = "https://deploy.example.com/{secret.hc}" }
"#;

const INCLUDED: &str = r#"
[projects.site]
registry = "hub"
image = "acme/site"

[projects.site.stages.prod]
tags = "v*"
order = "semver"
deploy = { url = "https://deploy.example.com/", headers = { X-Api-Key = "{secret.elsewhere}" } }
"#;

const REQUEST: &str =
    r#"{ url = "https://deploy.example.com/", headers = { X-Api-Key = "{secret.elsewhere}" } }"#;

fn shop() -> Shop {
    let shop = Shop::with(CONFIG);
    shop.file("projects.d/site.toml", INCLUDED);
    shop
}

/// What a run prints, as it is.
fn printed(shop: &Shop, arguments: &[&str]) -> String {
    let run = shop.run(arguments);
    run.code(0).stderr("");
    run.raw().to_owned()
}

fn start(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program} is installed: {error}"))
}

#[test]
fn the_crontab_line_runs_due_polls_at_the_smallest_interval() {
    let shop = shop();
    let text = printed(&shop, &["schedule", "cron"]);
    let entry = text.lines().next_back().unwrap();
    let fields: Vec<&str> = entry.splitn(6, ' ').collect();
    let [minute, hour, day, month, weekday, command] = fields[..] else { panic!("{entry}") };
    // 7 minutes do not divide the hour; 6 do.
    let cron: Cron = [minute, hour, day, month, weekday].join(" ").parse().unwrap();
    let minutes: Vec<u32> = (0..60).filter(|minute| cron.pattern.minute_match(*minute).unwrap()).collect();
    assert_eq!(minutes.len(), 10, "{entry}");
    assert!(minutes.iter().all(|minute| minute % 6 == minutes[0]), "{entry}");
    assert_eq!([hour, day, month, weekday], ["*"; 4], "{entry}");
    let config = shop.path("tagship.toml");
    assert!(command.contains(&format!(" --config {} ", config.display())), "{entry}");
    assert!(command.ends_with(" poll --due"), "{entry}");
    let program = Path::new(env!("CARGO_BIN_EXE_tagship"));
    let path = format!("\nPATH={}:/usr/local/bin:/usr/bin:/bin\n", program.parent().unwrap().display());
    assert!(text.contains(&path), "{text}");
    // The same host, the same minute.
    assert_eq!(printed(&shop, &["schedule", "cron"]), text);
    assert!(text.contains("# cron does not pass on $GITEA_TOKEN"), "{text}");
}

/// A shell does with the command what the crontab means, once cron has taken the backslashes from percent signs.
#[test]
fn the_crontab_line_survives_blanks_quotes_and_percent() {
    let shop = Shop::new();
    let name = "it's 50% \"odd\"/tagship.toml";
    shop.file(
        name,
        &format!("[settings]\nstate = \"none\"\n{}", ONE.replace("order", "first_poll = \"deploy\"\norder")),
    );
    let path = shop.path(name);
    let text =
        shop.run_bare(&["--config", path.to_str().unwrap(), "schedule", "cron"]).code(0).raw().to_owned();
    let entry = text.lines().next_back().unwrap();
    let command = entry.splitn(6, ' ').nth(5).unwrap();
    assert!(!command.replace("\\%", "").contains('%'), "{command}");
    let command = command.replace("\\%", "%").replace(" poll --due", " check");
    let output = start("sh", &["-c", &command]);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

const ONE: &str = r#"
[registries.git]
kind = "gitea"
url = "https://git.example.com"
anonymous = true

[projects.shop]
registry = "git"
image = "acme/shop"

[projects.shop.stages.prod]
tags = "v*"
order = "semver"
deploy = { url = "https://deploy.example.com/" }
"#;

#[test]
fn a_configuration_that_polls_nothing_has_no_schedule() {
    let shop = Shop::with(&ONE.replace("order", "poll = false\norder"));
    shop.run(&["schedule", "cron"]).code(2).stderr("error: nothing to start: every stage has poll = false\n");
}

/// systemd reads the units without a complaint, and finds them well closed.
#[track_caller]
fn systemd_takes(shop: &Shop, threshold: &str) -> String {
    let (config, dir) = (shop.path("tagship.toml"), shop.path("units"));
    let arguments = ["schedule", "systemd", "--dir", dir.to_str().unwrap()];
    let of_the_service = ["--config", config.to_str().unwrap(), "--state", "/var/lib/tagship/state.db"];
    shop.run_bare(&[&of_the_service[..], &arguments[..]].concat()).code(0).stdout("");
    let (service, timer) = (dir.join("tagship.service"), dir.join("tagship.timer"));
    let (service, timer) = (service.to_str().unwrap(), timer.to_str().unwrap());
    let output = start("systemd-analyze", &["verify", "--man=no", service, timer]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let of_ours: Vec<&str> = said.lines().filter(|line| line.contains("tagship")).collect();
    assert!(output.status.success() && of_ours.is_empty(), "{said}\n{}", shop.read("units/tagship.service"));
    let output = start(
        "systemd-analyze",
        &["security", "--offline=true", &format!("--threshold={threshold}"), service],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    shop.read("units/tagship.service")
}

#[test]
#[ignore = "needs systemd"]
fn systemd_takes_the_units_and_has_little_to_fear() {
    // In tenths: 3.5 of 10 where commands are run, 2 where nothing is.
    let text = systemd_takes(&shop(), "35");
    for line in [
        "LoadCredential=hc:/etc/credstore/hc\n",
        "EnvironmentFile=/etc/tagship/environment\n",
        "ReadWritePaths=/var/lib/node_exporter\n",
        // max_runtime 10, a deployment 20, a request and what it takes to end.
        "TimeoutStartSec=1860\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let shop = Shop::with(ONE);
    let text = systemd_takes(&shop, "20");
    assert!(text.contains("StateDirectory=tagship\n"), "{text}");
}

#[test]
#[ignore = "needs systemd"]
fn systemd_takes_paths_with_blanks_quotes_and_percent() {
    let shop = Shop::new();
    shop.file("it's 50% $HOME/tagship.toml", ONE);
    let (config, dir) = (shop.path("it's 50% $HOME/tagship.toml"), shop.path("units"));
    let arguments =
        ["--config", config.to_str().unwrap(), "schedule", "systemd", "--dir", dir.to_str().unwrap()];
    shop.run_bare(&arguments).code(0);
    let service = dir.join("tagship.service");
    let output = start("systemd-analyze", &["verify", "--man=no", service.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("tagship"), "{said}");
    shop.run_bare(&arguments).code(2).stderr_has("tagship.service already exists; nothing was written");
    shop.file("file", "");
    let arguments = [&arguments[..5], &["file/units"]].concat();
    shop.run_bare(&arguments).code(2).stdout("").stderr_has("error: could not create file/units: ");
}

#[test]
fn without_a_folder_both_units_are_printed_with_their_names() {
    let text = printed(&shop(), &["schedule", "systemd"]);
    assert!(text.starts_with("# tagship.service\n[Unit]\n"), "{text}");
    assert!(text.contains("\n# tagship.timer\n[Unit]\n"), "{text}");
    assert!(text.contains("\nOnCalendar=*:0/6\n"), "{text}");
}

/// The document as the typed object, and as it is written: what the type does not know is lost on the way.
#[track_caller]
fn typed<T: DeserializeOwned + Serialize>(written: &Value) -> T {
    let object: T =
        serde_json::from_value(written.clone()).unwrap_or_else(|error| panic!("{error}: {written:#}"));
    assert_eq!(serde_json::to_value(&object).unwrap(), *written);
    object
}

fn documents(text: &str) -> Vec<Value> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    documents
}

fn of_kind<'d>(documents: &'d [Value], kind: &str) -> Vec<&'d Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

#[test]
fn kubernetes_knows_every_field_and_the_pod_has_every_file_and_secret() {
    let shop = shop();
    let text = printed(
        &shop,
        &["schedule", "kubernetes", "--image", "ghcr.io/acme/tagship:1", "--namespace", "ops"],
    );
    let documents = documents(&text);
    assert_eq!(documents.len(), 3, "{text}");

    let config: ConfigMap = typed(of_kind(&documents, "ConfigMap")[0]);
    let data = config.data.unwrap();
    assert_eq!(data["tagship.toml"], CONFIG);
    assert_eq!(data["projects.d_site.toml"], INCLUDED);

    let claim: PersistentVolumeClaim = typed(of_kind(&documents, "PersistentVolumeClaim")[0]);
    assert_eq!(claim.metadata.name.as_deref(), Some("tagship-state"));

    let job: CronJob = typed(of_kind(&documents, "CronJob")[0]);
    assert_eq!(job.metadata.namespace.as_deref(), Some("ops"));
    let spec = job.spec;
    spec.schedule.parse::<Cron>().unwrap();
    assert_eq!(spec.concurrency_policy.as_deref(), Some("Forbid"));
    assert_eq!(spec.starting_deadline_seconds, Some(360));
    let spec = spec.job_template.spec.unwrap();
    assert_eq!((spec.backoff_limit, spec.active_deadline_seconds), (Some(0), Some(1860)));
    let pod = spec.template.spec.unwrap();
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert!(pod.security_context.as_ref().unwrap().fs_group.is_some());
    let container = &pod.containers[0];
    assert_eq!(container.image.as_deref(), Some("ghcr.io/acme/tagship:1"));
    let config_file = shop.path("tagship.toml").display().to_string();
    let expected = ["--config", &config_file, "--state", "/var/lib/tagship/state.db", "poll", "--due"];
    assert_eq!(container.args.as_ref().unwrap(), &expected);

    let env: Vec<(String, Value)> = container
        .env
        .iter()
        .flatten()
        .map(|variable| (variable.name.clone(), serde_json::to_value(variable).unwrap()))
        .collect();
    let of =
        |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap();
    assert_eq!(
        of("GITEA_TOKEN")["valueFrom"]["secretKeyRef"],
        json!({"name": "tagship", "key": "GITEA_TOKEN"})
    );
    assert_eq!(of("TAGSHIP_TOKEN_HUB")["valueFrom"]["secretKeyRef"]["optional"], true);
    assert_eq!(of("CREDENTIALS_DIRECTORY")["value"], "/run/credentials/tagship");

    // Every path of the configuration is the pod's, too.
    let volumes = serde_json::to_value(pod.volumes.as_ref().unwrap()).unwrap();
    let volume = |name: &str| {
        let volumes = volumes.as_array().unwrap();
        volumes
            .iter()
            .find(|volume| volume["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {volumes:#?}"))
            .clone()
    };
    let sources = volume("config")["projected"]["sources"].clone();
    assert_eq!(
        sources[0]["configMap"]["items"][1],
        json!({"key": "projects.d_site.toml", "path": "projects.d/site.toml"})
    );
    assert_eq!(sources[1]["secret"]["items"], json!([{"key": "token", "path": "secret/token"}]));
    assert_eq!(volume("credentials")["secret"]["items"], json!([{"key": "hc", "path": "hc"}]));
    assert_eq!(volume("state")["persistentVolumeClaim"]["claimName"], "tagship-state");
    let mounts = container.volume_mounts.as_ref().unwrap();
    let mounted = |path: &str| mounts.iter().find(|mount| mount.mount_path == path).unwrap();
    assert_eq!(mounted("/run/secrets/else where").sub_path.as_deref(), Some("else_where"));
    assert_eq!(mounted(shop.path("").to_str().unwrap().trim_end_matches('/')).read_only, Some(true));
    assert_eq!(mounted("/var/lib/tagship").name, "state");
    for mount in mounts {
        volume(&mount.name);
    }
}

#[test]
fn each_shard_has_a_job_and_a_volume_of_its_own() {
    let shop = shop();
    let text = printed(&shop, &["schedule", "kubernetes", "--image", "tagship", "--shards", "3"]);
    let documents = documents(&text);
    let jobs: Vec<CronJob> = of_kind(&documents, "CronJob").into_iter().map(typed).collect();
    let claims = of_kind(&documents, "PersistentVolumeClaim");
    assert_eq!((jobs.len(), claims.len()), (4, 3));
    for (index, (job, claim)) in jobs.iter().zip(claims).enumerate() {
        let pod = job.spec.job_template.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        let arguments = pod.containers[0].args.as_ref().unwrap();
        assert_eq!(arguments[arguments.len() - 2..], ["--shard".to_owned(), format!("{index}/3")]);
        let volumes = pod.volumes.as_ref().unwrap();
        let state = volumes.iter().find(|volume| volume.name == "state").unwrap();
        let claimed = &state.persistent_volume_claim.as_ref().unwrap().claim_name;
        assert_eq!(claim["metadata"]["name"], **claimed);
        assert_eq!(*claimed, format!("tagship-{index}-state"));
    }
}

#[test]
fn a_job_on_demand_reads_the_states_of_all_shards() {
    let shop = shop();
    let arguments = ["schedule", "kubernetes", "--image", "tagship", "--namespace", "ci", "--shards", "3"];
    let text = printed(&shop, &arguments);
    assert!(text.contains(
        "# The state of all shards: kubectl --namespace ci create job --from=cronjob/tagship-status tagship-status-1\n\
         #   kubectl --namespace ci logs --follow job/tagship-status-1\n"
    ));
    let documents = documents(&text);
    let jobs: Vec<CronJob> = of_kind(&documents, "CronJob").into_iter().map(typed).collect();
    let status = &jobs[3];
    assert_eq!((status.metadata.name.as_deref(), status.spec.suspend), (Some("tagship-status"), Some(true)));
    assert!(jobs[..3].iter().all(|job| job.spec.suspend.is_none()));
    let pod = status.spec.job_template.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let [container] = pod.containers.as_slice() else { panic!("one container") };
    let config = shop.path("tagship.toml");
    assert_eq!(
        container.args.as_ref().unwrap()[..],
        [
            "--config",
            config.to_str().unwrap(),
            "--state",
            "/var/lib/tagship/0/state.db",
            "--state",
            "/var/lib/tagship/1/state.db",
            "--state",
            "/var/lib/tagship/2/state.db",
            "status"
        ]
    );
    // It reads, and needs no secret for that.
    assert_eq!(container.env, None);
    let volumes = pod.volumes.as_ref().unwrap();
    for mount in container.volume_mounts.as_ref().unwrap() {
        let volume = volumes.iter().find(|volume| volume.name == mount.name).unwrap();
        assert_eq!(mount.read_only, (mount.mount_path != "/tmp").then_some(true), "{mount:?}");
        assert_eq!(volume.secret, None);
        if let Some(claim) = &volume.persistent_volume_claim {
            let shard = mount.mount_path.strip_prefix("/var/lib/tagship/").unwrap();
            assert_eq!(claim.claim_name, format!("tagship-{shard}-state"));
        }
    }
    for shards in [&[][..], &["--shards", "1"]] {
        let text = printed(&shop, &[&["schedule", "kubernetes", "--image", "tagship"], shards].concat());
        assert!(!text.contains("tagship-status"), "{text}");
    }
}

#[test]
fn nothing_kept_between_runs_needs_no_volume() {
    let shop = Shop::with(&format!(
        "[settings]\nstate = \"none\"\n{}",
        ONE.replace("order", "first_poll = \"deploy\"\norder")
    ));
    let run = shop.run_bare(&["--config", "tagship.toml", "schedule", "kubernetes", "--image", "tagship"]);
    let documents = documents(run.code(0).raw());
    assert_eq!(of_kind(&documents, "PersistentVolumeClaim").len(), 0);
    let job: CronJob = typed(of_kind(&documents, "CronJob")[0]);
    let arguments = serde_json::to_string(&job).unwrap();
    assert!(!arguments.contains("--state"), "{arguments}");
}

#[test]
fn files_outside_of_the_configurations_folder_are_refused_for_kubernetes() {
    let shop = Shop::new();
    shop.file("main/tagship.toml", "include = [\"../site.toml\"]\n[registries.hub]\nkind = \"dockerhub\"\n");
    shop.file("site.toml", INCLUDED.replace("{secret.elsewhere}", "none").as_str());
    let run = shop.run_bare(&["--config", "main/tagship.toml", "schedule", "kubernetes", "--image", "x"]);
    run.code(2).stderr_has(
        "is not below [dir]/main; a ConfigMap contains only the main file and files below its folder",
    );
}

#[test]
fn a_workflow_polls_on_a_schedule_with_the_secrets_of_the_repository() {
    let shop = shop();
    shop.file(".git/HEAD", "ref: refs/heads/main\n");
    let text = printed(&shop, &["schedule", "gitea-actions"]);
    let workflow: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let cron = workflow["on"]["schedule"][0]["cron"].as_str().unwrap();
    cron.parse::<Cron>().unwrap();
    assert!(cron.contains("/6 "), "{cron}");
    let job = &workflow["jobs"]["poll"];
    assert_eq!(job["timeout-minutes"], 31);
    let steps = job["steps"].as_array().unwrap();
    let poll = steps.iter().find(|step| step["name"] == "Poll and deploy").unwrap();
    assert_eq!(
        poll["run"],
        "tagship --config tagship.toml --state .tagship/state.db poll --due --format github\n"
    );
    assert_eq!(poll["env"]["GITEA_TOKEN"], "${{ secrets.TAGSHIP_GITEA_TOKEN }}");
    let put = steps
        .iter()
        .find(|step| step["name"] == "Put secrets where the configuration looks for them")
        .unwrap();
    assert_eq!(put["env"]["TOKEN"], "${{ secrets.TOKEN }}");
    assert!(put["run"].as_str().unwrap().contains("> secret/token\n"), "{put:#}");

    // The steps alone are the same steps.
    let text = printed(&shop, &["schedule", "gitea-actions", "--steps"]);
    let alone: Vec<Value> = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(alone, steps[steps.len() - alone.len()..]);
}

#[test]
fn a_state_that_the_command_line_names_is_in_the_job_too() {
    let shop = Shop::with(ONE);
    let state = shop.path("state.db").display().to_string();
    // The harness gives --state.
    for what in ["cron", "systemd"] {
        let text = printed(&shop, &["schedule", what]);
        assert!(text.contains(&format!(" --state {state} poll --due\n")), "{text}");
    }
}

#[test]
fn a_script_beside_the_configuration_comes_along() {
    let shop = shop();
    let run = shop.run(&["schedule", "kubernetes", "--image", "tagship"]);
    let documents = documents(run.code(0).raw());
    let config: ConfigMap = typed(of_kind(&documents, "ConfigMap")[0]);
    assert_eq!(config.data.unwrap()["deploy.sh"], shop.read("deploy.sh"));
    let volumes =
        &of_kind(&documents, "CronJob")[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"];
    let items = &volumes[0]["projected"]["sources"][0]["configMap"]["items"];
    assert_eq!(items[2], json!({"key": "deploy.sh", "path": "deploy.sh", "mode": 0o550}));
    run.stdout_has("# - The image contains everything that these scripts call: ./deploy.sh\n");

    // One beside an included file, too.
    shop.file("projects.d/site.toml", &INCLUDED.replace(REQUEST, "{ command = [\"./site.sh\"] }"));
    shop.script("projects.d/site.sh", "");
    let run = shop.run(&["schedule", "kubernetes", "--image", "tagship"]);
    run.code(0).stdout_has("that these scripts call: ./deploy.sh [dir]/projects.d/site.sh\n");
    assert!(run.raw().contains("\n  projects.d_site.sh: "), "{}", run.raw());
}

#[test]
fn a_program_that_the_mounted_configuration_would_hide_is_said() {
    let shop = shop();
    std::fs::write(shop.path("deploy.sh"), [0x7f, b'E', b'L', b'F', 0xff]).unwrap();
    let run = shop.run(&["schedule", "kubernetes", "--image", "tagship"]);
    run.code(0).stdout_has(
        "# - Move ./deploy.sh to another folder of the image, and change the configuration: in a pod, [dir] contains only the configuration.\n",
    );
    let config: ConfigMap = typed(of_kind(&documents(run.raw()), "ConfigMap")[0]);
    assert!(!config.data.unwrap().contains_key("deploy.sh"));
}

#[test]
fn a_name_of_two_lines_adds_no_line_of_its_own() {
    let shop =
        Shop::with(&ONE.replace("anonymous = true", "token = { file = \"a\\nExecStartPre=/bin/false\" }"));
    for what in ["cron", "systemd", "gitea-actions"] {
        shop.run(&["schedule", what])
            .code(2)
            .stdout("")
            .stderr_has("the token of the registry git: ")
            .stderr_has("a schedule cannot contain the path");
    }
}

/// The only CronJob and its documents, typed.
fn cron_job(text: &str) -> CronJob {
    typed(of_kind(&documents(text), "CronJob")[0])
}

#[test]
fn a_pod_has_each_place_once_wherever_metrics_are_written() {
    let shop = Shop::new();
    shop.file("token", "");
    for (metrics_file, expected) in [
        ("/var/lib/node_exporter/tagship.prom", Some("/var/lib/node_exporter")),
        ("/var/lib/tagship/tagship.prom", None),
        ("/tmp/tagship.prom", None),
        ("tagship.prom", None),
    ] {
        let token = ONE.replace("anonymous = true", "token = { file = \"../token\" }");
        shop.file("etc/tagship.toml", &format!("[settings]\nmetrics_file = \"{metrics_file}\"\n{token}"));
        let arguments = ["--config", "etc/tagship.toml", "schedule", "kubernetes", "--image", "tagship"];
        let run = shop.run_bare(&arguments);
        let job = cron_job(run.code(0).raw());
        let pod = job.spec.job_template.spec.unwrap().template.spec.unwrap();
        let mounts = pod.containers[0].volume_mounts.clone().unwrap();
        let mut paths: Vec<&str> = mounts.iter().map(|mount| mount.mount_path.as_str()).collect();
        let metrics = mounts.iter().find(|mount| mount.name == "metrics");
        assert_eq!(metrics.map(|mount| mount.mount_path.as_str()), expected);
        // A secret beside the folder is not a path with `..`, which Kubernetes refuses.
        assert!(paths.contains(&shop.path("token").to_str().unwrap()), "{paths:?}");
        let count = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), count, "{paths:?}");
        let is_beside = metrics_file == "tagship.prom";
        assert_eq!(run.raw().contains("# - Move metrics_file: "), is_beside, "{}", run.raw());
    }
}

#[test]
fn a_dollar_in_a_path_does_not_become_a_variable_of_the_pod() {
    let shop = Shop::new();
    shop.file("$(HOME) $$/tagship.toml", ONE);
    let path = shop.path("$(HOME) $$/tagship.toml").display().to_string();
    let run = shop.run_bare(&["--config", &path, "schedule", "kubernetes", "--image", "x"]);
    let pod = cron_job(run.code(0).raw()).spec.job_template.spec.unwrap().template.spec.unwrap();
    let arguments = pod.containers[0].args.clone().unwrap();
    assert_eq!(arguments[1].replace("$$", "$"), path);
    assert!(!arguments[1].replace("$$", "").contains('$'), "{arguments:?}");
}

#[test]
fn values_that_kubernetes_refuses_are_refused() {
    let shop = Shop::with(ONE);
    let kubernetes = |more: &[&str]| {
        shop.run_bare(
            &[&["--config", "tagship.toml", "schedule", "kubernetes", "--image", "x"], more].concat(),
        )
    };
    for namespace in ["My-Ns", "a b", "a-", "", &"a".repeat(64)] {
        kubernetes(&["--namespace", namespace])
            .code(2)
            .stderr_has("a namespace has at most 63 lower-case letters");
    }
    shop.config(&format!("{ONE}# {}\n", "x".repeat(200 * 1024)));
    kubernetes(&["--namespace", "ops-1"]).code(0).stdout_has("kubectl apply --server-side -f FILE\n");
    shop.config(&format!("{ONE}# {}\n", "x".repeat(1024 * 1024)));
    kubernetes(&[]).code(2).stdout("").stderr_has("bytes, and a ConfigMap holds 1048576; divide");
}

/// `init` writes such a file where an address deploys.
#[test]
fn a_private_configuration_is_not_read_by_a_user_of_one_run() {
    let shop = Shop::with(ONE);
    let is_root = rustix::process::geteuid().is_root();
    for (mode, expected) in [(0o644, is_root), (0o600, false)] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(shop.path("tagship.toml"), permissions).unwrap();
        let state = "/var/lib/tagship/state.db";
        let text = shop.run_bare(&["--config", "tagship.toml", "--state", state, "schedule", "systemd"]);
        assert_eq!(text.code(0).raw().contains("\nDynamicUser=yes\n"), expected, "{}", text.raw());
    }
}

#[test]
fn a_program_is_named_by_where_its_step_runs() {
    let command = "deploy = { command = [\"./run.sh\"], dir = \"/srv/app\" }";
    let shop = Shop::with(&ONE.replace("deploy = { url = \"https://deploy.example.com/\" }", command));
    let text = printed(&shop, &["schedule", "systemd"]);
    assert!(text.contains("# That user must be able to run /srv/app/run.sh\n"), "{text}");
    let run = shop.run(&["schedule", "kubernetes", "--image", "x"]);
    run.code(0).stdout_has("# - The image contains the program tagship, and /srv/app/run.sh.\n");
}

#[test]
fn systemd_is_given_no_path_with_two_dots() {
    let shop = Shop::new();
    shop.file("etc/tagship.toml", &format!("[settings]\nstate = \"../state/state.db\"\n{ONE}"));
    let text = shop.run_bare(&["--config", "etc/../etc/tagship.toml", "schedule", "systemd"]);
    text.code(0)
        .stdout_has("\nReadWritePaths=[dir]/state\n")
        .stdout_has(" --config [dir]/etc/tagship.toml poll");
    assert!(!text.raw().contains(".."), "{}", text.raw());
}
