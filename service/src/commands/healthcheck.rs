//! `service healthcheck`: the image has no shell and no curl, so the program asks itself.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use foundation::exit::Exit;
use foundation::settings::{Environment, Section as _};

use super::{refuse, tell};
use crate::settings::HttpSettings;

/// How long each of connecting, asking and reading may take. The service answers probes within this time
/// whatever its database does.
const TIMEOUT: Duration = Duration::from_secs(2);

/// As much of an answer as is read, in bytes.
const MAX_ANSWER: u64 = 16 * 1024;

pub(super) fn run(mut environment: Environment, ready: bool) -> Exit {
    let settings = HttpSettings::read(&mut environment);
    if let Err(error) = environment.finish() {
        return refuse(&error);
    }
    let address = reachable(settings.address);
    let path = if ready { "/readyz" } else { "/livez" };
    match ask(address, path) {
        Ok(answer) if is_success(&answer) => Exit::Success,
        Ok(answer) => {
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            let status = answer.lines().next().unwrap_or("no answer");
            tell(format_args!("http://{address}{path}: {status} {body}"));
            Exit::Unavailable
        }
        Err(error) => {
            tell(format_args!("http://{address}{path}, where HTTP_ADDRESS has it, does not answer: {error}"));
            Exit::Unavailable
        }
    }
}

/// Who listens at every address of the machine is asked at the loopback one.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let agent = concat!("service-healthcheck/", env!("CARGO_PKG_VERSION"));
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn is_success(answer: &str) -> bool {
    answer.strip_prefix("HTTP/1.1 ").is_some_and(|rest| rest.starts_with("200 "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_asked_at_loopback() {
        let at = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(at("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(at("[::]:8080"), "[::1]:8080");
        assert_eq!(at("192.0.2.1:80"), "192.0.2.1:80");
    }

    #[test]
    fn only_200_is_well() {
        assert!(is_success("HTTP/1.1 200 OK\r\n\r\n"));
        for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 2000", "", "SSH-2.0"] {
            assert!(!is_success(answer), "{answer}");
        }
    }
}
