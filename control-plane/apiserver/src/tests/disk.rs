//! A disk without room, seen through the API: writes say so, reads and watches go on, writing resumes.

use super::*;
use parking_lot::Mutex;
use std::io;
use std::sync::atomic::AtomicBool;

/// A disk in memory that can be full.
#[derive(Clone, Debug, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl store::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.lock();
        let start = usize::try_from(offset).unwrap();
        out.copy_from_slice(bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        if len > self.bytes.lock().len() {
            self.room()?;
        }
        self.bytes.lock().resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.room()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        let start = usize::try_from(offset).unwrap();
        self.bytes.lock()[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

async fn cluster(disk: &Disk) -> Cluster {
    let backend: Box<dyn store::StorageBackend> = Box::new(disk.clone());
    let options = store::Options { backend: Some(backend), ..store::Options::memory() };
    let store = store::Store::open(options).unwrap();
    Cluster::with(|config| config.store = store).await
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let disk = Disk::default();
    let cluster = cluster(&disk).await;
    cluster.post(CONFIG_MAPS, config_map("before")).await;
    let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=0")).await;
    assert_eq!(watch.short().await, ("ADDED".into(), "before".into()));
    disk.full.store(true, Ordering::SeqCst);
    let before = format!("{CONFIG_MAPS}/before");
    for (method, path, body) in [
        ("POST", CONFIG_MAPS, config_map("refused")),
        ("PATCH", before.as_str(), json!({"data": {"k": "other"}})),
        ("DELETE", before.as_str(), Value::Null),
    ] {
        let status = cluster.fails(method, path, body).await;
        insta::assert_json_snapshot!("disk_full", status);
    }
    assert_eq!(cluster.get(&before).await["data"]["k"], "v");
    assert_eq!(cluster.get(CONFIG_MAPS).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(cluster.send("GET", "/readyz", &[], "").await.code, 200, "reads are served");
    disk.full.store(false, Ordering::SeqCst);
    // The store looks at its file before it writes on; until then it says the same.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let answer = cluster.send("POST", CONFIG_MAPS, &[], config_map("after").to_string()).await;
        if answer.code == 201 {
            break;
        }
        assert_eq!(answer.code, 507, "{:?}", answer.bytes);
        assert!(std::time::Instant::now() < deadline, "writing does not resume");
        tokio::task::yield_now().await;
    }
    assert_eq!(watch.short().await, ("ADDED".into(), "after".into()), "nothing that was refused was seen");
}

#[tokio::test]
async fn objects_may_be_large_but_not_without_bounds() {
    let cluster = cluster(&Disk::default()).await;
    let sized = |name: &str, bytes: usize| json!({"metadata": {"name": name}, "data": {"k": "x".repeat(bytes)}});
    cluster.post("/api/v1/namespaces/default/configmaps", sized("most", (1 << 20) - 16)).await;
    // Objects of a kind without a limit of its own.
    let slice = |name: &str, bytes: usize| {
        json!({"metadata": {"name": name, "managedFields": []}, "addressType": "IPv4", "ports": [],
            "endpoints": [{"addresses": ["10.0.0.1"], "deprecatedTopology": {"x": "y".repeat(bytes)}}]})
    };
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let made = cluster.post(slices, slice("large", 3 << 19)).await;
    assert_eq!(made["endpoints"][0]["deprecatedTopology"]["x"].as_str().unwrap().len(), 3 << 19);
    let status = cluster.fails("POST", slices, slice("larger", (3 << 20) + 1)).await;
    assert_eq!((&status["code"], &status["reason"]), (&json!(413), &json!("RequestEntityTooLarge")));
    assert_eq!(status["message"], "Request entity too large: limit is 3145728");
}
