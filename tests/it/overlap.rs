//! Polls beside each other on the same state.

use std::collections::BTreeSet;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::DEV;
use crate::new_tag::baselined;
use crate::registry::Build;

#[test]
#[ignore = "needs minutes"]
fn of_200_pairs_of_polls_each_deploys_what_is_new_once() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let by_request = format!(
        "[projects.shop.stages.hook]\ntags = \"dev-*\"\norder = \"newest\"\ndeploy = {{ url = \"{}\" }}\n",
        endpoint.url()
    );
    let shop = baselined(&gitea, &format!("{DEV}{by_request}"));
    for pair in 0..200 {
        let tag = format!("dev-{}", 100 + pair);
        let pushed = jiff::Timestamp::from_second(1_800_000_000 + 100 * pair).unwrap();
        gitea.push("acme/shop", &tag, &pushed.to_string());
        let (one, other) = (shop.start(&["poll"]), shop.start(&["poll"]));
        one.end().code(0);
        other.end().code(0);
        assert_eq!(shop.deliveries().len(), usize::try_from(pair).unwrap() + 1, "{tag}");
        assert_eq!(endpoint.requests().len(), shop.deliveries().len(), "{tag}");
        assert_eq!(shop.status("shop/dev")["deployed_tag"], tag.as_str());
        assert_eq!(shop.status("shop/hook")["deployed_tag"], tag.as_str());
    }
    let deliveries = shop.deliveries();
    let ids: BTreeSet<&str> = deliveries.iter().map(|delivery| delivery.id.as_str()).collect();
    let tags: BTreeSet<&str> = deliveries.iter().map(|delivery| delivery.tag.as_str()).collect();
    assert_eq!((ids.len(), tags.len()), (200, 200));
}
