//! Checks the secrets and signatures of requests.
//!
//! Called by the channels' `verify`. Invariant: every comparison takes constant time, so its
//! duration tells an attacker nothing.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Whether a secret is the expected one, compared in constant time.
///
/// ```
/// assert!(turnkey::same_secret(b"open", b"open"));
/// assert!(!turnkey::same_secret(b"", b"open"));
/// ```
pub fn same_secret(given: &[u8], expected: &[u8]) -> bool {
    given.ct_eq(expected).into()
}

/// Whether `hex` is the HMAC-SHA256 of these bytes, in hex of either case; compared in
/// constant time.
///
/// ```
/// let hex = b"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
/// assert!(turnkey::is_signed("Jefe", b"what do ya want for nothing?", hex));
/// ```
pub fn is_signed(key: &str, bytes: &[u8], hex: &[u8]) -> bool {
    let (Ok(signature), Some(mac)) = (hex::decode(hex), mac(key, bytes)) else {
        return false;
    };
    mac.verify_slice(&signature).is_ok()
}

/// The HMAC-SHA256 of these bytes, in hex.
pub(super) fn sign(key: &str, bytes: &[u8]) -> String {
    let mac = mac(key, bytes).map(|mac| mac.finalize().into_bytes());
    hex::encode(mac.unwrap_or_default())
}

/// None never happens: HMAC takes keys of any length.
fn mac(key: &str, bytes: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
    mac.update(bytes);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_signature_of_the_standard() {
        let (key, bytes) = ("Jefe", b"what do ya want for nothing?");
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(sign(key, bytes), hex);
        assert!(is_signed(key, bytes, hex.as_bytes()));
        assert!(is_signed(key, bytes, hex.to_uppercase().as_bytes()));
        for wrong in [
            "",
            "5b",
            &hex[..62],
            &format!("{hex}00"),
            &hex.replace('5', "6"),
            "zz",
        ] {
            assert!(!is_signed(key, bytes, wrong.as_bytes()), "{wrong}");
        }
        assert!(!is_signed("jefe", bytes, hex.as_bytes()));
        assert!(!is_signed(
            key,
            b"what do ya want for nothing",
            hex.as_bytes()
        ));
    }
}
