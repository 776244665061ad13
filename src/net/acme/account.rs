//! The account at the ACME server: made once, kept in `account.json`.
//!
//! Used by `order.rs` and `renewal.rs`. Invariant: an account is used only at the server that
//! made it; after a change of server a new account is made, which costs nothing.

use instant_acme::{Account, AccountCredentials, NewAccount};
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::failure::Failure;
use super::store::Store;
use crate::config::AcmeConfig;

const FILE: &str = "account.json";

/// The file of the account.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// The server that it is an account of.
    server: String,
    contact: Option<String>,
    /// The library's own form: address and key.
    credentials: serde_json::Value,
}

/// Where accounts are.
pub(super) struct Accounts<'a> {
    pub(super) config: &'a AcmeConfig,
    pub(super) store: &'a Store,
    pub(super) client: &'a Client,
}

impl Accounts<'_> {
    /// The account of an earlier time, at this server. A file that makes no sense is
    /// none: another account is as good.
    ///
    /// # Errors
    /// The server is not reached, or does not take a new contact.
    pub(super) async fn open(&self) -> Result<Option<Account>, Failure> {
        let text = self.store.get(FILE)?;
        let saved = text.and_then(|text| serde_json::from_str::<Saved>(&text).ok());
        let Some(mut saved) = saved.filter(|saved| saved.server == self.config.url) else {
            return Ok(None);
        };
        let Ok(credentials) = serde_json::from_value(saved.credentials.clone()) else {
            return Ok(None);
        };
        let builder = Account::builder_with_http(Box::new(self.client.clone()));
        let opened = builder.from_credentials(credentials).await;
        let account = opened.map_err(|e| self.failure(e))?;
        if saved.contact != self.config.contact {
            let contact = self.contact();
            let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
            let updated = account.update_contacts(&contact).await;
            updated.map_err(|e| self.failure(e))?;
            saved.contact.clone_from(&self.config.contact);
            self.save(&saved).await?;
        }
        Ok(Some(account))
    }

    /// Another account, in the place of any before.
    ///
    /// # Errors
    /// The server refuses, or is not reached.
    pub(super) async fn create(&self) -> Result<Account, Failure> {
        let contact = self.contact();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            // That is what the flag says.
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let builder = Account::builder_with_http(Box::new(self.client.clone()));
        let created = builder.create(&new, self.config.url.clone(), None).await;
        let (account, credentials): (Account, AccountCredentials) =
            created.map_err(|e| self.failure(e))?;
        let credentials =
            serde_json::to_value(&credentials).map_err(|e| Failure::new(e.to_string()))?;
        self.save(&Saved {
            server: self.config.url.clone(),
            contact: self.config.contact.clone(),
            credentials,
        })
        .await?;
        Ok(account)
    }

    async fn save(&self, account: &Saved) -> Result<(), Failure> {
        let text = serde_json::to_string(account).map_err(|e| Failure::new(e.to_string()))?;
        self.store.put(FILE, text).await
    }

    fn contact(&self) -> Option<String> {
        let contact = self.config.contact.as_ref()?;
        let mail = contact.strip_prefix("mailto:").unwrap_or(contact);
        Some(format!("mailto:{mail}"))
    }

    fn failure(&self, error: instant_acme::Error) -> Failure {
        Failure::of(error, &self.config.url)
    }
}
