//! Questions about the pod, about elsewhere, and bytes that are no question.

use super::*;

const DB: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 7);

fn table() -> NameTable {
    let names = NameTable::default();
    assert!(names.add("db", DB));
    names
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.metadata.recursion_desired = true;
    message
}

async fn ask(message: &Message, transport: Transport) -> Message {
    let bytes = answer(&message.to_vec().unwrap(), transport, &table(), &Upstream::none())
        .await
        .unwrap();
    Message::from_vec(&bytes).unwrap()
}

#[tokio::test]
async fn a_name_of_the_pod_has_its_address() {
    for name in ["db.", "DB."] {
        let query = question(name, RecordType::A);
        let reply = ask(&query, Transport::Udp).await;
        assert_eq!(reply.metadata.id, query.metadata.id);
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert!(reply.metadata.authoritative && reply.metadata.recursion_available);
        assert_eq!(reply.queries, query.queries);
        let data: Vec<_> = reply.answers.iter().map(|record| record.data.clone()).collect();
        assert_eq!(data, [RData::A(A(DB))]);
    }
}

#[tokio::test]
async fn aaaa_is_empty_and_no_error_for_every_name() {
    for name in ["db.", "example.com."] {
        let reply = ask(&question(name, RecordType::AAAA), Transport::Udp).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert!(reply.answers.is_empty());
    }
}

#[tokio::test]
async fn other_types_of_a_pod_name_are_empty() {
    let reply = ask(&question("db.", RecordType::MX), Transport::Udp).await;
    assert_eq!(
        (reply.metadata.response_code, reply.answers.len()),
        (ResponseCode::NoError, 0)
    );
}

#[tokio::test]
async fn localhost_is_the_containers_own() {
    let reply = ask(&question("app.localhost.", RecordType::A), Transport::Udp).await;
    assert_eq!(reply.answers[0].data, RData::A(A(Ipv4Addr::LOCALHOST)));
}

#[tokio::test]
async fn an_address_of_the_pod_has_a_name() {
    let reply = ask(
        &question("7.0.18.198.in-addr.arpa.", RecordType::PTR),
        Transport::Udp,
    )
    .await;
    assert_eq!(
        reply.answers[0].data,
        RData::PTR(PTR(Name::from_ascii("db.").unwrap()))
    );
}

#[tokio::test]
async fn without_an_upstream_a_foreign_name_fails_and_does_not_vanish() {
    let reply = ask(&question("example.com.", RecordType::A), Transport::Udp).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn strange_queries_get_an_error_and_noise_gets_nothing() {
    let any = ask(&question("db.", RecordType::ANY), Transport::Udp).await;
    assert_eq!(any.metadata.response_code, ResponseCode::NotImp);

    let mut status = question("db.", RecordType::A);
    status.metadata.op_code = OpCode::Status;
    assert_eq!(
        ask(&status, Transport::Udp).await.metadata.response_code,
        ResponseCode::NotImp
    );

    let mut two = question("db.", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("web.").unwrap(), RecordType::A));
    assert_eq!(
        ask(&two, Transport::Udp).await.metadata.response_code,
        ResponseCode::FormErr
    );

    let mut chaos = question("db.", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(
        ask(&chaos, Transport::Udp).await.metadata.response_code,
        ResponseCode::Refused
    );

    let names = table();
    let reply = question("db.", RecordType::A).into_response().to_vec().unwrap();
    assert_eq!(
        answer(&reply, Transport::Udp, &names, &Upstream::none()).await,
        None
    );
    assert_eq!(
        answer(&[7], Transport::Udp, &names, &Upstream::none()).await,
        None
    );
    let broken = answer(
        &[0x12, 0x34, 0, 0, 0, 9],
        Transport::Udp,
        &names,
        &Upstream::none(),
    )
    .await
    .unwrap();
    let broken = Message::from_vec(&broken).unwrap();
    assert_eq!(
        (broken.metadata.id, broken.metadata.response_code),
        (0x1234, ResponseCode::FormErr)
    );
}

#[tokio::test]
async fn edns_is_answered_with_edns() {
    let mut query = question("db.", RecordType::A);
    query.set_edns(Edns::new());
    assert_eq!(
        ask(&query, Transport::Udp).await.edns.unwrap().max_payload(),
        MAX_PAYLOAD
    );
    assert!(
        ask(&question("db.", RecordType::A), Transport::Udp)
            .await
            .edns
            .is_none()
    );
}

/// A container's bytes get an answer that can be read, of that question, within its size, or none.
#[test]
fn foreign_questions() {
    let mut with_edns = question("example.com.", RecordType::TXT);
    with_edns.set_edns(Edns::new());
    let seeds = [
        question("db.", RecordType::A),
        question("7.0.18.198.in-addr.arpa.", RecordType::PTR),
        with_edns,
    ];
    let seeds = seeds.map(|message| message.to_vec().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (names, upstream) = (table(), Upstream::none());
    shipway_testkit::Foreign::near(seeds).check(|bytes| {
        for transport in [Transport::Udp, Transport::Tcp] {
            let Some(reply) = runtime.block_on(answer(bytes, transport, &names, &upstream)) else {
                continue;
            };
            assert_eq!(reply[..2], bytes[..2]);
            assert!(transport == Transport::Tcp || reply.len() <= usize::from(MAX_PAYLOAD));
            let reply = Message::from_vec(&reply).unwrap();
            assert_eq!(reply.metadata.message_type, MessageType::Response);
        }
    });
}
