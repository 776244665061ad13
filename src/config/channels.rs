//! What each channel needs to know.
//!
//! Made by `validate/channels.rs`; read by `channels/`.

use super::proxies::Proxies;
use super::secrets::Secret;

/// The `http` channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpConfig {
    /// The bearer token that requests must carry.
    pub(crate) token: Option<Secret>,
}

/// The `telegram` channel.
#[derive(Clone, Debug)]
pub(crate) struct TelegramConfig {
    /// The bot's token.
    pub(crate) token: Option<Secret>,
    /// The secret of its webhook.
    pub(crate) secret: Option<Secret>,
    /// The Bot API server.
    pub(crate) api_url: String,
    /// Messages a second.
    pub(crate) rate: u32,
    /// Updates are polled for.
    pub(crate) polls: bool,
    /// Before that, the webhook is deleted.
    pub(crate) delete_webhook: bool,
    /// The webhook is registered by us.
    pub(crate) registers: bool,
    /// What it is called through.
    pub(crate) proxies: Proxies,
}

/// The `viber` channel.
#[derive(Clone, Debug)]
pub(crate) struct ViberConfig {
    /// The bot's token, which also signs what comes in.
    pub(crate) token: Secret,
    /// The name that messages are from.
    pub(crate) sender: String,
    /// The bot API.
    pub(crate) api_url: String,
    /// What it is called through.
    pub(crate) proxies: Proxies,
}

/// The `facebook` channel.
#[derive(Clone, Debug)]
pub(crate) struct FacebookConfig {
    /// The page's access token.
    pub(crate) token: Secret,
    /// The app's secret, which signs what comes in.
    pub(crate) secret: Secret,
    /// What Facebook shows when it tries out the webhook's address.
    pub(crate) verify_token: Secret,
    /// The Graph API, with its version.
    pub(crate) api_url: String,
    /// What it is called through.
    pub(crate) proxies: Proxies,
}

/// The `whatsapp` channel.
#[derive(Clone, Debug)]
pub(crate) struct WhatsAppConfig {
    /// The access token of a system user of the business.
    pub(crate) token: Secret,
    /// The app's secret, which signs what comes in.
    pub(crate) secret: Secret,
    /// What Meta shows when it tries out the webhook's address.
    pub(crate) verify_token: Secret,
    /// The id of the phone number that the bot speaks as; not the number itself.
    pub(crate) phone_number_id: String,
    /// The Graph API, with its version.
    pub(crate) api_url: String,
    /// What it is called through.
    pub(crate) proxies: Proxies,
}

/// The `vk` channel.
#[derive(Clone, Debug)]
pub(crate) struct VkConfig {
    /// The community's access token.
    pub(crate) token: Secret,
    /// The secret key that is in all that is posted; none when updates are polled for.
    pub(crate) secret: Option<Secret>,
    /// The string that confirms the webhook's address; needed for that only.
    pub(crate) confirmation: Option<Secret>,
    /// The API.
    pub(crate) api_url: String,
    /// What it is called through.
    pub(crate) proxies: Proxies,
}
