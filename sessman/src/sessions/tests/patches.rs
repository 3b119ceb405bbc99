//! Patches that are as large as may be, and larger.

use super::*;

fn members(count: usize, value: &str) -> String {
    let members: Vec<String> = (0..count).map(|n| format!("\"{n:06}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

async fn merge(engine: &Engine, id: &SessionId, patch: &str) -> Result<Arc<Record>, Error> {
    let patch = Update::Merge(Data::parse(patch).unwrap());
    engine.sessions.update(holder(id), &patch, &Precondition::None).await
}

#[tokio::test]
async fn a_patch_larger_than_data_may_be_is_refused_and_says_that_it_is_the_patch() {
    let engine = engine(Rules { max_data_bytes: 1_000, ..Rules::default() });
    let id = engine.begin(None).await;
    // What is left of it would fit.
    let patch = members(200, "null");
    let refused = merge(&engine, &id, &patch).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("the patch has {} bytes as JSON; at most 1000 are accepted", patch.len())
    );
    let fits = members(70, "null");
    assert!(fits.len() <= 1_000 && merge(&engine, &id, &fits).await.is_ok());
    // It fits, and what comes of it does not.
    merge(&engine, &id, &members(40, "12345")).await.unwrap();
    let refused = merge(&engine, &id, &format!("{{\"text\":\"{}\"}}", "x".repeat(900))).await.unwrap_err();
    assert!(refused.to_string().starts_with("data has "), "{refused}");
}

#[tokio::test]
async fn a_large_patch_removes_and_adds_what_it_says() {
    let engine = engine(Rules::default());
    let id = engine.begin(None).await;
    let count = 16_000;
    merge(&engine, &id, &members(count, "1")).await.unwrap();
    let even: Vec<String> = (0..count).step_by(2).map(|n| format!("\"{n:06}\":null")).collect();
    let record = merge(&engine, &id, &format!("{{{},\"new\":2}}", even.join(","))).await.unwrap();
    let odd: Vec<String> = (1..count).step_by(2).map(|n| format!("\"{n:06}\":1")).collect();
    assert_eq!(record.data.as_str(), format!("{{{},\"new\":2}}", odd.join(",")));
    assert_eq!(record.version, 3);
}
