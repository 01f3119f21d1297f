//! Streams of HTTP/2 that notice when their peer has stopped reading them. While a stream's window is used up, hyper asks
//! its body for nothing, so the body cannot end itself: what runs the stream watches over it, and lets go of both. The
//! `h2` crate then throws away what it holds of the stream and resets it (`CANCEL`); the connection and its other streams
//! go on. A stream is stuck only while it holds a piece of an answer that the peer has no room for: one that has nothing
//! to say, still takes a request in, or works, never is. Knows nothing of what is sent.

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Bytes of an answer that are handed over at a time: what the peer must make room for within the limit to count as
/// reading, and all that is kept of an answer which is over. Two DATA frames: smaller pieces would cost watches more.
const PIECE: usize = 32 * 1024;

tokio::task_local! {
    /// Where the stream that is being run finds out about its answer.
    static PLACE: Cell<Option<Answer>>;
}

/// An answer that has been handed over.
enum Answer {
    /// In one piece.
    Whole,
    /// Piece by piece.
    Flowing(Arc<Flow>),
}

/// Runs the streams of connections, each as a task of its own.
#[derive(Clone, Copy)]
pub(super) struct Streams {
    /// How long a peer may leave a piece of an answer waiting.
    pub(super) limit: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, work: F) {
        tokio::spawn(Watched { work, limit: self.limit, answer: None, stuck: None });
    }
}

/// The same answer, which tells the stream that runs it how it flows. One that runs on no stream of HTTP/2 stays as it is.
pub(super) fn watched(answer: Response<Body>) -> Response<Body> {
    let tell = |answer| PLACE.try_with(|place| place.set(Some(answer))).is_ok();
    if answer.body().size_hint().upper().is_some_and(|most| most <= PIECE as u64) {
        _ = tell(Answer::Whole);
        return answer;
    }
    let flow = Arc::new(Flow::default());
    if !tell(Answer::Flowing(Arc::clone(&flow))) {
        return answer;
    }
    answer.map(|body| Body::new(Flowing { body, rest: Bytes::new(), flow }))
}

/// Counts how often a body has been asked for more and has given something: odd while what it gave last is waiting.
/// Both sides belong to one task, so no order has to be kept but that of each.
#[derive(Default)]
struct Flow(AtomicU32);

impl Flow {
    fn asked(&self) {
        self.0.store(self.count().wrapping_add(1) & !1, Ordering::Relaxed);
    }

    fn gave(&self) {
        self.0.store(self.count() | 1, Ordering::Relaxed);
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Answer {
    /// [`Flow::count`]. What is whole has been given, and nothing more is asked for.
    fn count(&self) -> u32 {
        match self {
            Self::Whole => 1,
            Self::Flowing(flow) => flow.count(),
        }
    }
}

/// A body in pieces.
struct Flowing {
    body: Body,
    /// What is left of a frame that is handed over in pieces.
    rest: Bytes,
    flow: Arc<Flow>,
}

impl HttpBody for Flowing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.flow.asked();
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            self.flow.gave();
            if frame.data_ref().is_none_or(|data| data.len() <= PIECE) {
                return Poll::Ready(Some(Ok(frame)));
            }
            self.rest = frame.into_data().unwrap_or_default();
        }
        self.flow.gave();
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

pin_project! {
    /// The work of a stream, which ends when its answer has been stuck for too long.
    struct Watched<F> {
        #[pin]
        work: F,
        limit: Duration,
        // Once there is one.
        answer: Option<Answer>,
        // Whether it is stuck, from the first time that it was.
        stuck: Option<Box<Stuck>>,
    }
}

/// A piece that waits, or has waited until lately: the timer is left alone while pieces come and go.
struct Stuck {
    /// Runs out when the piece that was waiting when it was set has waited for too long.
    timer: Pin<Box<Sleep>>,
    /// The flow's count when the last piece that waited was found.
    count: u32,
    since: Instant,
}

impl Stuck {
    fn new(count: u32, limit: Duration) -> Self {
        let since = Instant::now();
        Self { timer: Box::pin(tokio::time::sleep_until(since + limit)), count, since }
    }

    /// Ready when the piece that waits at `count` has waited for too long.
    fn poll(&mut self, cx: &mut Context<'_>, count: u32, limit: Duration) -> Poll<()> {
        if self.count != count {
            (self.count, self.since) = (count, Instant::now());
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let deadline = self.since + limit;
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = self.project();
        let work = me.work;
        let done = match me.answer {
            Some(_) => work.poll(cx),
            None => PLACE.sync_scope(Cell::new(None), || {
                let done = work.poll(cx);
                *me.answer = PLACE.with(Cell::take);
                done
            }),
        };
        if done.is_ready() {
            return done;
        }
        let Some(answer) = me.answer else { return Poll::Pending };
        let count = answer.count();
        if count.is_multiple_of(2) {
            me.stuck.take_if(|stuck| stuck.timer.is_elapsed());
            return Poll::Pending;
        }
        let stuck = me.stuck.get_or_insert_with(|| Box::new(Stuck::new(count, *me.limit)));
        ready!(stuck.poll(cx, count, *me.limit));
        tracing::debug!("a stream is reset: its peer has stopped reading");
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc::{self, Receiver, Sender};

    const LIMIT: Duration = Duration::from_secs(60);

    /// Pieces of an answer, to be sent by a test.
    fn answer() -> (Sender<Bytes>, Response<Body>) {
        let (sender, receiver) = mpsc::channel(1);
        let stream = futures::stream::unfold(receiver, async |mut receiver: Receiver<Bytes>| {
            Some((Ok::<_, std::convert::Infallible>(receiver.recv().await?), receiver))
        });
        (sender, Response::new(Body::from_stream(stream)))
    }

    /// Runs a stream as hyper does: the next piece is asked for once there is room for the last one.
    fn run(answer: Response<Body>, mut room: Receiver<()>) -> tokio::task::JoinHandle<()> {
        let work = async move {
            let mut body = watched(answer).into_body();
            while let Some(Ok(frame)) = body.frame().await {
                assert!(frame.data_ref().unwrap().len() <= PIECE);
                if room.recv().await.is_none() {
                    std::future::pending().await
                }
            }
        };
        tokio::spawn(Watched { work, limit: LIMIT, answer: None, stuck: None })
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_piece_finds_no_room_is_let_go_of() {
        let (sender, body) = answer();
        let (_room, peer) = mpsc::channel(1);
        let started = Instant::now();
        let stream = run(body, peer);
        sender.send(Bytes::from_static(b"piece")).await.unwrap();
        sender.closed().await;
        assert_eq!(started.elapsed().as_secs(), LIMIT.as_secs());
        stream.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn so_is_one_that_has_no_room_for_a_short_answer() {
        let (_room, peer) = mpsc::channel(1);
        let started = Instant::now();
        run(Response::new(Body::from("short")), peer).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_is_kept_until_they_stop() {
        let (sender, body) = answer();
        let (room, peer) = mpsc::channel(1);
        let stream = run(body, peer);
        sender.send(Bytes::from(vec![0; 10 * PIECE])).await.unwrap();
        for _ in 0..9 {
            tokio::time::sleep(LIMIT - Duration::from_secs(1)).await;
            room.send(()).await.expect("the stream goes on");
        }
        let stopped = Instant::now();
        sender.closed().await;
        assert_eq!(stopped.elapsed().as_secs(), LIMIT.as_secs());
        stream.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_read_all_there_is_may_wait() {
        let (sender, body) = answer();
        let (room, peer) = mpsc::channel(1);
        let stream = run(body, peer);
        for _ in 0..3 {
            tokio::time::sleep(10 * LIMIT).await;
            sender.send(Bytes::from_static(b"piece")).await.unwrap();
            tokio::time::sleep(LIMIT / 2).await;
            room.send(()).await.expect("the stream goes on");
        }
        tokio::time::sleep(10 * LIMIT).await;
        assert!(!stream.is_finished());
        drop(sender);
        stream.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn work_before_an_answer_may_take_its_time() {
        let (sender, body) = answer();
        drop(sender);
        let work = async move {
            tokio::time::sleep(10 * LIMIT).await;
            assert!(watched(body).into_body().frame().await.is_none());
        };
        let started = Instant::now();
        Watched { work, limit: LIMIT, answer: None, stuck: None }.await;
        assert_eq!(started.elapsed(), 10 * LIMIT);
    }

    #[tokio::test]
    async fn pieces_are_all_of_the_answer() {
        let text: Vec<u8> = (0..5 * PIECE + 17).map(|n| n as u8).collect();
        let mut body =
            PLACE.sync_scope(Cell::new(None), || watched(Response::new(Body::from(text.clone())))).into_body();
        let mut seen = Vec::new();
        while let Some(frame) = body.frame().await {
            seen.extend_from_slice(&frame.unwrap().into_data().unwrap());
            assert_eq!(body.size_hint().exact(), Some((text.len() - seen.len()) as u64));
            assert_eq!(body.is_end_stream(), seen.len() == text.len());
        }
        assert_eq!(seen, text);
    }

    #[test]
    fn ten_thousand_idle_streams_are_watched_over_at_little_cost() {
        let flow = size_of::<Flow>() + 2 * size_of::<usize>();
        let all = size_of::<Watched<()>>() + size_of::<Flowing>() + flow;
        assert!(all <= 128, "{all} bytes a stream");
    }
}
