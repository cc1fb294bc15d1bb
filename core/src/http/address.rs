//! Which addresses are on the public internet.
//!
//! A URL that a backend's answer names is fetched from public addresses only. Otherwise a backend could make ayni read from
//! the private network that it runs in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Whether a URL leads to a host of the public internet by http or https. Names are not resolved; those that mean something in
/// a private network only are not public.
pub(crate) fn is_public_url(url: &Url) -> bool {
    const PRIVATE_ENDINGS: [&str; 6] =
        [".localhost", ".local", ".internal", ".lan", ".home.arpa", ".localdomain"];
    let public_host = match url.host() {
        Some(Host::Ipv4(ip)) => is_public(ip.into()),
        Some(Host::Ipv6(ip)) => is_public(ip.into()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name.contains('.') && !PRIVATE_ENDINGS.iter().any(|ending| name.ends_with(ending))
        }
        None => false,
    };
    matches!(url.scheme(), "http" | "https") && public_host
}

/// Whether `ip` is a unicast address of the public internet.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let special = match ip.octets() {
        [0 | 10 | 127, ..] | [224..=255, ..] => true,
        // Shared by carriers; benchmarks.
        [100, 64..=127, ..] | [198, 18 | 19, ..] => true,
        [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..] => true,
        // Protocol assignments, relays, documentation.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        _ => false,
    };
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        // An IPv4 address behind a translator is as public as that address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Teredo and other protocol assignments, documentation, 6to4.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Everything else that is global unicast; mapped, local and multicast addresses lie outside.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(addresses: &[&str], public: bool) {
        for address in addresses {
            assert_eq!(is_public(address.parse().expect("an address")), public, "{address}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        all(
            &[
                "1.1.1.1",
                "9.255.255.255",
                "11.0.0.1",
                "100.63.255.255",
                "100.128.0.1",
                "172.15.0.1",
                "172.32.0.1",
                "192.0.1.1",
                "198.20.0.1",
                "223.255.255.255",
                "2606:4700::1",
                "2a00:1450::1",
                "2001:4860:4860::8888",
                "64:ff9b::101:101",
            ],
            true,
        );
    }

    #[test]
    fn addresses_of_other_networks_are_not() {
        all(
            &[
                "0.0.0.0",
                "10.1.2.3",
                "100.64.0.1",
                "100.127.255.255",
                "127.0.0.1",
                "127.9.9.9",
                "169.254.169.254",
                "172.16.0.1",
                "172.31.255.255",
                "192.0.0.1",
                "192.0.2.1",
                "192.88.99.1",
                "192.168.1.1",
                "198.18.0.1",
                "198.51.100.1",
                "203.0.113.1",
                "224.0.0.1",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::1",
                "::ffff:1.1.1.1",
                "::ffff:127.0.0.1",
                "::7f00:1",
                "64:ff9b::7f00:1",
                "64:ff9b:1::1",
                "100::1",
                "2001::1",
                "2001:db8::1",
                "2002:7f00:1::",
                "3fff::1",
                "fc00::1",
                "fd12::1",
                "fe80::1",
                "fec0::1",
                "ff02::1",
            ],
            false,
        );
    }

    #[test]
    fn urls_of_private_networks_and_other_schemes_are_not_public() {
        let public = |url: &str| is_public_url(&Url::parse(url).expect(url));
        assert!(public("https://a.example/x.png") && public("http://1.1.1.1/"));
        for url in [
            "file:///etc/passwd",
            "ftp://a.example/x",
            "gopher://a.example/",
            "http://localhost:6379/",
            "http://redis:6379/",
            "http://printer.local/",
            "http://metadata.google.internal/",
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data",
        ] {
            assert!(!public(url), "{url}");
        }
    }
}
