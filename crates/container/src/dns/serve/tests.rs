//! Real sockets: datagrams, connections, noise, and the end of the pod.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use super::*;

async fn server() -> (SocketAddr, SocketAddr, CancellationToken) {
    let names = NameTable::default();
    assert!(names.add("web", Ipv4Addr::new(198, 18, 0, 9)));
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    let closing = CancellationToken::new();
    DnsServer {
        names,
        upstream: Upstream::none(),
    }
    .spawn(udp, tcp, &closing);
    (addresses.0, addresses.1, closing)
}

fn query() -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii("web.").unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn is_the_answer(bytes: &[u8]) -> bool {
    let answers = Message::from_vec(bytes).unwrap().answers;
    matches!(answers.as_slice(), [record] if record.data == RData::A(Ipv4Addr::new(198, 18, 0, 9).into()))
}

#[tokio::test]
async fn answers_datagrams_and_survives_noise() {
    let (udp, _, _closing) = server().await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"x", udp).await.unwrap();
    client.send_to(&query(), udp).await.unwrap();
    let mut buffer = [0; 512];
    let length = client.recv(&mut buffer).await.unwrap();
    assert!(is_the_answer(&buffer[..length]));
}

#[tokio::test]
async fn answers_several_queries_on_one_connection_and_closes_with_the_pod() {
    let (_, tcp, closing) = server().await;
    let mut client = TcpStream::connect(tcp).await.unwrap();
    for _ in 0..2 {
        let query = query();
        client.write_u16(query.len() as u16).await.unwrap();
        client.write_all(&query).await.unwrap();
        let mut reply = vec![0; usize::from(client.read_u16().await.unwrap())];
        client.read_exact(&mut reply).await.unwrap();
        assert!(is_the_answer(&reply));
    }
    closing.cancel();
    assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
}
