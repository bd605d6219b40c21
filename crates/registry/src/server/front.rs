//! What somebody reads who opens the registry's address without a path: that it is one, and how it is used.
//!
//! For people only. It says nothing that is not known to whoever reached it, so it asks for no login, and it has neither scripts
//! nor styles nor links, so that there is nothing in it for a browser to run or to fetch.

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use super::origin;
use super::respond::{Answer, ResponseBody};

/// The answer to a GET or HEAD of `/`: HTML for who asks for that, else plain text.
pub(super) fn answer(head: &Parts) -> Response<ResponseBody> {
    // The host is of a few harmless characters, whatever the client sent.
    let text = text(origin::host(head));
    let (kind, text) = match wants_html(head) {
        true => ("text/html; charset=utf-8", html(&text)),
        false => ("text/plain; charset=utf-8", text),
    };
    let answer = Answer::new(StatusCode::OK)
        .header(CONTENT_TYPE, HeaderValue::from_static(kind))
        .header(VARY, HeaderValue::from_static("accept"))
        .header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .header(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        );
    match head.method {
        Method::HEAD => answer.length_only(text.len() as u64),
        _ => answer.body(ResponseBody::Whole(text.into())),
    }
}

fn wants_html(head: &Parts) -> bool {
    let accepted = head.headers.get_all(ACCEPT).iter();
    accepted
        .filter_map(|accepted| accepted.to_str().ok())
        .any(|accepted| accepted.contains("text/html"))
}

fn text(host: &str) -> String {
    format!(
        "This is a container registry, served by Shipway.\n\
         \n\
         docker login {host}\n\
         docker pull {host}/group/project:tag\n\
         docker push {host}/group/project:tag\n\
         \n\
         Programs find the OCI distribution API below /v2/.\n"
    )
}

fn html(text: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Container registry</title></head>\n\
         <body><pre>\n{text}</pre></body>\n</html>\n"
    )
}
