//! TLS before a server in the clear: each connection is passed on as it is. What tests of
//! HTTPS put before `faulty/`; it lives as long as they do.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// Listens on a free port for a server on another one.
pub(crate) fn start(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    backend: u16,
) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let backend = SocketAddr::from(([127, 0, 0, 1], backend));
    std::thread::spawn(move || serve(listener, backend, TlsAcceptor::from(Arc::new(config))));
    address
}

fn serve(listener: TcpListener, backend: SocketAddr, acceptor: TlsAcceptor) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that trusts nobody ends here.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let Ok(mut backend) = TcpStream::connect(backend).await else {
                    return;
                };
                drop(copy_bidirectional(&mut stream, &mut backend).await);
            });
        }
    });
}
