//! The settings of each channel. A channel with secrets is served once all of them are set.

use crate::config::channels::{
    FacebookConfig, HttpConfig, TelegramConfig, ViberConfig, VkConfig, WhatsAppConfig,
};
use crate::config::choices::Updater;
use crate::config::proxies::Proxies;
use crate::config::refuse;
use crate::config::secrets::{Secret, variable};
use crate::config::settings::Values;

pub(super) fn http(values: &Values) -> HttpConfig {
    HttpConfig {
        token: values.http_token.clone(),
    }
}

/// # Errors
/// A setting for polling, without it.
pub(super) fn telegram(
    values: &Values,
    updater: Updater,
    proxies: &Proxies,
) -> crate::StartResult<TelegramConfig> {
    let polls = updater == Updater::Polling;
    if values.delete_webhook && !polls {
        return refuse(
            "--delete-webhook is for polling; give --updater polling too, or leave it out",
        );
    }
    Ok(TelegramConfig {
        token: values.telegram_token.clone(),
        secret: values.telegram_secret.clone(),
        api_url: values.telegram_api_url.clone(),
        rate: values.telegram_rate,
        polls,
        delete_webhook: values.delete_webhook,
        registers: values.public_url.is_some(),
        proxies: proxies.clone(),
    })
}

/// # Errors
/// A secret is missing.
pub(super) fn viber(values: &Values, proxies: &Proxies) -> crate::StartResult<Option<ViberConfig>> {
    let secrets = all_or_none([("viber-token", &values.viber_token)])?;
    Ok(secrets.map(|[token]| ViberConfig {
        token,
        sender: values.viber_sender.clone(),
        api_url: values.viber_api_url.clone(),
        proxies: proxies.clone(),
    }))
}

/// # Errors
/// A secret is missing.
pub(super) fn facebook(
    values: &Values,
    proxies: &Proxies,
) -> crate::StartResult<Option<FacebookConfig>> {
    let secrets = all_or_none([
        ("facebook-token", &values.facebook_token),
        ("facebook-secret", &values.facebook_secret),
        ("facebook-verify-token", &values.facebook_verify_token),
    ])?;
    Ok(secrets.map(|[token, secret, verify_token]| FacebookConfig {
        token,
        secret,
        verify_token,
        api_url: values.facebook_api_url.clone(),
        proxies: proxies.clone(),
    }))
}

/// # Errors
/// A secret is missing, or the phone number's id.
pub(super) fn whatsapp(
    values: &Values,
    proxies: &Proxies,
) -> crate::StartResult<Option<WhatsAppConfig>> {
    let secrets = all_or_none([
        ("whatsapp-token", &values.whatsapp_token),
        ("whatsapp-secret", &values.whatsapp_secret),
        ("whatsapp-verify-token", &values.whatsapp_verify_token),
    ])?;
    match (secrets, &values.whatsapp_phone_number_id) {
        (None, None) => Ok(None),
        (Some([token, secret, verify_token]), Some(number)) => Ok(Some(WhatsAppConfig {
            token,
            secret,
            verify_token,
            phone_number_id: number.clone(),
            api_url: values.whatsapp_api_url.clone(),
            proxies: proxies.clone(),
        })),
        (Some(_), None) => refuse(
            "the channel whatsapp also needs --whatsapp-phone-number-id (TURNKEY_WHATSAPP_PHONE_NUMBER_ID); docs/CHANNELS.md says where to find it",
        ),
        (None, Some(_)) => refuse(
            "the channel whatsapp also needs TURNKEY_WHATSAPP_TOKEN (whatsapp-token in the file); docs/CHANNELS.md says where to find it",
        ),
    }
}

/// `asks_only`: nothing is set that is posted to, so that polling may be what is meant.
///
/// # Errors
/// A secret is missing.
pub(super) fn vk(
    values: &Values,
    updater: Updater,
    asks_only: bool,
    proxies: &Proxies,
) -> crate::StartResult<Option<VkConfig>> {
    let secrets = match (&values.vk_token, &values.vk_secret) {
        // Nothing is posted, so nothing holds a secret.
        (Some(token), secret) if updater == Updater::Polling => {
            Some((token.clone(), secret.clone()))
        }
        (Some(_), None) if asks_only => {
            return refuse(
                "the channel vk also needs TURNKEY_VK_SECRET (vk-secret in the file) for what VK posts; docs/CHANNELS.md says where to find it. Or give --updater polling, and VK and Telegram are asked for updates",
            );
        }
        (token, secret) => all_or_none([("vk-token", token), ("vk-secret", secret)])?
            .map(|[token, secret]| (token, Some(secret))),
    };
    Ok(secrets.map(|(token, secret)| VkConfig {
        token,
        secret,
        confirmation: values.vk_confirmation.clone(),
        api_url: values.vk_api_url.clone(),
        proxies: proxies.clone(),
    }))
}

/// The secrets of a channel: it is served when all of them are there, and not when
/// none is. Some of them are a mistake.
fn all_or_none<const N: usize>(
    secrets: [(&str, &Option<Secret>); N],
) -> crate::StartResult<Option<[Secret; N]>> {
    let given = secrets.iter().filter(|(_, value)| value.is_some()).count();
    if given > 0
        && let Some((name, _)) = secrets.iter().find(|(_, value)| value.is_none())
    {
        let channel = name.split('-').next().unwrap_or(name);
        return refuse(format!(
            "the channel {channel} also needs {} ({name} in the file); docs/CHANNELS.md says where to find it",
            variable(name)
        ));
    }
    Ok((given == N).then(|| secrets.map(|(_, value)| value.clone().unwrap_or_default())))
}
