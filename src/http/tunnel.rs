//! Asks a proxy for a connection to a host, with CONNECT (RFC 9110, section 9.3.6) or SOCKS (4 and 4a; RFC 1928
//! and 1929). ureq's own CONNECT allows the whole timeout for every read, and its SOCKS opens the connection
//! itself, so that a signal cannot end the wait.

use std::io::{self, Read, Write};
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::{Error, Proxy, ProxyProtocol};

/// The longest accepted answer to CONNECT.
const LONGEST_HEAD: usize = 16 * 1024;

/// The destination of the proxy's connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Host<'a> {
    Address(IpAddr),
    /// A name that the proxy resolves.
    Name(&'a str),
}

/// Asks the proxy at the other end of the stream. Afterwards the stream is connected to the host.
///
/// # Errors
/// The proxy refuses, does not speak the protocol, or the stream fails.
pub(super) fn connect(
    stream: &mut (impl Read + Write),
    proxy: &Proxy,
    host: Host<'_>,
    port: u16,
) -> Result<(), Error> {
    match proxy.protocol() {
        ProxyProtocol::Socks4 | ProxyProtocol::Socks4A => Ok(connect_4(stream, host, port)?),
        ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => Ok(connect_5(stream, proxy, host, port)?),
        _ => connect_http(stream, proxy, host, port),
    }
}

fn connect_http(
    stream: &mut (impl Read + Write),
    proxy: &Proxy,
    host: Host<'_>,
    port: u16,
) -> Result<(), Error> {
    let target = match host {
        Host::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        Host::Address(IpAddr::V4(address)) => format!("{address}:{port}"),
        Host::Name(name) => format!("{name}:{port}"),
    };
    let login = match (proxy.username(), proxy.password()) {
        (None, None) => String::new(),
        (name, password) => {
            let pair = format!("{}:{}", name.unwrap_or_default(), password.unwrap_or_default());
            format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(pair))
        }
    };
    let agent = concat!("tagship/", env!("CARGO_PKG_VERSION"));
    let request = format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {agent}\r\nProxy-Connection: Keep-Alive\r\n{login}\r\n"
    );
    stream.write_all(request.as_bytes())?;
    // Reads only the head, because the bytes after it come from the host.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        match read::<1>(stream) {
            Ok([byte]) if head.len() < LONGEST_HEAD => head.push(byte),
            Ok(_) => return Err(Error::ConnectProxyFailed("the proxy's answer has no end".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Error::ConnectProxyFailed("the proxy did not answer".to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let refused = match status(&head) {
        Some(200..=299) => return Ok(()),
        Some(407) => "the proxy requires a user name and password (407)".to_owned(),
        Some(status) => format!("the proxy refuses to connect ({status}); does it allow this host and port?"),
        None => "the proxy does not speak HTTP".to_owned(),
    };
    Err(Error::ConnectProxyFailed(refused))
}

/// The status in `HTTP/1.1 200 Connection established`.
fn status(head: &[u8]) -> Option<u16> {
    let mut words = head.strip_prefix(b"HTTP/1.")?.split(|byte| byte.is_ascii_whitespace());
    std::str::from_utf8(words.nth(1)?).ok()?.parse().ok()
}

fn connect_4(stream: &mut (impl Read + Write), host: Host<'_>, port: u16) -> io::Result<()> {
    let mut request = vec![4, 1];
    request.extend(port.to_be_bytes());
    // Each with an empty user ID.
    match host {
        Host::Address(IpAddr::V4(address)) => {
            request.extend(address.octets());
            request.push(0);
        }
        Host::Address(IpAddr::V6(_)) => return Err(io::Error::other("SOCKS 4 has no IPv6 addresses")),
        Host::Name(name) => {
            request.extend([0, 0, 0, 1, 0]);
            request.extend(name.bytes());
            request.push(0);
        }
    }
    stream.write_all(&request)?;
    match read::<8>(stream)? {
        [0, 90, ..] => Ok(()),
        [0, 91, ..] => Err(refused("request rejected or failed")),
        [0, 92 | 93, ..] => Err(refused("it requires identd on this machine")),
        _ => Err(foreign()),
    }
}

fn connect_5(stream: &mut (impl Read + Write), proxy: &Proxy, host: Host<'_>, port: u16) -> io::Result<()> {
    let login = proxy.username().map(|name| (name, proxy.password().unwrap_or_default()));
    // Offer both methods, with and without a login, or only the one without.
    stream.write_all(if login.is_some() { &[5, 2, 2, 0] } else { &[5, 1, 0] })?;
    match (read::<2>(stream)?, login) {
        ([5, 0], _) => {}
        ([5, 2], Some((name, password))) => {
            stream.write_all(&[&[1], &*counted(name)?, &*counted(password)?].concat())?;
            if read::<2>(stream)? != [1, 0] {
                return Err(refused("wrong user name or password"));
            }
        }
        ([5, _], None) => return Err(refused("it requires a user name and password")),
        ([5, _], Some(_)) => return Err(refused("it does not accept a user name and password")),
        _ => return Err(foreign()),
    }
    let mut request = vec![5, 1, 0];
    match host {
        Host::Address(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Host::Address(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        Host::Name(name) => {
            request.push(3);
            request.extend(counted(name)?);
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request)?;
    // A refusal may end after these bytes.
    match read::<2>(stream)? {
        [5, 0] => {}
        [5, code] => return Err(refused(reason(code))),
        _ => return Err(foreign()),
    }
    // The proxy's own address and port.
    let length = match read::<2>(stream)? {
        [_, 1] => 4,
        [_, 3] => read::<1>(stream)?[0].into(),
        [_, 4] => 16,
        _ => return Err(foreign()),
    };
    stream.read_exact(&mut vec![0; length + 2])
}

fn read<const LENGTH: usize>(stream: &mut impl Read) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The text after its length.
fn counted(text: &str) -> io::Result<Vec<u8>> {
    let length = u8::try_from(text.len()).map_err(|_| {
        io::Error::other("SOCKS limits the host, the user name and the password to 255 bytes each")
    })?;
    Ok([&[length], text.as_bytes()].concat())
}

fn refused(reason: &str) -> io::Error {
    io::Error::other(format!("the SOCKS proxy refuses: {reason}"))
}

fn foreign() -> io::Error {
    io::Error::other("the proxy does not support this version of SOCKS")
}

/// RFC 1928, section 6.
fn reason(code: u8) -> &'static str {
    match code {
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "it does not know the command",
        8 => "it does not know this kind of address",
        _ => "general failure",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A proxy with scripted answers that records what it receives.
    struct Scripted(Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Scripted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The bytes sent, and the result. Checks that every answer was read.
    fn asked(proxy: &str, host: Host<'_>, answer: &[u8]) -> (Vec<u8>, Result<(), String>) {
        let mut stream = Scripted(Cursor::new(answer.to_vec()), Vec::new());
        let result = connect(&mut stream, &Proxy::new(proxy).unwrap(), host, 443);
        assert_eq!(stream.0.position(), answer.len() as u64, "{proxy} {answer:?}");
        let text = |error| match error {
            Error::Io(error) => error.to_string(),
            Error::ConnectProxyFailed(text) => text,
            other => panic!("{other:?}"),
        };
        (stream.1, result.map_err(text))
    }

    const NAME: Host<'_> = Host::Name("git.test");

    fn address(text: &str) -> Host<'static> {
        Host::Address(text.parse().unwrap())
    }

    #[test]
    fn a_proxy_is_asked_by_each_protocol() {
        let sent = |proxy, host, answer: &[u8]| {
            let (sent, result) = asked(proxy, host, answer);
            assert_eq!(result, Ok(()), "{proxy} {host:?}");
            sent
        };
        let granted = [0, 90, 0, 0, 0, 0, 0, 0];
        assert_eq!(sent("socks4://p", address("10.1.2.3"), &granted), b"\x04\x01\x01\xbb\x0a\x01\x02\x03\0");
        assert_eq!(sent("socks4a://p", NAME, &granted), b"\x04\x01\x01\xbb\0\0\0\x01\0git.test\0");
        let by_name = b"\x05\x01\0\x05\x01\0\x03\x08git.test\x01\xbb";
        assert_eq!(sent("socks5h://p", NAME, b"\x05\0\x05\0\0\x01abcdpp"), by_name);
        assert_eq!(sent("socks5h://p", NAME, b"\x05\0\x05\0\0\x03\x03abcpp"), by_name);
        assert_eq!(sent("socks5h://p", NAME, b"\x05\0\x05\0\0\x040123456789abcdefpp"), by_name);
        let by_address = sent("socks5://p", address("::1"), b"\x05\0\x05\0\0\x01abcdpp");
        assert_eq!(by_address, b"\x05\x01\0\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb");
        let with_login = sent("socks5://me:pw@p", address("10.1.2.3"), b"\x05\x02\x01\0\x05\0\0\x01abcdpp");
        assert_eq!(with_login, b"\x05\x02\x02\0\x01\x02me\x02pw\x05\x01\0\x01\x0a\x01\x02\x03\x01\xbb");
        // The proxy needs no login, although there is one.
        sent("socks5://me:pw@p", address("10.1.2.3"), b"\x05\0\x05\0\0\x01abcdpp");
    }

    #[test]
    fn a_proxy_is_asked_by_connect() {
        let agent = concat!("tagship/", env!("CARGO_PKG_VERSION"));
        let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
        for (proxy, host, answer, target, login) in [
            ("http://p", NAME, &established[..], "git.test:443", ""),
            ("https://p", address("10.1.2.3"), b"HTTP/1.0 200\n\n", "10.1.2.3:443", ""),
            (
                "http://me:pw@p",
                address("::1"),
                b"HTTP/1.1 204 \r\nVia: p\r\n\r\n",
                "[::1]:443",
                "Proxy-Authorization: Basic bWU6cHc=\r\n",
            ),
        ] {
            let (sent, result) = asked(proxy, host, answer);
            assert_eq!(result, Ok(()), "{proxy}");
            let expected = format!(
                "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {agent}\r\nProxy-Connection: Keep-Alive\r\n{login}\r\n"
            );
            assert_eq!(String::from_utf8(sent).unwrap(), expected);
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let foreign = "the proxy does not support this version of SOCKS";
        for (proxy, host, answer, expected) in [
            (
                "socks4a://p",
                NAME,
                &b"\0\x5b\0\0\0\0\0\0"[..],
                "the SOCKS proxy refuses: request rejected or failed",
            ),
            (
                "socks4a://p",
                NAME,
                b"\0\x5d\0\0\0\0\0\0",
                "the SOCKS proxy refuses: it requires identd on this machine",
            ),
            ("socks4a://p", NAME, b"HTTP/1.1", foreign),
            ("socks4://p", address("::1"), b"", "SOCKS 4 has no IPv6 addresses"),
            ("socks5h://p", NAME, b"HT", foreign),
            (
                "socks5h://p",
                NAME,
                b"\x05\xff",
                "the SOCKS proxy refuses: it requires a user name and password",
            ),
            (
                "socks5h://p",
                NAME,
                b"\x05\x02",
                "the SOCKS proxy refuses: it requires a user name and password",
            ),
            (
                "socks5h://me:pw@p",
                NAME,
                b"\x05\xff",
                "the SOCKS proxy refuses: it does not accept a user name and password",
            ),
            (
                "socks5h://me:pw@p",
                NAME,
                b"\x05\x02\x01\x01",
                "the SOCKS proxy refuses: wrong user name or password",
            ),
            ("socks5h://p", NAME, b"\x05\0\x05\x02", "the SOCKS proxy refuses: not allowed by its rules"),
            ("socks5h://p", NAME, b"\x05\0\x05\x05", "the SOCKS proxy refuses: connection refused"),
            ("socks5h://p", NAME, b"\x05\0\x05\0\0\x07", foreign),
            ("socks5h://p", NAME, b"\x05\0\x05", "failed to fill whole buffer"),
            (
                "http://p",
                NAME,
                b"HTTP/1.1 407 No\r\n\r\n",
                "the proxy requires a user name and password (407)",
            ),
            (
                "http://p",
                NAME,
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
                "the proxy refuses to connect (403); does it allow this host and port?",
            ),
            ("http://p", NAME, b"", "the proxy did not answer"),
            ("http://p", NAME, b"HTTP/1.1 200 OK\r\nVia: p", "the proxy did not answer"),
            ("http://p", NAME, b"SSH-2.0-OpenSSH_9.9\n\n", "the proxy does not speak HTTP"),
            ("http://p", NAME, &[b'a'; LONGEST_HEAD + 1], "the proxy's answer has no end"),
        ] {
            assert_eq!(asked(proxy, host, answer).1, Err(expected.to_owned()), "{proxy} {answer:?}");
        }
        let long = "a".repeat(256);
        let (_, result) = asked("socks5h://p", Host::Name(&long), b"\x05\0");
        assert_eq!(
            result,
            Err("SOCKS limits the host, the user name and the password to 255 bytes each".to_owned())
        );
    }
}
