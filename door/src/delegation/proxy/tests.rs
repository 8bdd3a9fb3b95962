//! What is accepted as a user's proxy, and what is not.

use rcgen::CustomExtension;

use super::super::grid::{INDEPENDENT, LIMITED, Proxied, Signer, user};
use super::*;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn now() -> Timestamp {
    // Certificates know whole seconds.
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

fn answer(signer: &Signer, how: Proxied) -> Result<Proxy, ProxyError> {
    answer_at(signer, how, now())
}

fn answer_at(signer: &Signer, how: Proxied, now: Timestamp) -> Result<Proxy, ProxyError> {
    let request = ProxyRequest::new().unwrap();
    accept(&signer.sign(&request, &how, now), &request, &signer.chain, DAY, now)
}

#[test]
fn what_a_user_has_signed_becomes_a_chain_and_its_key_without_the_authority() {
    let (alice, now) = (user("alice"), now());
    let request = ProxyRequest::new().unwrap();
    let signed = alice.sign(&request, &Proxied::default(), now);

    let proxy = accept(&signed, &request, &alice.chain, DAY, now).unwrap();

    assert_eq!(proxy.ends_at, now + SignedDuration::from_hours(12));
    let pem = std::str::from_utf8(proxy.pem.expose()).unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap();
    assert_eq!(chain.len(), 2, "the proxy and the user");
    assert_eq!(chain[1], alice.chain[0]);
    assert!(pem.ends_with("-----END PRIVATE KEY-----\n"));
}

#[test]
fn a_proxy_of_a_proxy_is_good_no_longer_than_the_first_of_its_chain() {
    let (alice, now) = (user("alice"), now());
    let hour = SignedDuration::from_hours(1);
    let short = alice.proxy(&Proxied { until: hour, ..Proxied::default() }, now);
    let proxy = answer(&short, Proxied { names: vec!["7654321"], ..Proxied::default() }).unwrap();
    assert_eq!(proxy.ends_at, now + hour);
}

#[test]
fn what_is_not_a_proxy_with_all_rights_of_who_is_here_is_refused_with_its_own_text() {
    let (alice, mallory, now) = (user("alice"), user("alice"), now());
    let request = ProxyRequest::new().unwrap();
    let good = || alice.sign(&request, &Proxied::default(), now);
    let other_key = accept(&good(), &ProxyRequest::new().unwrap(), &alice.chain, DAY, now);
    assert_eq!(other_key.unwrap_err(), ProxyError::OtherKey);
    let other_signer = accept(&good(), &request, &mallory.chain, DAY, now);
    assert_eq!(other_signer.unwrap_err(), ProxyError::OtherSigner, "the same name is not the same key");
    assert_eq!(accept(&good(), &request, &[], DAY, now).unwrap_err(), ProxyError::OtherSigner);
    for nonsense in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let refused = accept(nonsense, &request, &alice.chain, DAY, now);
        assert_eq!(refused.unwrap_err(), ProxyError::NotCertificates, "{nonsense}");
    }
    assert_eq!(accept(&good().repeat(9), &request, &alice.chain, DAY, now).unwrap_err(), ProxyError::TooLong);

    let minutes = SignedDuration::from_mins;
    let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    unknown.set_criticality(true);
    let usual = Proxied::default;
    let old = |names: Vec<&'static str>| Proxied { is_proxy: false, names, ..usual() };
    let table: [(Proxied, &str); 14] = [
        (old(vec!["1234567"]), "the certificate is no proxy"),
        (old(vec!["Proxy"]), "the certificate is no proxy"),
        (old(vec!["proxy", "proxy"]), "the certificate is no proxy"),
        (old(vec!["limited proxy"]), "is limited: "),
        (Proxied { until: DAY + minutes(6), ..old(vec!["proxy"]) }, "takes none that is good for more than"),
        (Proxied { policy: LIMITED, ..usual() }, "is limited: "),
        (Proxied { policy: INDEPENDENT, ..usual() }, "independent proxy"),
        (Proxied { names: vec![], ..usual() }, "its name is not its issuer's"),
        (Proxied { names: vec!["1", "2"], ..usual() }, "its name is not its issuer's"),
        (Proxied { until: minutes(-1), from: minutes(-9), ..usual() }, "is not good now"),
        (Proxied { from: minutes(30), ..usual() }, "is not good now"),
        (Proxied { until: DAY + minutes(6), ..usual() }, "takes none that is good for more than 24 hours"),
        (Proxied { further: Some(unknown), ..usual() }, "critical extension that is not known, 1.2.3.4"),
        (Proxied { until: minutes(0), ..usual() }, "is not good now"),
    ];
    for (how, expected) in table {
        let text = answer(&alice, how).unwrap_err().to_string();
        assert!(text.contains(expected), "{text:?} does not contain {expected:?}");
    }
}

#[test]
fn a_proxy_of_the_older_kind_is_taken_for_this_doors_key_and_below_its_own_kind_only() {
    let (alice, now) = (user("alice"), now());
    let old = || Proxied { is_proxy: false, names: vec!["proxy"], ..Proxied::default() };
    let proxy = answer_at(&alice, old(), now).unwrap();
    assert_eq!(proxy.ends_at, now + SignedDuration::from_hours(12));
    let request = ProxyRequest::new().unwrap();
    let for_another = alice.sign(&ProxyRequest::new().unwrap(), &old(), now);
    assert_eq!(accept(&for_another, &request, &alice.chain, DAY, now).unwrap_err(), ProxyError::OtherKey);
    let by_another = user("alice").sign(&request, &old(), now);
    assert_eq!(accept(&by_another, &request, &alice.chain, DAY, now).unwrap_err(), ProxyError::OtherSigner);

    let first = alice.proxy(&old(), now);
    let second = Proxied { names: vec!["proxy"], ..old() };
    assert!(answer(&first, second).is_ok(), "old below old");
    assert_eq!(answer(&first, Proxied::default()).unwrap_err(), ProxyError::MixedKinds);
    let new = alice.proxy(&Proxied::default(), now);
    assert_eq!(answer(&new, old()).unwrap_err(), ProxyError::MixedKinds);
    let limited = alice.proxy(&Proxied { names: vec!["limited proxy"], ..old() }, now);
    assert_eq!(answer(&limited, old()).unwrap_err(), ProxyError::Limited);
}

#[test]
fn who_is_limited_or_at_the_end_of_its_chain_cannot_delegate() {
    let (alice, now) = (user("alice"), now());
    let next = || Proxied { names: vec!["7654321"], ..Proxied::default() };
    let limited = alice.proxy(&Proxied { policy: LIMITED, ..Proxied::default() }, now);
    assert_eq!(answer(&limited, next()).unwrap_err(), ProxyError::Limited);
    let last = alice.proxy(&Proxied { path_length: Some(0), ..Proxied::default() }, now);
    assert_eq!(answer(&last, next()).unwrap_err(), ProxyError::TooDeep);
    let not_last = alice.proxy(&Proxied { path_length: Some(1), ..Proxied::default() }, now);
    assert!(answer(&not_last, next()).is_ok());
}

#[test]
fn no_byte_that_is_changed_makes_it_panic_or_makes_another_proxy_good() {
    let (alice, now) = (user("alice"), now());
    let request = ProxyRequest::new().unwrap();
    let signed = alice.sign(&request, &Proxied::default(), now);
    let first = CertificateDer::from_pem_slice(signed.as_bytes()).unwrap();
    for place in 0..first.len() {
        let mut changed = first.to_vec();
        changed[place] ^= 0x41;
        let mut pem = String::new();
        push_pem(&mut pem, &changed);
        assert!(accept(&pem, &request, &alice.chain, DAY, now).is_err(), "byte {place}");
    }
}
