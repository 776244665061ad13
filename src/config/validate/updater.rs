//! How updates arrive: as `--updater` says, else as the other settings suggest.

use crate::config::choices::Updater;
use crate::config::refuse;
use crate::config::settings::Settings;

/// What was chosen.
///
/// # Errors
/// Polling was, and another setting is worth nothing then.
pub(super) fn chosen(settings: &Settings, has_channels: bool) -> crate::StartResult<Updater> {
    // Other systems call the bot, however updates arrive.
    let is_called = settings.rpc_token.is_some() || settings.http_token.is_some();
    let addresses = of_addresses(settings);
    let can_poll = [&settings.telegram_token, &settings.vk_token];
    let polled = can_poll.iter().filter(|token| token.is_some()).count();
    match settings.updater {
        Some(Updater::Webhooks) => Ok(Updater::Webhooks),
        Some(Updater::Polling) if !of_posts(settings).is_empty() => refuse(format!(
            "--updater polling is posted nothing and has one worker; leave out {} or --updater polling",
            web_side(settings).join(", ")
        )),
        Some(Updater::Polling) if !addresses.is_empty() && !is_called => refuse(format!(
            "--updater polling listens to nobody, unless TURNKEY_RPC_TOKEN or TURNKEY_HTTP_TOKEN is set; leave out {} or --updater polling",
            addresses.join(", ")
        )),
        Some(Updater::Polling) if is_posted_to(settings) => refuse(
            "Viber, Facebook and WhatsApp cannot be polled; leave out --updater polling, or their tokens",
        ),
        Some(Updater::Polling) if polled == 0 => refuse(
            "--updater polling asks Telegram or VK for updates; set TURNKEY_TELEGRAM_TOKEN or TURNKEY_VK_TOKEN",
        ),
        Some(Updater::Polling) => Ok(Updater::Polling),
        None => {
            // Each of these is worth nothing where nobody posts.
            let for_posts = [
                &settings.telegram_secret,
                &settings.vk_secret,
                &settings.vk_confirmation,
            ];
            let wants_posts = has_channels
                || !asks_only(settings)
                || for_posts.iter().any(|secret| secret.is_some());
            Ok(match polled {
                1 if !wants_posts => Updater::Polling,
                _ => Updater::Webhooks,
            })
        }
    }
}

/// Nothing that is posted to is set: polling may be what is meant.
pub(super) fn asks_only(settings: &Settings) -> bool {
    web_side(settings).is_empty() && !is_posted_to(settings)
}

/// A channel that cannot be polled.
fn is_posted_to(settings: &Settings) -> bool {
    let tokens = [
        &settings.viber_token,
        &settings.facebook_token,
        &settings.whatsapp_token,
    ];
    tokens.into_iter().any(Option::is_some)
}

/// What is set of the web side, by its flags' names.
fn web_side(settings: &Settings) -> Vec<&'static str> {
    [of_addresses(settings), of_posts(settings)].concat()
}

/// What is set of where others connect, be they platforms or other systems.
fn of_addresses(settings: &Settings) -> Vec<&'static str> {
    named([
        ("--host", settings.host.is_some()),
        ("--port", settings.port.is_some()),
        ("--listen", settings.listen.is_some()),
        ("--tls-cert", settings.tls_cert.is_some()),
        ("--tls-domain", settings.tls_domain.is_some()),
    ])
}

/// What is set of what only those who are posted to have.
fn of_posts(settings: &Settings) -> Vec<&'static str> {
    named([
        ("--public-url", settings.public_url.is_some()),
        ("--workers", settings.workers.is_some()),
        ("--fast", settings.fast == Some(true)),
        ("--single-process", settings.single_process == Some(true)),
    ])
}

/// Those flags that are set.
fn named<const N: usize>(flags: [(&'static str, bool); N]) -> Vec<&'static str> {
    let set = flags.into_iter().filter(|(_, is_set)| *is_set);
    set.map(|(flag, _)| flag).collect()
}
