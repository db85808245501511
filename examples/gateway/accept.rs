//! Accepting connections.

use std::io;

use tokio::net::{TcpListener, TcpStream};

/// The next connection. Without `TCP_NODELAY` the end of each stream waits for the caller's delayed ACK, some 40 ms.
pub async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    // It fails on a connection that is gone already, which serving it will find out.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
