//! Targets that are reached by a program. A stand-in of its name notes how it was called.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::example::Example;

/// The programs that ran, in order, as they would be typed (no argument has a blank in it).
#[track_caller]
fn ran(example: &Example, commands: &[&str]) {
    let expected: Vec<Vec<&str>> = commands.iter().map(|command| command.split(' ').collect()).collect();
    assert_eq!(example.called(), expected);
    let token = example.shop.command_env("GITEA_TOKEN");
    assert_eq!(token, None, "a command does not get the registry's token");
}

/// `git.example.com/acme/shop:dev-43` of this example's registry.
fn image(example: &Example) -> String {
    format!("127.0.0.1:{}/acme/shop:dev-43", example.gitea.port())
}

/// A docker with one container, of the service web, whose image is what TAG of .env says, as `${TAG:?…}` in a compose
/// file does. It is unhealthy if the file `unhealthy` has its tag.
const DOCKER: &str = r#"
die() { echo "$*" >&2; exit 1; }
compose() {
    [ "$PWD" = "$srv" ] || die "no configuration file provided: not found"
    tag=$(sed -n 's/^TAG=//p' .env)
    [ -n "$tag" ] || die "required variable TAG is missing a value"
}
echo "$*" | grep -v '^inspect' >> "$called"
case "$*" in
"compose up --detach --wait --wait-timeout 240")
    compose
    health=healthy
    if grep -qx "$tag" "$unhealthy"; then health=unhealthy; fi
    echo "$health $image:$tag" > "$container"
    [ "$health" = healthy ] || die "container shop-web-1 is unhealthy" ;;
"compose ps --quiet web") compose; if [ -e "$container" ]; then echo 4ca9d1f0; fi ;;
"inspect --format {{with .State.Health}}{{.Status}}{{ else }}{{.State.Status}}{{ end }} {{.Config.Image}} 4ca9d1f0")
    cat "$container" ;;
*) die "docker: unknown command: docker $*" ;;
esac
"#;

/// A machine on which a person ran `docker compose up` with `dev-42`, beside other variables.
fn docker_compose() -> Example {
    let example = Example::named("docker-compose")
        .with("attempts = 2", "attempts = 2, backoff = \"1ms\", max_backoff = \"1ms\"");
    let shop = &example.shop;
    let paths: String = ["srv", "called", "unhealthy", "container"]
        .iter()
        .map(|name| format!("{name}='{}'\n", shop.path(name).display()))
        .collect();
    let image = format!("image=127.0.0.1:{}/acme/shop\n", example.gitea.port());
    shop.script("bin/docker", &format!("{paths}{image}{DOCKER}"));
    shop.file("unhealthy", "");
    shop.file("srv/.env", "TAG=dev-42\nPASSWORD=x\nLAST=TAG=1");
    fs::set_permissions(shop.path("srv/.env"), fs::Permissions::from_mode(0o600)).unwrap();
    shop.file("container", &image.replace("image=", "healthy ").replace("shop\n", "shop:dev-42\n"));
    example
}

#[test]
fn docker_compose_keeps_the_tag_where_people_find_it_too() {
    let example = docker_compose().ships();
    let shop = &example.shop;
    assert_eq!(shop.read("srv/.env"), "PASSWORD=x\nLAST=TAG=1\nTAG=dev-43\n");
    let mode = fs::metadata(shop.path("srv/.env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it may have passwords");
    assert!(!shop.exists("srv/.env.new"));
    let up = "compose up --detach --wait --wait-timeout 240\n";
    assert_eq!(shop.read("called").matches(up).count(), 1);
    shop.run(&["poll"]).code(0).silent();

    // A file with no other line, or none, is written, too.
    for before in [Some("TAG=dev-1"), Some(""), None] {
        fs::remove_file(shop.path("srv/.env")).unwrap();
        before.into_iter().for_each(|text| shop.file("srv/.env", text));
        shop.run(&["deploy", "shop/dev", "dev-43"]).code(0);
        assert_eq!(shop.read("srv/.env"), "TAG=dev-43\n", "{before:?}");
    }
}

#[test]
fn docker_compose_goes_back_from_a_container_that_is_unhealthy() {
    let example = docker_compose().ships();
    let shop = &example.shop;
    shop.file("unhealthy", "dev-44\n");
    example.gitea.push("acme/shop", "dev-44", "2026-11-20T12:00:00Z");
    let failed = shop.run(&["poll", "--format", "json"]);
    failed.code(1).status_is("shop/dev", "failed").error_is("shop/dev", "command");
    let message = failed.target("shop/dev")["error"]["message"].to_string();
    assert!(message.contains("container shop-web-1 is unhealthy"), "{message}");
    assert!(shop.read("srv/.env").ends_with("TAG=dev-44\n"), "as the container that runs");
    // It runs the tag, and is not taken for deployed.
    shop.run(&["poll", "--format", "json"]).code(1).status_is("shop/dev", "rolled_back");
    assert_eq!(shop.read("srv/.env"), "PASSWORD=x\nLAST=TAG=1\nTAG=dev-43\n");
    assert!(shop.read("container").ends_with(":dev-43\n"));
    shop.run(&["poll"]).code(0);
    example.gitea.push("acme/shop", "dev-45", "2026-11-20T13:00:00Z");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-45"]);
}

#[test]
fn docker_compose_without_a_container_says_so() {
    let example = docker_compose();
    example.shop.remove("container");
    example.write();
    let run = example.shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/dev", "unknown").error_is("shop/dev", "running");
    let message = run.target("shop/dev")["error"]["message"].to_string();
    assert!(message.contains("no container of web is running"), "{message}");
}

#[test]
fn systemd_restarts_a_unit_whose_image_was_pulled() {
    let podman = |refused| Example::named("systemd").program("podman", refused);
    let example = podman(None).program("systemctl", None).ships();
    let image = image(&example);
    let pull = format!("podman pull --quiet {image}");
    let tag = format!("podman tag {image} localhost/shop:current");
    ran(&example, &[&pull, &tag, "systemctl restart shop.service"]);
}

#[test]
fn systemd_keeps_what_runs_when_the_image_cannot_be_pulled() {
    let refused = Some(("pull", "Error: manifest unknown"));
    let example = Example::named("systemd").program("podman", refused).program("systemctl", None);
    let example = example.fails("command", "Error: manifest unknown");
    ran(&example, &[&format!("podman pull --quiet {}", image(&example))]);
}

#[test]
fn a_unit_that_does_not_come_up_has_failed() {
    let refused = Some(("restart", "Job for shop.service failed"));
    let example = Example::named("systemd").program("podman", None).program("systemctl", refused);
    let example = example.fails("command", "Job for shop.service failed");
    assert_eq!(example.called().len(), 3);
}

#[test]
fn ssh_never_prompts_and_passes_only_the_tag() {
    let command = "ssh -n -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15 \
                   -o ServerAliveCountMax=4 -i /etc/tagship/id_shop deploy@shop.example.com dev-43";
    let example = Example::named("ssh").program("ssh", None).ships();
    ran(&example, &[command]);

    let refused = Some(("deploy@", "Host key verification failed."));
    let example = Example::named("ssh").program("ssh", refused);
    ran(&example.fails("command", "Host key verification failed."), &[command]);
}

#[test]
fn kubernetes_is_deployed_when_the_rollout_is_over() {
    let status = "kubectl --namespace dev rollout status deployment/shop --timeout=5m";
    let example = Example::named("kubernetes").program("kubectl", None).ships();
    let set = |example: &Example| {
        format!("kubectl --namespace dev set image deployment/shop shop={}", image(example))
    };
    ran(&example, &[&set(&example), status]);

    // The image was stored: only the second command knows that it never ran.
    let stuck = Some(("rollout status", "error: deployment \"shop\" exceeded its progress deadline"));
    let example = Example::named("kubernetes").program("kubectl", stuck);
    let example = example.fails("command", "exceeded its progress deadline");
    ran(&example, &[&set(&example), status]);
}
