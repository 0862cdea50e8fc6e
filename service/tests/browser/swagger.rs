//! Swagger UI as a person uses it.

use serde_json::Value;
use thirtyfour::{By, WebElement};

use crate::browser::Browser;

/// The page `/docs` in a browser.
pub(crate) struct Swagger<'a> {
    pub(crate) browser: &'a Browser,
}

/// An operation on the page, opened.
pub(crate) struct Operation<'a> {
    browser: &'a Browser,
    /// The CSS selector of its block.
    block: String,
}

impl<'a> Swagger<'a> {
    /// Opens the page and waits until it shows the operations.
    pub(crate) async fn open(browser: &'a Browser, url: &str) -> Self {
        browser.open(url).await;
        browser.shown(".opblock-summary").await;
        Self { browser }
    }

    /// Opens an operation of a chapter.
    pub(crate) async fn operation(&self, tag: &str, id: &str) -> Operation<'a> {
        let operation = Operation { browser: self.browser, block: format!("#operations-{tag}-{id}") };
        operation.press(".opblock-summary-control").await;
        operation.part(".opblock-body").await;
        operation
    }

    /// Enters a token in the dialog of the Authorize button. It asks once.
    pub(crate) async fn authorize(&self, token: &str) {
        self.press(".scheme-container button.authorize").await;
        self.browser.shown(".modal-ux input").await;
        let inputs = self.browser.find_all(By::Css(".modal-ux input")).await.unwrap();
        let [input] = &inputs[..] else { panic!("the dialog asks {} times", inputs.len()) };
        self.browser.screenshot("3-authorize-asks").await;
        input.send_keys(token).await.unwrap();
        self.press(".modal-ux button.authorize").await;
        self.browser
            .until("the token is taken", async || {
                let heads = self.browser.find_all(By::Css(".modal-ux h6")).await?;
                let Some(head) = heads.first() else { return Ok(None) };
                Ok((head.text().await? == "Authorized").then_some(()))
            })
            .await;
        self.browser.screenshot("4-authorize-done").await;
        self.press(".modal-ux button.btn-done").await;
        self.browser.gone(".modal-ux").await;
    }

    /// The operations with a lock: their ids, and whether it is locked, that is, whether a token is sent.
    pub(crate) async fn locks(&self) -> Vec<(String, bool)> {
        let script = "return [...document.querySelectorAll('.opblock-summary .authorization__btn')].map(lock => \
             [lock.closest('.opblock').id, lock.getAttribute('aria-label') === 'authorization button locked'])";
        serde_json::from_value(self.browser.evaluate(script, vec![]).await).unwrap()
    }

    async fn press(&self, css: &str) {
        self.browser.shown(css).await.click().await.unwrap();
    }
}

impl Operation<'_> {
    /// A part of it, once it is shown.
    pub(crate) async fn part(&self, css: &str) -> WebElement {
        self.browser.shown(&format!("{} {css}", self.block)).await
    }

    pub(crate) async fn press(&self, css: &str) {
        let part = self.part(css).await;
        part.scroll_into_view().await.unwrap();
        part.click().await.unwrap();
    }

    /// The button of this name.
    pub(crate) async fn try_it_out(&self) {
        let button = self.part("button.try-out__btn").await;
        assert_eq!(button.text().await.unwrap(), "Try it out");
        self.press("button.try-out__btn").await;
        self.part("button.execute").await;
    }

    /// The body that is offered for editing.
    pub(crate) async fn body(&self) -> Value {
        let text = self.part("textarea.body-param__text").await.value().await.unwrap();
        serde_json::from_str(&text.unwrap()).expect("the example is JSON")
    }

    /// Selects the first `old` in the body that is offered, and types `new` over it.
    pub(crate) async fn edit(&self, old: &str, new: &str) {
        let field = self.part("textarea.body-param__text").await;
        let select = "const [field, old] = arguments; const at = field.value.indexOf(old); \
             field.focus(); field.setSelectionRange(at, at + old.length); return at";
        let at = self.browser.evaluate(select, vec![field.to_json().unwrap(), old.into()]).await;
        assert!(at.as_i64() >= Some(0), "{old} is not in {}", self.body().await);
        field.send_keys(new).await.unwrap();
        assert!(self.body().await.to_string().contains(new));
    }

    /// Presses Execute, waits for the answer that the page shows, and returns its status and its body.
    pub(crate) async fn execute(&self) -> (String, Value) {
        self.press("button.execute").await;
        let answer = ".live-responses-table .response";
        let status = self.part(&format!("{answer} .response-col_status")).await;
        let text = self.part(&format!("{answer} .response-col_description .highlight-code code")).await;
        text.scroll_into_view().await.unwrap();
        let body = serde_json::from_str(&text.text().await.unwrap()).expect("the answer is JSON");
        let status = status.text().await.unwrap();
        (status.lines().next().unwrap_or_default().to_owned(), body)
    }
}
