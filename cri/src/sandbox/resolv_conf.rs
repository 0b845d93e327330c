//! The Pod's resolv.conf, resolv.conf(5). Pure.

use crate::api;
use crate::spec::Invalid;

/// Refuses words that would become other words, or other lines.
pub fn check(dns: &api::DnsConfig) -> Result<(), Invalid> {
    let lists = [("servers", &dns.servers), ("searches", &dns.searches), ("options", &dns.options)];
    for (field, list) in lists {
        for (index, word) in list.iter().enumerate() {
            if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(Invalid {
                    field: format!("dns_config.{field}[{index}]"),
                    reason: format!("{word:?} is empty, or has spaces in it"),
                });
            }
        }
    }
    Ok(())
}

/// The file's text; None where the configuration says nothing, and the host's own file counts.
pub fn text(dns: Option<&api::DnsConfig>) -> Option<String> {
    let dns = dns?;
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text += &format!("search {}\n", dns.searches.join(" "));
    }
    for server in &dns.servers {
        text += &format!("nameserver {server}\n");
    }
    if !dns.options.is_empty() {
        text += &format!("options {}\n", dns.options.join(" "));
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(servers: &[&str], searches: &[&str], options: &[&str]) -> api::DnsConfig {
        let owned = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        api::DnsConfig { servers: owned(servers), searches: owned(searches), options: owned(options) }
    }

    #[test]
    fn each_server_has_a_line_and_the_rest_one_each() {
        let dns = dns(&["10.0.0.10", "fd00::a"], &["svc.local", "local"], &["ndots:5", "edns0"]);
        let said =
            "search svc.local local\nnameserver 10.0.0.10\nnameserver fd00::a\noptions ndots:5 edns0\n";
        assert_eq!(text(Some(&dns)).as_deref(), Some(said));
    }

    #[test]
    fn without_a_word_the_hosts_file_counts() {
        assert_eq!(text(None), None);
        assert_eq!(text(Some(&dns(&[], &[], &[]))), None);
    }

    #[test]
    fn words_cannot_make_lines() {
        check(&dns(&["10.0.0.10"], &["local"], &["ndots:5"])).unwrap();
        for wrong in [dns(&["a\nb"], &[], &[]), dns(&[], &["a b"], &[]), dns(&[], &[], &[""])] {
            assert!(check(&wrong).unwrap_err().to_string().starts_with("dns_config."));
        }
    }
}
