//! A `wasi:http` component that says which pod answered.
//!
//! | path       | answer |
//! |------------|--------|
//! | `/`        | `Hello from POD on NODE`, then the method and the path that was asked for |
//! | `/healthz` | `ok` (what the readiness probe in `guests/examples/hello.yaml` asks) |
//! | `/env`     | the container's environment, one `NAME=value` a line, sorted |
//! | `/echo`    | the request's body |
//! | `/crash`   | nothing: the instance traps, so that a restart can be watched |
//! | any other  | as `/` |
//!
//! Requests for a greeting are logged to standard output.
//!
//! The pod's name and node come from the environment (`POD_NAME`, `NODE_NAME`), which the manifest
//! fills by the downward API; without them it says `HOSTNAME`, or `unknown`.

use std::env;
use std::fmt::Write as _;

use wstd::http::{Body, Error, Request, Response, StatusCode};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/env" => text(StatusCode::OK, environment()),
        "/echo" => Ok(Response::new(request.into_body())),
        "/crash" => {
            eprintln!("hello-http: told to crash");
            core::arch::wasm32::unreachable()
        }
        path => {
            println!("{} {path}", request.method());
            text(StatusCode::OK, greeting(request.method().as_str(), path))
        }
    }
}

fn text(status: StatusCode, body: String) -> Result<Response<Body>, Error> {
    Ok(Response::builder()
        .status(status)
        .header("content-type", "text/plain; charset=utf-8")
        .body(body.into())?)
}

fn greeting(method: &str, path: &str) -> String {
    let pod = variable(&["POD_NAME", "HOSTNAME"]);
    let node = variable(&["NODE_NAME"]);
    let mut greeting = match env::var("GREETING") {
        Ok(word) => format!("{word} from {pod} on {node}\n"),
        Err(_) => format!("Hello from {pod} on {node}\n"),
    };
    let _ = writeln!(greeting, "{method} {path}");
    greeting
}

fn environment() -> String {
    let mut lines: Vec<String> = env::vars().map(|(name, value)| format!("{name}={value}\n")).collect();
    lines.sort();
    lines.concat()
}

/// The first of `names` that is set, or `unknown`.
fn variable(names: &[&str]) -> String {
    names.iter().find_map(|name| env::var(name).ok()).unwrap_or_else(|| "unknown".to_owned())
}
