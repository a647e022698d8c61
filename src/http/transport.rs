//! The bytes of a console's connection: plain, or over TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::stream::TimedStream;

/// A connection of the console.
pub(super) enum Transport {
    /// HTTP.
    Plain(TimedStream),
    /// HTTPS.
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::server::TlsStream<TimedStream>>),
}

/// The stream that carries the bytes.
macro_rules! carrier {
    ($transport:expr) => {
        match $transport.get_mut() {
            Transport::Plain(stream) => Pin::new(stream) as Pin<&mut (dyn Stream + '_)>,
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => Pin::new(&mut **stream) as Pin<&mut (dyn Stream + '_)>,
        }
    };
}

trait Stream: AsyncRead + AsyncWrite {}

impl<S: AsyncRead + AsyncWrite> Stream for S {}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        carrier!(self).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        carrier!(self).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        carrier!(self).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        carrier!(self).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        carrier!(self).poll_shutdown(cx)
    }
}
