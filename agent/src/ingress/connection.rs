//! A client's connection as pingora wants it: with or without TLS, and with a limit on the head of each request.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID,
};
use pingora_core::protocols::{l4, raw_connect::ProxyDigest};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A request's line and headers, in bytes. It is four times what nginx takes.
pub const LONGEST_HEAD: usize = 128 << 10;

/// How far a connection has come with the head of a request.
#[derive(Debug, Default)]
pub struct Head {
    complete: AtomicBool,
    received: AtomicUsize,
}

impl Head {
    /// A new request begins.
    pub fn begin(&self) {
        self.complete.store(false, Ordering::Relaxed);
        self.received.store(0, Ordering::Relaxed);
    }

    /// All of it has come; what follows is its body.
    pub fn end(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }

    /// Whether all of it has come.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    fn too_long(&self, received: usize) -> bool {
        let before = self.received.fetch_add(received, Ordering::Relaxed);
        !self.is_complete() && before.saturating_add(received) > LONGEST_HEAD
    }
}

/// A connection; `S` is TCP, or TLS over it.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    socket: Arc<SocketDigest>,
    fd: RawFd,
    tls: Option<Arc<SslDigest>>,
    http2: bool,
    head: Arc<Head>,
}

impl Connection<l4::stream::Stream> {
    /// Without TLS.
    pub fn plain(stream: TcpStream, head: Arc<Head>) -> Self {
        let fd = stream.as_raw_fd();
        let socket = Arc::new(SocketDigest::from_raw_fd(fd));
        Self { stream: stream.into(), socket, fd, tls: None, http2: false, head }
    }
}

impl Connection<TlsStream<TcpStream>> {
    /// With TLS.
    pub fn tls(stream: TlsStream<TcpStream>, head: Arc<Head>) -> Self {
        let (tcp, session) = stream.get_ref();
        let fd = tcp.as_raw_fd();
        let socket = Arc::new(SocketDigest::from_raw_fd(fd));
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let http2 = session.alpn_protocol() == Some(b"h2");
        if http2 {
            // Its frames are bounded by their own options.
            head.end();
        }
        let tls = Some(Arc::new(SslDigest::new("", version, None, None, Vec::new())));
        Self { stream, socket, fd, tls, http2, head }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if self.head.too_long(buf.filled().len() - before) {
            // No header holds this byte: the parser gives up, and the client is told.
            buf.filled_mut()[before..].fill(0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait::async_trait]
impl<S: AsyncWrite + Unpin + Send> Shutdown for Connection<S> {
    async fn shutdown(&mut self) {
        // The client may be gone already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl<S> UniqueID for Connection<S> {
    fn id(&self) -> RawFd {
        self.fd
    }
}

impl<S> Ssl for Connection<S> {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.http2.then_some(ALPN::H2)
    }
}

impl<S> GetTimingDigest for Connection<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl<S> GetProxyDigest for Connection<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl<S> GetSocketDigest for Connection<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }
}

impl<S: Send> Peek for Connection<S> {}
