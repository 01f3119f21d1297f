use runtime::*;
use std::time::Instant;
use std::sync::Arc;
fn rss() -> String { let s=std::fs::read_to_string("/proc/self/status").unwrap(); s.lines().filter(|l| l.starts_with("VmRSS")||l.starts_with("VmSize")||l.starts_with("VmPTE")).collect::<Vec<_>>().join(" ") }
fn maps() -> usize { std::fs::read_to_string("/proc/self/maps").unwrap().lines().count() }
fn main() {
    if std::env::args().nth(1).as_deref()==Some("__compile") { std::process::exit(if compile_child_main()==std::process::ExitCode::SUCCESS {0} else {1}); }
    let n: usize = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(10);
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    rt.block_on(async move {
        println!("start {} maps {}", rss(), maps());
        let t=Instant::now();
        let runtime = Runtime::new(Config::new("/tmp/rt_cache", CompilerCommand::subcommand(std::env::current_exe().unwrap()))).unwrap();
        println!("new {:?} {} maps {}", t.elapsed(), rss(), maps());
        let wat = r#"(module (import "skiff:pod" "wait_shutdown" (func $w (param i64) (result i32))) (memory (export "memory") 1) (func (export "_start") (drop (call $w (i64.const -1)))))"#;
        std::fs::write("/tmp/rt_p.wasm", wat::parse_str(wat).unwrap()).unwrap();
        for i in 0..2 {
        let t=Instant::now();
        let _m = runtime.load("/tmp/rt_p.wasm".as_ref(), "sha256:p", Flavor::Plain).await.unwrap();
        println!("load{i} {:?} {} maps {}", t.elapsed(), rss(), maps());
        }
        let m = runtime.load("/tmp/rt_p.wasm".as_ref(), "sha256:p", Flavor::Plain).await.unwrap();
        let wat = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
        std::fs::write("/tmp/rt_q.wasm", wat::parse_str(wat).unwrap()).unwrap();
        let q = runtime.load("/tmp/rt_q.wasm".as_ref(), "sha256:q", Flavor::Plain).await.unwrap();
        let out: Arc<dyn Output> = Arc::new(NoOutput);
        for _ in 0..3 {
            let t=Instant::now();
            for _ in 0..2000 { let c=runtime.start(q.clone(), ContainerSpec::new("x", out.clone())).unwrap(); c.wait().await; }
            println!("start->exit {:?}", t.elapsed()/2000);
        }
        let h = std::fs::read("/work/main/guests/prebuilt/hello-http.wasm").unwrap(); let _ = h;
        let t=Instant::now();
        let hm = runtime.load("/work/main/guests/prebuilt/hello-http.wasm".as_ref(), "sha256:h", Flavor::Plain).await.unwrap();
        println!("load http {:?} {}", t.elapsed(), rss());
        let c = runtime.start(hm, ContainerSpec::new("h", out.clone())).unwrap();
        use http_body_util::BodyExt;
        for par in [1usize, 16] {
        let t=Instant::now();
        let total=2000;
        let mut js=tokio::task::JoinSet::new();
        for _ in 0..par { let c=c.clone(); js.spawn(async move { for _ in 0..total/par { let r=http::Request::get("/").header("host","x").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap(); let r=c.handle(r).await; assert_eq!(r.status(),200); r.into_body().collect().await.unwrap(); } }); }
        js.join_all().await;
        println!("http par {par}: {:?}/req", t.elapsed()/total as u32);
        }
        c.kill(); c.wait().await;
        println!("before density {} maps {}", rss(), maps());
        let t=Instant::now();
        let mut v=Vec::new();
        for _ in 0..n { match runtime.start(m.clone(), ContainerSpec::new("x", out.clone())) { Ok(c)=>v.push(c), Err(e)=>{println!("{e} after {}", v.len()); break} } }
        println!("started {} in {:?}", v.len(), t.elapsed());
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        println!("running {} maps {} ", rss(), maps());
        let cpu0=std::fs::read_to_string("/proc/self/stat").unwrap(); 
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let cpu1=std::fs::read_to_string("/proc/self/stat").unwrap();
        let f=|s:&str| { let a: Vec<&str>=s.rsplit(')').next().unwrap().split_whitespace().collect(); a[11].parse::<u64>().unwrap()+a[12].parse::<u64>().unwrap() };
        println!("idle cpu ticks in 2s: {}", f(&cpu1)-f(&cpu0));
        let t=Instant::now();
        for c in &v { c.signal_stop(std::time::Duration::from_secs(1)); }
        for c in &v { c.wait().await; }
        println!("stopped in {:?}", t.elapsed());
    });
}
