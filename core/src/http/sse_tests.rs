use proptest::prelude::*;

use super::super::lines_tests::cut;
use super::*;

fn items(limit: usize, chunks: &[&[u8]]) -> Vec<Result<SseItem, FrameTooLarge>> {
    let mut parser = SseParser::new(limit);
    let mut items = Vec::new();
    for chunk in chunks {
        parser.push(Bytes::copy_from_slice(chunk));
        items.extend(parser.by_ref());
    }
    parser.finish();
    items.extend(parser);
    items
}

fn event(data: &str) -> Result<SseItem, FrameTooLarge> {
    Ok(SseItem::Event { event: None, data: Bytes::copy_from_slice(data.as_bytes()) })
}

fn named(name: &str, data: &str) -> Result<SseItem, FrameTooLarge> {
    let event = Some(Bytes::copy_from_slice(name.as_bytes()));
    Ok(SseItem::Event { event, data: Bytes::copy_from_slice(data.as_bytes()) })
}

#[test]
fn every_line_end_works_also_mixed() {
    for stream in [
        "data: a\n\ndata: b\n\n",
        "data: a\r\n\r\ndata: b\r\n\r\n",
        "data: a\r\rdata: b\r\r",
        "data: a\n\r\ndata: b\r\n\r",
    ] {
        assert_eq!(items(99, &[stream.as_bytes()]), [event("a"), event("b")], "{stream:?}");
    }
}

#[test]
fn a_line_end_cut_in_two_is_one_line_end() {
    assert_eq!(items(99, &[b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"]), [event("a\nb")]);
}

#[test]
fn a_byte_order_mark_at_the_start_is_skipped_also_when_cut() {
    assert_eq!(items(99, &[b"\xEF", b"\xBB\xBFda", b"ta: a\n\n"]), [event("a")]);
}

#[test]
fn the_one_space_behind_the_colon_is_optional() {
    assert_eq!(
        items(99, &[b"data:a\n\ndata:  b\n\ndata:\n\ndata\n\n"]),
        [event("a"), event(" b"), event(""), event("")]
    );
}

#[test]
fn data_lines_are_joined_and_names_kept_for_one_event() {
    let stream = b"event: error\ndata: a\ndata:\ndata: b\n\ndata: c\n\nevent:\ndata: d\n\n";
    assert_eq!(items(99, &[stream]), [named("error", "a\n\nb"), event("c"), event("d")]);
}

#[test]
fn other_fields_and_events_without_data_are_skipped() {
    let stream = b"id: 1\nretry: 5\nfoo\ndatas: x\nevents\n\nevent: ping\n\nevent\ndata: a\n\n";
    assert_eq!(items(99, &[stream]), [event("a")]);
}

#[test]
fn comments_are_said_and_do_not_end_an_event() {
    let stream = b": alive\n\n:\ndata: a\n: alive\ndata: b\n\n";
    assert_eq!(
        items(99, &[stream]),
        [Ok(SseItem::Comment), Ok(SseItem::Comment), Ok(SseItem::Comment), event("a\nb")]
    );
}

#[test]
fn the_end_of_the_stream_closes_the_last_event() {
    for stream in ["data: a\n\ndata: b", "data: a\n\ndata: b\n", "data: a\n\ndata: b\r"] {
        assert_eq!(items(99, &[stream.as_bytes()]), [event("a"), event("b")], "{stream:?}");
    }
    let mut unfinished = SseParser::new(99);
    unfinished.push("data: a\n".into());
    assert_eq!(unfinished.next(), None);
}

#[test]
fn the_event_above_the_bound_is_the_last_thing_said() {
    let too_large = || Err(FrameTooLarge { limit: 12 });
    assert_eq!(items(12, &[b"data: 123456\n\ndata: 1234567\n\ndata: 1\n\n"]), [event("123456"), too_large()]);
    assert_eq!(items(12, &[b"data: 1\ndata: 2\n\n"]), [too_large()]);
    assert_eq!(items(12, &[b"data: 12", b"34567"]), [too_large()]);
    assert_eq!(items(12, &[b": a long comment"]), [too_large()]);
}

#[test]
fn an_event_within_one_chunk_is_a_slice_of_it() {
    let chunk = Bytes::from("data: abc\n\n".to_owned());
    let place = chunk.as_ptr() as usize..chunk.as_ptr() as usize + chunk.len();
    let mut parser = SseParser::new(99);
    parser.push(chunk);
    let Some(Ok(SseItem::Event { data, .. })) = parser.next() else { panic!("an event") };
    assert!(place.contains(&(data.as_ptr() as usize)));
}

fn stream() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("data: ".to_owned()),
        Just("data:".to_owned()),
        Just("event: x".to_owned()),
        Just("data".to_owned()),
        Just(": ".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("ñ🙂".to_owned()),
        "[a-d:]{0,3}",
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n\n".to_owned()),
    ];
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_cut_gives_the_same_items(stream in stream(), cuts in proptest::collection::vec(0usize..160, 0..12)) {
        let bytes = stream.as_bytes();
        prop_assert_eq!(items(40, &cut(bytes, &cuts)), items(40, &[bytes]));
    }

    #[test]
    fn single_bytes_give_the_same_items(stream in stream()) {
        let bytes = stream.as_bytes();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(items(40, &single), items(40, &[bytes]));
    }
}
