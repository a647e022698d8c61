//! The floor for TLS: a tokio (current_thread) relay over tokio-rustls, which knows just enough MQTT 3.1.1 to be wired up,
//! then decrypts, encrypts and moves bytes.
//!
//! CONNECT and SUBSCRIBE are answered. The first PUBLISH on a connection pairs it, by its topic, with the connection that
//! has subscribed to it last; from there on nothing is parsed. One read and one write for each readiness, as `rawrelay`
//! does it without TLS.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

#[derive(Parser)]
#[command(version, about = "Byte relay over TLS: the floor for an MQTT broker with tokio-rustls")]
struct Args {
    /// Port on 127.0.0.1
    port: u16,
    /// Certificate chain, PEM
    certificate: PathBuf,
    /// Its key, PEM
    key: PathBuf,
    /// Bytes read at once
    #[arg(long, default_value_t = 16 * 1024)]
    buffer: usize,
    /// Ends by itself after so many seconds
    #[arg(long, default_value_t = 3600)]
    max_seconds: u32,
}

type Reader = ReadHalf<TlsStream<TcpStream>>;
type Writer = Rc<Mutex<WriteHalf<TlsStream<TcpStream>>>>;
/// The subscriber of each topic.
type Routes = Rc<RefCell<HashMap<Vec<u8>, Writer>>>;

fn main() -> io::Result<()> {
    let args = Args::parse();
    unsafe {
        let mut r = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut r);
        r.rlim_cur = r.rlim_max.min(20_000);
        libc::setrlimit(libc::RLIMIT_NOFILE, &r);
        libc::alarm(args.max_seconds);
    }
    let config = config(&args).map_err(io::Error::other)?;
    let rt = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&rt, serve(args, TlsAcceptor::from(Arc::new(config))))
}

fn config(args: &Args) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let chain = CertificateDer::pem_file_iter(&args.certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&args.key)?;
    let provider = Arc::new(ring::default_provider());
    Ok(ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?)
}

async fn serve(args: Args, acceptor: TlsAcceptor) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await?;
    let routes = Routes::default();
    loop {
        let (stream, _) = listener.accept().await?;
        let (routes, acceptor, size) = (routes.clone(), acceptor.clone(), args.buffer);
        spawn_local(async move {
            let _ = stream.set_nodelay(true);
            if let Ok(stream) = acceptor.accept(stream).await {
                let (reader, writer) = split(stream);
                let _ = connection(reader, &Rc::new(Mutex::new(writer)), &routes, size).await;
            }
        });
    }
}

async fn write(writer: &Writer, data: &[u8]) -> io::Result<()> {
    let mut writer = writer.lock().await;
    writer.write_all(data).await?;
    writer.flush().await
}

/// Answers packets until the first PUBLISH; all of them have less than 128 bytes.
async fn connection(mut reader: Reader, own: &Writer, routes: &Routes, size: usize) -> io::Result<()> {
    let mut buf = Vec::with_capacity(512);
    loop {
        if reader.read_buf(&mut buf).await? == 0 {
            return Ok(());
        }
        while let Some(len) = buf.get(1).map(|len| 2 + usize::from(*len)).filter(|len| buf.len() >= *len) {
            match buf[0] >> 4 {
                1 => write(own, &[0x20, 2, 0, 0]).await?,
                8 => {
                    let topic = 6 + usize::from(buf[5]);
                    routes.borrow_mut().insert(buf[6..topic].to_vec(), own.clone());
                    write(own, &[0x90, 3, buf[2], buf[3], 0]).await?;
                }
                12 => write(own, &[0xd0, 0]).await?,
                3 => {
                    let topic = &buf[4..4 + usize::from(buf[3])];
                    let to = routes.borrow().get(topic).cloned();
                    let Some(to) = to else { return Ok(()) };
                    return pump(reader, buf, size, &to).await;
                }
                _ => return Ok(()),
            }
            buf.drain(..len);
        }
    }
}

/// Copies chunks as they come.
async fn pump(mut reader: Reader, first: Vec<u8>, size: usize, to: &Writer) -> io::Result<()> {
    write(to, &first).await?;
    let mut buf = vec![0; size];
    loop {
        let n = reader.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        write(to, &buf[..n]).await?;
    }
}
