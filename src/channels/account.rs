//! Which page or community the bot's token belongs to. Events of others may be posted to the
//! same address (one app serves several pages, one secret may be set twice); replies to them
//! would go out with the wrong token.
//!
//! Called by `updaters/account.rs`, which puts the answer where all workers see it
//! (`pacing.rs`). Telegram and Viber need no such question: there the token is the bot's own.

use hyper::Uri;
use serde::Deserialize;

use super::client::Client;
use super::lenient::Number;
use super::poll::Asked;
use super::signature::sign;
use super::{SendError, method_address};
use crate::config::FacebookConfig;

/// A platform that can be asked.
pub(crate) trait Account {
    /// Its channel.
    fn channel(&self) -> &'static str;

    /// Its name, for people.
    fn platform(&self) -> &'static str;

    /// The page's or community's id.
    fn id(&self) -> Asked<'_, u64>;
}

/// What every call of the Graph API carries: the token, and the proof that apps may
/// require.
pub(super) fn credentials(config: &FacebookConfig) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("access_token", &config.token)
        // Asked for by apps that require it, welcome to all others.
        .append_pair(
            "appsecret_proof",
            &sign(&config.secret, config.token.as_bytes()),
        )
        .finish()
}

/// Facebook's page.
pub(super) struct Page {
    me: Uri,
    client: Client,
}

#[derive(Deserialize)]
struct Me {
    id: Number,
}

impl Page {
    pub(super) fn new(config: &FacebookConfig) -> crate::StartResult<Self> {
        let base = config.api_url.trim_end_matches('/');
        let address = format!("{base}/me?fields=id&{}", credentials(config));
        Ok(Page {
            me: method_address(&address, "--facebook-api-url")?,
            client: Client::new(&config.proxies)?,
        })
    }
}

impl Account for Page {
    fn channel(&self) -> &'static str {
        "facebook"
    }

    fn platform(&self) -> &'static str {
        "Facebook"
    }

    fn id(&self) -> Asked<'_, u64> {
        Box::pin(async move {
            let response = self
                .client
                .get(self.me.clone(), std::time::Duration::ZERO)
                .await?;
            // Its words about an error may quote the token.
            let Me { id } = response.json()?;
            u64::try_from(id.0).map_err(|_| SendError::retry("an id that is none").into())
        })
    }
}
