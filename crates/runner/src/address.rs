//! The address of a GitLab: read as whoever asks reads it, and shown without what nobody else is to see.
//!
//! Apart, so that what people are shown of an address is about the machine that would be asked. An address may hold a user and a password,
//! and a query a token; neither they nor a fragment are ever shown.

use reqwest::Url;

/// The URL of a GitLab, of http or https; `None` when there is nobody to ask.
pub(crate) fn parse(text: &str) -> Option<Url> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// A URL for people: the machine and the path.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // Neither can fail for a URL with a host.
    let _ = (shown.set_password(None), shown.set_username(""));
    shown.set_query(None);
    shown.set_fragment(None);
    // It may be the rest of a password that has a slash.
    if shown.path().contains('@') {
        shown.set_path("/");
    }
    shown.into()
}

/// An address for people, also one of no form that could be asked.
pub(crate) fn shown_text(text: &str) -> String {
    if let Some(url) = parse(text) {
        return shown(&url);
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    // The last one: a password may have its own, and even a slash.
    let begin = rest.rfind('@').map_or(0, |at| at + 1);
    let rest = rest.get(begin..).unwrap_or_default();
    scheme + rest.split(['?', '#']).next().unwrap_or_default()
}
