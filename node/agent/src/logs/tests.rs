//! Logs written and read back: pieces, rotation, following, limits.

use super::*;
use crate::clock::Clock;
use runtime::{Output, Stream};
use std::sync::Arc;

fn log(dir: &Path, limits: LogLimits) -> Arc<ContainerLog> {
    ContainerLog::new(dir.join("c"), 0, limits, Clock::System, OpenFiles::new(4))
}

fn read(dir: &Path, options: Options) -> String {
    let mut cursor = Cursor::open(&dir.join("c"), 0, options).unwrap();
    drain(&mut cursor)
}

fn drain(cursor: &mut Cursor) -> String {
    let mut out = Vec::new();
    while cursor.read(&mut out).unwrap() == Progress::More {}
    String::from_utf8(out).unwrap()
}

#[test]
fn lines_are_put_together_from_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), LogLimits::default());
    assert!(!dir.path().join("c").exists(), "a silent container has no files");
    log.write(Stream::Stdout, b"one\ntw");
    log.write(Stream::Stderr, b"err\n");
    log.write(Stream::Stdout, b"o\n\nrest");
    log.close();
    log.write(Stream::Stdout, b"too late\n");
    assert_eq!(read(dir.path(), Options::default()), "one\nerr\ntwo\n\nrest\n");
    assert_eq!(read(dir.path(), Options { tail: Some(2), ..Options::default() }), "\nrest\n");
    assert_eq!(read(dir.path(), Options { tail: Some(0), ..Options::default() }), "");
    assert_eq!(read(dir.path(), Options { tail: Some(99), ..Options::default() }), "one\nerr\ntwo\n\nrest\n");
    assert_eq!(read(dir.path(), Options { limit: Some(6), ..Options::default() }), "one\ner");
    let stamped = read(dir.path(), Options { timestamps: Timestamps::Show, tail: Some(1), ..Options::default() });
    assert!(stamped.ends_with("Z rest\n") && stamped.starts_with("20"), "{stamped}");
    let future = Some("2999-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(read(dir.path(), Options { since: future, ..Options::default() }), "");
}

#[test]
fn long_lines_are_cut_and_joined_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), LogLimits::default());
    let long = "x".repeat(40_000);
    log.write(Stream::Stdout, long.as_bytes());
    log.write(Stream::Stdout, b"y\n");
    let expected = format!("{long}y\n");
    assert_eq!(read(dir.path(), Options::default()), expected);
    let stamped = read(dir.path(), Options { timestamps: Timestamps::Show, ..Options::default() });
    assert_eq!(stamped.matches('Z').count(), 1);
    let raw = std::fs::read_to_string(dir.path().join("c/0.log")).unwrap();
    assert_eq!(raw.lines().count(), 3);
}

#[test]
fn rotation_bounds_the_disk_and_the_tail_crosses_files() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), LogLimits { max_bytes: 1000, max_files: 3 });
    for i in 0..200 {
        log.write(Stream::Stdout, format!("line {i}\n").as_bytes());
    }
    let files = std::fs::read_dir(dir.path().join("c")).unwrap().count();
    assert_eq!(files, 3);
    let tail = read(dir.path(), Options { tail: Some(30), ..Options::default() });
    assert_eq!(tail.lines().count(), 30);
    assert_eq!(tail.lines().next(), Some("line 170"));
    assert_eq!(tail.lines().last(), Some("line 199"));
    let all = read(dir.path(), Options::default());
    assert_eq!(all.lines().last(), Some("line 199"));
    assert!(all.lines().count() > 40 && all.lines().count() < 80);
}

#[test]
fn a_follower_sees_every_line_across_rotations() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), LogLimits { max_bytes: 500, max_files: 5 });
    let mut cursor = Cursor::open(&dir.path().join("c"), 0, Options::default()).unwrap();
    let mut seen = drain(&mut cursor);
    let mut expected = String::new();
    for i in 0..100 {
        log.write(Stream::Stdout, format!("line {i}\n").as_bytes());
        expected.push_str(&format!("line {i}\n"));
        if i % 7 == 0 {
            loop {
                seen.push_str(&drain(&mut cursor));
                if cursor.follow(&log).unwrap() == Progress::End {
                    break;
                }
            }
        }
    }
    loop {
        seen.push_str(&drain(&mut cursor));
        if cursor.follow(&log).unwrap() == Progress::End {
            break;
        }
    }
    assert_eq!(seen, expected);
}

#[test]
fn more_containers_than_open_files_still_log() {
    let dir = tempfile::tempdir().unwrap();
    let files = OpenFiles::new(2);
    let logs: Vec<_> = (0..5)
        .map(|i| {
            ContainerLog::new(dir.path().join(i.to_string()), 0, LogLimits::default(), Clock::System, files.clone())
        })
        .collect();
    for round in 0..3 {
        for log in &logs {
            log.write(Stream::Stdout, format!("{round}\n").as_bytes());
        }
    }
    for i in 0..5 {
        let mut cursor = Cursor::open(&dir.path().join(i.to_string()), 0, Options::default()).unwrap();
        assert_eq!(drain(&mut cursor), "0\n1\n2\n");
    }
}

#[test]
fn the_fallback_message_is_the_end_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), LogLimits::default());
    for i in 0..1000 {
        log.write(Stream::Stderr, format!("error {i}\n").as_bytes());
    }
    let message = fallback_message(&dir.path().join("c"), 0);
    assert!(message.len() <= 2048 && message.ends_with("error 999\n"));
    assert_eq!(fallback_message(&dir.path().join("none"), 0), "");
}
