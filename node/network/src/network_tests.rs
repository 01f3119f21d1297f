use super::*;
use crate::service::{Affinity, Endpoint, EndpointPort, EndpointState, ServicePort};
use crate::{ConnectError, Listener, Target};
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A network on ranges of its own: pods in the lower half of a random /24, Services in the upper.
struct Setup {
    network: Arc<Network>,
    service_ip: Ipv4Addr,
}

fn setup(change: impl FnOnce(&mut Config)) -> Setup {
    let range = testing::random_range();
    let halves: Vec<Cidr> = range.subranges(25).collect();
    let mut config = Config { cluster_cidr: halves[0], service_cidr: halves[1], ..Config::default() };
    config.external = External::Deny;
    change(&mut config);
    let pods = config.cluster_cidr;
    let network = Network::new(config);
    network.add_pod_range("n1", pods).unwrap();
    Setup { service_ip: halves[1].nth(10).unwrap(), network }
}

fn pod(network: &Arc<Network>, name: &str) -> PodNet {
    let key = PodKey { namespace: "default".to_owned(), name: name.to_owned(), uid: format!("uid-{name}") };
    network.attach(key, "n1").unwrap()
}

/// Answers every connection with `word` and what it is sent until the client's end.
fn echo(listener: Listener, word: &'static str) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = Vec::new();
            if stream.read_to_end(&mut asked).await.is_ok() {
                let _ = stream.write_all(word.as_bytes()).await;
                let _ = stream.write_all(&asked).await;
            }
        }
    })
}

/// Sends, ends its half, reads the rest: works only where both halves are copied apart.
async fn ask(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> io::Result<String> {
    stream.write_all(b"?").await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn key() -> ServiceKey {
    ServiceKey::new("default", "web")
}

fn service(address: Ipv4Addr, port: u16) -> Service {
    let ports = vec![ServicePort { name: "http".to_owned(), port }];
    Service { key: key(), address: ServiceAddress::ClusterIp(address), ports, affinity: Affinity::None }
}

fn slice(port: u16, addresses: &[Ipv4Addr]) -> EndpointSlice {
    let endpoint = |address: &Ipv4Addr| Endpoint { address: *address, hostname: None, state: EndpointState::Ready };
    EndpointSlice {
        service: key(),
        name: "web-1".to_owned(),
        ports: vec![EndpointPort { name: "http".to_owned(), port }],
        endpoints: addresses.iter().map(endpoint).collect(),
    }
}

/// Waits until the Service's one port is in this state.
async fn until(network: &Network, wanted: impl Fn(&ListenState) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !matches!(network.listen_states(&key()).as_slice(), [(_, state)] if wanted(state)) {
        assert!(Instant::now() < deadline, "{:?}", network.listen_states(&key()));
        tokio::task::yield_now().await;
    }
}

fn name(text: &str) -> Target {
    Target::Name(text.to_owned())
}

#[tokio::test]
async fn a_service_balances_for_hosts_and_guests() {
    let setup = setup(|_| {});
    let (a, b, client) = (pod(&setup.network, "a"), pod(&setup.network, "b"), pod(&setup.network, "client"));
    echo(a.listen(8080).unwrap(), "a");
    echo(b.listen(8080).unwrap(), "b");
    setup.network.set_endpoints(slice(8080, &[a.ip(), b.ip()]));
    setup.network.set_service(service(setup.service_ip, 18_080));
    until(&setup.network, |state| *state == ListenState::Listening).await;
    let (mut from_host, mut from_guest) = (HashSet::new(), HashSet::new());
    for _ in 0..4 {
        let stream = TcpStream::connect((setup.service_ip, 18_080)).await.unwrap();
        from_host.insert(ask(stream).await.unwrap());
    }
    for _ in 0..4 {
        let connection = client.connect(&name("web"), 18_080).await.unwrap();
        assert_eq!(connection.remote_address(), SocketAddr::from((setup.service_ip, 18_080)));
        assert_eq!(connection.local_address().unwrap().ip(), IpAddr::V4(client.ip()));
        from_guest.insert(ask(connection).await.unwrap());
    }
    let both = HashSet::from(["a?".to_owned(), "b?".to_owned()]);
    assert_eq!((&from_host, &from_guest), (&both, &both));
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over() {
    let setup = setup(|_| {});
    let (alive, dead) = (pod(&setup.network, "alive"), pod(&setup.network, "dead"));
    echo(alive.listen(8080).unwrap(), "alive");
    setup.network.set_service(service(setup.service_ip, 18_080));
    setup.network.set_endpoints(slice(8080, &[dead.ip(), alive.ip()]));
    until(&setup.network, |state| *state == ListenState::Listening).await;
    for _ in 0..4 {
        let stream = TcpStream::connect((setup.service_ip, 18_080)).await.unwrap();
        assert_eq!(ask(stream).await.unwrap(), "alive?");
        let connection = dead.connect(&Target::Ip(setup.service_ip.into()), 18_080).await.unwrap();
        assert_eq!(ask(connection).await.unwrap(), "alive?");
    }
    setup.network.set_endpoints(slice(8080, &[dead.ip()]));
    let error = alive.connect(&name("web.default.svc"), 18_080).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    let stream = TcpStream::connect((setup.service_ip, 18_080)).await.unwrap();
    let error = ask(stream).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "not an empty answer");
}

#[tokio::test]
async fn without_endpoints_connections_are_refused() {
    let setup = setup(|_| {});
    let server = pod(&setup.network, "server");
    echo(server.listen(8080).unwrap(), "server");
    setup.network.set_service(service(setup.service_ip, 18_080));
    let refused = async || TcpStream::connect((setup.service_ip, 18_080)).await.unwrap_err().kind();
    assert_eq!(refused().await, io::ErrorKind::ConnectionRefused);
    let error = server.connect(&name("web"), 18_080).await.unwrap_err();
    assert!(matches!(error, ConnectError::NothingThere(_)), "{error}");
    // There, gone, there again: the address is listened on each time.
    for _ in 0..3 {
        setup.network.set_endpoints(slice(8080, &[server.ip()]));
        until(&setup.network, |state| *state == ListenState::Listening).await;
        let stream = TcpStream::connect((setup.service_ip, 18_080)).await.unwrap();
        assert_eq!(ask(stream).await.unwrap(), "server?");
        setup.network.remove_endpoints(&key(), "web-1");
        until(&setup.network, |state| *state == ListenState::NoEndpoints).await;
        assert_eq!(refused().await, io::ErrorKind::ConnectionRefused);
    }
    setup.network.remove_service(&key());
    assert!(setup.network.listen_states(&key()).is_empty());
    let error = server.connect(&Target::Ip(setup.service_ip.into()), 18_080).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_connection_outlives_changes_of_its_service() {
    let setup = setup(|_| {});
    let server = pod(&setup.network, "server");
    let listener = server.listen(8080).unwrap();
    setup.network.set_service(service(setup.service_ip, 18_080));
    setup.network.set_endpoints(slice(8080, &[server.ip()]));
    until(&setup.network, |state| *state == ListenState::Listening).await;
    let client = TcpStream::connect((setup.service_ip, 18_080)).await.unwrap();
    let (mut endpoint, _) = listener.accept().await.unwrap();
    setup.network.replace_all(Vec::new(), Vec::new());
    assert!(setup.network.listen_states(&key()).is_empty());
    let asking = tokio::spawn(ask(client));
    let mut asked = String::new();
    endpoint.read_to_string(&mut asked).await.unwrap();
    endpoint.write_all(b"still here").await.unwrap();
    drop(endpoint);
    assert_eq!((asked.as_str(), asking.await.unwrap().unwrap().as_str()), ("?", "still here"));
}

#[tokio::test]
async fn a_taken_port_is_reported_and_tried_again() {
    let setup = setup(|_| {});
    let server = pod(&setup.network, "server");
    echo(server.listen(8080).unwrap(), "server");
    let other = std::net::TcpListener::bind((setup.service_ip, 18_080)).unwrap();
    setup.network.set_service(service(setup.service_ip, 18_080));
    setup.network.set_endpoints(slice(8080, &[server.ip()]));
    until(&setup.network, |state| matches!(state, ListenState::Failed(why) if why.contains("in use"))).await;
    let connection = server.connect(&name("web"), 18_080).await.unwrap();
    assert_eq!(ask(connection).await.unwrap(), "server?", "guests need no listener");
    drop(other);
    until(&setup.network, |state| *state == ListenState::Listening).await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let setup = setup(|config| config.max_connections = 1);
    let server = pod(&setup.network, "server");
    echo(server.listen(8080).unwrap(), "server");
    setup.network.set_service(service(setup.service_ip, 18_080));
    setup.network.set_endpoints(slice(8080, &[server.ip()]));
    until(&setup.network, |state| *state == ListenState::Listening).await;
    let first = TcpStream::connect((setup.service_ip, 18_080)).await.unwrap();
    while setup.network.shared.connections.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let second = TcpStream::connect((setup.service_ip, 18_080)).await.unwrap();
    let mut waiting = tokio::spawn(ask(second));
    let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "it waits for the first to end");
    assert_eq!(ask(first).await.unwrap(), "server?");
    assert_eq!(waiting.await.unwrap().unwrap(), "server?");
}

#[tokio::test]
async fn loopback_is_the_pods_own_and_the_hosts_is_out_of_reach() {
    let setup = setup(|config| config.external = External::Allow);
    let (a, b) = (pod(&setup.network, "a"), pod(&setup.network, "b"));
    echo(a.listen(8080).unwrap(), "a");
    let port = b.listen(0).unwrap().local_address().unwrap().port();
    assert_ne!(port, 0);
    for own in ["localhost", "127.0.0.1", "::1", "0.0.0.0", "a"] {
        let target = own.parse().map_or_else(|_| name(own), Target::Ip);
        assert_eq!(ask(a.connect(&target, 8080).await.unwrap()).await.unwrap(), "a?", "{own}");
        let error = b.connect(&target, 8080).await.err().map(|error| error.kind());
        assert!(own == "a" || error == Some(io::ErrorKind::ConnectionRefused), "{own}: {error:?}");
    }
    let host = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = host.local_addr().unwrap().port();
    for (address, port) in [("127.0.0.2", port), ("169.254.169.254", 80), ("::ffff:127.0.0.2", port), ("fe80::1", 80)] {
        let error = a.connect(&Target::Ip(address.parse().unwrap()), port).await.unwrap_err();
        assert!(matches!(error, ConnectError::NotAllowed(_)), "{address}: {error}");
    }
    // Nor by the detour of a Service.
    setup.network.set_service(service(setup.service_ip, 18_080));
    setup.network.set_endpoints(slice(port, &[Ipv4Addr::new(127, 0, 0, 2)]));
    let error = a.connect(&name("web"), 18_080).await.unwrap_err();
    assert!(matches!(error, ConnectError::NothingThere(_)), "{error}");
}

#[tokio::test]
async fn the_api_servers_service_may_lead_to_the_host() {
    let setup = setup(|_| {});
    let client = pod(&setup.network, "client");
    let host = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kubernetes = ServiceKey::new("default", "kubernetes");
    let mut service = service(setup.service_ip, 443);
    service.key = kubernetes.clone();
    let mut endpoints = slice(host.local_addr().unwrap().port(), &[Ipv4Addr::LOCALHOST]);
    endpoints.service = kubernetes;
    setup.network.replace_all(vec![service], vec![endpoints]);
    let target = name("kubernetes.default");
    let (connected, accepted) = tokio::join!(client.connect(&target, 443), host.accept());
    connected.unwrap();
    assert_eq!(accepted.unwrap().1.ip(), IpAddr::V4(client.ip()), "the API server sees which pod");
}

#[tokio::test]
async fn outside_only_where_allowed() {
    let setup = setup(|_| {});
    let a = pod(&setup.network, "a");
    let error = a.connect(&Target::Ip([192, 0, 2, 1].into()), 80).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    let error = a.resolve("example.com").await.unwrap_err();
    assert!(matches!(error, ResolveError::NotAllowed(_)), "{error}");
    let mut alias = service(setup.service_ip, 80);
    alias.address = ServiceAddress::ExternalName("web.default.svc.cluster.local".to_owned());
    setup.network.set_service(alias);
    let error = a.resolve("web").await.unwrap_err();
    assert!(matches!(error, ResolveError::NotFound(_)), "an alias of itself ends: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_pods_end_closes_its_listeners_and_rests_its_address() {
    let setup = setup(|config| config.cluster_cidr = Cidr::new(config.cluster_cidr.first(), 30));
    let (first, second) = (pod(&setup.network, "first"), pod(&setup.network, "second"));
    let attach = || {
        let key = PodKey { namespace: "default".to_owned(), name: "third".to_owned(), uid: "3".to_owned() };
        setup.network.attach(key, "n1")
    };
    let listener = first.listen(0).unwrap();
    let address = first.ip();
    drop(first);
    assert_eq!(listener.accept().await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    tokio::time::advance(setup.network.config().quarantine).await;
    assert!(attach().is_err(), "its listener is still there");
    drop(listener);
    assert!(matches!(attach(), Err(AttachError::Exhausted { in_use: 1, resting: 1, .. })));
    tokio::time::advance(setup.network.config().quarantine).await;
    assert_eq!(attach().unwrap().ip(), address);
    drop(second);
}

#[tokio::test]
async fn ranges_lie_inside_the_clusters() {
    let setup = setup(|_| {});
    let outside = Cidr::new(Ipv4Addr::new(10, 0, 0, 0), 24);
    assert!(matches!(setup.network.add_pod_range("n2", outside), Err(RangeError::Outside { .. })));
    let wider = Cidr::new(setup.network.config().cluster_cidr.first(), 16);
    assert!(matches!(setup.network.add_pod_range("n2", wider), Err(RangeError::Outside { .. })));
}

#[tokio::test]
async fn an_address_that_is_not_the_hosts_is_told_and_reached_by_guests_all_the_same() {
    let setup = setup(|_| {});
    let server = pod(&setup.network, "server");
    echo(server.listen(8080).unwrap(), "server");
    let mut failures = setup.network.listen_failures();
    setup.network.set_endpoints(slice(8080, &[server.ip()]));
    // For documentation (RFC 5737): no host has it; the other one every host has for itself.
    for (foreign, why) in [([203, 0, 113, 10], "not this host's"), ([127, 0, 7, 1], "127.0.0.0/16 is the host's own")] {
        let foreign = Ipv4Addr::from(foreign);
        setup.network.set_service(service(foreign, 18_080));
        let failure = failures.recv().await.unwrap();
        assert_eq!((&failure.service, failure.address), (&key(), SocketAddrV4::new(foreign, 18_080)));
        assert!(failure.message.contains(why), "{}", failure.message);
        let connection = server.connect(&name("web"), 18_080).await.unwrap();
        assert_eq!(ask(connection).await.unwrap(), "server?");
    }
    assert!(failures.is_empty(), "each is told once");
}

#[tokio::test]
async fn an_address_of_a_further_range_that_no_service_has_is_refused() {
    let setup = setup(|config| config.external = External::Allow);
    let client = pod(&setup.network, "client");
    let free = Target::Ip(IpAddr::from([203, 0, 113, 77]));
    setup.network.set_service_ranges(vec!["203.0.113.0/24".parse().unwrap()]);
    let error = client.connect(&free, 80).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
}
