use super::*;

struct Fixture {
    storage: Arc<dyn StorageBackend>,
    journal: Journal,
}

impl Fixture {
    fn new() -> Self {
        let storage: Arc<dyn StorageBackend> = Arc::new(InMemoryBackend::new());
        begin(&*storage).unwrap();
        let journal = Journal::new(storage.clone(), &read(&*storage, 0).unwrap());
        Self { storage, journal }
    }

    /// Append a frame of one row of `length` bytes at `revision`.
    fn append(&mut self, revision: Revision, length: usize) {
        let mut frame = self.journal.begin();
        frame.push(&revision.to_be_bytes(), length, |out| out.fill(u8::try_from(revision % 251).unwrap()));
        assert!(self.journal.has_room());
        self.journal.append(revision, revision / 2).unwrap();
    }

    fn found(&self, known: Revision) -> Result<Vec<Revision>, redb::Error> {
        let found = read(&*self.storage, known)?;
        for frame in &found.frames {
            assert_eq!(frame.compacted, frame.revision / 2);
            let rows: Vec<_> = frame.rows().map(Option::unwrap).collect();
            assert_eq!(rows.len(), 1);
            assert_eq!(rows[0].0, frame.revision.to_be_bytes());
            assert!(rows[0].1.iter().all(|byte| u64::from(*byte) == frame.revision % 251));
        }
        Ok(found.frames.iter().map(|frame| frame.revision).collect())
    }

    fn flip(&self, at: u64) {
        let mut byte = [0];
        self.storage.read(at, &mut byte).unwrap();
        self.storage.write(at, &[byte[0] ^ 0x10]).unwrap();
    }
}

#[test]
fn frames_count_until_redb_has_them() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.found(0).unwrap(), []);
    for (revision, length) in (1..=6).zip([10, 5_000, 4_096, 0, 30_000, 4_000]) {
        fixture.append(revision, length);
    }
    assert_eq!(fixture.found(0).unwrap(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(fixture.found(4).unwrap(), [5, 6]);
    assert_eq!(fixture.found(6).unwrap(), []);
    // A later round lies over a part of the earlier ones.
    for round in 0..20 {
        fixture.journal.rewind();
        let first = 7 + round * 2;
        fixture.append(first, 100);
        fixture.append(first + 1, if round % 3 == 0 { 9_000 } else { 20 });
        assert_eq!(fixture.found(first - 1).unwrap(), [first, first + 1]);
        assert_eq!(fixture.found(first + 1).unwrap(), []);
        // And so it goes on for whoever opens the file anew.
        let found = read(&*fixture.storage, first + 1).unwrap();
        fixture.journal = Journal::new(fixture.storage.clone(), &found);
    }
}

#[test]
fn a_frame_that_is_not_whole_is_none_and_those_before_it_are() {
    let mut fixture = Fixture::new();
    let mut ends = Vec::new();
    for revision in 1..=3 {
        fixture.append(revision, 6_000);
        ends.push(fixture.journal.next);
    }
    let used = (FRAME + 8 + 8 + 6_000) as u64;
    for at in (0..FRAME as u64).chain((FRAME as u64..used).step_by(501)) {
        fixture.flip(ends[1] + at);
        assert_eq!(fixture.found(0).unwrap(), [1, 2], "byte {at} of the last frame");
        fixture.flip(ends[1] + at);
        // What comes after it was written once it was durable: it is not torn, but damaged.
        fixture.flip(ends[0] + at);
        let error = fixture.found(0).unwrap_err();
        assert!(matches!(&error, redb::Error::Corrupted(reason) if reason.contains("journal")), "byte {at}: {error}");
        assert_eq!(fixture.found(3).unwrap(), [], "byte {at}: redb has them all");
        fixture.flip(ends[0] + at);
        fixture.flip(BLOCK as u64 + at);
        assert!(fixture.found(0).is_err(), "byte {at} of the first frame");
        fixture.flip(BLOCK as u64 + at);
    }
    assert_eq!(fixture.found(0).unwrap(), [1, 2, 3]);
}

#[test]
fn a_refused_frame_never_counts() {
    let mut fixture = Fixture::new();
    fixture.append(1, 10);
    // It reached the disk all the same, and whoever wrote it was told that it failed.
    let place = fixture.journal.next;
    fixture.append(2, 9_000);
    (fixture.journal.next, fixture.journal.number, fixture.journal.is_suspect) = (place, 2, true);
    fixture.journal.begin();
    assert!(!fixture.journal.has_room(), "nothing is appended before it is gone");
    fixture.journal.mend().unwrap();
    assert_eq!(fixture.found(0).unwrap(), [1]);
    fixture.append(2, 20);
    assert_eq!(fixture.found(0).unwrap(), [1, 2]);
}

#[test]
fn no_value_passes_for_a_frame() {
    let mut fixture = Fixture::new();
    let mut forger = Fixture::new();
    forger.journal.number = 2;
    forger.append(2, 500);
    let mut forged = vec![0; BLOCK];
    forger.storage.read(BLOCK as u64, &mut forged).unwrap();
    // A value that puts it at the beginning of a block, where the next frame but one of a later round is looked for.
    let before = BLOCK - (FRAME + 8 + 8);
    let mut frame = fixture.journal.begin();
    frame.push(&1u64.to_be_bytes(), before + 4 * BLOCK, |out| {
        out[before..].chunks_mut(BLOCK).for_each(|block| block.copy_from_slice(&forged));
    });
    fixture.journal.append(1, 0).unwrap();
    fixture.journal.rewind();
    fixture.append(2, 10);
    assert_eq!(fixture.found(1).unwrap(), [2]);
    assert_eq!(fixture.found(0).unwrap(), [2]);
    // With the salt, which nobody sees, it would.
    forged[..SALT].copy_from_slice(&fixture.journal.salt);
    forged[SALT..SALT + 8].copy_from_slice(&3u64.to_le_bytes());
    let rows = FRAME..FRAME + 8 + 8 + 500;
    let sum = sum(&forged[..FRAME - 4], &forged[rows]);
    forged[FRAME - 4..FRAME].copy_from_slice(&sum);
    fixture.storage.write(2 * BLOCK as u64, &forged).unwrap();
    assert_eq!(read(&*fixture.storage, 1).unwrap().frames.len(), 2);
}

#[test]
fn what_does_not_fit_is_not_begun() {
    let mut fixture = Fixture::new();
    let mut revision = 0;
    loop {
        let mut frame = fixture.journal.begin();
        frame.push(b"key", 100_000, |out| out.fill(7));
        if !fixture.journal.has_room() {
            break;
        }
        revision += 1;
        fixture.journal.append(revision, 0).unwrap();
    }
    assert_eq!(revision, 10);
    assert_eq!(fixture.storage.len().unwrap(), FRONT, "it stays in front");
    assert_eq!(read(&*fixture.storage, 0).unwrap().frames.len(), 10);
    fixture.journal.rewind();
    fixture.append(revision + 1, 10);
    assert_eq!(fixture.found(revision).unwrap(), [11]);
}

#[test]
fn rows_that_do_not_parse_are_told() {
    let rows = |bytes: &[u8]| {
        let frame = Frame { revision: 1, compacted: 0, rows: bytes.to_vec() };
        frame.rows().map(|row| row.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(rows(&[]), [] as [bool; 0]);
    assert_eq!(rows(&[1, 0, 0, 0, 1, 0, 0, 0, b'k', b'r']), [true]);
    assert_eq!(rows(&[1, 0, 0, 0, 1, 0, 0, 0, b'k', b'r', 9]), [true, false]);
    assert_eq!(rows(&[255, 255, 255, 255, 255, 255, 255, 255, 1]), [false]);
}

#[test]
fn a_head_is_whole_or_of_somebody_else() {
    let fixture = Fixture::new();
    assert!(matches!(head(&*fixture.storage).unwrap(), Head::Ours(salt) if salt == fixture.journal.salt));
    for at in 0..HEAD as u64 + 4 {
        fixture.flip(at);
        let found = head(&*fixture.storage).unwrap();
        assert!(
            if at < MAGIC.len() as u64 { matches!(found, Head::Other) } else { matches!(found, Head::Broken) },
            "{at}"
        );
        fixture.flip(at);
    }
    let mut short = vec![0; 100];
    fixture.storage.read(0, &mut short).unwrap();
    let cut = InMemoryBackend::new();
    cut.set_len(100).unwrap();
    cut.write(0, &short).unwrap();
    assert!(matches!(head(&cut).unwrap(), Head::Broken));
    assert!(matches!(head(&InMemoryBackend::new()).unwrap(), Head::Other));
}

#[test]
fn hostile_frames_do_no_harm() {
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    let mut random = SmallRng::seed_from_u64(3);
    let (mut refused, mut found) = (0, 0);
    for _ in 0..300 {
        let pieces: Vec<Vec<u8>> = (0..random.random_range(0..6))
            .map(|_| {
                // The step to the next number, whether the checksum fits, revision and compacted revision, length and
                // checksum, which are made to fit, and rows.
                let mut piece = vec![random.random_range(0..3), random.random_range(0..4)];
                piece.extend(u64::to_le_bytes(random.random_range(0..4)));
                piece.extend(u64::to_le_bytes(random.random()));
                piece.extend([random.random::<u8>(); 8]);
                for _ in 0..random.random_range(0..3) {
                    piece.extend(u32::to_le_bytes(random.random_range(0..12)));
                    piece.extend(u32::to_le_bytes(random.random_range(0..12)));
                    piece.extend((0..random.random_range(0..24)).map(|_| random.random::<u8>()));
                }
                piece
            })
            .collect();
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        match forged(&pieces) {
            None => refused += 1,
            Some(frames) => {
                found += frames.len();
                frames.iter().for_each(|frame| frame.rows().for_each(drop));
            }
        }
    }
    assert!(refused > 10 && found > 100, "{refused} refused, {found} found");
}
