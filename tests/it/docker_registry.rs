//! The `docker-registry` package of Debian, with images that `skopeo` pushed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::harness::{PROD, Shop, on};

/// A running docker-registry whose images are in the folder of the shop.
struct DockerRegistry {
    child: Child,
    address: String,
}

impl DockerRegistry {
    fn start(shop: &Shop) -> DockerRegistry {
        let data = shop.path("registry-data");
        let config = format!(
            "version: 0.1\nlog:\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\n  secret: not-used\n",
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
fn images_of_a_real_registry_are_deployed() {
    let shop = Shop::new();
    let registry = DockerRegistry::start(&shop);
    registry.push("acme/shop:v1.0.0", "v1.0.0");
    registry.push("acme/shop:dev-1", "dev-1");
    let numbered = "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"numeric\"\n\
                    deploy = { command = [\"./deploy.sh\"] }\n";
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
fn an_image_that_a_real_registry_does_not_have_is_not_found() {
    let shop = Shop::new();
    let registry = DockerRegistry::start(&shop);
    let config = on("oci", &format!("http://{}", registry.address), PROD)
        .replace("token = { file = \"secret/token\" }", "anonymous = true");
    shop.config(&config);
    let run = shop.run(&["poll", "--format", "json"]);
    run.code(1).status_is("shop/prod", "unknown").error_is("shop/prod", "not_found");
}
