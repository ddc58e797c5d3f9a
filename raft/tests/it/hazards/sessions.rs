//! Hazards of sessions; the harness is that of `sessions/nodes.rs`.

#[tokio::test(flavor = "multi_thread")]
async fn h40_sessions_expire_by_group_time_alike_on_every_replica() {
    crate::sessions::nodes::sessions_expire_by_group_time().await;
}
