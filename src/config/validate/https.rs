//! Where certificates come from: files, or an ACME server.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::config::proxies::Proxies;
use crate::config::serving::{AcmeConfig, Tls};
use crate::config::settings::{Settings, Values};
use crate::config::{Address, refuse};

/// The one that browsers trust and that costs nothing.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// One way to get a certificate, and all that it takes.
///
/// # Errors
/// Half of something, both ways at once, or HTTPS on a socket that only a proxy reaches.
pub(super) fn refuse_contradictions(settings: &Settings) -> crate::StartResult<()> {
    let of_acme = [
        ("--acme-dir", settings.acme_dir.is_some()),
        ("--acme-url", settings.acme_url.is_some()),
        ("--acme-ca", settings.acme_ca.is_some()),
        ("--acme-contact", settings.acme_contact.is_some()),
    ];
    let (cert, key) = (settings.tls_cert.is_some(), settings.tls_key.is_some());
    let by_acme = settings.tls_domain.is_some();
    if !by_acme && let Some((flag, _)) = of_acme.iter().find(|(_, is_set)| *is_set) {
        return refuse(format!("{flag} is for --tls-domain; give that too"));
    }
    let listen = settings.listen.as_deref();
    if listen.is_some_and(|address| address.starts_with("unix:")) && (cert || by_acme) {
        return refuse(
            "HTTPS is not served at --listen unix:PATH; leave it to the proxy, or listen at HOST:PORT",
        );
    }
    match (cert, key, by_acme) {
        (true, _, true) | (_, true, true) => {
            refuse("--tls-domain gets its own certificate; leave out --tls-cert and --tls-key")
        }
        (true, false, false) => refuse("--tls-cert also needs --tls-key"),
        (false, true, false) => refuse("--tls-key also needs --tls-cert"),
        _ => Ok(()),
    }
}

/// What HTTPS is served with, if it is.
///
/// # Errors
/// A name that is none, or no place for what ACME gets.
pub(super) fn certificates(
    values: &Values,
    database: Option<&Address>,
    proxies: &Proxies,
) -> crate::StartResult<Option<Tls>> {
    if let Some(domains) = &values.tls_domain {
        return Ok(Some(Tls::Acme(AcmeConfig {
            domains: names(domains)?,
            dir: directory(values, database)?,
            url: values.acme_url.clone().unwrap_or(LETS_ENCRYPT.to_owned()),
            ca: values.acme_ca.clone(),
            contact: values.acme_contact.clone(),
            proxies: proxies.clone(),
        })));
    }
    let files = values.tls_cert.clone().zip(values.tls_key.clone());
    Ok(files.map(|(cert, key)| Tls::Files { cert, key }))
}

/// Where the account and the certificate are kept.
fn directory(values: &Values, database: Option<&Address>) -> crate::StartResult<PathBuf> {
    match (&values.acme_dir, database) {
        (Some(directory), _) => Ok(directory.clone()),
        (None, Some(Address::Sqlite(path))) => {
            let mut beside = path.clone().into_os_string();
            beside.push("-acme");
            Ok(beside.into())
        }
        _ => refuse(
            "--tls-domain keeps its certificate for the next start; say where with --acme-dir",
        ),
    }
}

/// The names of a certificate. Not addresses, and no wildcards: those need DNS.
fn names(list: &str) -> crate::StartResult<Vec<String>> {
    let names = list.split(',').map(|name| name.trim().to_ascii_lowercase());
    let names: Vec<String> = names.collect();
    match names.iter().find(|name| !is_name(name)) {
        Some(name) => refuse(format!(
            "--tls-domain takes names such as bot.example.org, not {name:?}"
        )),
        None => Ok(names),
    }
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.len() <= 253 && name.parse::<IpAddr>().is_err() && name.split('.').all(is_label)
}
