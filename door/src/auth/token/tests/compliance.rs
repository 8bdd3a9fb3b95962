//! The list of the WLCG token profile's public compliance suite, and its like for SciTokens: which token opens what, where
//! the policy trusts the issuer with everything below its prefix.

use serde_json::{Value, json};

use super::*;

const POLICY: &str = r#"
[[rules]]
issuer = "https://vo.example/"
prefix = "/vo"
rights = ["read", "create", "modify", "stage"]

[[rules]]
issuer = "https://vo.example/"
group = "/vo"
prefix = "/vo"
rights = ["read", "modify"]
"#;

/// What a suite asks of a door, as operations that one request needs.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Stat(&'static str),
    Get(&'static str),
    List(&'static str),
    Put(&'static str),
    Replace(&'static str),
    Delete(&'static str),
    Mkcol(&'static str),
    Rename(&'static str, &'static str),
    Stage(&'static str),
}

impl Ask {
    fn operations(self) -> Vec<(Operation, &'static str)> {
        match self {
            Ask::Stat(path) => vec![(Operation::ReadMetadata, path)],
            Ask::Get(path) => vec![(Operation::Download, path)],
            Ask::List(path) => vec![(Operation::List, path)],
            Ask::Put(path) => vec![(Operation::Upload, path)],
            Ask::Replace(path) => vec![(Operation::Upload, path), (Operation::Overwrite, path)],
            Ask::Delete(path) => vec![(Operation::Delete, path)],
            Ask::Mkcol(path) => vec![(Operation::MakeDirectory, path)],
            Ask::Rename(from, to) => vec![(Operation::Move, from), (Operation::Move, to)],
            Ask::Stage(path) => vec![(Operation::Stage, path)],
        }
    }
}

async fn allows(profile: Profile, changes: &Value, ask: Ask) -> bool {
    let world = World::new(profile);
    let token = world.signer.es256(&claims(profile, changes.clone()));
    let Ok(verified) = world.verify(&token).await else { return false };
    let policy = Policy::parse(POLICY, std::path::Path::new("policy")).unwrap();
    let granted: Vec<Granted> = policy.grants(&verified.identity, verified.scopes.is_some());
    let (identity, scopes) = (verified.identity, verified.scopes);
    let access =
        Access::Known(Box::new(Known { identity, scopes, granted, anonymous: Anonymous::None, proof: None }));
    ask.operations()
        .into_iter()
        .all(|(operation, path)| decide(&access, operation, &NsPath::parse(path).unwrap()) == Decision::Allow)
}

#[tokio::test]
async fn the_compliance_list_of_wlcg_tokens() {
    use Ask::*;
    let scope = |scope: &str| json!({ "scope": scope });
    let audience = |aud: Value| json!({ "scope": "storage.read:/", "aud": aud });
    let (read, create, modify, stage) = (
        scope("storage.read:/foo"),
        scope("storage.create:/foo"),
        scope("storage.modify:/foo"),
        scope("storage.stage:/foo"),
    );
    let table = [
        // Audiences.
        (audience(json!("https://random.example")), Get("/vo/f"), false),
        (audience(json!(DOOR)), Get("/vo/f"), true),
        (audience(json!(DOOR.to_uppercase())), Get("/vo/f"), false),
        (audience(json!(format!("{DOOR}/"))), Get("/vo/f"), false),
        (audience(json!(["https://x.example", DOOR])), Get("/vo/f"), true),
        (audience(json!(["https://x.example", "https://y.example"])), Get("/vo/f"), false),
        (audience(json!([])), Get("/vo/f"), false),
        (audience(json!("https://wlcg.cern.ch/jwt/v1/any")), Get("/vo/f"), true),
        (audience(json!("ANY")), Get("/vo/f"), false),
        // A token that says nothing opens nothing.
        (json!({}), Get("/vo/f"), false),
        (json!({}), Put("/vo/f"), false),
        (json!({}), Stat("/vo/f"), false),
        // Groups, and that scopes go before them.
        (json!({ "wlcg.groups": ["/vo"] }), Get("/vo/f"), true),
        (json!({ "wlcg.groups": ["/vo"] }), Replace("/vo/f"), true),
        (json!({ "wlcg.groups": ["/vo2"] }), Get("/vo/f"), false),
        (json!({ "wlcg.groups": ["/vo"], "scope": "storage.read:/foo" }), Put("/vo/foo/f"), false),
        (json!({ "wlcg.groups": ["/vo"], "scope": "storage.read:/foo" }), Get("/vo/bar"), false),
        // Reading.
        (read.clone(), Get("/vo/foo/f"), true),
        (read.clone(), List("/vo/foo"), true),
        (read.clone(), Stat("/vo/foo/f"), true),
        (read.clone(), Put("/vo/foo/f"), false),
        (read.clone(), Mkcol("/vo/foo/d"), false),
        (read.clone(), Delete("/vo/foo/f"), false),
        (read.clone(), Rename("/vo/foo/f", "/vo/foo/g"), false),
        (read.clone(), Stage("/vo/foo/f"), false),
        // Creating.
        (create.clone(), Put("/vo/foo/f"), true),
        (create.clone(), Mkcol("/vo/foo/d"), true),
        (create.clone(), Stat("/vo/foo/f"), true),
        (create.clone(), Rename("/vo/foo/f", "/vo/foo/g"), true),
        (create.clone(), Rename("/vo/foo/f", "/vo/bar"), false),
        (create.clone(), Replace("/vo/foo/f"), false),
        (create.clone(), Delete("/vo/foo/f"), false),
        (create.clone(), Get("/vo/foo/f"), false),
        (create.clone(), Mkcol("/vo/foo"), true),
        (create.clone(), Mkcol("/vo"), true),
        (create.clone(), Mkcol("/vo/bar"), false),
        // Modifying.
        (modify.clone(), Put("/vo/foo/f"), true),
        (modify.clone(), Replace("/vo/foo/f"), true),
        (modify.clone(), Delete("/vo/foo/f"), true),
        (modify.clone(), Mkcol("/vo/foo/d"), true),
        (modify.clone(), Rename("/vo/foo/f", "/vo/foo/g"), true),
        (modify.clone(), Stat("/vo/foo/f"), true),
        (modify.clone(), Get("/vo/foo/f"), false),
        // Staging.
        (stage.clone(), Stage("/vo/foo/f"), true),
        (stage.clone(), Stat("/vo/foo/f"), true),
        (stage.clone(), Get("/vo/foo/f"), false),
        (scope("storage.poll:/foo"), Stat("/vo/foo/f"), true),
        (scope("storage.poll:/foo"), Get("/vo/foo/f"), false),
        // Paths: whole components, below the prefix, and nothing that is not normal.
        (read.clone(), Get("/vo/foobar/f"), false),
        (read.clone(), Get("/vo/foobar"), false),
        (read.clone(), Get("/foo/f"), false),
        (read.clone(), Get("/vo/bar"), false),
        (modify, Put("/vo/foobar"), false),
        (scope("storage.read:/foo/"), Get("/vo/foo/f"), true),
        (scope("storage.read://foo//"), Get("/vo/foo/f"), true),
        (scope("storage.read:/%66oo"), Get("/vo/foo/f"), true),
        (scope("storage.read:/foo/.."), Get("/vo/foo/f"), false),
        (scope("storage.read:/foo/../bar"), Get("/vo/bar/f"), false),
        (scope("storage.read:/../"), Get("/f"), false),
        (scope("storage.read"), Get("/vo/f"), false),
        (scope("storage.read:"), Get("/vo/f"), false),
        (scope("storage.read:foo"), Get("/vo/foo/f"), false),
        (scope("STORAGE.READ:/"), Get("/vo/f"), false),
        // Scopes add up, each for itself.
        (scope("storage.read:/foo storage.create:/bar"), Get("/vo/foo/f"), true),
        (scope("storage.read:/foo storage.create:/bar"), Put("/vo/bar/f"), true),
        (scope("storage.read:/foo storage.create:/bar"), Put("/vo/foo/f"), false),
        (scope("storage.read:/foo storage.create:/bar"), Get("/vo/bar/f"), false),
        // Words of another profile mean nothing.
        (scope("read:/foo"), Get("/vo/foo/f"), false),
    ];
    for (changes, ask, expected) in table {
        assert_eq!(allows(Profile::Wlcg, &changes, ask).await, expected, "{changes} {ask:?}");
    }
}

#[tokio::test]
async fn the_same_for_scitokens() {
    use Ask::*;
    let scope = |scope: &str| json!({ "scope": scope });
    let table = [
        (scope("read:/foo"), Get("/vo/foo/f"), true),
        (scope("read:/foo"), Stat("/vo/foo/f"), true),
        (scope("read:/foo"), Put("/vo/foo/f"), false),
        (scope("read:/foo"), Get("/vo/foobar"), false),
        (scope("write:/foo"), Put("/vo/foo/f"), true),
        (scope("write:/foo"), Replace("/vo/foo/f"), true),
        (scope("write:/foo"), Delete("/vo/foo/f"), true),
        (scope("write:/foo"), Get("/vo/foo/f"), false),
        (scope("read:/ write:/foo"), Get("/vo/bar"), true),
        (scope("storage.read:/foo"), Get("/vo/foo/f"), false),
        (scope("read"), Get("/vo/foo/f"), false),
        (json!({ "scope": "read:/", "aud": "ANY" }), Get("/vo/f"), true),
        (json!({ "scope": "read:/", "aud": "any" }), Get("/vo/f"), false),
        (json!({ "scope": "read:/", "aud": "https://wlcg.cern.ch/jwt/v1/any" }), Get("/vo/f"), false),
        (json!({ "scope": "read:/", "aud": null }), Get("/vo/f"), false),
        (json!({ "scope": "read:/", "ver": "scitoken:1.0" }), Get("/vo/f"), false),
        (json!({ "scope": null, "groups": ["/vo"] }), Get("/vo/f"), false),
    ];
    for (changes, ask, expected) in table {
        assert_eq!(allows(Profile::Scitokens, &changes, ask).await, expected, "{changes} {ask:?}");
    }
}

#[tokio::test]
async fn an_openid_provider_tells_groups() {
    use Ask::*;
    for claim in ["groups", "entitlements", "eduperson_entitlement"] {
        assert!(allows(Profile::Oidc, &json!({ claim: ["/vo"] }), Get("/vo/f")).await, "{claim}");
        assert!(!allows(Profile::Oidc, &json!({ claim: ["/other"] }), Get("/vo/f")).await, "{claim}");
    }
    assert!(!allows(Profile::Oidc, &json!({ "wlcg.groups": ["/vo"] }), Get("/vo/f")).await);
    let scoped = json!({ "scope": "storage.read:/foo", "groups": ["/vo"] });
    assert!(allows(Profile::Oidc, &scoped, Get("/vo/foo/f")).await);
    assert!(!allows(Profile::Oidc, &scoped, Put("/vo/foo/f")).await);
}
