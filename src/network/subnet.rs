//! Subnets: arithmetic of addresses, no effects.

use std::net::{IpAddr, Ipv6Addr};

/// More addresses than anybody leases; an IPv6 subnet has more.
const ENOUGH: u128 = 1 << 32;

/// A port's worth.
const LOOPBACKS: u128 = 1 << 16;

/// ADDRESS/PREFIX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    /// The first address, that of the network.
    network: IpAddr,
    /// Bits.
    pub prefix: u8,
    /// The network and its mask as packets have them, in the first 4 or 16 bytes.
    network_bytes: [u8; 16],
    mask_bytes: [u8; 16],
}

impl Subnet {
    /// From `10.88.0.0/20`; any address of the subnet will do. Err says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = text.split_once('/').ok_or("it must be ADDRESS/PREFIX")?;
        let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is no address"))?;
        let prefix: u8 = prefix.parse().map_err(|_| format!("{prefix:?} is no number of bits"))?;
        let longest = bits(address) - 2;
        if !(1..=longest).contains(&prefix) {
            return Err(format!("a prefix is from 1 to {longest}, so that a container has room"));
        }
        let mask = u128::MAX << (bits(address) - prefix);
        let network = from(address, number(address) & mask);
        let (network_bytes, mask_bytes) = (packed(network), packed(from(address, mask)));
        Ok(Self { network, prefix, network_bytes, mask_bytes })
    }

    /// The bridge's own.
    pub fn first(&self) -> IpAddr {
        self.nth(1)
    }

    /// The address that is so many behind the network's own.
    pub fn nth(&self, n: u128) -> IpAddr {
        from(self.network, number(self.network).saturating_add(n))
    }

    /// The numbers of addresses for containers: 2 up to this one, for [`Self::nth`]. An IPv4 subnet's last address is its broadcast address.
    pub fn last(&self) -> u128 {
        let hosts = bits(self.network) - self.prefix;
        let all = 1u128.checked_shl(hosts.into()).unwrap_or(u128::MAX);
        let kept = match self.loopbacks() {
            Some(_) => LOOPBACKS,
            None => u128::from(self.network.is_ipv4()),
        };
        (all - 1 - kept).min(ENOUGH)
    }

    /// The last addresses of an IPv6 subnet: this host's ::1 as containers see it, one for each port, and the number of their common bits.
    /// None: a subnet too small to have them.
    pub fn loopbacks(&self) -> Option<(Ipv6Addr, u8)> {
        let IpAddr::V6(network) = self.network else { return None };
        let hosts = u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        (self.prefix <= 108).then(|| ((network.to_bits() | hosts & !(LOOPBACKS - 1)).into(), 112))
    }

    /// Which of its addresses is it?
    pub fn position(&self, address: IpAddr) -> Option<u128> {
        let n = number(address).checked_sub(number(self.network))?;
        (address.is_ipv4() == self.network.is_ipv4() && n <= self.last()).then_some(n)
    }

    /// The network's address and its mask, in the network's byte order.
    pub fn bytes(&self) -> (&[u8], &[u8]) {
        let length = usize::from(bits(self.network) / 8);
        (
            self.network_bytes.get(..length).unwrap_or_default(),
            self.mask_bytes.get(..length).unwrap_or_default(),
        )
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn packed(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// An address of the family of `like`.
fn from(like: IpAddr, number: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4((number as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(number.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_is_counted_from_its_network() {
        let subnet = Subnet::parse("10.88.3.7/20").unwrap();
        assert_eq!(subnet.to_string(), "10.88.0.0/20");
        assert_eq!((subnet.first(), subnet.nth(subnet.last())), (ip("10.88.0.1"), ip("10.88.15.254")));
        assert_eq!(subnet.position(ip("10.88.1.0")), Some(256));
        assert_eq!(subnet.bytes(), ([10, 88, 0, 0].as_slice(), [255, 255, 240, 0].as_slice()));
        for other in ["10.88.16.0", "10.87.255.255", "10.88.15.255", "::a58:0"] {
            assert_eq!(subnet.position(ip(other)), None, "{other}");
        }
        let small = Subnet::parse("192.0.2.4/30").unwrap();
        assert_eq!((small.nth(2), small.last()), (ip("192.0.2.6"), 2));
    }

    #[test]
    fn an_ipv6_subnet_has_no_broadcast_address() {
        let subnet = Subnet::parse("fd72::/64").unwrap();
        assert_eq!((subnet.first(), subnet.last()), (ip("fd72::1"), 1 << 32));
        assert_eq!(Subnet::parse("fd72::8/126").unwrap().last(), 3);
        let loopbacks = |text: &str| Subnet::parse(text).unwrap().loopbacks();
        assert_eq!(loopbacks("fd72::/64"), Some(("fd72::ffff:ffff:ffff:0".parse().unwrap(), 112)));
        assert_eq!((loopbacks("fd72::/109"), loopbacks("10.0.0.0/8")), (None, None));
        assert_eq!(Subnet::parse("fd72::/108").unwrap().last(), 0xe_ffff);
        assert_eq!(Subnet::parse("8000::/1").unwrap().first(), ip("8000::1"));
    }

    #[test]
    fn what_is_no_subnet_is_said() {
        for (text, part) in [
            ("10.88.0.0", "ADDRESS/PREFIX"),
            ("10.88.0/20", "no address"),
            ("10.88.0.0/x", "no number"),
            ("10.88.0.0/31", "1 to 30"),
            ("fd72::/127", "1 to 126"),
            ("0.0.0.0/0", "1 to 30"),
        ] {
            assert!(Subnet::parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
