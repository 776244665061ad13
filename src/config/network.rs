//! Networks, as `--trusted-proxy` names them.
//!
//! Read by `config/`, asked by `worker/address.rs`.

use std::net::IpAddr;

use crate::author::start_error::StartError;

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    /// Leading bits that count.
    bits: u8,
}

impl Network {
    /// Whether an address is in it.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let whole = |address: IpAddr| match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let ((network, width), (address, other)) = (whole(self.address), whole(address));
        let ignored = 128 - u32::from(self.bits);
        // All bits: a shift by all of them would be none.
        width == other && (network ^ address).checked_shr(ignored).unwrap_or(0) == 0
    }
}

/// Reads networks such as `127.0.0.1,10.0.0.0/8`.
///
/// # Errors
/// [`StartError::Refused`] with the one that is none.
pub(crate) fn list(list: &str) -> crate::StartResult<Vec<Network>> {
    let names = list.split(',').map(str::trim).filter(|n| !n.is_empty());
    names.map(one).collect()
}

fn one(name: &str) -> crate::StartResult<Network> {
    let (address, bits) = match name.split_once('/') {
        Some((address, bits)) => (address.parse::<IpAddr>().ok(), bits.parse::<u8>().ok()),
        None => (name.parse().ok(), Some(128)),
    };
    if let (Some(address), Some(bits)) = (address, bits) {
        let width = if address.is_ipv4() { 32 } else { 128 };
        let is_single = !name.contains('/');
        if is_single || bits <= width {
            let bits = bits.min(width);
            return Ok(Network { address, bits });
        }
    }
    Err(StartError::Refused(format!(
        "--trusted-proxy takes networks such as 127.0.0.1,10.0.0.0/8, not {name:?}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let all = list("127.0.0.1, 10.0.0.0/8,fd00::/8,0.0.0.0/0").unwrap();
        let inside = |of: usize, address: &str| all[of].contains(address.parse().unwrap());
        assert!(inside(0, "127.0.0.1") && !inside(0, "127.0.0.2"));
        assert!(inside(1, "10.255.0.1") && !inside(1, "11.0.0.0"));
        assert!(inside(2, "fd12::1") && !inside(2, "fe80::1"));
        assert!(inside(3, "1.2.3.4") && !inside(3, "::1"));
        for wrong in [
            "10.0.0.0/33",
            "localhost",
            "10.0.0/8",
            "::1/129",
            "1.2.3.4/",
        ] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }
}
