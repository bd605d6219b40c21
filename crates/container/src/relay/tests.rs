//! Half-closed, denied, refused and broken connections, each as both ends see it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

fn local() -> Egress {
    Egress::new([], ["127.0.0.1".parse().unwrap()])
}

#[tokio::test]
async fn one_side_may_be_done_while_the_other_still_speaks() {
    let (mut container, client) = pair().await;
    let (server, mut outside) = pair().await;
    let closing = CancellationToken::new();
    let moving = tokio::spawn(async move { transfer(client, server, &closing).await });
    container.write_all(b"request").await.unwrap();
    container.shutdown().await.unwrap();
    let mut request = Vec::new();
    outside.read_to_end(&mut request).await.unwrap();
    assert_eq!(request, b"request");
    outside.write_all(b"answer after the end").await.unwrap();
    drop(outside);
    let mut answer = Vec::new();
    container.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer after the end");
    moving.await.unwrap();
}

#[tokio::test]
async fn a_denied_peer_is_never_dialled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = listener.local_addr().unwrap();
    let (_container, client) = pair().await;
    let error = carry(&client, peer, &Egress::new([], [])).await.unwrap_err();
    assert!(matches!(error, RelayError::Denied { .. }), "{error}");
    assert!(carry(&client, peer, &local()).await.is_ok());
}

#[tokio::test]
async fn a_peer_that_refuses_resets_the_container() {
    let refusing = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let (mut container, client) = pair().await;
    let error = carry(&client, refusing, &local()).await.unwrap_err();
    assert!(matches!(error, RelayError::Dial { .. }), "{error}");
    reset(client);
    let error = container.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_broken_peer_is_no_orderly_end() {
    let (mut container, client) = pair().await;
    let (server, outside) = pair().await;
    let closing = CancellationToken::new();
    let moving = tokio::spawn(async move { transfer(client, server, &closing).await });
    reset(outside);
    let error = container.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    moving.await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_pod_resets_what_is_open() {
    let (mut container, client) = pair().await;
    let (server, _outside) = pair().await;
    let closing = CancellationToken::new();
    closing.cancel();
    transfer(client, server, &closing).await;
    assert!(container.read(&mut [0]).await.is_err());
}
