//! The `docker-registry` package of Debian, with images that `skopeo` pushed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use crate::harness::{PROD, Shop, on};
use crate::http::{Answer, Request, Server};
use crate::login::BUS;
use crate::registry::{TOKEN, WRONG_TOKEN};

/// A running docker-registry whose images are in the folder of the shop.
struct DockerRegistry {
    child: Child,
    address: String,
}

impl DockerRegistry {
    fn start(shop: &Shop) -> DockerRegistry {
        DockerRegistry::with_auth(shop, "")
    }

    /// With an `auth:` section of its configuration.
    fn with_auth(shop: &Shop, auth: &str) -> DockerRegistry {
        let data = shop.path("registry-data");
        let config = format!(
            "version: 0.1\nlog:\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\n  secret: not-used\n{auth}",
            data.display()
        );
        shop.file("registry.yml", &config);
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(shop.path("registry.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed: apt-get install docker-registry");
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, receiver) = channel();
        // Reads on to the end, or the registry would block on a full pipe.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let address = rest.split('"').next().unwrap().to_owned();
                    drop(sender.send(address));
                }
            }
        });
        let address = receiver.recv_timeout(Duration::from_secs(30));
        let Ok(address) = address else {
            drop(child.kill());
            panic!("docker-registry does not say where it listens");
        };
        DockerRegistry { child, address }
    }

    /// Pushes an image of examples/images under a tag.
    fn push(&self, image: &str, tag: &str) {
        let layout = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images");
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
            .args(["--dest-creds", &format!("robot:{TOKEN}")])
            .arg(format!("oci:{}:{image}", layout.display()))
            .arg(format!("docker://{}/acme/shop:{tag}", self.address))
            .output()
            .expect("skopeo is installed: apt-get install skopeo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn images_of_a_real_registry_are_deployed() {
    let shop = Shop::new();
    let registry = DockerRegistry::start(&shop);
    registry.push("acme/shop:v1.0.0", "v1.0.0");
    registry.push("acme/shop:dev-1", "dev-1");
    let numbered = "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"numeric\"\n\
                    deploy = { command = [\"./deploy.sh\"], env = { LABEL = \"{label.org.opencontainers.image.version}\" } }\n";
    let config = on("oci", &format!("http://{}", registry.address), &format!("{PROD}{numbered}"))
        .replace("token = { file = \"secret/token\" }", "anonymous = true");
    shop.config(&config);
    shop.run(&["poll"])
        .code(0)
        .line("shop/prod", &["baseline", "v1.0.0"])
        .line("shop/dev", &["baseline", "dev-1"]);

    registry.push("acme/shop:dev-2", "dev-2");
    shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-2"]).no_line("shop/prod");
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.delivered(), ["shop/dev dev-2"]);

    assert_eq!(shop.command_env("LABEL").as_deref(), Some("dev-2"));
    // The digest is the registry's own.
    let digest = shop.command_env("TAGSHIP_DIGEST").unwrap();
    let inspected = Command::new("skopeo")
        .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"])
        .arg(format!("docker://{}/acme/shop:dev-2", registry.address))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(inspected.stdout).unwrap().trim(), digest);
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn an_image_that_a_real_registry_does_not_have_is_not_found() {
    let shop = Shop::new();
    let registry = DockerRegistry::start(&shop);
    let config = on("oci", &format!("http://{}", registry.address), PROD)
        .replace("token = { file = \"secret/token\" }", "anonymous = true");
    shop.config(&config);
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/prod", "unknown").error_is("shop/prod", "not_found");
}

/// `htpasswd -nbB robot TOKEN`
const HTPASSWD: &str = "robot:$2b$05$abcdefghijklmnopqrstuuwBCp5wwVakJa5vtj8eEXXtV6u82Vhey\n";

/// A configuration that asks as robot.
fn as_robot(registry: &DockerRegistry) -> String {
    on("oci", &format!("http://{}", registry.address), PROD)
        .replace("token =", "username = \"robot\"\ntoken =")
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn a_real_registry_with_passwords_is_asked_as_its_user() {
    let shop = Shop::new();
    shop.file("htpasswd", HTPASSWD);
    let auth =
        format!("auth:\n  htpasswd:\n    realm: here\n    path: {}\n", shop.path("htpasswd").display());
    let registry = DockerRegistry::with_auth(&shop, &auth);
    registry.push("acme/shop:v1.0.0", "v1.0.0");
    shop.config(&format!("{}first_poll = \"deploy\"\n", as_robot(&registry)));
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.0.0"]);

    shop.secret("token", WRONG_TOKEN);
    shop.run(&["poll", "--format", "json"]).code(1).error_is("shop/prod", "unauthorized");
    shop.config(&as_robot(&registry).replace("robot", "nobody"));
    shop.secret("token", TOKEN);
    shop.run(&["poll", "--format", "json"]).code(1).error_is("shop/prod", "unauthorized");
}

/// Signs what a registry with `auth: token` believes, for whoever has the password.
struct TokenServer {
    server: Server,
    /// The certificate that the registry trusts, in PEM form.
    certificate: String,
}

const ISSUER: &str = "the stand-in";

impl TokenServer {
    fn start() -> TokenServer {
        let pair = rcgen::generate_simple_self_signed(["tokens.example.test".to_owned()]).unwrap();
        let random = ring::rand::SystemRandom::new();
        let key = pair.signing_key.serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &random).unwrap();
        let chain = STANDARD.encode(pair.cert.der());
        let server = Server::start(move |request| {
            if request.basic().is_some_and(|basic| basic != ("robot".to_owned(), TOKEN.to_owned())) {
                return Answer::json(401, r#"{"details": "incorrect username or password"}"#).into();
            }
            let header = serde_json::json!({"typ": "JWT", "alg": "ES256", "x5c": [chain]});
            let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(header), part(claims(request)));
            let signature = URL_SAFE_NO_PAD.encode(key.sign(&random, signed.as_bytes()).unwrap());
            Answer::json(200, serde_json::json!({"token": format!("{signed}.{signature}")}).to_string())
                .into()
        });
        TokenServer { server, certificate: pair.cert.pem() }
    }

    fn auth(&self, shop: &Shop) -> String {
        shop.file("tokens.pem", &self.certificate);
        format!(
            "auth:\n  token:\n    realm: {}/token\n    service: images\n    issuer: {ISSUER}\n    rootcertbundle: {}\n",
            self.server.url(),
            shop.path("tokens.pem").display()
        )
    }
}

/// Who asks without a password may read nothing.
fn claims(request: &Request) -> serde_json::Value {
    let now = Timestamp::now().as_second();
    let scope = request.query("scope").unwrap_or_default();
    let parts: Vec<&str> = scope.splitn(3, ':').collect();
    let access = match parts[..] {
        [kind, name, actions] if request.basic().is_some() => {
            let actions: Vec<&str> = actions.split(',').collect();
            serde_json::json!([{"type": kind, "name": name, "actions": actions}])
        }
        _ => serde_json::json!([]),
    };
    serde_json::json!({
        "iss": ISSUER, "sub": "robot", "aud": request.query("service").unwrap(), "jti": "1",
        "iat": now, "nbf": now - 10, "exp": now + 300, "access": access,
    })
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn a_real_registry_with_a_token_server_is_asked_with_its_tokens() {
    let shop = Shop::new();
    let tokens = TokenServer::start();
    let registry = DockerRegistry::with_auth(&shop, &tokens.auth(&shop));
    registry.push("acme/shop:v1.0.0", "v1.0.0");
    shop.config(&format!("{}first_poll = \"deploy\"\n", as_robot(&registry)));
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.0.0"]);

    shop.secret("token", WRONG_TOKEN);
    shop.run(&["poll", "--format", "json"]).code(1).error_is("shop/prod", "unauthorized");
    // No user receives a token without access.
    let anonymous = on("oci", &format!("http://{}", registry.address), PROD)
        .replace("token = { file = \"secret/token\" }", "anonymous = true");
    shop.config(&anonymous);
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).error_is("shop/prod", "unauthorized");
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn login_tries_a_token_on_a_real_registry_of_either_kind() {
    for kind in ["htpasswd", "token"] {
        let shop = Shop::new();
        shop.file("htpasswd", HTPASSWD);
        let htpasswd =
            format!("auth:\n  htpasswd:\n    realm: here\n    path: {}\n", shop.path("htpasswd").display());
        let tokens = TokenServer::start();
        let auth = if kind == "token" { tokens.auth(&shop) } else { htpasswd };
        let registry = DockerRegistry::with_auth(&shop, &auth);
        // No project uses `spare`: there is no image to ask about.
        let spare = format!("[registries.spare]\nkind = \"oci\"\nurl = \"http://{}\"\n", registry.address);
        shop.config(&as_robot(&registry).replacen("[projects", &format!("{spare}[projects"), 1));
        shop.secret("wrong", WRONG_TOKEN);
        for name in ["git", "spare"] {
            let login = |secret: &str| {
                let stdin = format!("export {BUS}; exec \"$@\" --username robot < secret/{secret}");
                shop.run_under(&["sh", "-c", &stdin, "sh"], &["login", name, "--stdin"])
            };
            login("token").code(1).stderr_has(&format!(
                "error: {name}: the registry accepts the token, but the keyring is not available"
            ));
            login("wrong").code(1).stderr_has("401 Unauthorized").stderr_has("; the token was not stored\n");
        }
    }
}

/// As cosign stores them: `sha256-DIGEST.sig` and so on, in the image's own repository.
#[test]
#[ignore = "needs docker-registry and skopeo"]
fn signatures_in_a_real_registry_are_not_deployed() {
    let shop = Shop::new();
    let registry = DockerRegistry::start(&shop);
    registry.push("acme/shop:v1.0.0", "r1");
    let any = PROD.replace("\"v*\"", "\"*\"").replace("semver", "newest");
    let config = on("oci", &format!("http://{}", registry.address), &any)
        .replace("token = { file = \"secret/token\" }", "anonymous = true");
    shop.config(&config);
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "r1"]);
    let digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    for kind in ["", ".sig", ".att", ".sbom"] {
        registry.push("acme/shop:dev-1", &format!("sha256-{digest}{kind}"));
        shop.run(&["poll"]).code(0).silent();
    }
    shop.run(&["check", "--online"]).code(0).stdout_has("1 of 5 tags match, would select r1\n");
    registry.push("acme/shop:dev-2", "r2");
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "r2"]);
    assert_eq!(shop.delivered(), ["shop/prod r2"]);
    // Whoever wants them names them.
    shop.config(&config.replace("\"*\"", "\"sha256-*\""));
    shop.run(&["check", "--online"]).code(0).stdout_has("4 of 6 tags match, would select sha256-");
}

/// Up to 2.8 it knows neither `n` nor `last`: every page is the whole list, also where that is as long as a page.
#[test]
#[ignore = "needs docker-registry and skopeo"]
fn the_list_of_a_real_registry_without_pages_is_whole_whatever_its_length() {
    let shop = Shop::new();
    let registry = DockerRegistry::start(&shop);
    registry.push("acme/shop:v1.0.0", "v1.0.0");
    let tags =
        shop.path("registry-data/docker/registry/v2/repositories/acme/shop/_manifests/tags/v1.0.0/current");
    let link = std::fs::read(tags.join("link")).unwrap();
    let folder = tags.parent().unwrap().parent().unwrap();
    for number in 1..1001 {
        let current = folder.join(format!("v1.0.{number}/current"));
        std::fs::create_dir_all(&current).unwrap();
        std::fs::write(current.join("link"), &link).unwrap();
        if ![98, 99, 998, 999, 1000].contains(&number) {
            continue;
        }
        let url = format!("http://{}", registry.address);
        let config = on("oci", &url, PROD).replace("token = { file = \"secret/token\" }", "anonymous = true");
        let shop = Shop::with(&config);
        shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", &format!("v1.0.{number}")]);
        let json = shop.run(&["tags", "shop/prod", "--format", "json"]).code(0).json();
        assert_eq!(json["tags"].as_array().unwrap().len(), number + 1);
    }
}

#[test]
#[ignore = "needs docker-registry and skopeo"]
fn images_of_a_real_registry_are_discovered_with_every_kind_of_sign_in() {
    for kind in ["open", "htpasswd", "token"] {
        let shop = Shop::new();
        shop.file("htpasswd", HTPASSWD);
        let htpasswd =
            format!("auth:\n  htpasswd:\n    realm: here\n    path: {}\n", shop.path("htpasswd").display());
        let tokens = TokenServer::start();
        let auth = match kind {
            "open" => String::new(),
            "htpasswd" => htpasswd,
            _ => tokens.auth(&shop),
        };
        let registry = DockerRegistry::with_auth(&shop, &auth);
        registry.push("acme/shop:v1.0.0", "v1.0.0");
        // Once more than a page has: folders are all that a registry knows of its repositories.
        let more = if kind == "open" { 1005 } else { 5 };
        let repositories = shop.path("registry-data/docker/registry/v2/repositories/acme");
        let copy = |name: &str| {
            let from = repositories.join("shop");
            let copied = Command::new("cp").arg("-r").arg(from).arg(repositories.join(name)).status();
            assert!(copied.unwrap().success());
        };
        (0..more).for_each(|number| copy(&format!("image-{number}")));
        let config = as_robot(&registry).replace("[projects.shop", "[projects.acme");
        shop.config(&config.replace("image = \"acme/shop\"", "images = \"acme/*\""));
        shop.run(&["poll"]).code(0);
        assert_eq!(shop.run(&["status", "--format", "json"]).code(0).targets().len(), more + 1, "{kind}");
        shop.run(&["poll"]).code(0).silent();
    }
}

/// examples/gate/cosign-key.toml; the signature is in no transparency log, which is on the internet.
#[test]
#[ignore = "needs cosign, docker-registry and skopeo"]
fn the_real_cosign_verifies_the_signed_image() {
    let mut shop = Shop::new();
    let registry = DockerRegistry::start(&shop);
    let path = std::env::var("PATH").unwrap();
    let mut folders = path.split(':').filter(|folder| Path::new(folder).join("cosign").exists());
    let folder = folders
        .next()
        .expect("cosign is in PATH: go install github.com/sigstore/cosign/v2/cmd/cosign@v2.4.3");
    shop.env("PATH", &format!("{folder}:/usr/bin:/bin"));
    shop.env("COSIGN_PASSWORD", "");
    let cosign = |words: &[&str]| {
        let mut command = Command::new(Path::new(folder).join("cosign"));
        shop.furnish(&mut command);
        let output = command.args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let sign = |key: &str, digest: &str| {
        let image = format!("{}/acme/shop@{digest}", registry.address);
        cosign(&["sign", "--key", key, "--tlog-upload=false", "--yes", &image]);
    };
    for key in ["cosign", "other"] {
        cosign(&["generate-key-pair", "--output-key-prefix", key]);
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gate/cosign-key.toml");
    let text = std::fs::read_to_string(example).unwrap();
    let text = text
        .replace(
            "kind = \"gitea\"\nurl = \"https://git.example.com\"",
            &format!("kind = \"oci\"\nurl = \"http://{}\"", registry.address),
        )
        .replace("token = { env = \"GITEA_TOKEN\" }", "anonymous = true")
        .replace("\"--key\"", "\"--insecure-ignore-tlog=true\", \"--key\"");
    shop.config(&text);
    shop.run(&["poll"]).code(1);
    registry.push("acme/shop:dev-1", "v0.9.0");
    shop.run(&["poll"]).code(0).line("shop/prod", &["baseline", "v0.9.0"]);

    registry.push("acme/shop:v1.0.0", "v1.0.0");
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).status_is("shop/prod", "waiting");
    let reason = |run: &crate::run::Run| run.target("shop/prod")["reason"].to_string();
    assert!(reason(&run).contains("no signatures found"), "{}", reason(&run));
    let digest = Command::new("skopeo")
        .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"])
        .arg(format!("docker://{}/acme/shop:v1.0.0", registry.address))
        .output()
        .unwrap();
    let digest = String::from_utf8(digest.stdout).unwrap();
    sign("other.key", digest.trim());
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(0).status_is("shop/prod", "waiting");
    assert!(reason(&run).contains("no matching signatures"), "{}", reason(&run));
    sign("cosign.key", digest.trim());
    shop.run(&["poll"]).code(0).line("shop/prod", &["deployed", "v1.0.0"]);
    assert_eq!(shop.delivered(), ["shop/prod v1.0.0"]);
}
