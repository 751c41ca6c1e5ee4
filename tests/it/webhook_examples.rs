//! examples/webhook: each receiver answers 202 while tagship is still deploying.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::first_poll::gitea;
use crate::harness::{Shop, await_until};
use crate::registry::{Build, Gitea};
use crate::webhook::{pushed, signature, woken_shop};

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/webhook").join(name)
}

/// A machine with tagship in its PATH, a receiver's folder `hook`, and a tag that waits to be deployed.
struct Machine {
    shop: Shop,
    _gitea: Gitea,
}

impl Machine {
    fn new() -> Machine {
        let gitea = gitea(Build::GiteaNew);
        let mut shop = woken_shop(&gitea);
        gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
        let (config, state) = (shop.path("tagship.toml"), shop.path("state.db"));
        let tagship = format!(
            "cd \"$(dirname \"$0\")/..\"\n\"{}\" --config {} --state {} \"$@\"\necho $? > ended\n",
            env!("CARGO_BIN_EXE_tagship"),
            config.display(),
            state.display()
        );
        shop.script("bin/tagship", &tagship);
        shop.script("bin/logger", "cat >> \"$(dirname \"$0\")/../log\"\n");
        let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", shop.path("bin").display());
        shop.env("PATH", &path);
        // The deployment runs while this file exists.
        shop.file("stay", "");
        for name in ["tagship.cgi", "tagship-hook"] {
            shop.script(&format!("hook/{name}"), &fs::read_to_string(example(name)).unwrap());
        }
        Machine { shop, _gitea: gitea }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.shop.furnish(&mut command);
        command
    }

    /// A file of examples/webhook with the paths and the port of this machine.
    fn adapted(&self, name: &str, port: u16) -> String {
        let folder = self.shop.path("hook");
        let text = fs::read_to_string(example(name)).unwrap().replace("8090", &port.to_string());
        text.replace("/srv/hook", folder.to_str().unwrap()).replace("/run/hook", folder.to_str().unwrap())
    }

    /// The sender has its answer; the deployment that it started still runs, and ends.
    fn is_woken(&self, answer: &str) {
        assert!(answer.contains(" 202 Accepted\r\n"), "{answer}");
        await_until("the stage receives the deployment", || self.shop.exists("deliveries"));
        assert!(!self.shop.exists("ended"));
        self.shop.remove("stay");
        self.ends_with("0");
        assert_eq!(self.shop.delivered(), ["shop/dev dev-43"]);
    }

    fn ends_with(&self, code: &str) {
        await_until("tagship ends", || {
            self.shop.exists("ended") && self.shop.read("ended") == format!("{code}\n")
        });
        self.shop.remove("ended");
    }
}

/// A request of a forge.
fn request(path: &str, signature: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         X-Gitea-Event: package\r\nX-Gitea-Signature: {signature}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn the_cgi_script_answers_and_polls_in_the_background() {
    let machine = Machine::new();
    let body = pushed("acme/shop", "dev-43");
    let answer = |signature: &str| {
        let input = tempfile::tempfile().unwrap();
        input.write_all_at(body.as_bytes(), 0).unwrap();
        let mut command = machine.command(machine.shop.path("hook/tagship.cgi").to_str().unwrap());
        command.env("REQUEST_METHOD", "POST").env("CONTENT_LENGTH", body.len().to_string());
        command.env("HTTP_X_GITEA_SIGNATURE", signature).stdin(input);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    // Whoever guesses learns nothing from the answer.
    let refused = answer("a guess");
    machine.ends_with("2");
    let refusal = "error: the webhook has no valid signature or token; nothing was polled\n";
    await_until("it is logged", || machine.shop.exists("log") && machine.shop.read("log") == refusal);
    let accepted = answer(&signature(&body));
    assert_eq!(accepted, refused);
    machine.is_woken(&accepted.replace("Status:", "HTTP/1.1"));
}

#[test]
fn the_script_for_systemd_answers_and_polls() {
    let machine = Machine::new();
    let body = pushed("acme/shop", "dev-43");
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let theirs: std::os::fd::OwnedFd = theirs.into();
    let mut command = machine.command(machine.shop.path("hook/tagship-hook").to_str().unwrap());
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    ours.write_all(request("/", &signature(&body), &body).as_bytes()).unwrap();
    let mut answer = String::new();
    ours.read_to_string(&mut answer).unwrap();
    machine.is_woken(&answer);
    assert!(child.wait().unwrap().success());
}

/// A server, ended with all that it started when this is dropped.
struct Receiver(Vec<Child>);

impl Receiver {
    fn start(commands: impl IntoIterator<Item = Command>) -> Receiver {
        let start = |mut command: Command| {
            command.stdin(Stdio::null()).process_group(0);
            command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
        };
        Receiver(commands.into_iter().map(start).collect())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = kill_process_group(Pid::from_child(child), Signal::TERM);
            let _ = child.wait();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Sends the push to the receiver that these commands are.
fn a_receiver_wakes(path: &str, commands: impl FnOnce(&Machine, u16) -> Vec<Command>) {
    let (machine, port) = (Machine::new(), free_port());
    let _receiver = Receiver::start(commands(&machine, port));
    let mut connection = None;
    await_until("the receiver listens", || {
        connection = TcpStream::connect(("127.0.0.1", port)).ok();
        connection.is_some()
    });
    let (mut connection, body) = (connection.unwrap(), pushed("acme/shop", "dev-43"));
    connection.write_all(request(path, &signature(&body), &body).as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    machine.is_woken(&answer);
}

#[test]
#[ignore = "needs busybox with httpd"]
fn busybox_wakes() {
    a_receiver_wakes("/cgi-bin/tagship", |machine, port| {
        let script = machine.shop.path("hook/tagship.cgi");
        machine.shop.script("hook/cgi-bin/tagship", &fs::read_to_string(script).unwrap());
        let mut httpd = machine.command("busybox");
        let listen = format!("127.0.0.1:{port}");
        httpd.args(["httpd", "-f", "-p", &listen, "-h", machine.shop.path("hook").to_str().unwrap()]);
        vec![httpd]
    });
}

#[test]
#[ignore = "needs lighttpd"]
fn lighttpd_wakes() {
    a_receiver_wakes("/tagship", |machine, port| {
        // Without a PATH from the server a shell looks where tagship is usually installed.
        let path = format!("{}:/usr/bin:/bin", machine.shop.path("bin").display());
        let path = format!(
            "server.modules += (\"mod_setenv\")\nsetenv.add-environment = (\"PATH\" => \"{path}\")\n"
        );
        machine.shop.file("hook/lighttpd.conf", &(machine.adapted("lighttpd.conf", port) + &path));
        let mut lighttpd = machine.command("lighttpd");
        lighttpd.args(["-D", "-f", machine.shop.path("hook/lighttpd.conf").to_str().unwrap()]);
        vec![lighttpd]
    });
}

#[test]
#[ignore = "needs nginx, fcgiwrap and root"]
fn nginx_with_fcgiwrap_wakes() {
    a_receiver_wakes("/tagship", |machine, port| {
        let folder = machine.shop.path("hook");
        let (folder, snippet) = (folder.to_str().unwrap(), machine.adapted("nginx.conf", port));
        let snippet = snippet.replace("include fastcgi_params", "include /etc/nginx/fastcgi_params");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};"))
            .concat();
        machine.shop.file(
            "hook/all.conf",
            &format!(
                "daemon off; user root; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n\
                 http {{ access_log off; {temporary}\nserver {{ listen 127.0.0.1:{port};\n{snippet}}}\n}}\n"
            ),
        );
        let mut fcgiwrap = machine.command("fcgiwrap");
        fcgiwrap.args(["-s", &format!("unix:{folder}/fcgiwrap.sock")]);
        let mut nginx = machine.command("nginx");
        nginx.args(["-c", &format!("{folder}/all.conf"), "-e", &format!("{folder}/error.log")]);
        vec![fcgiwrap, nginx]
    });
}

#[test]
#[ignore = "needs systemd-socket-activate"]
fn systemd_wakes() {
    let unit = fs::read_to_string(example("tagship-hook.socket")).unwrap();
    assert!(unit.contains("\nAccept=yes\n"));
    let service = fs::read_to_string(example("tagship-hook@.service")).unwrap();
    assert!(service.contains("\nStandardInput=socket\nStandardOutput=socket\nStandardError=journal\n"));
    a_receiver_wakes("/", |machine, port| {
        let mut listener = machine.command("systemd-socket-activate");
        listener.args([
            "--accept",
            "--inetd",
            "-E",
            "PATH",
            "-E",
            "HOME",
            "-l",
            &format!("127.0.0.1:{port}"),
        ]);
        listener.arg(machine.shop.path("hook/tagship-hook"));
        vec![listener]
    });
}

#[test]
#[ignore = "needs adnanh/webhook"]
fn adnanh_webhook_wakes() {
    a_receiver_wakes("/hooks/tagship", |machine, port| {
        let mut webhook = machine.command("webhook");
        webhook.arg("-hooks").arg(example("adnanh-webhook.json"));
        webhook.args(["-ip", "127.0.0.1", "-port", &port.to_string()]);
        vec![webhook]
    });
}

#[test]
fn scripts_can_be_run_as_they_are() {
    for name in ["tagship.cgi", "tagship-hook"] {
        assert_eq!(fs::metadata(example(name)).unwrap().permissions().mode() & 0o111, 0o111, "{name}");
    }
}
