//! The one rule of a pod: TCP to anywhere outside goes to a port of the bridge.
//!
//! As `nft` would say it:
//!
//! ```text
//! table ip shipway {
//!   chain prerouting {
//!     type nat hook prerouting priority dstnat;
//!     ip daddr != 198.18.0.0/16 meta l4proto tcp redirect to :PORT
//!   }
//! }
//! ```
//!
//! Netfilter takes the table, the chain and the rule in one batch, or none of them.

use std::net::Ipv4Addr;

use rustix::net::netlink;

use super::message::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, Socket, Writer};
use crate::error::{Doing as _, Result};

const NAME: &str = "shipway";
const CHAIN: &str = "prerouting";

// linux/netfilter/nfnetlink.h
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const SUBSYSTEM: u16 = 10;
// linux/netfilter/nf_tables.h
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const NEW_CHAIN: u16 = (SUBSYSTEM << 8) | 3;
const NEW_RULE: u16 = (SUBSYSTEM << 8) | 6;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const PREROUTING: u32 = 0;
const DESTINATION_NAT: i32 = -100;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const REGISTER: u32 = 1;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const DESTINATION_OFFSET: u32 = 16;
const META_PROTOCOL: u32 = 16;

/// Adds the rule to the network namespace that this process is in.
pub(super) fn to_port(bridge: Ipv4Addr, prefix: u8, port: u16) -> Result<()> {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    let subnet = u32::from(bridge) & mask;
    let ip = [libc::AF_INET as u8, 0, 0, 0];
    let [high, low] = SUBSYSTEM.to_be_bytes();
    let batch = [libc::AF_UNSPEC as u8, 0, high, low];

    let mut writer = Writer::default();
    writer.message(BATCH_BEGIN, 0, &batch, |_| {});
    writer.message(NEW_TABLE, NLM_F_CREATE | NLM_F_ACK, &ip, |table| {
        table.text(TABLE_NAME, NAME);
    });
    writer.message(NEW_CHAIN, NLM_F_CREATE | NLM_F_ACK, &ip, |chain| {
        chain.text(CHAIN_TABLE, NAME);
        chain.text(CHAIN_NAME, CHAIN);
        chain.nested(CHAIN_HOOK, &[], |hook| {
            hook.network_number(HOOK_NUMBER, PREROUTING);
            hook.network_number(HOOK_PRIORITY, DESTINATION_NAT.cast_unsigned());
        });
        chain.text(CHAIN_TYPE, "nat");
    });
    writer.message(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK, &ip, |rule| {
        rule.text(RULE_TABLE, NAME);
        rule.text(RULE_CHAIN, CHAIN);
        rule.nested(RULE_EXPRESSIONS, &[], |expressions| {
            load_destination(expressions);
            keep_bits(expressions, mask);
            compare(expressions, NOT_EQUAL, &subnet.to_be_bytes());
            load_protocol(expressions);
            compare(expressions, EQUAL, &[libc::IPPROTO_TCP as u8]);
            load(expressions, &port.to_be_bytes());
            redirect(expressions);
        });
    });
    writer.message(BATCH_END, 0, &batch, |_| {});
    let action = || "add the redirect of outgoing connections (is nf_tables with nat available?)".to_owned();
    Socket::open(Some(netlink::NETFILTER))
        .doing(action)?
        .send(&writer)
        .doing(action)
}

fn expression(list: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    list.nested(LIST_ELEMENT, &[], |element| {
        element.text(EXPRESSION_NAME, name);
        element.nested(EXPRESSION_DATA, &[], data);
    });
}

fn value(data: &mut Writer, kind: u16, bytes: &[u8]) {
    data.nested(kind, &[], |nested| nested.attribute(DATA_VALUE, bytes));
}

fn load_destination(list: &mut Writer) {
    expression(list, "payload", |data| {
        for (kind, number) in [
            (1, REGISTER),
            (2, NETWORK_HEADER),
            (3, DESTINATION_OFFSET),
            (4, 4),
        ] {
            data.network_number(kind, number);
        }
    });
}

fn keep_bits(list: &mut Writer, mask: u32) {
    expression(list, "bitwise", |data| {
        for (kind, number) in [(1, REGISTER), (2, REGISTER), (3, 4)] {
            data.network_number(kind, number);
        }
        value(data, 4, &mask.to_be_bytes());
        value(data, 5, &[0; 4]);
    });
}

fn compare(list: &mut Writer, operation: u32, bytes: &[u8]) {
    expression(list, "cmp", |data| {
        data.network_number(1, REGISTER);
        data.network_number(2, operation);
        value(data, 3, bytes);
    });
}

fn load_protocol(list: &mut Writer) {
    expression(list, "meta", |data| {
        data.network_number(1, REGISTER);
        data.network_number(2, META_PROTOCOL);
    });
}

fn load(list: &mut Writer, bytes: &[u8]) {
    expression(list, "immediate", |data| {
        data.network_number(1, REGISTER);
        value(data, 2, bytes);
    });
}

fn redirect(list: &mut Writer) {
    expression(list, "redir", |data| data.network_number(1, REGISTER));
}
