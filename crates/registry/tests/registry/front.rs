//! What people read who open the address in a browser, or with curl.

use http::Method;

use crate::fixture::{Ask, Registry};

#[tokio::test]
async fn the_address_says_what_it_is_in_the_form_that_was_asked_for() {
    let registry = Registry::new();
    let text = registry.ask_with("", Ask::get("/")).await;
    assert_eq!(
        (text.status, text.header("content-type")),
        (200, "text/plain; charset=utf-8")
    );
    let said = String::from_utf8(text.body.to_vec()).unwrap();
    assert!(said.contains("docker login registry.test:5000\n"), "{said}");

    let page = Ask::get("/?utm=x").header("accept", "text/html,application/xhtml+xml;q=0.9");
    let page = registry.ask_with("", page).await;
    assert_eq!(
        (page.status, page.header("content-type"), page.header("vary")),
        (200, "text/html; charset=utf-8", "accept")
    );
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );
    assert!(String::from_utf8(page.body.to_vec()).unwrap().contains(&said));

    let head = registry.ask_with("", Ask::head("/")).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, said.len().to_string().as_str(), 0)
    );
    // A stale login is no reason to hide it, and nothing can be done to it.
    let stale = registry.ask_with("Bearer nonsense", Ask::get("/")).await;
    assert_eq!(stale.status, 200);
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        assert_eq!(registry.ask_with("", Ask::new(method, "/")).await.status, 405);
    }
    assert_eq!(registry.ask_with("", Ask::get("/favicon.ico")).await.status, 404);
}
