use std::time::Duration;

use super::*;

fn event(action: &str, actor: &str) -> Event {
    Event::new(EventType::Container, action, actor)
        .with("name", "web")
        .with("image", "debian:12")
        .with("team", "blue")
}

async fn collect(stream: EventStream, count: usize) -> Vec<String> {
    let taken = stream.take(count).map(|event| event.action).collect::<Vec<_>>();
    tokio::time::timeout(Duration::from_secs(5), taken)
        .await
        .expect("events in time")
}

#[tokio::test]
async fn history_and_live_events_join_without_gap_or_repeat() {
    let bus = Events::new();
    bus.publish(event("create", "a"));
    let stream = bus
        .subscribe(Some(Timestamp::UNIX_EPOCH), None, Filters::new())
        .unwrap();
    bus.publish(event("start", "a"));
    bus.publish(event("die", "a"));
    assert_eq!(collect(stream, 3).await, ["create", "start", "die"]);
}

#[tokio::test]
async fn without_since_only_what_comes() {
    let bus = Events::new();
    bus.publish(event("create", "a"));
    let stream = bus.subscribe(None, None, Filters::new()).unwrap();
    bus.publish(event("start", "a"));
    assert_eq!(collect(stream, 1).await, ["start"]);
}

#[tokio::test]
async fn until_ends_the_stream() {
    let bus = Events::new();
    bus.publish(event("create", "a"));
    let past = bus
        .subscribe(None, Some(Timestamp::now()), Filters::new())
        .unwrap();
    assert_eq!(collect(past, 10).await, ["create"]);
    let soon = Timestamp::now() + Duration::from_millis(50);
    let live = bus.subscribe(None, Some(soon), Filters::new()).unwrap();
    bus.publish(event("start", "a"));
    assert_eq!(collect(live, 10).await, ["start"]);
}

#[tokio::test]
async fn history_is_bounded() {
    let bus = Events::new();
    for number in 0..HISTORY + 10 {
        bus.publish(event(&number.to_string(), "a"));
    }
    let stream = bus
        .subscribe(
            Some(Timestamp::UNIX_EPOCH),
            Some(Timestamp::now()),
            Filters::new(),
        )
        .unwrap();
    let all = collect(stream, usize::MAX).await;
    assert_eq!(all.len(), HISTORY);
    assert_eq!(all.first().map(String::as_str), Some("10"));
}

#[test]
fn filters_select() {
    let die = event("exec_start: sh", "abcdef0123");
    let shown = |key: &str, value: &str| matches(&die, &Filters::new().with(key, value));
    assert!(shown("event", "exec_start") && !shown("event", "exec"));
    assert!(shown("container", "web") && shown("container", "abcdef0123") && !shown("container", "db"));
    assert!(shown("image", "debian") && shown("image", "debian:12") && !shown("image", "deb"));
    assert!(shown("type", "container") && !shown("type", "image") && !shown("volume", "web"));
    assert!(shown("label", "team=blue") && !shown("label", "team=red"));
}

#[test]
fn unknown_filters_and_reversed_times_are_refused() {
    let bus = Events::new();
    assert!(
        bus.subscribe(None, None, Filters::new().with("colour", "red"))
            .is_err()
    );
    let now = Timestamp::now();
    let before = now - Duration::from_secs(1);
    assert!(bus.subscribe(Some(now), Some(before), Filters::new()).is_err());
}
