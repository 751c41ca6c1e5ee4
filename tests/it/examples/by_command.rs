//! Targets that are reached by a program. A stand-in of its name notes how it was called.

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

#[test]
fn docker_compose_waits_until_it_is_healthy() {
    let command = "docker compose up --detach --wait --wait-timeout 240";
    let example = Example::named("docker-compose").program("docker", None).ships();
    ran(&example, &[command]);
    assert_eq!(example.shop.command_env("TAG").as_deref(), Some("dev-43"));
    assert_eq!(example.shop.command_env("PWD").as_deref(), example.shop.path("srv").to_str());

    let unhealthy = Some(("--wait", "container shop-web-1 is unhealthy"));
    let example = Example::named("docker-compose").program("docker", unhealthy);
    ran(&example.fails("command", "container shop-web-1 is unhealthy"), &[command]);
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
fn ssh_never_asks_and_hands_over_the_tag_alone() {
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

    // The image was stored all the same: only the second command knows that it never ran.
    let stuck = Some(("rollout status", "error: deployment \"shop\" exceeded its progress deadline"));
    let example = Example::named("kubernetes").program("kubectl", stuck);
    let example = example.fails("command", "exceeded its progress deadline");
    ran(&example, &[&set(&example), status]);
}
