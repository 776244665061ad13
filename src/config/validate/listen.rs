//! The addresses for the world, and for operators.

use crate::config::refuse;
use crate::config::serving::{AdminConfig, Listen};
use crate::config::settings::{Settings, Values};

/// One way to say where.
///
/// # Errors
/// There are two.
pub(super) fn refuse_contradictions(settings: &Settings) -> crate::StartResult<()> {
    match settings.listen.is_some() && (settings.host.is_some() || settings.port.is_some()) {
        true => refuse("--listen says it all; leave out --host and --port"),
        false => Ok(()),
    }
}

/// The address for the world.
///
/// # Errors
/// It is none.
pub(crate) fn listen(values: &Values) -> crate::StartResult<Listen> {
    match &values.listen {
        Some(address) => Listen::parse("--listen", address),
        None => Ok(Listen::Tcp {
            host: without_brackets(&values.host).to_owned(),
            port: values.port,
        }),
    }
}

/// The address for operators.
///
/// # Errors
/// It is none, or others can reach it and there is no token, or there is only a token.
pub(super) fn admin(values: &Values) -> crate::StartResult<Option<AdminConfig>> {
    let (address, token) = match (&values.admin, &values.admin_token) {
        (None, None) => return Ok(None),
        (None, Some(_)) => {
            return refuse("TURNKEY_ADMIN_TOKEN is for --admin ADDRESS; give that too");
        }
        (Some(address), token) => (address, token.clone()),
    };
    let listen = Listen::parse("--admin", address)?;
    if token.is_none() && !listen.is_local() {
        return refuse(format!(
            "--admin {address} can be reached from elsewhere; set TURNKEY_ADMIN_TOKEN, or give 127.0.0.1:8081"
        ));
    }
    Ok(Some(AdminConfig { listen, token }))
}

/// `[::1]` is how an address with a port is written.
fn without_brackets(host: &str) -> &str {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host)
}
