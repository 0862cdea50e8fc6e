//! The socket that listens.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use foundation::exit::Exit;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// How long data may stay unacknowledged before the connection is given up. It bounds a peer that is gone,
/// or that does not read its answer.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of an answer, in bytes, may wait in the kernel to be sent, beside what is on its way. A client that does
/// not read would otherwise have it keep megabytes, which count as this program's own where memory is limited.
const TCP_UNSENT: u32 = 32 * 1024;

/// How long a handshake that has begun may take to end, once no new one is let in.
const LAST_HANDSHAKES: Duration = Duration::from_millis(50);

/// How long closing may take altogether where new connections cannot be kept out.
const LAST_ACCEPTS: Duration = Duration::from_millis(500);

/// A bound socket. Connections to it succeed from the beginning, and wait until they are accepted.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    address: SocketAddr,
    refusing_since: Option<Instant>,
}

/// Why an address cannot be listened at, in words that say what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BindError {
    message: String,
    exit: Exit,
}

impl BindError {
    fn new(address: SocketAddr, variable: &str, error: &io::Error) -> Self {
        let (message, exit) = match error.kind() {
            io::ErrorKind::AddrInUse => (
                format!(
                    "{address} is already in use: another program listens there; stop it, or set {variable} to another address"
                ),
                Exit::Unavailable,
            ),
            io::ErrorKind::AddrNotAvailable => (
                format!("this machine has no address {}; set {variable} to one that it has", address.ip()),
                Exit::Configuration,
            ),
            io::ErrorKind::PermissionDenied => (
                format!(
                    "this user may not listen at {address}; set {variable} to a port from 1024 up, or give it the right"
                ),
                Exit::Configuration,
            ),
            _ => (format!("cannot listen at {address} ({error}); see {variable}"), Exit::Unavailable),
        };
        Self { message, exit }
    }

    /// What the program ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl Listener {
    /// Listens at `address`, which came from the setting `variable`.
    ///
    /// # Errors
    /// The address is taken, is not of this machine, or may not be used.
    pub async fn bind(address: SocketAddr, variable: &str) -> Result<Self, BindError> {
        let bound = async {
            let inner = TcpListener::bind(address).await?;
            let socket = SockRef::from(&inner);
            // Accepted sockets inherit all of these.
            socket.set_tcp_nodelay(true)?;
            #[cfg(target_os = "linux")]
            {
                socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
                socket.set_tcp_notsent_lowat(TCP_UNSENT)?;
            }
            let address = inner.local_addr()?;
            Ok(Self { inner, address, refusing_since: None })
        };
        bound.await.map_err(|error| BindError::new(address, variable, &error))
    }

    /// Where it listens, with the port that a setting of 0 came to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _peer) = self.inner.accept().await?;
        Ok(stream)
    }

    /// Lets no new handshake begin, while those that have begun end. Closing the socket at once would
    /// reset connections that their clients believe to be open.
    pub(super) fn refuse_new_connections(&mut self) {
        self.refusing_since = Some(Instant::now());
        #[cfg(target_os = "linux")]
        if let Err(error) = SockRef::from(&self.inner).attach_filter(&linux::DROP_SYN) {
            tracing::debug!(%error, "new connections cannot be kept out while the last are accepted");
        }
    }

    /// The next connection that the kernel has accepted and we have not, until there is none left.
    pub(super) async fn accept_remaining(&self) -> Option<TcpStream> {
        if self.refusing_since.is_some_and(|since| since.elapsed() > LAST_ACCEPTS) {
            return None;
        }
        loop {
            match tokio::time::timeout(LAST_HANDSHAKES, self.accept()).await {
                Ok(Ok(stream)) => return Some(stream),
                Ok(Err(error)) if is_of_the_peer(&error) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the last connections cannot be accepted");
                    return None;
                }
                Err(_nobody_came) => return None,
            }
        }
    }
}

/// Whether accepting failed because the peer went away meanwhile; the next one may be well.
pub(super) fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(target_os = "linux")]
mod linux {
    use socket2::SockFilter;

    /// Drops packets with the SYN flag, which only open connections: a client's kernel sends its own again
    /// after a second, and learns then that nobody listens. Nothing that was accepted is lost.
    ///
    /// In words: load the byte of the TCP flags, and drop the packet where SYN is set in it.
    pub(super) static DROP_SYN: [SockFilter; 4] = [
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x45, 0, 1, 0x02),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
}
