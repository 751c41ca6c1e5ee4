//! One file of examples/deploy or examples/gate on a machine of its own, with a registry and a stand-in for its target.

use std::fs;

use regex::Regex;

use super::folder_named;
use super::stand_in::{Exchange, StandIn};
use crate::harness::Shop;
use crate::registry::{Build, Gitea, TOKEN};
use crate::run::Run;

/// The file with the servers' addresses replaced. Each `{ file = "secret/NAME" }` holds `planted-NAME`.
pub(super) struct Example {
    pub(super) shop: Shop,
    pub(super) gitea: Gitea,
    pub(super) stand_in: StandIn,
    text: String,
}

impl Example {
    /// `examples/deploy/NAME.toml`; the registry has `dev-42` and `v1.0.0` of every image.
    pub(super) fn named(name: &str) -> Example {
        Example::of("deploy", name)
    }

    /// The same of `examples/FOLDER/NAME.toml`.
    pub(super) fn of(folder: &str, name: &str) -> Example {
        let text = fs::read_to_string(folder_named(folder).join(format!("{name}.toml"))).unwrap();
        let gitea = Gitea::start(Build::GiteaNew);
        let stand_in = StandIn::start(format!("127.0.0.1:{}", gitea.port()));
        let mut shop = Shop::new();
        for image in all(r#"(?m)^image = "(.+)""#, &text) {
            gitea.push(&image, "dev-42", "2026-11-20T10:00:00Z");
            gitea.push(&image, "v1.0.0", "2026-11-20T10:00:01Z");
        }
        for secret in all(r#"file = "secret/(.+?)""#, &text) {
            shop.secret(&secret, &format!("planted-{secret}"));
        }
        fs::create_dir(shop.path("srv")).unwrap();
        shop.env("GITEA_TOKEN", TOKEN);
        shop.env("PATH", &format!("{}:/usr/bin:/bin", shop.path("bin").display()));

        let registry = format!("url = \"{}\"", gitea.url());
        let text = text.replace("url = \"https://git.example.com\"", &registry);
        let text = Regex::new(r"https://[a-z]+\.(example|github)\.com")
            .unwrap()
            .replace_all(&text, stand_in.url())
            .replace("/srv/shop", shop.path("srv").to_str().unwrap())
            .replace("within = ", "every = \"1ms\", within = ");
        Example { shop, gitea, stand_in, text }
    }

    /// What the target is asked from the first poll on, and answers.
    pub(super) fn expect(self, script: impl IntoIterator<Item = Exchange>) -> Example {
        self.stand_in.expect(script);
        self
    }

    /// With a shorter time, so that its end can be seen.
    pub(super) fn with(self, written: &str, instead: &str) -> Example {
        assert_eq!(self.text.matches(written).count(), 1, "{written}");
        Example { text: self.text.replace(written, instead), ..self }
    }

    /// A program of this name that notes its arguments in `called` and its environment in `command-env`.
    /// Called with `refused` among its arguments, it says `refusal` and fails.
    pub(super) fn program(self, name: &str, refused: Option<(&str, &str)>) -> Example {
        let (refused, refusal) = refused.unwrap_or(("nothing is refused", ""));
        let (called, env) = (self.shop.path("called"), self.shop.path("command-env"));
        let (called, env) = (called.display(), env.display());
        let body = format!(
            "env > {env}\n{{ printf '%s' {name}; printf '\\t%s' \"$@\"; echo; }} >> {called}\n\
             case \"$*\" in *'{refused}'*) echo '{refusal}' >&2; exit 1 ;; esac\n"
        );
        self.shop.script(&format!("bin/{name}"), &body);
        self
    }

    /// The programs that ran, each with its arguments.
    pub(super) fn called(&self) -> Vec<Vec<String>> {
        let called = self.shop.read("called");
        called.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// Writes the configuration.
    pub(super) fn write(&self) {
        self.shop.config(&self.text);
    }

    /// Checks the configuration, and polls what there is already.
    #[track_caller]
    pub(super) fn baseline(&self) {
        self.write();
        self.shop.run(&["check"]).code(0).stdout_has("no faults").stderr("");
        self.shop.run(&["poll"]).code(0);
    }

    /// Pushes `dev-43` and polls it: everything scripted was asked, under the deployment's id.
    #[track_caller]
    fn poll_new_tag(&self) -> Run {
        self.baseline();
        self.gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
        let run = self.shop.run(&["poll", "--format", "json"]);
        self.stand_in.is_over();
        let id = run.target("shop/dev")["deployment"]["id"].clone();
        for request in self.stand_in.requests() {
            assert!(request.header("idempotency-key").is_none_or(|key| key == id), "{}", request.line());
        }
        run
    }

    /// `dev-43` is deployed, and not once more.
    #[track_caller]
    pub(super) fn ships(self) -> Example {
        let run = self.poll_new_tag();
        run.code(0).status_is("shop/dev", "deployed");
        assert_eq!(run.target("shop/dev")["deployed_tag"], "dev-43");
        self
    }

    /// `dev-43` is not deployed: exit 1, `status` (failed, or dead where trying again cannot help), and a
    /// message of this code with these words.
    #[track_caller]
    pub(super) fn ends(self, status: &str, code: &str, words: &str) -> Example {
        let run = self.poll_new_tag();
        run.code(1).status_is("shop/dev", status).error_is("shop/dev", code);
        let message = run.target("shop/dev")["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{message}");
        self
    }

    /// The status `failed`: it is tried again.
    #[track_caller]
    pub(super) fn fails(self, code: &str, words: &str) -> Example {
        self.ends("failed", code, words)
    }
}

/// What the pattern's capture finds in the text.
fn all(pattern: &str, text: &str) -> Vec<String> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}
