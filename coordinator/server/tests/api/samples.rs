//! Metrics over the link: acknowledged when they are durable, stored once, shown to who may see them.

use loopback_protocol::control::{AgentMessage, CoordinatorMessage};
use loopback_protocol::metrics::{Frame, Schema, Series};

use crate::harness::World;
use crate::machine::{Ended, Machine};

const METRICS: &str = "/v1/organizations/acme/projects/prod/workspaces/web/hosts/web-1/metrics";

fn schema() -> AgentMessage {
    AgentMessage::MetricsSchema(Schema { id: 1, series: vec![Series::new("node_load1", &[]), Series::new("node_disk_io_now", &[("device", "sda")])] })
}

fn frame(sequence: u64, load: f64) -> AgentMessage {
    AgentMessage::MetricsFrame(Frame { schema: 1, sequence, time_ms: 1_000 * sequence, values: vec![load, f64::NAN] })
}

#[tokio::test]
async fn samples_are_acknowledged_once_they_are_durable_and_stored_once() {
    let world = World::start().await;
    let machine = Machine::joined(&world, "web-1").await;
    let mut link = machine.link().await;
    link.policy().await;
    // While somebody else holds the file nothing becomes durable; the link goes on, and says nothing of the samples.
    let observed = world.observed().await;
    let lock = observed.begin_with("BEGIN IMMEDIATE").await.unwrap();
    link.say(&schema()).await;
    link.say(&frame(1, 0.5)).await;
    for _ in 0..3 {
        link.check_works().await;
    }
    lock.rollback().await.unwrap();
    assert_eq!(link.hear().await, CoordinatorMessage::MetricsAcknowledged(1));
    let latest = world.get(METRICS).await.expect(200).json();
    assert_eq!(latest["samples"], serde_json::json!([{ "name": "node_load1", "labels": {}, "value": 0.5 }]));

    // An agent that did not hear the acknowledgement sends it again, also over a new link.
    link.say(&frame(1, 0.5)).await;
    assert_eq!(link.hear().await, CoordinatorMessage::MetricsAcknowledged(1));
    let mut link = machine.link().await;
    link.say(&schema()).await;
    for sequence in [1, 2] {
        link.say(&frame(sequence, 0.5)).await;
        assert_eq!(link.answer().await, CoordinatorMessage::MetricsAcknowledged(sequence));
    }
    let stored: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM metric_frame").fetch_one(&observed).await.unwrap();
    assert_eq!(stored, 2);
    world.end().await;
}

#[tokio::test]
async fn samples_nobody_named_or_that_do_not_fit_their_names_end_the_link_and_are_not_kept() {
    let world = World::start().await;
    let machine = Machine::joined(&world, "web-1").await;
    let short = Frame { schema: 1, sequence: 1, time_ms: 1, values: vec![1.0] };
    for bad in [AgentMessage::MetricsFrame(Frame { schema: 2, ..short.clone() }), AgentMessage::MetricsFrame(short)] {
        let mut link = machine.link().await;
        link.say(&schema()).await;
        link.say(&bad).await;
        assert_eq!(link.ended().await, Ended::Closed(1), "{bad:?}");
    }
    let stored: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM metric_frame").fetch_one(&world.observed().await).await.unwrap();
    assert_eq!(stored, 0);
    world.end().await;
}

#[tokio::test]
async fn samples_from_a_clock_far_ahead_are_not_kept_for_ever() {
    let world = World::start().await;
    let machine = Machine::joined(&world, "web-1").await;
    let mut link = machine.link().await;
    let now_ms = loopback_coordinator::clock::now_ms();
    link.say(&schema()).await;
    for (sequence, time_ms) in [(1, u64::MAX), (2, now_ms + 25 * 3_600_000), (3, now_ms + 14 * 3_600_000)] {
        link.say(&AgentMessage::MetricsFrame(Frame { schema: 1, sequence, time_ms, values: vec![0.5, 0.5] })).await;
        // Or the agent would send them for ever.
        assert_eq!(link.answer().await, CoordinatorMessage::MetricsAcknowledged(sequence));
    }
    let stored: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM metric_frame").fetch_one(&world.observed().await).await.unwrap();
    assert_eq!(stored, 1);
    world.end().await;
}
