//! Connections whose waits all end when the run ends.
//!
//! ureq's own connections block in the system until the request's timeout, even after a signal.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, TransportAdapter, time,
};
use ureq::{Proxy, ProxyProtocol};

use super::tls::Tls;
use super::tunnel::{self, Host};
use crate::stop::{CutShort, Cutoff, TICK};

/// Opens connections: over TCP, through the proxy if one is set, and with TLS to https:// addresses. After that
/// it lifts the cutoff, if the cutoff is only for connecting.
#[derive(Debug)]
pub(super) struct EndingConnector {
    pub(super) cutoff: Cutoff,
    pub(super) tls: Tls,
}

impl<In: Transport> Connector<In> for EndingConnector {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let mut transport = match details.config.proxy() {
            Some(proxy) => self.tunnel(details, proxy)?,
            None => self.transport(details, &details.addrs)?,
        };
        if details.needs_tls() {
            transport = self.tls.encrypt(transport, details.uri, details)?;
        }
        self.cutoff.lift();
        Ok(Some(transport))
    }
}

/// The time left for connecting.
pub(super) fn left(details: &ConnectionDetails<'_>) -> NextTimeout {
    let elapsed =
        if let time::Instant::Exact(begun) = details.now { begun.elapsed() } else { Duration::ZERO };
    NextTimeout { after: details.timeout.after.saturating_sub(elapsed).into(), ..details.timeout }
}

/// The address for a proxy that does not resolve names itself. SOCKS 4 has no IPv6 addresses.
fn resolved(proxy: &Proxy, addresses: &[SocketAddr]) -> Option<IpAddr> {
    let is_fit = |address: &&SocketAddr| proxy.protocol() != ProxyProtocol::Socks4 || address.is_ipv4();
    let address = addresses.iter().find(is_fit).or(addresses.first()).filter(|_| proxy.resolve_target());
    address.map(SocketAddr::ip)
}

impl EndingConnector {
    /// Connects through the proxy to the host, within the remaining time for all of its answers.
    fn tunnel(
        &self,
        details: &ConnectionDetails<'_>,
        proxy: &Proxy,
    ) -> Result<Box<dyn Transport>, ureq::Error> {
        let addresses = details.resolver.resolve(proxy.uri(), details.config, left(details))?;
        let mut transport = self.transport(details, &addresses)?;
        if proxy.protocol() == ProxyProtocol::Https {
            transport = self.tls.encrypt(transport, proxy.uri(), details)?;
        }
        let mut stream = TransportAdapter::new(transport, Arc::clone(&details.current_time));
        stream.set_timeout(left(details));
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = details.uri.port_u16().unwrap_or(if details.needs_tls() { 443 } else { 80 });
        let address = resolved(proxy, &details.addrs).or_else(|| host.parse().ok());
        tunnel::connect(&mut stream, proxy, address.map_or(Host::Name(host), Host::Address), port)?;
        Ok(stream.into_inner())
    }

    fn transport(
        &self,
        details: &ConnectionDetails<'_>,
        addresses: &[SocketAddr],
    ) -> Result<Box<dyn Transport>, ureq::Error> {
        let config = details.config;
        let stream = self.first_connected(addresses, left(details))?;
        stream.set_nodelay(config.no_delay())?;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(EndingTransport { stream, buffers, cutoff: self.cutoff.clone() }.boxed())
    }

    /// Tries the addresses in order, each for half of the remaining time, the last for all of it.
    fn first_connected(
        &self,
        addresses: &[SocketAddr],
        timeout: NextTimeout,
    ) -> Result<TcpStream, ureq::Error> {
        let begun = Instant::now();
        let mut fault = ureq::Error::ConnectionFailed;
        for (index, address) in addresses.iter().enumerate() {
            let left = timeout.after.saturating_sub(begun.elapsed());
            let share = if index + 1 == addresses.len() { left } else { left / 2 };
            match self.connected(*address, NextTimeout { after: share.into(), ..timeout }) {
                Ok(stream) => return Ok(stream),
                Err(error) if self.cutoff.is_reached() => return Err(error),
                Err(error) => fault = error,
            }
        }
        Err(fault)
    }

    fn connected(&self, address: SocketAddr, timeout: NextTimeout) -> Result<TcpStream, ureq::Error> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(io::Error::from)?;
        match connect(&socket, &address) {
            Err(Errno::INPROGRESS | Errno::INTR) => {
                wait(&socket, PollFlags::OUT, timeout, &self.cutoff)?;
                sockopt::socket_error(&socket).and_then(|result| result).map_err(io::Error::from)?;
            }
            result => result.map_err(io::Error::from)?,
        }
        Ok(TcpStream::from(socket))
    }
}

/// A connection with a non-blocking socket.
#[derive(Debug)]
struct EndingTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
    cutoff: Cutoff,
}

impl EndingTransport {
    /// Runs `work` once the socket is ready for it.
    fn when_ready<T>(
        &mut self,
        flags: PollFlags,
        timeout: NextTimeout,
        mut work: impl FnMut(&mut TcpStream, &mut LazyBuffers) -> io::Result<T>,
    ) -> Result<T, ureq::Error> {
        loop {
            match work(&mut self.stream, &mut self.buffers) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(&self.stream, flags, timeout, &self.cutoff)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Ok(result?),
            }
        }
    }
}

impl Transport for EndingTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let timeout = timeout.for_write();
        let mut sent = 0;
        while sent < amount {
            sent += self.when_ready(PollFlags::OUT, timeout, |stream, buffers| {
                match stream.write(&buffers.output()[sent..amount])? {
                    0 => Err(io::ErrorKind::WriteZero.into()),
                    written => Ok(written),
                }
            })?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        if self.cutoff.is_reached() {
            return Err(io::Error::other(CutShort).into());
        }
        let read = |stream: &mut TcpStream, buffers: &mut LazyBuffers| {
            let read = stream.read(buffers.input_append_buf())?;
            buffers.input_appended(read);
            Ok(read)
        };
        Ok(self.when_ready(PollFlags::IN, timeout.for_read(), read)? > 0)
    }

    /// Whether the connection can be reused: nothing may arrive between two requests, not even the end.
    fn is_open(&mut self) -> bool {
        matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Waits until the socket is ready, or until the time or the run is over.
fn wait(
    socket: &impl AsFd,
    flags: PollFlags,
    timeout: NextTimeout,
    cutoff: &Cutoff,
) -> Result<(), ureq::Error> {
    let begun = Instant::now();
    loop {
        if cutoff.is_reached() {
            return Err(io::Error::other(CutShort).into());
        }
        let left = timeout.after.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(ureq::Error::Timeout(timeout.reason));
        }
        let slice = Timespec::try_from(left.min(TICK).min(cutoff.left().unwrap_or(TICK)).max(LEAST));
        let slice = slice.map_err(|_| ureq::Error::Timeout(timeout.reason))?;
        match poll(&mut [PollFd::new(socket, flags)], Some(&slice)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

/// Shorter waits would only loop.
const LEAST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socks_4_is_asked_for_an_address_of_ipv4() {
        let [six, four] = ["[::1]:443", "127.0.0.1:443"].map(|address| address.parse().unwrap());
        for (proxy, addresses, expected) in [
            ("socks4://p", &[six, four][..], Some(four)),
            ("socks4://p", &[six], Some(six)),
            ("socks5://p", &[six, four], Some(six)),
            ("socks5h://p", &[six, four], None),
            ("http://p", &[six, four], None),
        ] {
            let found = resolved(&Proxy::new(proxy).unwrap(), addresses);
            assert_eq!(found, expected.map(|address: SocketAddr| address.ip()), "{proxy} {addresses:?}");
        }
    }
}
