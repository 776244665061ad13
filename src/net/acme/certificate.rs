//! Certificate requests, and what is known of a certificate.
//!
//! Used by `order.rs` and `mod.rs`. The file of a certificate begins with a line of text, which
//! PEM allows, that says which ACME server it comes from: so the change from a staging server
//! to the real one is noticed.

use std::time::{Duration, SystemTime};

use instant_acme::CertificateIdentifier;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, Der, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectAltName};

use super::failure::Failure;

/// Before the address of the ACME server, in the first line of the file.
const FROM: &str = "Certificate and key from ";

/// A certificate that is there.
#[derive(Debug, PartialEq)]
pub(super) struct Held {
    /// The directory of the ACME server that gave it.
    pub(super) from: String,
    names: Vec<String>,
    /// The key identifier of its issuer, and its number as DER has it.
    id: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Held {
    /// Reads what [`file`] has made.
    ///
    /// # Errors
    /// It is no such file, or certificate and key do not belong together.
    pub(super) fn parse(pem: &str) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::new(format!("a certificate is wrong: {what}"));
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| wrong(e.to_string()))?;
        let key =
            PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| wrong(e.to_string()))?;
        let Some(own) = chain.first() else {
            return Err(wrong("there is none".to_owned()));
        };
        let own = Certificate::from_der(own).map_err(|e| wrong(e.to_string()))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|e| wrong(e.to_string()))?;
        let own = own.tbs_certificate;
        let names = own
            .get::<SubjectAltName>()
            .map_err(|e| wrong(e.to_string()))?;
        let names = names.into_iter().flat_map(|(_, names)| names.0);
        let issuer = own.get::<AuthorityKeyIdentifier>().unwrap_or_default();
        let issuer = issuer.and_then(|(_, issuer)| issuer.key_identifier);
        let number = own.serial_number.to_der();
        let number = number.map_err(|e| wrong(e.to_string()))?;
        let from = pem.lines().next().and_then(|line| line.strip_prefix(FROM));
        Ok(Held {
            from: from.unwrap_or_default().to_owned(),
            names: names
                .filter_map(|name| match name {
                    GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
                    _ => None,
                })
                .collect(),
            // Without tag and length: a number has 20 bytes at most (RFC 5280, 4.1.2.2).
            id: issuer.map(|issuer| (issuer.into_bytes(), number[2..].to_vec())),
            not_before: own.validity.not_before.to_system_time(),
            not_after: own.validity.not_after.to_system_time(),
        })
    }

    /// What the server calls it (RFC 9773, 4.1); none without a key identifier.
    pub(super) fn id(&self) -> Option<CertificateIdentifier<'static>> {
        let (issuer, number) = self.id.as_ref()?;
        let (issuer, number) = (Der::from_slice(issuer), Der::from_slice(number));
        Some(CertificateIdentifier::new(issuer, number))
    }

    /// Whether it is for all these names.
    pub(super) fn is_for(&self, domains: &[String]) -> bool {
        domains.iter().all(|domain| self.names.contains(domain))
    }

    /// From when to when it says that it is valid.
    pub(super) fn lifetime(&self) -> Duration {
        let lifetime = self.not_after.duration_since(self.not_before);
        lifetime.unwrap_or(Duration::ZERO)
    }

    /// When a third of its life is left.
    pub(super) fn due(&self) -> SystemTime {
        self.not_before + self.lifetime() / 3 * 2
    }
}

/// The file of a certificate.
pub(super) fn file(server: &str, chain: &str, key: &KeyPair) -> String {
    let (chain, key) = (chain.trim_end(), key.serialize_pem());
    format!("{FROM}{server}\n{chain}\n{key}")
}

/// A new key, ECDSA on P-256.
///
/// # Errors
/// The system has no randomness.
pub(super) fn new_key() -> Result<KeyPair, Failure> {
    KeyPair::generate().map_err(|e| Failure::new(format!("cannot make a key: {e}")))
}

/// A request for a certificate (RFC 2986), DER.
///
/// # Errors
/// A name is none.
pub(super) fn request(domains: &[String], key: &KeyPair) -> Result<Vec<u8>, Failure> {
    let request = params(domains).and_then(|params| params.serialize_request(key));
    let request = request.map_err(|e| Failure::new(format!("cannot ask for {domains:?}: {e}")))?;
    Ok(request.der().to_vec())
}

/// What a check of a name is answered with (RFC 8737, 3): a certificate that holds the
/// digest of the key authorization, and its key; PEM.
///
/// # Errors
/// It is no name, or no SHA-256.
pub(super) fn challenge(domain: &str, digest: &[u8]) -> Result<String, Failure> {
    if digest.len() != 32 {
        return Err(Failure::new("a digest that is no SHA-256"));
    }
    let key = new_key()?;
    let made = params(&[domain.to_owned()]).and_then(|mut params| {
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        params.self_signed(&key)
    });
    let made = made.map_err(|e| Failure::new(format!("cannot prove {domain}: {e}")))?;
    Ok(format!("{}{}", made.pem(), key.serialize_pem()))
}

fn params(domains: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(domains)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_what_it_holds() {
        let names = ["bot.example.org".to_owned(), "b.example.org".to_owned()];
        let key = new_key().unwrap();
        let mut params = params(&names).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let chain = params.self_signed(&key).unwrap().pem();
        let text = file("https://acme.example/directory", &chain, &key);
        let held = Held::parse(&text).unwrap();
        assert_eq!(held.from, "https://acme.example/directory");
        assert!(held.is_for(&names) && held.is_for(&names[1..]));
        assert!(!held.is_for(&["c.example.org".to_owned()]));
        assert_eq!(held.lifetime(), Duration::from_secs(90 * 86_400));
        let left = held.not_after.duration_since(held.due()).unwrap();
        assert_eq!(left, Duration::from_secs(30 * 86_400));
        // A key that belongs to another certificate.
        let other = file("", &chain, &new_key().unwrap());
        assert!(Held::parse(&other).is_err());
        assert!(Held::parse(&chain).is_err() && Held::parse("").is_err());
    }

    /// The example of RFC 9773, 4.1.
    #[test]
    fn a_certificate_is_named_as_the_server_does() {
        let issuer_key = new_key().unwrap();
        let mut issuer = CertificateParams::default();
        issuer.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![
            0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0,
            0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4,
        ]);
        let issuer = rcgen::Issuer::new(issuer, issuer_key);
        let key = new_key().unwrap();
        let mut params = params(&["bot.example.org".to_owned()]).unwrap();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x87, 0x65, 0x43, 0x21]));
        params.use_authority_key_identifier_extension = true;
        let chain = params.signed_by(&key, &issuer).unwrap().pem();
        let held = Held::parse(&file("", &chain, &key)).unwrap();
        let id = held.id().unwrap().to_string();
        assert_eq!(id, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    }
}
