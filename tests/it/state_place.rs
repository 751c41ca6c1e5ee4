//! Where the state is: one configuration has one state, whoever asks and whatever starts the run.

use crate::first_poll::gitea;
use crate::harness::{DEV, Shop, on_gitea};
use crate::registry::Build;

const ADVICE: &str = "check that your timer or cron job uses this state file (see: tagship schedule)";

/// For root, the state of an earlier version would be the machine's own, which a test must not use.
fn no_state_of_this_machine() {
    let state = std::path::Path::new("/var/lib/tagship/state.db");
    assert!(!state.exists(), "{} is in use: run this test as another user than root", state.display());
}

#[test]
fn a_configuration_anywhere_has_its_state_beside_it() {
    no_state_of_this_machine();
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    let state = "[dir]/state.db";
    for what in [&["schedule", "cron"][..], &["schedule", "systemd"]] {
        let run = shop.run_bare(&[&["--config", "tagship.toml"], what].concat());
        run.code(0).stdout_has(&format!(" --state {state} poll --due"));
    }
    let run = shop.run_bare(&["--config", "tagship.toml", "poll"]);
    run.code(0).stderr(&format!("created the state file {state}\n"));
    shop.run_bare(&["--config", "tagship.toml", "status"]).code(0).stderr("").line("shop/dev", &["dev-42"]);
}

#[test]
fn a_configuration_of_a_user_has_its_state_with_the_users_states() {
    no_state_of_this_machine();
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::new();
    shop.file(
        "home/.config/tagship/config.toml",
        &on_gitea(&gitea, DEV).replace("secret/", "../../../secret/"),
    );
    let config = shop.path("home/.config/tagship/config.toml").display().to_string();
    let state = "[dir]/home/.local/state/tagship/state.db";
    let run = shop.run_bare(&["--config", &config, "poll"]);
    run.code(0).stderr(&format!("created the state file {state}\n"));
    let run = shop.run_bare(&["--config", &config, "schedule", "systemd"]);
    run.code(0).stdout_has(&format!(" --state {state} poll --due\n"));
    run.stdout_has("\nReadWritePaths=[dir]/home/.local/state/tagship\n");
}

#[test]
fn the_state_of_the_service_is_in_the_folder_that_systemd_makes() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    let state = ["--config", "tagship.toml", "--state", "/var/lib/tagship/state.db"];
    let run = shop.run_bare(&[&state[..], &["schedule", "systemd"]].concat());
    run.code(0).stdout_has("\nStateDirectory=tagship\nStateDirectoryMode=0700\n");
    run.stdout_has(" --state /var/lib/tagship/state.db poll --due\n");
    assert!(!run.raw().contains("ReadWritePaths=/var/lib"), "{}", run.raw());
}

#[test]
fn init_writes_where_the_state_is() {
    let shop = Shop::new();
    for (output, expected) in [
        ("shop/tagship.toml", "state = \"state.db\" ".to_owned()),
        (
            "home/.config/tagship/config.toml",
            format!("state = \"{}\" ", shop.path("home/.local/state/tagship/state.db").display()),
        ),
    ] {
        let options =
            ["--registry", "https://git.example.com", "--image", "acme/shop", "--stage", "dev=dev-*"];
        let more = ["--deploy-command", "./deploy.sh {tag}", "--output", output];
        shop.run_bare(&[&["init"], &options[..], &more].concat()).code(0);
        assert!(shop.read(output).contains(&expected), "{}", shop.read(output));
    }
}

#[test]
fn a_state_that_no_poll_has_used_is_named_by_whoever_relies_on_it() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    let state = "[dir]/state.db";
    let warning = format!("warning: no poll has used the state file {state} yet; {ADVICE}\n");
    for arguments in [
        &["status"][..],
        &["hold", "shop/dev"],
        &["mark", "shop/dev", "dev-42"],
        &["deploy", "shop/dev", "dev-41"],
    ] {
        shop.run(arguments).code(0).stderr_has(&warning);
    }
    shop.run(&["poll"]).code(0);
    shop.run(&["status"]).code(0).stderr("");
    shop.run_under(&["faketime", "-f", "+14m"], &["status"]).code(0).stderr("");
    let late = shop.run_under(&["faketime", "-f", "+3h"], &["status"]);
    late.code(0).stderr_has(&format!("warning: the state file {state} was last polled 3h"));
    late.stderr_has(ADVICE);
}

#[test]
#[ignore = "needs root"]
fn a_state_that_is_closed_to_this_user_is_not_a_state_that_was_never_polled() {
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::with(&on_gitea(&gitea, DEV));
    shop.file("closed/empty", "");
    std::fs::set_permissions(shop.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(shop.path("closed"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_tagship"), shop.path("program")).unwrap();
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "./program"];
    let run = shop.run_program(&user, &["--config", "tagship.toml", "--state", "closed/state.db", "status"]);
    run.code(2).stderr_has("closed/state.db: permission denied; run tagship as the user that polls");
}

/// Whoever asks, by whatever path and with whatever home: the state that the user's polls use.
#[test]
fn a_configuration_of_a_user_has_one_state_whoever_asks() {
    no_state_of_this_machine();
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::new();
    let text = on_gitea(&gitea, DEV).replace("secret/", "../../../secret/");
    shop.file("home/.config/tagship/config.toml", &text);
    let state = "[dir]/home/.local/state/tagship/state.db";
    let config = shop.path("home/.config/tagship/config.toml");
    let config = config.to_str().unwrap();
    let poll = shop.run_bare(&["--config", config, "poll"]);
    poll.code(0).stderr(&format!("created the state file {state}\n"));

    std::fs::create_dir(shop.path("root")).unwrap();
    let link = |to: &str, from: &str| std::os::unix::fs::symlink(shop.path(to), shop.path(from)).unwrap();
    link("home", "link");
    link("home/.config/tagship", "dotfiles");
    link("home/.config/tagship/config.toml", "file.toml");
    let path = |name: &str| shop.path(name).display().to_string();
    let [root, home] = [path("root"), path("home")].map(|home| format!("HOME={home}"));
    let by_link = format!("HOME={}", path("link"));
    for (environment, config) in [
        (&[root.as_str()][..], "home/.config/tagship/config.toml"),
        (&["-u", "HOME"], "home/.config/tagship/config.toml"),
        (&[&by_link], "home/.config/tagship/config.toml"),
        (&[&home], "link/.config/tagship/config.toml"),
        (&[&home], "dotfiles/config.toml"),
        (&[&home], "file.toml"),
        (&[&root], "link/.config/tagship/config.toml"),
        (&[&root], "dotfiles/config.toml"),
        (&["-u", "HOME"], "file.toml"),
    ] {
        let config = path(config);
        let hold = [&["env"][..], environment].concat();
        let program = [&hold[..], &[env!("CARGO_BIN_EXE_tagship"), "--config", &config]].concat();
        shop.run_program(&program, &["hold", "shop/dev"]).code(0).stderr("");
        shop.run_bare(&["--config", &path("home/.config/tagship/config.toml"), "status"])
            .code(0)
            .line("shop/dev", &["held"]);
        shop.run_program(&program, &["release", "shop/dev"]).code(0).stderr("");
    }
    for beside in
        ["home/.config/tagship/state.db", "link/.config/tagship/state.db", "dotfiles/state.db", "state.db"]
    {
        assert!(!shop.exists(beside), "{beside}");
    }
}

/// As those who keep their configurations in one folder have it: a link in place of the folder, or of the file. Root
/// has another home, and knows the user's by the link.
#[test]
fn a_users_configuration_that_is_a_link_has_its_state_with_the_users_states() {
    no_state_of_this_machine();
    let gitea = gitea(Build::GiteaNew);
    for (to, from) in [
        ("dotfiles/tagship", "home/.config/tagship"),
        ("dotfiles/tagship/config.toml", "home/.config/tagship/config.toml"),
    ] {
        let shop = Shop::new();
        let secret = shop.path("secret").display().to_string();
        shop.file("dotfiles/tagship/config.toml", &on_gitea(&gitea, DEV).replace("secret", &secret));
        std::fs::create_dir_all(shop.path(from).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(shop.path(to), shop.path(from)).unwrap();
        let link = "home/.config/tagship/config.toml";
        let poll = shop.run_bare(&["--config", link, "poll"]);
        poll.code(0).stderr("created the state file [dir]/home/.local/state/tagship/state.db\n");
        for (home, config) in [("home", "dotfiles/tagship/config.toml"), ("root", link)] {
            let home = format!("HOME={}", shop.path(home).display());
            let program = ["env", &home, env!("CARGO_BIN_EXE_tagship"), "--config", config];
            shop.run_program(&program, &["hold", "shop/dev"]).code(0).stderr("");
            shop.run_bare(&["--config", link, "status"]).code(0).line("shop/dev", &["held"]);
            shop.run_program(&program, &["release", "shop/dev"]).code(0).stderr("");
        }
        for beside in ["dotfiles/tagship/state.db", "home/.config/tagship/state.db"] {
            assert!(!shop.exists(beside), "{from}: {beside}");
        }
    }
}

/// What an earlier version made beside the configuration is not left for a new state.
#[test]
fn a_state_that_lies_beside_a_users_configuration_is_used_where_it_is_the_only_one() {
    no_state_of_this_machine();
    let gitea = gitea(Build::GiteaNew);
    let shop = Shop::new();
    let text = on_gitea(&gitea, DEV).replace("secret/", "../../../secret/");
    shop.file("home/.config/tagship/config.toml", &text);
    let path = |name: &str| shop.path(name).display().to_string();
    let (config, beside) = (path("home/.config/tagship/config.toml"), path("home/.config/tagship/state.db"));
    shop.run_bare(&["--config", &config, "--state", &beside, "poll"]).code(0);
    let run = shop.run_bare(&["--config", &config, "status"]);
    run.code(0).line("shop/dev", &["dev-42"]).stderr_has(&format!(
        "warning: the state file is {}, the default of an earlier version of tagship",
        shop.redact(&beside)
    ));
}
