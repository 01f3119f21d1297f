//! Requests to etcd: connections to its members, one at a time, the session of a user, and what became of a request.
//! Knows the protocol, and nothing of what is stored.

use std::sync::OnceLock;
use std::time::Duration;

use http::uri::PathAndQuery;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamExt;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use super::failure::Failure;
use super::options::{Login, Options, Timeouts, Tls};
use super::proto::{self, Answer};
use crate::error::OpenError;

/// etcd cuts watches into pieces of about its request limit, and ranges are asked for in pages: nothing that is
/// larger has a reason.
const ANSWER_BYTES: usize = 64 << 20;
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(100);

/// A client of one etcd cluster.
pub(crate) struct Client {
    members: Vec<Endpoint>,
    current: Mutex<Current>,
    /// Grows each time another connection takes the place of the current one.
    generation: watch::Sender<u64>,
    login: Option<Login>,
    session: tokio::sync::Mutex<Session>,
    /// The identity of the cluster that answered first.
    cluster: OnceLock<u64>,
    pub timeouts: Timeouts,
}

struct Current {
    member: usize,
    channel: Channel,
}

enum Session {
    /// Nobody logs in, or etcd does not care.
    Nobody,
    Wanted,
    Open(MetadataValue<Ascii>),
}

impl Client {
    pub fn new(options: &Options) -> Result<Self, OpenError> {
        let refused = |reason: String| OpenError::EtcdRefused { url: options.url(), reason };
        let members: Result<Vec<_>, _> = options.endpoints.iter().map(|member| endpoint(member, options)).collect();
        let members = members.map_err(|error| refused(super::failure::innermost(&error)))?;
        let first = members.first().ok_or_else(|| refused("no endpoint is given".to_owned()))?;
        let current = Current { member: 0, channel: first.connect_lazy() };
        let session = if options.login.is_some() { Session::Wanted } else { Session::Nobody };
        Ok(Self {
            current: Mutex::new(current),
            members,
            generation: watch::channel(0).0,
            login: options.login.clone(),
            session: tokio::sync::Mutex::new(session),
            cluster: OnceLock::new(),
            timeouts: options.timeouts,
        })
    }

    /// Which connection is in use: its number, and a way to wait for the next.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Use another connection, to the next member, from now on; unless `generation` is over already.
    pub fn rotate(&self, generation: u64) {
        let mut current = self.current.lock();
        if *self.generation.borrow() != generation {
            return;
        }
        let member = (current.member + 1) % self.members.len();
        *current = Current { member, channel: self.members[member].connect_lazy() };
        self.generation.send_replace(generation + 1);
    }

    /// Ask for something that is as good asked twice: members that cannot be reached are passed over, until `limit`.
    pub async fn read<Q, R>(&self, path: &'static str, request: Q, limit: Duration) -> Result<R, Failure>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + Answer + 'static,
    {
        let until = Instant::now() + limit;
        self.persist(path, request, until, || until).await
    }

    /// Ask for something that may happen only once. Looking for a member to ask ends with [`Timeouts::patience`].
    pub async fn write<Q, R>(&self, path: &'static str, request: Q) -> Result<R, Failure>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + Answer + 'static,
    {
        let Timeouts { patience, request: limit, .. } = self.timeouts;
        self.persist(path, request, Instant::now() + patience, || Instant::now() + limit).await
    }

    /// Try until a member was reached, or it is `until`. Each try waits for its answer until `deadline`.
    async fn persist<Q, R>(
        &self,
        path: &'static str,
        request: Q,
        until: Instant,
        deadline: impl Fn() -> Instant,
    ) -> Result<R, Failure>
    where
        Q: Message + Clone + 'static,
        R: Message + Default + Answer + 'static,
    {
        let mut renewed = false;
        loop {
            let generation = *self.generation.borrow();
            let failure = match self.once(path, request.clone(), deadline()).await {
                Ok(answer) => return self.check(answer),
                Err(failure) => failure,
            };
            match &failure {
                Failure::Unreachable(_) if Instant::now() + PAUSE < until => {
                    self.rotate(generation);
                    tokio::time::sleep(PAUSE).await;
                }
                Failure::Session(_) if !renewed => {
                    renewed = true;
                    self.forget_session().await;
                }
                _ => return Err(failure),
            }
        }
    }

    async fn once<Q, R>(&self, path: &'static str, request: Q, deadline: Instant) -> Result<R, Failure>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        let request = self.request(request, deadline).await?;
        let mut grpc = self.grpc();
        let answer = async {
            ready(&mut grpc).await?;
            let codec = ProstCodec::default();
            let answer = grpc.unary(request, PathAndQuery::from_static(path), codec).await;
            answer.map(tonic::Response::into_inner).map_err(|status| Failure::from_status(&status))
        };
        timeout_at(deadline, answer).await.unwrap_or_else(|_| Err(Failure::Silent("it does not answer".to_owned())))
    }

    /// Begin a watch. Its first message says that it exists.
    pub async fn watch(&self, create: proto::WatchCreateRequest) -> Result<Streaming<proto::WatchResponse>, Failure> {
        let deadline = Instant::now() + self.timeouts.request;
        let request = proto::WatchRequest { request: Some(proto::Watching::Create(create)) };
        // A request stream that ended would end the watch.
        let stream = tokio_stream::once(request).chain(tokio_stream::pending());
        let request = self.request(stream, deadline).await?;
        let mut grpc = self.grpc();
        let answer = async {
            ready(&mut grpc).await?;
            let codec = ProstCodec::default();
            let answer = grpc.streaming(request, PathAndQuery::from_static(proto::WATCH), codec).await;
            answer.map(tonic::Response::into_inner).map_err(|status| Failure::from_status(&status))
        };
        timeout_at(deadline, answer).await.unwrap_or_else(|_| Err(Failure::Silent("it does not answer".to_owned())))
    }

    fn grpc(&self) -> Grpc<Channel> {
        let channel = self.current.lock().channel.clone();
        Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES).max_encoding_message_size(ANSWER_BYTES)
    }

    /// `message` with what every request carries.
    async fn request<T>(&self, message: T, deadline: Instant) -> Result<Request<T>, Failure> {
        let mut request = Request::new(message);
        // A member without a leader says so at once in place of keeping us waiting.
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        if self.login.is_some() {
            let token = timeout_at(deadline, self.token()).await;
            let token = token.unwrap_or_else(|_| Err(Failure::Unreachable("it does not answer".to_owned())))?;
            if let Some(token) = token {
                request.metadata_mut().insert("token", token);
            }
        }
        Ok(request)
    }

    /// The session's token; logs in when there is no session. One at a time does.
    async fn token(&self) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let mut session = self.session.lock().await;
        let login = match (&*session, &self.login) {
            (Session::Open(token), _) => return Ok(Some(token.clone())),
            (Session::Nobody, _) | (_, None) => return Ok(None),
            (Session::Wanted, Some(login)) => login,
        };
        let request = proto::AuthenticateRequest { name: login.user.clone(), password: login.password.clone() };
        let mut grpc = self.grpc();
        ready(&mut grpc).await?;
        let path = PathAndQuery::from_static(proto::AUTHENTICATE);
        let codec: ProstCodec<_, proto::AuthenticateResponse> = ProstCodec::default();
        let answer = match grpc.unary(Request::new(request), path, codec).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.message().contains("authentication is not enabled") => {
                tracing::warn!("etcd does not ask who we are: its authentication is off");
                *session = Session::Nobody;
                return Ok(None);
            }
            // Logging in changes nothing: whatever happened, the request was not sent.
            Err(status) => return Err(unsent(Failure::from_status(&status))),
        };
        let token: MetadataValue<Ascii> =
            answer.token.parse().map_err(|_| Failure::Denied("its token is malformed".to_owned()))?;
        *session = Session::Open(token.clone());
        Ok(Some(token))
    }

    /// Log in again before the next request.
    pub async fn forget_session(&self) {
        let mut session = self.session.lock().await;
        if self.login.is_some() {
            *session = Session::Wanted;
        }
    }

    /// Let an answer pass only if it is from the cluster that answered first.
    pub fn check<R: Answer>(&self, answer: R) -> Result<R, Failure> {
        let Some(header) = answer.header() else { return Ok(answer) };
        let expected = *self.cluster.get_or_init(|| header.cluster_id);
        if header.cluster_id == expected {
            return Ok(answer);
        }
        Err(Failure::Foreign(format!("another etcd cluster answers: {:x} in place of {expected:x}", header.cluster_id)))
    }
}

fn unsent(failure: Failure) -> Failure {
    match failure {
        Failure::Silent(reason) => Failure::Unreachable(reason),
        other => other,
    }
}

async fn ready(grpc: &mut Grpc<Channel>) -> Result<(), Failure> {
    grpc.ready().await.map_err(|error| Failure::Unreachable(super::failure::innermost(&error)))
}

fn endpoint(member: &str, options: &Options) -> Result<Endpoint, tonic::transport::Error> {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{member}"))?
        .connect_timeout(options.timeouts.connect)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(15)))
        // Windows that let a page of a range or a burst of events through without waiting.
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20);
    match &options.tls {
        Some(tls) => endpoint.tls_config(tls_config(tls)),
        None => Ok(endpoint),
    }
}

fn tls_config(tls: &Tls) -> ClientTlsConfig {
    let config = match &tls.ca {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match &tls.identity {
        Some((cert, key)) => config.identity(Identity::from_pem(cert, key)),
        None => config,
    }
}
